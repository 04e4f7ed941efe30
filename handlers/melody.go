package handlers

import (
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"github.com/olahol/melody"
)

const liveKey = "gormsync"

// newMelody binds sessions to melody, which writes by a goroutine for each
// connection. It has one frame at a time: its queue would drop what is too much.
func (s *socket) newMelody() *melody.Melody {
	m := melody.New()
	m.Config.MaxMessageSize = int64(s.h.counter.limits.MessageBytes)
	m.Config.MessageBufferSize = 2 // one frame; never more
	m.Config.WriteWait = s.h.cfg.WriteWait
	m.Upgrader = s.upgrader
	m.HandleConnect(s.guard(s.connected))
	m.HandleMessage(s.guardMessage(websocket.TextMessage, s.received))
	m.HandleMessageBinary(s.guardMessage(websocket.BinaryMessage, s.received))
	m.HandlePong(s.guard(func(ms *melody.Session) { connOf(ms).mayGoOn() }))
	sent := s.guardMessage(0, func(c *conn, _ int, _ []byte) { c.session.sent() })
	m.HandleSentMessage(sent)
	m.HandleSentMessageBinary(sent)
	m.HandleError(s.failed)
	return m
}

// runMelody serves a connection until it ends.
func (s *socket) runMelody(c *conn, r *http.Request, header http.Header) {
	defer s.left(c)
	defer c.recovered()
	_ = s.melody.HandleRequestWithKeys(&taken{conn: c.meter, header: header}, r, map[string]any{liveKey: c})
}

func connOf(ms *melody.Session) *conn {
	return ms.Keys[liveKey].(*conn) // set before the session exists, and never again
}

func (s *socket) connected(ms *melody.Session) {
	c := connOf(ms)
	c.ws = ms.WebsocketConnection()
	c.session = c.newSession()
	c.session.write = func(f frame) { // failed hears of it when it fails
		if f.binary {
			_ = ms.WriteBinary(f.bytes)
			return
		}
		_ = ms.Write(f.bytes)
	}
	c.ws.SetPingHandler(func(data string) error {
		if !c.mayGoOn() {
			return nil
		}
		err := c.ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(closeWait))
		var timeout net.Error
		if errors.Is(err, websocket.ErrCloseSent) || (errors.As(err, &timeout) && timeout.Timeout()) {
			return nil
		}
		return err
	})
	s.began(c)
}

// failed hears of what melody cannot do.
func (s *socket) failed(ms *melody.Session, err error) {
	c := connOf(ms)
	var op *net.OpError
	switch {
	case errors.Is(err, melody.ErrMessageBufferFull): // which holds one frame more than there ever is
		c.fail(closeRestart)
	case errors.As(err, &op) && op.Op == "write" && op.Timeout():
		c.slow()
	default:
		s.broken(c, err)
	}
}

// guard keeps a panic from leaving a dead session behind, which melody would keep
// for ever.
func (s *socket) guard(fn func(*melody.Session)) func(*melody.Session) {
	return func(ms *melody.Session) {
		defer connOf(ms).recovered()
		fn(ms)
	}
}

func (s *socket) guardMessage(kind int, fn func(*conn, int, []byte)) func(*melody.Session, []byte) {
	return func(ms *melody.Session, message []byte) {
		c := connOf(ms)
		defer c.recovered()
		fn(c, kind, message)
	}
}
