package handlers

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
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
	lock  chan struct{}          // full while somebody writes
	until time.Time              // the deadline that gorilla set for its next write
	ended bool                   // a close frame was written, and nothing may follow it; under the lock
	owed  atomic.Pointer[[]byte] // the pong for the last ping, until somebody has written it
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
			w.release()
			return
		}
		n, err := w.shard.write(w.raw, f.wire)
		if err == nil && n < len(f.wire) {
			w.later(f.wire[n:], true)
			return
		}
		w.release()
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
			w.release()
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

// release lets others write, and writes the pong that was left to whoever wrote.
func (w *wire) release() {
	<-w.lock
	w.answer()
}

// pong answers a ping, in any case the last one: while a client does not take what
// it gets, earlier ones go without answer (RFC 6455, 5.5.3).
func (w *wire) pong(body []byte) {
	p := wireOf(opPong, body)
	w.owed.Store(&p)
	w.answer()
}

func (w *wire) answer() {
	for w.owed.Load() != nil {
		select {
		case w.lock <- struct{}{}:
		default: // who writes looks afterwards
			return
		}
		if p := w.owed.Swap(nil); p != nil && !w.ended {
			n, err := w.now(*p)
			if err == nil && n < len(*p) {
				w.later((*p)[n:], true)
				return
			}
			if err != nil {
				_ = w.tcp.Close() // its reader hears of it
			}
		}
		<-w.lock
	}
}

// now gives the kernel as much of p as it takes. The lock is held.
func (w *wire) now(p []byte) (n int, err error) {
	if e := w.raw.Write(func(fd uintptr) bool { n, err = writeNow(fd, p); return true }); e != nil {
		return 0, e
	}
	return n, err
}

// ping asks the client whether it is there, unless it does not read; then it is
// false.
func (w *wire) ping() bool {
	if !w.acquire(time.Now().Add(closeWait)) {
		return false
	}
	defer w.release()
	if w.ended {
		return false
	}
	p := wireOf(opPing, nil)
	n, err := w.now(p)
	if err == nil && n > 0 && n < len(p) { // the rest has to come before anything else
		err = w.put(p[n:], closeWait)
	}
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
		asked = w.ping()
	}
}

// Write implements net.Conn, for gorilla, which writes a frame at once.
func (w *wire) Write(p []byte) (int, error) {
	if !w.acquire(w.until) {
		return 0, os.ErrDeadlineExceeded
	}
	defer w.release()
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
