package handlers

import (
	"errors"
	"net"
	"time"
)

// meter is a connection that ends when the client sends much that makes no
// message, such as empty fragments of one, which nothing else would count.
type meter struct {
	net.Conn
	c    *conn
	read int // bytes since the last message, ping or pong
}

// Read implements net.Conn.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.count(n)
	return n, err
}

// Write implements net.Conn. As on a plain connection, each piece of a frame has
// its own time.
func (m *meter) Write(p []byte) (int, error) {
	for at := 0; ; {
		n, err := m.Conn.Write(p[at:min(len(p), at+piece)])
		if at += n; err != nil || at == len(p) {
			return at, err
		}
		if err := m.Conn.SetWriteDeadline(time.Now().Add(m.c.h.cfg.WriteWait)); err != nil {
			return at, err
		}
	}
}

// count allows as much for the heads of fragments as for what is in them.
func (m *meter) count(n int) {
	const slack = 16 << 10 // also what was read ahead
	m.read += n
	if m.read > 2*m.c.h.counter.limits.MessageBytes+slack {
		m.read = 0
		m.c.fail(closeTooMany)
	}
}

// CloseWrite tells the client that nothing more comes.
func (m *meter) CloseWrite() error {
	if w, ok := m.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return errors.ErrUnsupported
}
