package handlers

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// readRetry is how long the hub waits when it could not read the log.
const readRetry = 500 * time.Millisecond

// beats is over how many moments the heartbeats of all sessions are spread.
const beats = 25

// hubOptions are what of the configuration concerns a hub.
type hubOptions struct {
	ring      int
	window    time.Duration // between two wake-ups
	heartbeat time.Duration
	reads     chan struct{} // a place for each read of the log by a session
	observer  Observer
	logger    *slog.Logger
	failed    func(error) // is told of reads that failed
}

// hub reads one log once for each bell, puts what is new into the ring and wakes
// the sessions whose topics it touches. They take it from there at their own pace.
type hub struct {
	source source
	log    *trackers.Log
	opts   hubOptions
	bell   chan struct{}
	ring   *ring
	pages  *pageCache

	background sync.WaitGroup  // sessions that read the log
	reading    context.Context // of their reads
	stop       context.CancelFunc

	mu      sync.RWMutex // the views and topics, and who appends
	topics  map[topicKey]*topic
	views   map[string]*view
	touched []*view // by what was appended since the last wake-up
	beats   [beats]map[*session]struct{}
	sweep   int // the beat that is next
}

func newHub(log *trackers.Log, s source, opts hubOptions) *hub {
	h := &hub{
		source: s, log: log, opts: opts, bell: make(chan struct{}, 1), ring: newRing(opts.ring),
		topics: map[topicKey]*topic{}, views: map[string]*view{},
	}
	if h.opts.failed == nil {
		h.opts.failed = func(error) {}
	}
	h.pages = newPageCache(h)
	h.reading, h.stop = context.WithCancel(context.Background())
	for i := range h.beats {
		h.beats[i] = map[*session]struct{}{}
	}
	return h
}

// bellRung makes the hub look at the log soon. It never blocks.
func (h *hub) bellRung() {
	select {
	case h.bell <- struct{}{}:
	default: // it is going to look anyway
	}
}

// begin fills the ring from the log's tail, so that clients who come back after a
// restart need not read the log. It fails fast when the log cannot be read.
func (h *hub) begin(ctx context.Context) error {
	c, err := h.log.Tail(ctx, int(h.ring.size()/2))
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.ring.begin(c)
	h.mu.Unlock()
	return h.drain(ctx)
}

// run publishes until ctx ends. A read that fails is tried again, bell or not; the
// place stays, so nothing is lost. The first bell after a quiet time is
// followed at once, the next ones at the end of the window.
func (h *hub) run(ctx context.Context) {
	beat := time.NewTicker(max(h.opts.heartbeat/beats, time.Millisecond))
	defer beat.Stop()
	window := time.NewTimer(time.Hour)
	window.Stop()
	defer window.Stop()
	bell, failing := h.bell, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			h.heartbeat()
		case <-window.C:
			bell = h.bell
			if failing {
				h.bellRung()
			}
		case <-bell:
			err := h.drain(ctx)
			h.report(ctx, err, failing)
			failing = err != nil
			pause := h.opts.window
			if failing {
				pause = readRetry
			}
			if pause > 0 {
				bell = nil
				window.Reset(pause)
			}
		}
	}
}

// report tells of a read that failed; the log hears of the first one only.
func (h *hub) report(ctx context.Context, err error, again bool) {
	if err == nil || ctx.Err() != nil {
		return
	}
	h.opts.failed(err)
	if !again {
		h.opts.logger.Error("gormsync: the hub cannot read the log and will try again", "error", err)
	}
}

// drain publishes all that is new.
func (h *hub) drain(ctx context.Context) error {
	for {
		begun := time.Now()
		p, err := h.source.read(ctx, nil, h.ring.cursor, 0)
		if errors.Is(err, models.ErrCursorExpired) { // another database is behind the same address now
			return h.restart(ctx)
		}
		if err != nil {
			return err
		}
		h.opts.observer.LogRead(time.Since(begun), len(p.entries))
		h.publish(&p)
		if !p.more {
			return nil
		}
	}
}

// publish appends a page and wakes whoever may want it.
func (h *hub) publish(p *page) {
	h.mu.Lock()
	whole := h.ring.append(p, h.link)
	h.mu.Unlock()
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, v := range h.touched {
		for s := range v.sessions {
			s.wake()
		}
	}
	if !whole { // the rest of the transaction is to come, and then all of it
		return
	}
	for _, v := range h.touched {
		v.dirty = false
	}
	h.touched = h.touched[:0]
}

// link threads an entry into its topics; they lead to it once it is in the ring.
// h.mu is held.
func (h *hub) link(e *entry) {
	h.linkTo(e, topicKey{entity: e.entity, all: true})
	if e.scope != nil {
		h.linkTo(e, topicKey{entity: e.entity, scope: *e.scope})
	}
}

func (h *hub) linkTo(e *entry, key topicKey) {
	t := h.topics[key]
	if t == nil { // nobody listens
		return
	}
	e.links = append(e.links, link{t, t.head.Load()})
	for v := range t.views {
		if !v.dirty {
			v.dirty = true
			h.touched = append(h.touched, v)
		}
	}
}

// restart begins again at the end of the log and tells every session to do so.
func (h *hub) restart(ctx context.Context) error {
	c, err := h.log.Position(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ring.begin(c)
	h.pages.purge()
	for _, v := range h.views {
		for s := range v.sessions {
			s.restart(h.ring.now.Load())
		}
	}
	return nil
}

// attach lets a session follow what a view of these filters shows, and gives the
// place from which the hub's entries reach it.
func (h *hub) attach(s *session, filters []trackers.Filter) (*view, *place) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(s)
	v := h.views[viewKey(filters)]
	if v == nil {
		v = newView(filters)
		v.since = h.ring.next
		for _, key := range v.topicKeys() {
			v.topics = append(v.topics, h.topic(key))
		}
		for _, t := range v.topics {
			t.views[v] = struct{}{}
		}
		h.views[v.key] = v
	}
	v.sessions[s] = struct{}{}
	s.view = v
	s.beat = rand.IntN(beats)
	h.beats[s.beat][s] = struct{}{}
	return v, h.ring.now.Load()
}

func (h *hub) topic(key topicKey) *topic {
	t := h.topics[key]
	if t == nil {
		t = &topic{key: key, views: map[*view]struct{}{}}
		h.topics[key] = t
	}
	return t
}

// detach forgets a session.
func (h *hub) detach(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(s)
}

func (h *hub) remove(s *session) {
	v := s.view
	if v == nil {
		return
	}
	s.view = nil
	delete(h.beats[s.beat], s)
	delete(v.sessions, s)
	if len(v.sessions) > 0 {
		return
	}
	delete(h.views, v.key)
	for _, t := range v.topics {
		delete(t.views, v)
		if len(t.views) == 0 {
			delete(h.topics, t.key)
		}
	}
}

// heartbeat tells one part of the sessions after the other how far the log is.
func (h *hub) heartbeat() {
	h.mu.RLock()
	defer h.mu.RUnlock()
	h.sweep = (h.sweep + 1) % beats
	for s := range h.beats[h.sweep] {
		s.heartbeat()
	}
}
