package handlers

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// turns is how many frames a connection gets until it is the others' turn.
const turns = 4

// wire is a TCP connection that needs no goroutine to write: a shard gives its
// frames to the kernel, and only while the kernel does not take one whole, since
// the client does not read, a goroutine waits for it. Whoever writes holds the
// lock from the first to the last byte of a frame, so that a ping or a close never
// comes amid one.
type wire struct {
	meter
	tcp   *net.TCPConn
	raw   syscall.RawConn
	shard *shard
	lock  chan struct{} // full while somebody writes
	until time.Time     // the deadline that gorilla set for its next write
	ended bool          // a close frame was written, and nothing may follow it; under the lock
}

// ready has the shard ask the session for its next frame.
func (w *wire) ready() { w.shard.add(w) }

// pump writes what the session has, as far as the kernel takes it. The shard calls it.
func (w *wire) pump() {
	defer w.c.recovered()
	for range turns {
		f, ok := w.c.session.next()
		if !ok {
			return
		}
		select {
		case w.lock <- struct{}{}:
		default: // a ping is being written
			w.later(f.wire, false)
			return
		}
		if w.ended {
			<-w.lock
			return
		}
		n, err := w.shard.write(w.raw, f.wire)
		if err == nil && n < len(f.wire) {
			w.later(f.wire[n:], true)
			return
		}
		<-w.lock
		if err != nil {
			_ = w.tcp.Close() // its reader hears of it
			return
		}
	}
	w.ready()
}

// later writes what the kernel does not take now. A client that does not read in
// time is cut.
func (w *wire) later(rest []byte, locked bool) {
	w.shard.of.goroutines.Go(func() {
		until := time.Now().Add(w.c.h.cfg.WriteWait)
		err := os.ErrDeadlineExceeded
		if locked || w.acquire(until) {
			if err = nil; locked || !w.ended {
				err = w.put(rest, w.c.h.cfg.WriteWait)
			}
			<-w.lock
		}
		switch {
		case err == nil:
			w.ready()
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.c.slow()
		}
	})
}

func (w *wire) acquire(until time.Time) bool {
	select {
	case w.lock <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case w.lock <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

// piece is how much of a frame a client has to take within WriteWait: one that reads
// slowly gets a large row too.
const piece = 16 << 10

// put writes all of p, each piece of it in time, or closes the connection: what came
// next would come amid a frame. The lock is held.
func (w *wire) put(p []byte, wait time.Duration) (err error) {
	for len(p) > 0 && err == nil {
		n := min(len(p), piece)
		if err = w.tcp.SetWriteDeadline(time.Now().Add(wait)); err == nil {
			_, err = w.tcp.Write(p[:n])
		}
		p = p[n:]
	}
	if err == nil {
		err = w.tcp.SetWriteDeadline(time.Time{}) // the shard's writes have none
	}
	if err != nil {
		_ = w.tcp.Close()
	}
	return err
}

// signal writes a ping or a pong unless the client does not read; then it is false.
func (w *wire) signal(op byte, body []byte) bool {
	if !w.acquire(time.Now().Add(closeWait)) {
		return false
	}
	if w.ended {
		<-w.lock
		return false
	}
	p := wireOf(op, body)
	n, err := 0, error(nil)
	if e := w.raw.Write(func(fd uintptr) bool { n, err = writeNow(fd, p); return true }); e != nil {
		err = e
	}
	if err == nil && n > 0 && n < len(p) { // the rest has to come before anything else
		err = w.put(p[n:], closeWait)
	}
	<-w.lock
	return err == nil && n > 0
}

// Read implements net.Conn. It asks a client that is silent for long whether it is
// still there.
func (w *wire) Read(p []byte) (int, error) {
	for asked := false; ; {
		wait := w.c.socket.pingPeriod
		if asked {
			wait = w.c.socket.pongWait
		}
		if err := w.tcp.SetReadDeadline(time.Now().Add(jitter(wait))); err != nil {
			return 0, err
		}
		n, err := w.tcp.Read(p)
		if n > 0 || asked || !errors.Is(err, os.ErrDeadlineExceeded) {
			w.count(n)
			return n, err
		}
		asked = w.signal(opPing, nil)
	}
}

// Write implements net.Conn, for gorilla, which writes a frame at once.
func (w *wire) Write(p []byte) (int, error) {
	if !w.acquire(w.until) {
		return 0, os.ErrDeadlineExceeded
	}
	defer func() { <-w.lock }()
	w.ended = w.ended || (len(p) > 0 && p[0] == final|opClose)
	wait := w.c.h.cfg.WriteWait
	if !w.until.IsZero() {
		wait = time.Until(w.until)
	}
	if err := w.put(p, wait); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline implements net.Conn. It does not touch the write that is going on.
func (w *wire) SetWriteDeadline(t time.Time) error {
	w.until = t
	return nil
}
