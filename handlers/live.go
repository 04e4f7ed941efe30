package handlers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rhtmx/gormsync/trackers"
)

const (
	// renewTimeout is how long the application may take to decide on a live connection.
	renewTimeout = 10 * time.Second
	// renewRetries is how often a decision that failed is asked for again, every renewRetry.
	renewRetries = 3
	renewRetry   = 5 * time.Second
	// againPath is where a live connection is led through the application's middleware again.
	againPath = "/sync/ws/again"
)

// live is one connection that stays, with the means to ask again who stands behind it.
type live struct {
	h         *Handlers
	hub       *hub
	session   *session
	transport string
	actor     string        // as counted
	request   *http.Request // what is left of the one it began with
	through   http.Handler
	fail      func(closeCode)
	ctx       context.Context // ends with the connection
	cancel    context.CancelFunc

	mu     sync.Mutex // one decision at a time
	timer  *time.Timer
	failed int // decisions that failed since one was made
	asked  asked

	accessMu sync.Mutex
	access   map[string]Access // by entity, as decided last
}

// asked is what a client subscribed to.
type asked struct {
	names []string // none: whatever may be read
	form  form     // without a noun: nothing yet
}

// newLive counts a connection in. Its request has been authorised.
func (h *Handlers) newLive(r *http.Request, hub *hub, who caller, transport, route string, access map[string]Access) (*live, error) {
	l := &live{h: h, hub: hub, transport: transport, through: who.through, access: access, actor: actorOf(access)}
	again, err := againRequest(r, route)
	if err != nil {
		return nil, err
	}
	if err := h.counter.enter(l.actor); err != nil {
		return nil, err
	}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(r.Context()))
	l.request = again
	return l, nil
}

func actorOf(access map[string]Access) string {
	for _, name := range sortedKeys(access) {
		if a := access[name]; a.Actor != "" {
			return a.Actor
		}
	}
	return ""
}

// againRequest makes the request that leads through the middleware again: the same
// headers, without the upgrade, to a route of the same group.
func againRequest(r *http.Request, route string) (*http.Request, error) {
	prefix, ok := strings.CutSuffix(r.URL.Path, route)
	if !ok {
		return nil, errors.New("gormsync: the path " + r.URL.Path + " was rewritten after it was routed, so access could not be asked for again; mount the routes where clients find them")
	}
	raw := "" // what stands encoded in the path, such as a slash, stays so
	if r.URL.RawPath != "" {
		raw = strings.TrimSuffix(r.URL.RawPath, route) + againPath
	}
	again := &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: prefix + againPath, RawPath: raw, RawQuery: r.URL.RawQuery}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: r.Header.Clone(), Body: http.NoBody, Host: r.Host, RemoteAddr: r.RemoteAddr, TLS: r.TLS,
	}
	again.RequestURI = again.URL.RequestURI()
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions", "Accept-Encoding", "Last-Event-Id"} {
		again.Header.Del(name)
	}
	return again, nil
}

// began lets the connection be found, by Disconnect too, and asked again in time.
func (l *live) began(revoked uint64) {
	l.h.livesMu.Lock()
	l.h.lives[l] = struct{}{}
	l.h.livesMu.Unlock()
	l.h.observer.Connected(l.transport, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(l.due(), l.renew)
	l.checkRevoked(revoked)
}

// checkRevoked asks again at once when somebody was disconnected since a decision
// began: it may have been of before. l.mu is held.
func (l *live) checkRevoked(since uint64) {
	if l.h.revoked.Load() != since && l.timer != nil {
		l.timer.Reset(0)
	}
}

// ended forgets the connection.
func (l *live) ended() {
	l.cancel()
	l.mu.Lock()
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	l.h.livesMu.Lock()
	_, was := l.h.lives[l]
	delete(l.h.lives, l)
	l.h.livesMu.Unlock()
	if was {
		l.h.observer.Connected(l.transport, -1)
	}
	l.h.counter.leave(l.actor)
}

// due is how long the last decision is good for.
func (l *live) due() time.Duration {
	wait := jitter(l.h.cfg.Reauthorize)
	l.accessMu.Lock()
	defer l.accessMu.Unlock()
	for _, a := range l.access {
		if !a.Expires.IsZero() {
			wait = min(wait, max(time.Until(a.Expires), 0))
		}
	}
	return wait
}

// visit is carried by a request that leads a live connection through the
// application again.
type visit struct {
	fn   func(caller) error
	done bool
	err  error
}

type visitKey struct{}

// again is the route of such requests. Nobody else finds it.
func (h *Handlers) again(w http.ResponseWriter, r *http.Request, who caller) {
	v, ok := r.Context().Value(visitKey{}).(*visit)
	if !ok {
		h.fail(w, &apiError{status: http.StatusNotFound, Code: "unknown_entity", Message: "There is nothing here."})
		return
	}
	v.err = v.fn(who)
	v.done = true
	w.WriteHeader(http.StatusNoContent)
}

// as runs fn as the client: behind the application's middleware, in a request of
// its own. What the middleware refuses is an error with its status.
func (l *live) as(ctx context.Context, fn func(who caller) error) error {
	v := &visit{fn: fn}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, visitKey{}, v), renewTimeout)
	defer cancel()
	w := &discard{header: http.Header{}}
	func() {
		defer l.recovered()
		l.through.ServeHTTP(w, l.request.Clone(ctx))
	}()
	if v.done {
		return v.err
	}
	return refusal(w.status)
}

// recovered keeps a panic of the application's middleware from taking the process
// down.
func (l *live) recovered() {
	if p := recover(); p != nil {
		l.h.logger.Error("gormsync: asking for access again failed", "panic", p)
	}
}

// refusal is what a status of the application's middleware means.
func refusal(status int) error {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return statusError(status)
	}
	return &apiError{status: http.StatusServiceUnavailable, Code: "busy", Message: "The server cannot decide on access now; try again soon."}
}

// discard is the ResponseWriter of a request that nobody waits for.
type discard struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (d *discard) Header() http.Header { return d.header }

// Write implements http.ResponseWriter.
func (d *discard) Write(b []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	return io.Discard.Write(b)
}

// WriteHeader implements http.ResponseWriter.
func (d *discard) WriteHeader(status int) {
	if d.status == 0 {
		d.status = status
	}
}

// Flush implements http.Flusher.
func (d *discard) Flush() {}

// renew asks again whether the client may have what it has. The timer calls it.
func (l *live) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		return
	}
	revoked := l.h.revoked.Load()
	var now request
	access := map[string]Access{}
	err := l.as(l.ctx, func(who caller) (err error) {
		if l.asked.form.noun == "" {
			access, err = l.h.mayConnect(l.ctx, who, l.hub)
			return err
		}
		if now, access, err = l.h.followable(l.ctx, who, l.hub, l.asked); err != nil {
			return err
		}
		return l.h.counter.limits.fits(now.filters)
	})
	if err != nil {
		l.refused(err)
		return
	}
	l.failed = 0
	l.decided(access)
	if expired(access) {
		l.fail(closeExpired)
		return
	}
	if l.asked.form.noun != "" {
		l.adapt(now)
	}
	l.timer.Reset(l.due())
	l.checkRevoked(revoked)
}

func (l *live) decided(access map[string]Access) {
	l.accessMu.Lock()
	defer l.accessMu.Unlock()
	l.access = access
}

func expired(access map[string]Access) bool {
	for _, a := range access {
		if !a.Expires.IsZero() && !a.Expires.After(time.Now()) {
			return true
		}
	}
	return false
}

// refused ends a connection that may not go on. What failed for another reason is
// asked again some times. l.mu is held.
func (l *live) refused(err error) {
	if l.ctx.Err() != nil {
		return
	}
	switch e := l.h.asAPIError(err); {
	case e.status == http.StatusUnauthorized:
		l.fail(closeExpired)
	case e.status == http.StatusForbidden, e.status == http.StatusNotFound:
		l.fail(closeForbidden)
	case l.failed < renewRetries:
		l.failed++
		l.timer.Reset(renewRetry)
	default:
		l.fail(closeRestart)
	}
}

// adapt lets the client see what it may see now. l.mu is held.
func (l *live) adapt(now request) {
	filters, spans := l.session.following()
	if filters == nil || viewKey(filters) == viewKey(now.filters) {
		return
	}
	same := func(f trackers.Filter) bool {
		return slices.ContainsFunc(now.filters, func(g trackers.Filter) bool { return g.Cover() == f.Cover() })
	}
	for _, sp := range spans {
		kept := span{from: sp.from}
		for _, f := range sp.filters {
			if same(f) {
				kept.filters = append(kept.filters, f)
			} else {
				now.reset = append(now.reset, f.Entity)
			}
		}
		if len(kept.filters) > 0 {
			now.spans = append(now.spans, kept)
		}
	}
	now.form, now.reason = l.asked.form, reasonAccess
	l.session.subscribe(now)
}
