package handlers

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/olahol/melody"
)

const (
	// closeWait is how long a connection may take for the frame that ends it.
	closeWait = time.Second
	// retryHint is how long clients may wait who are sent away, give or take.
	retryHint = 2 * time.Second
	// sendBuffer is what the kernel holds for one connection, in bytes. Left alone
	// it takes megabytes for one that does not read.
	sendBuffer = 64 << 10
	liveKey    = "gormsync"
)

// closeCode says why the server ends a connection, and so whether to come back.
type closeCode struct {
	code   int
	reason string
}

var (
	closeRestart   = closeCode{1012, "The server restarts; come back in a moment."}
	closeTooLarge  = closeCode{1009, "The message is too large."}
	closeExpired   = closeCode{4001, "The access has ended; sign in and come back."}
	closeForbidden = closeCode{4003, "You have no access to what you follow any more."}
	closeSlow      = closeCode{4008, "You read too slowly; pull, and come back."}
	closeTooMany   = closeCode{4029, "Too many messages at once."}
)

var errTooLarge = errors.New("gormsync: the message is too large")

// socket binds sessions to melody.
type socket struct {
	h      *Handlers
	melody *melody.Melody
	mu     sync.Mutex
	ended  bool
	open   sync.WaitGroup
}

// conn is one WebSocket.
type conn struct {
	*live
	ms       *melody.Session
	throttle *throttle
	revoked  uint64    // when its access was decided
	once     sync.Once // the close frame
}

func newSocket(h *Handlers) *socket {
	m := melody.New()
	m.Config.MaxMessageSize = int64(h.counter.limits.MessageBytes)
	m.Config.MessageBufferSize = 2 // one frame; never more
	m.Config.WriteWait = h.cfg.WriteWait
	m.Upgrader.CheckOrigin = func(*http.Request) bool { return true } // upgradable has looked already
	m.Upgrader.WriteBufferPool = &sync.Pool{}
	m.Upgrader.WriteBufferSize = 4096
	m.Upgrader.ReadBufferSize = 512
	m.Upgrader.HandshakeTimeout = h.cfg.WriteWait
	s := &socket{h: h, melody: m}
	m.HandleConnect(s.guard(s.connected))
	m.HandleDisconnect(s.guard(s.disconnected))
	m.HandleMessage(s.guardMessage(s.received))
	m.HandleMessageBinary(s.guardMessage(s.receivedBinary))
	sent := s.guardMessage(func(ms *melody.Session, _ []byte) { s.connOf(ms).session.sent() })
	m.HandleSentMessage(sent)
	m.HandleSentMessageBinary(sent)
	m.HandleError(s.failed)
	return s
}

// serve takes the connection over and answers at once; the connection lives on.
func (s *socket) serve(w http.ResponseWriter, r *http.Request, c *conn, revoked uint64) error {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return errEnded
	}
	s.open.Add(1)
	s.mu.Unlock()
	nc, err := takeOver(w)
	if err != nil {
		s.open.Done()
		return err
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // without it, it only takes more memory
	}
	header := http.Header{}
	if p := websocket.Subprotocols(r); len(p) > 0 { // a browser wants one of those that it named
		header.Set("Sec-Websocket-Protocol", p[0])
	}
	r = handshake(r)
	go func() {
		defer s.open.Done()
		defer c.ended()
		defer func() { _ = nc.Close() }()
		c.revoked = revoked
		// After the upgrade there is nobody to tell an error.
		_ = s.melody.HandleRequestWithKeys(&taken{conn: nc, header: header}, r, map[string]any{liveKey: c})
	}()
	return nil
}

func (s *socket) connOf(ms *melody.Session) *conn {
	return ms.Keys[liveKey].(*conn) // set before the session exists, and never again
}

func (s *socket) connected(ms *melody.Session) {
	c := s.connOf(ms)
	c.attach(ms)
	ms.WebsocketConnection().SetPingHandler(func(data string) error {
		if !c.mayGoOn() {
			return nil
		}
		err := ms.WebsocketConnection().WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(closeWait))
		var timeout net.Error
		if errors.Is(err, websocket.ErrCloseSent) || (errors.As(err, &timeout) && timeout.Timeout()) {
			return nil
		}
		return err
	})
	c.began(c.revoked)
	if s.hasEnded() { // Close may have looked before
		c.fail(closeRestart)
	}
}

func (s *socket) disconnected(ms *melody.Session) {
	s.connOf(ms).session.close()
}

// failed hears of what melody cannot do.
func (s *socket) failed(ms *melody.Session, err error) {
	c := s.connOf(ms)
	var op *net.OpError
	switch {
	case errors.Is(err, melody.ErrMessageBufferFull): // which holds one frame more than there ever is
		c.fail(closeRestart)
	case errors.Is(err, websocket.ErrReadLimit): // 1009 is on its way
		s.h.observer.Closed(closeTooLarge.code)
		linger(ms.WebsocketConnection().NetConn())
	case errors.As(err, &op) && op.Op == "write" && op.Timeout(): // there is no way to tell the client
		s.h.observer.Closed(closeSlow.code)
	}
}

// linger lets the client read what was sent last: to close a connection with
// something unread would take it back.
func linger(nc net.Conn) {
	if w, ok := nc.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil && nc.SetReadDeadline(time.Now().Add(closeWait)) == nil {
		_, _ = io.Copy(io.Discard, nc) // until the client has closed, or the deadline
	}
}

func (s *socket) received(ms *melody.Session, message []byte) {
	c := s.connOf(ms)
	if c.mayGoOn() {
		s.answer(c, message)
	}
}

func (s *socket) answer(c *conn, message []byte) {
	m, err := parseInbound(message)
	if err == nil {
		err = s.handle(c, m)
	}
	if err != nil && c.ctx.Err() == nil {
		c.session.reply(errorFrame(s.h.asAPIError(err)))
	}
}

// mayGoOn lets the client's next message through when its time has come.
func (c *conn) mayGoOn() bool {
	if c.ctx.Err() == nil && c.throttle.wait(c.ctx) {
		return true
	}
	c.fail(closeTooMany)
	return false
}

// receivedBinary takes the gzip of a message.
func (s *socket) receivedBinary(ms *melody.Session, packed []byte) {
	c := s.connOf(ms)
	if !c.mayGoOn() {
		return
	}
	message, err := inflate(packed, int64(s.h.counter.limits.MessageBytes)*inflation)
	switch {
	case errors.Is(err, errTooLarge):
		c.fail(closeTooLarge)
	case err != nil:
		c.session.reply(errorFrame(&apiError{Code: "bad_request", Message: "A binary frame must be the gzip of one message."}))
	default:
		s.answer(c, message)
	}
}

func inflate(packed []byte, limit int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	message, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err == nil && int64(len(message)) > limit {
		err = errTooLarge
	}
	return message, err
}

// handle answers one message. What needs the client's access runs behind the
// application's middleware.
func (s *socket) handle(c *conn, m inbound) error {
	if m.Type == "ping" {
		c.session.reply(pong)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	revoked := s.h.revoked.Load()
	err := c.as(c.ctx, func(who caller) error { return s.handleAs(c.ctx, c, who, m) })
	c.checkRevoked(revoked)
	return err
}

// handleAs answers a message of a client whose access is known. who is good until
// it returns.
func (s *socket) handleAs(ctx context.Context, c *conn, who caller, m inbound) error {
	switch m.Type {
	case "subscribe":
		return c.subscribe(ctx, who, m)
	case "sync":
		return c.pull(ctx, who, m)
	case "push", "push_fields":
		return s.h.pushSocket(ctx, c.session, who, m)
	}
	return &apiError{Code: "bad_request", Message: "There is no message of the type " + clip(m.Type) + "."}
}

// attach gives the connection its session.
func (c *conn) attach(ms *melody.Session) {
	c.ms = ms
	c.session = &session{
		hub:  c.hub,
		form: form{noun: c.hub.source.noun()},
		write: func(f frame) { // HandleError hears of it when it fails
			if f.binary {
				_ = ms.WriteBinary(f.bytes)
				return
			}
			_ = ms.Write(f.bytes)
		},
		fail: c.fail,
	}
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

// end closes the connection with a code, and cuts it when the client does not do
// so in turn. What the client still sends is read, and forgotten.
func (c *conn) end(why closeCode) {
	c.once.Do(func() {
		c.cancel() // wakes whoever is throttled
		c.h.observer.Closed(why.code)
		reason := why.reason
		if why == closeRestart {
			reason = fmt.Sprintf("%s retry=%d", reason, jitter(retryHint).Milliseconds())
		}
		ws := c.ms.WebsocketConnection()
		message := websocket.FormatCloseMessage(why.code, reason)
		sent := ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(closeWait)) == nil
		if w, ok := ws.NetConn().(interface{ CloseWrite() error }); sent && ok && w.CloseWrite() == nil {
			time.AfterFunc(closeWait, func() { cut(c.ms) })
			return
		}
		cut(c.ms)
	})
}

func cut(ms *melody.Session) { _ = ms.WebsocketConnection().Close() }

// end refuses connections from now on.
func (s *socket) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

func (s *socket) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}
