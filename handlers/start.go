package handlers

import (
	"context"
	"time"
)

// attemptLimit is how long one attempt to start a hub may take; a little less than
// those who wait for it may wait, so that they learn what went wrong.
const attemptLimit = 4500 * time.Millisecond

// attempt is one attempt to start a hub. All who ask for the hub share it.
type attempt struct {
	done    chan struct{}
	err     error // once done is closed
	cancel  context.CancelFunc
	waiters int  // of h.mu
	left    bool // nobody waits any more; of h.mu until done is closed
}

// Start begins to publish. It fails within 5 s when the log cannot be read, and at
// once when ctx or the Handlers end; a second call does nothing.
func (h *Handlers) Start(ctx context.Context) error { return h.startHub(ctx, h.hub) }

// startHub holds no lock while the log is read.
func (h *Handlers) startHub(ctx context.Context, hub *hub) error {
	for {
		a, err := h.join(hub)
		if a == nil {
			return err
		}
		select {
		case <-a.done:
			h.leave(a)
			if a.left && ctx.Err() == nil {
				continue // it was given up just before we joined
			}
			return a.err
		case <-ctx.Done():
			h.leave(a)
			return ctx.Err()
		case <-h.ctx.Done():
			h.leave(a)
			return ErrClosed
		}
	}
}

// join gives the attempt that goes on, or begins one; none if there is nothing to
// do or to be done.
func (h *Handlers) join(hub *hub) (*attempt, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch a := h.attempts[hub]; {
	case h.closed:
		return nil, ErrClosed
	case h.running[hub]:
		return nil, nil
	case a != nil:
		a.waiters++
		return a, nil
	}
	ctx, cancel := context.WithTimeout(h.ctx, attemptLimit)
	a := &attempt{done: make(chan struct{}), cancel: cancel, waiters: 1}
	h.attempts[hub] = a
	h.hubs.Go(func() {
		defer cancel()
		h.finish(hub, a, hub.begin(ctx))
	})
	return a, nil
}

// leave ends an attempt for which nobody waits any more.
func (h *Handlers) leave(a *attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a.waiters--; a.waiters > 0 {
		return
	}
	select {
	case <-a.done:
	default:
		a.left = true
		a.cancel()
	}
}

// finish has the hub run if the attempt succeeded.
func (h *Handlers) finish(hub *hub, a *attempt, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.attempts, hub)
	if h.closed {
		err = ErrClosed
	}
	if err == nil {
		h.running[hub] = true
		h.hubs.Go(func() { hub.run(h.ctx) })
		hub.bellRung()
	}
	a.err = err
	close(a.done)
}
