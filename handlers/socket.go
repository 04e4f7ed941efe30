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
	"unicode/utf8"

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
)

// closeCode says why the server ends a connection, and so whether to come back.
type closeCode struct {
	code   int
	reason string
}

var (
	closeRestart   = closeCode{1012, "The server restarts; come back in a moment."}
	closeNoText    = closeCode{1007, "A text has to be UTF-8."}
	closeTooLarge  = closeCode{1009, "The message is too large."}
	closeExpired   = closeCode{4001, "The access has ended; sign in and come back."}
	closeForbidden = closeCode{4003, "You have no access to what you follow any more."}
	closeSlow      = closeCode{4008, "You read too slowly; pull, and come back."}
	closeTooMany   = closeCode{4029, "Too many messages at once."}
)

var errTooLarge = errors.New("gormsync: the message is too large")

// socket makes WebSockets. A plain TCP connection is written to directly, others,
// such as those of TLS, by melody.
type socket struct {
	h          *Handlers
	upgrader   *websocket.Upgrader
	melody     *melody.Melody
	shards     shards
	pingPeriod time.Duration // how long a client may be silent until it is asked whether it is there
	pongWait   time.Duration // and how long it may take over the answer
	mu         sync.Mutex
	ended      bool
	open       sync.WaitGroup
}

// conn is one WebSocket.
type conn struct {
	*live
	socket   *socket
	ws       *websocket.Conn
	meter    *meter
	throttle *throttle
	revoked  uint64    // when its access was decided
	once     sync.Once // it is ended
}

func newSocket(h *Handlers) *socket {
	s := &socket{h: h, pingPeriod: 50 * time.Second, pongWait: 10 * time.Second}
	s.upgrader = &websocket.Upgrader{
		CheckOrigin:     func(*http.Request) bool { return true }, // upgradable has looked already
		WriteBufferPool: &sync.Pool{}, WriteBufferSize: 4096, ReadBufferSize: 256, HandshakeTimeout: h.cfg.WriteWait,
	}
	s.melody = s.newMelody()
	return s
}

// serve takes the connection over and answers at once; the connection lives on.
// After that there is nobody to tell an error.
func (s *socket) serve(w http.ResponseWriter, r *http.Request, c *conn) error {
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
	header := http.Header{}
	if p := websocket.Subprotocols(r); len(p) > 0 { // a browser wants one of those that it named
		header.Set("Sec-Websocket-Protocol", p[0])
	}
	tcp, ok := nc.(*net.TCPConn)
	if ok {
		_ = tcp.SetWriteBuffer(sendBuffer) // without it, it only takes more memory
	}
	if !ok || !writesDirectly {
		c.meter = &meter{Conn: nc, c: c}
		go s.runMelody(c, handshake(r), header)
		return nil
	}
	if s.shake(c, tcp, handshake(r), header) {
		go s.run(c)
	} else {
		s.left(c)
	}
	return nil
}

// left forgets a connection.
func (s *socket) left(c *conn) {
	if c.session != nil {
		c.session.close()
	}
	c.cut()
	c.ended()
	s.open.Done()
}

// shake makes a WebSocket of a TCP connection; false when the client has gone.
func (s *socket) shake(c *conn, tcp *net.TCPConn, r *http.Request, header http.Header) bool {
	w := &wire{meter: meter{Conn: tcp, c: c}, tcp: tcp, lock: make(chan struct{}, 1)}
	c.meter = &w.meter
	raw, err := tcp.SyscallConn()
	if err == nil {
		c.ws, err = s.upgrader.Upgrade(&taken{conn: w, header: header}, r, header)
	}
	if err != nil {
		return false
	}
	w.raw, w.shard = raw, s.shards.next()
	c.session = c.newSession()
	c.session.ready = w.ready
	c.ws.SetReadLimit(int64(s.h.counter.limits.MessageBytes))
	c.ws.SetPongHandler(func(string) error {
		c.mayGoOn()
		return nil
	})
	c.ws.SetPingHandler(func(data string) error {
		if c.mayGoOn() {
			w.pong([]byte(data))
		}
		return nil
	})
	return true
}

// run reads until the connection ends.
func (s *socket) run(c *conn) {
	defer s.left(c)
	defer c.recovered()
	s.began(c)
	for {
		kind, message, err := c.ws.ReadMessage()
		if err != nil {
			s.broken(c, err)
			return
		}
		s.received(c, kind, message)
	}
}

func (s *socket) began(c *conn) {
	c.live.began(c.revoked)
	if s.hasEnded() { // Close may have looked before
		c.fail(closeRestart)
	}
}

// broken hears why nothing can be read any more.
func (s *socket) broken(c *conn, err error) {
	if errors.Is(err, websocket.ErrReadLimit) { // 1009 is on its way
		c.once.Do(func() { s.h.observer.Closed(closeTooLarge.code) })
		linger(c.meter.Conn)
	}
}

// received has a message answered when its time has come, by a goroutine whose
// stack goes with it: that of the connection stays small.
func (s *socket) received(c *conn, kind int, message []byte) {
	if !c.mayGoOn() {
		return
	}
	if kind == websocket.TextMessage && !utf8.Valid(message) {
		c.fail(closeNoText)
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer c.recovered()
		if kind == websocket.BinaryMessage {
			s.answerPacked(c, message)
			return
		}
		s.answer(c, message)
	}()
	<-done
}

// linger lets the client read what was sent last: to close a connection with
// something unread would take it back.
func linger(nc net.Conn) {
	if w, ok := nc.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil && nc.SetReadDeadline(time.Now().Add(closeWait)) == nil {
		_, _ = io.Copy(io.Discard, nc) // until the client has closed, or the deadline
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
	c.meter.read = 0
	if c.ctx.Err() == nil && c.throttle.wait(c.ctx) {
		return true
	}
	c.fail(closeTooMany)
	return false
}

// answerPacked takes the gzip of a message.
func (s *socket) answerPacked(c *conn, packed []byte) {
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

func (c *conn) newSession() *session {
	return &session{hub: c.hub, form: form{noun: c.hub.source.noun()}, fail: c.fail}
}

// recovered keeps a panic from leaving a dead connection behind, or from taking
// the process down.
func (c *conn) recovered() {
	if p := recover(); p != nil {
		c.h.logger.Error("gormsync: a WebSocket failed and was closed", "panic", p)
		c.cut()
	}
}

// slow cuts a client that does not read. There is no way to tell it.
func (c *conn) slow() {
	c.once.Do(func() {
		c.cancel()
		c.h.observer.Closed(closeSlow.code)
		c.cut()
	})
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
		message := websocket.FormatCloseMessage(why.code, reason)
		if c.ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(closeWait)) == nil && c.meter.CloseWrite() == nil {
			time.AfterFunc(closeWait, c.cut)
			return
		}
		c.cut()
	})
}

func (c *conn) cut() { _ = c.meter.Close() }

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
