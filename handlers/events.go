package handlers

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var errBuffered = &apiError{status: http.StatusInternalServerError, Code: "internal", Message: "Server-sent events cannot pass a middleware that holds the answer back, such as Timeout; skip it for this route."}

// eventStream is one connection of server-sent events.
type eventStream struct {
	*live
	w      http.ResponseWriter
	rc     *http.ResponseController
	frames chan frame     // the one that is on its way
	ends   chan closeCode // why the server ends it
}

// events answers GET /sync/events: the changes of entities as server-sent events,
// behind the cursor since or, when a browser comes back by itself, Last-Event-ID.
func (h *Handlers) events(w http.ResponseWriter, r *http.Request, who caller) {
	st, err := h.openStream(w, r, who)
	if err != nil {
		h.fail(w, err)
		return
	}
	defer h.streams.Done()
	defer st.ended()
	defer st.session.close()
	st.run(r.Context())
}

// openStream refuses while it can be said over HTTP, and otherwise begins the stream.
func (h *Handlers) openStream(w http.ResponseWriter, r *http.Request, who caller) (*eventStream, error) {
	if !h.sameOrigin(r) {
		return nil, errOrigin
	}
	plain, rc, err := h.plain(w)
	if err != nil {
		return nil, err
	}
	if err := h.cfg.Start(r.Context()); err != nil {
		return nil, err
	}
	revoked := h.revoked.Load()
	access, err := h.mayConnect(r.Context(), who, h.hub)
	if err != nil {
		return nil, err
	}
	l, err := h.newLive(r, h.hub, who, "sse", "/sync/events", access)
	if err != nil {
		return nil, err
	}
	st := &eventStream{live: l, w: plain, rc: rc, frames: make(chan frame, 1), ends: make(chan closeCode, 1)}
	l.fail = st.end
	l.session = &session{hub: h.hub, write: func(f frame) { st.frames <- f }, fail: st.end, form: form{noun: h.hub.source.noun(), events: true}}
	if err := st.follow(r, who); err != nil {
		l.session.close()
		l.ended()
		return nil, err
	}
	if !h.admit() {
		l.session.close()
		l.ended()
		return nil, errEnded
	}
	l.began(revoked)
	if h.socket.hasEnded() { // Close may have looked before
		st.end(closeRestart)
	}
	return st, nil
}

// admit counts a stream in, unless Close has begun.
func (h *Handlers) admit() bool {
	h.socket.mu.Lock()
	defer h.socket.mu.Unlock()
	if !h.socket.ended {
		h.streams.Add(1)
	}
	return !h.socket.ended
}

func (st *eventStream) follow(r *http.Request, who caller) error {
	q := r.URL.Query()
	a := asked{form: form{noun: st.hub.source.noun(), events: true}}
	if text := q.Get("entities"); text != "" {
		a.names = strings.Split(text, ",")
	}
	from := since{text: q.Get("since")}
	if id := r.Header.Get("Last-Event-Id"); id != "" {
		from.text = id
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.live.follow(st.ctx, who, a, from)
}

// plain goes behind the writers of the application's middleware: one that
// compresses or copies what it passes would do so for ever here.
func (h *Handlers) plain(w http.ResponseWriter) (http.ResponseWriter, *http.ResponseController, error) {
	for {
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = inner.Unwrap()
	}
	rc := http.NewResponseController(w)
	if _, ok := w.(http.Flusher); !ok || rc.SetWriteDeadline(time.Time{}) != nil {
		return nil, nil, errBuffered
	}
	return w, rc, nil
}

// run writes until the client leaves or the server ends the stream.
func (st *eventStream) run(ctx context.Context) {
	header := st.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store, no-transform")
	header.Set("X-Accel-Buffering", "no") // nginx
	header.Del("Content-Encoding")
	st.w.WriteHeader(http.StatusOK)
	if !st.put(retryLine(jitter(retryHint))) {
		return
	}
	for {
		select {
		case f := <-st.frames:
			if !st.put(f.bytes) {
				return
			}
			st.session.sent()
		case why := <-st.ends:
			if why == closeRestart {
				st.put(retryLine(jitter(retryHint)))
			}
			return
		case <-ctx.Done():
			return
		}
	}
}

// retryLine tells the client how long to wait before it comes back.
func retryLine(d time.Duration) []byte {
	return append(strconv.AppendInt([]byte("retry: "), d.Milliseconds(), 10), "\n\n"...)
}

// put writes and flushes, each piece in time; false when the client is gone or too
// slow.
func (st *eventStream) put(b []byte) bool {
	var err error
	for len(b) > 0 && err == nil {
		n, wait := min(len(b), piece), st.h.cfg.WriteWait
		if len(st.ends) > 0 {
			wait = closeWait
		}
		_ = st.rc.SetWriteDeadline(time.Now().Add(wait)) // plain has tried it
		if _, err = st.w.Write(b[:n]); err == nil {
			err = st.rc.Flush()
		}
		b = b[n:]
	}
	if err == nil {
		err = st.rc.SetWriteDeadline(time.Time{})
	}
	return err == nil
}

// end ends the stream soon, also when the client does not read.
func (st *eventStream) end(why closeCode) {
	select {
	case st.ends <- why:
		st.h.observer.Closed(why.code)
		_ = st.rc.SetWriteDeadline(time.Now().Add(closeWait))
	default: // it ends already
	}
}
