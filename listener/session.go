package listener

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lib/pq"
)

const (
	// pingEvery gives the server something to say, half as long as it may be silent.
	pingEvery = silence / 2
	// testEvery is how often it is tested whether bells arrive.
	testEvery = 30 * time.Second
	// testLimit is how long a bell of the test may take.
	testLimit = 2 * time.Second
	// retry is how long lib/pq waits to connect again. It never does, see session.
	retry = 10 * time.Millisecond
)

var (
	errDeaf    = errors.New("LISTEN succeeded, but a NOTIFY sent through the application's pool did not arrive")
	errNotSent = errors.New("the application's pool could not send a NOTIFY")
)

// session is one listening connection. lib/pq would connect again by itself, but
// with the password of the first time, and sleeping where Close has to wait for
// it. So each connection is a pq.Listener of its own.
type session struct {
	l     *Listener
	pq    *pq.Listener
	heard bool // bells were seen to arrive; of keep, until all is over

	pings atomic.Int64

	mu      sync.Mutex
	nonce   string // of the running test
	arrived chan struct{}
}

// session listens at a target until that fails or ctx ends. It tells whether
// bells arrived meanwhile, and why it ended.
func (l *Listener) session(ctx context.Context, t target) (heard bool, err error) {
	dsn, err := l.dsn(t)
	if err != nil {
		return false, err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	s := &session{l: l}
	s.pq = pq.NewDialListener(dialer{ctx, ctx, t}, dsn, retry, retry, func(_ pq.ListenerEventType, err error) {
		if err != nil {
			end(err)
		}
	})
	var all sync.WaitGroup
	all.Go(s.drain)
	all.Go(func() { end(s.keep(ctx, t)) })
	all.Go(func() { end(s.ping(ctx)) })
	<-ctx.Done() // which has cut the connection
	err = errors.Join(context.Cause(ctx), s.close())
	all.Wait()
	return s.heard, err
}

// close ends the drain too.
func (s *session) close() error {
	if err := s.pq.Close(); err != nil {
		return fmt.Errorf("closing the listener: %w", err)
	}
	return nil
}

// drain reads all that comes, at once: lib/pq can neither ping nor close while
// somebody makes it wait.
func (s *session) drain() {
	for n := range s.pq.Notify {
		switch {
		case n == nil: // something may have been missed
			s.l.ring()
		case strings.HasPrefix(n.Extra, testPrefix):
			s.passed(strings.TrimPrefix(n.Extra, testPrefix))
		case n.Extra != s.l.id:
			s.l.heard()
		}
	}
}

// keep listens, and tests from time to time that bells do arrive: a pooler or a
// failover may have come between.
func (s *session) keep(ctx context.Context, t target) error {
	if err := s.pq.Listen(s.l.cfg.Channel); err != nil {
		return fmt.Errorf("LISTEN: %w", err)
	}
	s.l.ring() // whatever was missed
	for {
		pings := s.pings.Load()
		err := s.test(ctx)
		switch {
		case err == nil && s.pings.Load() != pings: // it may have come as the answer to a ping
			continue
		case err == nil:
			s.l.arrive(t)
			s.heard = true
		case !s.heard || !errors.Is(err, errNotSent): // a busy pool says nothing of this connection
			return err
		}
		if !pause(ctx, jitter(testEvery)) {
			return ctx.Err()
		}
	}
}

// testPrefix begins the payload of a test.
const testPrefix = "test:"

// test sends a bell through the application's pool and waits for it here. It says
// nothing if a ping went out meanwhile: a transaction pooler hands bells over
// then, and only then.
func (s *session) test(ctx context.Context) error {
	nonce, arrived := rand.Text(), make(chan struct{})
	s.mu.Lock()
	s.nonce, s.arrived = nonce, arrived
	s.mu.Unlock()
	if err := s.l.notifyByPool(ctx, testPrefix+nonce); err != nil {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	timer := time.NewTimer(testLimit)
	defer timer.Stop()
	select {
	case <-arrived:
		return nil
	case <-timer.C:
		return errDeaf
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) passed(nonce string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if nonce == s.nonce {
		s.nonce = ""
		close(s.arrived)
	}
}

// ping has the server say something, for the watchdog.
func (s *session) ping(ctx context.Context) error {
	for pause(ctx, pingEvery) {
		s.pings.Add(1)
		if err := s.pingOnce(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// pingOnce turns into an error what lib/pq holds for impossible and panics at: a
// server that refuses the empty statement, for one because it was cancelled.
func (s *session) pingOnce() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("ping: %v", r)
		}
	}()
	return s.pq.Ping()
}
