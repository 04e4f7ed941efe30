package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/olahol/melody"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

const (
	// maxMessage is the largest message that a client may send, in bytes.
	maxMessage = 64 << 10
	// maxEntities is how many entities one subscription may name.
	maxEntities = 100
	// writeWait is how long a connection may take for one frame before it is cut.
	writeWait = 10 * time.Second
)

// closeCode says why the server ends a connection, and so whether to come back.
type closeCode struct {
	code   int
	reason string
}

var (
	closeRestart  = closeCode{1012, "The server restarts; come back in a moment."}
	closeExpired  = closeCode{4001, "The access has expired; sign in and come back."}
	closeTooMany  = closeCode{4029, "Too many messages at once."}
	sessionKey    = "gormsync"
	errNotUpgrade = &apiError{status: http.StatusUpgradeRequired, Code: "bad_request", Message: "This is a WebSocket; connect with ws:// or wss://."}
	errOrigin     = &apiError{status: http.StatusForbidden, Code: "forbidden", Message: "This origin may not connect; name it in Config.AllowedOrigins."}
)

// socket binds sessions to melody.
type socket struct {
	h      *Handlers
	melody *melody.Melody
	mu     sync.Mutex
	conns  map[*melody.Session]*session
	ended  bool
	open   sync.WaitGroup
}

func newSocket(h *Handlers) *socket {
	m := melody.New()
	m.Config.MaxMessageSize = maxMessage
	m.Config.MessageBufferSize = 8 // one frame, and the replies of the protocol
	m.Config.WriteWait = writeWait
	m.Upgrader.CheckOrigin = func(*http.Request) bool { return true } // serve has looked already
	m.Upgrader.WriteBufferPool = &sync.Pool{}
	s := &socket{h: h, melody: m, conns: map[*melody.Session]*session{}}
	m.HandleConnect(s.guard(s.connected))
	m.HandleDisconnect(s.guard(s.disconnected))
	m.HandleMessage(s.guardMessage(s.received))
	m.HandleMessageBinary(s.guardMessage(s.receivedBinary))
	m.HandleSentMessage(s.guardMessage(func(ms *melody.Session, frame []byte) {
		if c := s.session(ms); c != nil {
			c.sent(frame)
		}
	}))
	m.HandleError(func(ms *melody.Session, err error) {
		if errors.Is(err, melody.ErrMessageBufferFull) {
			cut(ms) // never lose a frame in silence: the client comes back with its cursor
		}
	})
	return s
}

// serve upgrades a request and stays for the life of the connection.
func (s *socket) serve(w http.ResponseWriter, r *http.Request, who caller) {
	if !websocket.IsWebSocketUpgrade(r) {
		s.h.fail(w, errNotUpgrade)
		return
	}
	if !s.h.sameOrigin(r) {
		s.h.fail(w, errOrigin)
		return
	}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		s.h.fail(w, &apiError{status: http.StatusServiceUnavailable, Code: "busy", Message: closeRestart.reason})
		return
	}
	s.open.Add(1)
	s.mu.Unlock()
	defer s.open.Done()
	// After the upgrade there is nobody to tell an error.
	_ = s.melody.HandleRequestWithKeys(w, r, map[string]any{sessionKey: who})
}

// sameOrigin: browsers send cookies with a WebSocket from any site, so only
// pages of this host may connect, and those of AllowedOrigins.
func (h *Handlers) sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(h.cfg.AllowedOrigins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

func (s *socket) connected(ms *melody.Session) {
	c := &session{
		hub:   s.h.hub,
		write: func(frame []byte) { _ = ms.Write(frame) }, // HandleError hears of it
		fail:  func(why closeCode) { go end(ms, why) },
	}
	s.mu.Lock()
	s.conns[ms] = c
	ended := s.ended
	s.mu.Unlock()
	if ended {
		end(ms, closeRestart)
	}
}

func (s *socket) disconnected(ms *melody.Session) {
	s.mu.Lock()
	c := s.conns[ms]
	delete(s.conns, ms)
	s.mu.Unlock()
	if c != nil {
		c.close()
	}
}

func (s *socket) session(ms *melody.Session) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[ms]
}

func (s *socket) received(ms *melody.Session, frame []byte) {
	c := s.session(ms)
	who, ok := ms.MustGet(sessionKey).(caller)
	if c == nil || !ok {
		return
	}
	m, err := parseInbound(frame)
	if err == nil {
		err = s.handle(ms.Request.Context(), c, who, m)
	}
	if err != nil {
		c.reply(errorFrame(s.h.asAPIError(err)))
	}
}

func (s *socket) receivedBinary(ms *melody.Session, _ []byte) {
	if c := s.session(ms); c != nil {
		c.reply(errorFrame(&apiError{Code: "bad_request", Message: "Binary frames are not understood; send text."}))
	}
}

func (s *socket) handle(ctx context.Context, c *session, who caller, m inbound) error {
	switch m.Type {
	case "ping":
		c.reply(pong)
	case "subscribe":
		r, err := s.h.parseSubscribe(ctx, who, m)
		if err != nil {
			return err
		}
		c.client = m.ClientID
		c.subscribe(r)
	case "push", "push_fields":
		return s.h.pushSocket(ctx, c, who, m)
	default:
		return &apiError{Code: "bad_request", Message: "There is no message of the type " + clip(m.Type) + "."}
	}
	return nil
}

// parseSubscribe finds what a client may have of what it asks for.
func (h *Handlers) parseSubscribe(ctx context.Context, who caller, m inbound) (request, error) {
	r := request{batch: m.Batch}
	found, err := h.readable(ctx, who, m.Entities)
	if err != nil {
		return r, err
	}
	for _, e := range found {
		filter, access := e.filter, e.access
		r.filters = append(r.filters, filter)
		if !access.Expires.IsZero() && (r.expires.IsZero() || access.Expires.Before(r.expires)) {
			r.expires = access.Expires
		}
		if err := place(&r, filter, m.Since.of(filter.Entity)); err != nil {
			return r, err
		}
	}
	return r, nil
}

// place puts an entity into the span of its cursor: entities with the same cursor
// are read together, so that their transactions stay whole.
func place(r *request, f trackers.Filter, text string) error {
	if text == "" {
		return nil // live from now on
	}
	if isDecimal(text) { // from nothing, or from the original server's log: a snapshot is needed
		r.reset = append(r.reset, f.Entity)
		return nil
	}
	c, _, err := models.ParseCursor(text)
	if err != nil {
		return err
	}
	if !c.HasCover(f.Cover()) {
		r.reset = append(r.reset, f.Entity)
		return nil
	}
	c.Page = nil
	for i := range r.spans {
		if r.spans[i].from.Position().String() == c.Position().String() {
			r.spans[i].filters = append(r.spans[i].filters, f)
			return nil
		}
	}
	r.spans = append(r.spans, span{filters: []trackers.Filter{f}, from: c})
	return nil
}

// guard keeps a panic from leaving a dead session behind, which melody would keep
// for ever.
func (s *socket) guard(fn func(*melody.Session)) func(*melody.Session) {
	return func(ms *melody.Session) {
		defer s.recovered(ms)
		fn(ms)
	}
}

func (s *socket) guardMessage(fn func(*melody.Session, []byte)) func(*melody.Session, []byte) {
	return func(ms *melody.Session, frame []byte) {
		defer s.recovered(ms)
		fn(ms, frame)
	}
}

func (s *socket) recovered(ms *melody.Session) {
	if p := recover(); p != nil {
		s.h.logger.Error("gormsync: a WebSocket session failed and was closed", "panic", p)
		cut(ms)
	}
}

// end closes a connection with a code, and cuts it when the code cannot be sent.
func end(ms *melody.Session, why closeCode) {
	frame := websocket.FormatCloseMessage(why.code, why.reason)
	if conn := ms.WebsocketConnection(); conn != nil {
		_ = conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(time.Second))
	}
	cut(ms)
}

func cut(ms *melody.Session) {
	if conn := ms.WebsocketConnection(); conn != nil {
		_ = conn.Close()
	}
}

// close ends all connections and waits for them.
func (s *socket) close() {
	s.mu.Lock()
	s.ended = true
	for ms := range s.conns {
		go end(ms, closeRestart)
	}
	s.mu.Unlock()
	s.open.Wait()
}
