package handlers

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// heartbeatEvery is how often a client hears from us at least. Proxies cut
// connections that are silent for 60 s.
const heartbeatEvery = 25 * time.Second

// maxReads is how many sessions read the log at the same time: after a restart
// all of them come at once, and the application needs the database too.
const maxReads = 4

// topic is what a session listens to: an entity under one scope, or all of it.
type topic struct {
	entity string
	all    bool
	scope  string
}

// published is one change as every session gets it: encoded once.
type published struct {
	entry  trackers.Entry[models.Change]
	json   []byte
	cursor models.Cursor // the place behind it
}

// hub reads the change log once for each bell and publishes what is new to the
// sessions whose topics it touches.
type hub struct {
	log     *trackers.Log
	changes *trackers.Changes
	logger  *slog.Logger
	bell    chan struct{}
	reads   chan struct{} // one place for each session that reads the log itself

	background sync.WaitGroup // sessions that read the log

	mu     sync.Mutex
	cursor models.Cursor // everything before it is published
	topics map[topic]map[*session]struct{}
}

func newHub(log *trackers.Log, logger *slog.Logger) *hub {
	return &hub{
		log: log, changes: log.Changes(), logger: logger,
		bell: make(chan struct{}, 1), reads: make(chan struct{}, maxReads), topics: map[topic]map[*session]struct{}{},
	}
}

// ring makes the hub look at the log soon. It never blocks.
func (h *hub) ring() {
	select {
	case h.bell <- struct{}{}:
	default: // it is going to look anyway
	}
}

// begin takes the place from which the hub publishes. It fails fast when the
// log cannot be read.
func (h *hub) begin(ctx context.Context) error {
	c, err := h.log.Position(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cursor.IsZero() {
		h.cursor = c
	}
	return nil
}

// run publishes until ctx ends. A read that fails is tried again at the next
// bell; the place stays, so nothing is lost.
func (h *hub) run(ctx context.Context) {
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			h.heartbeat()
		case <-h.bell:
			err := h.drain(ctx)
			if err != nil && !failing && ctx.Err() == nil {
				h.logger.Error("gormsync: the hub cannot read the log and will try again", "error", err)
			}
			failing = err != nil
		}
	}
}

// drain publishes all that is new.
func (h *hub) drain(ctx context.Context) error {
	for {
		page, err := h.changes.Read(ctx, nil, h.place(), 0)
		if errors.Is(err, models.ErrCursorExpired) { // another database is behind the same address now
			return h.restart(ctx)
		}
		if err != nil {
			return err
		}
		h.publish(&page)
		if !page.More {
			return nil
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
	h.cursor = c
	for s := range h.sessions() {
		s.restart(c)
	}
	return nil
}

// sessions are all that follow something. h.mu is held.
func (h *hub) sessions() map[*session]struct{} {
	all := map[*session]struct{}{}
	for _, sessions := range h.topics {
		for s := range sessions {
			all[s] = struct{}{}
		}
	}
	return all
}

func (h *hub) place() models.Cursor {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cursor
}

// publish hands each transaction of the page to the sessions that it touches.
func (h *hub) publish(page *trackers.Page[models.Change]) {
	items := make([]*published, len(page.Entries))
	for i := range page.Entries {
		e := &page.Entries[i]
		items[i] = &published{entry: *e, json: e.Row.AppendJSON(nil), cursor: page.After(i)}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(items) > 0 {
		n := 1
		for n < len(items) && items[n].entry.Last == items[0].entry.Last {
			n++
		}
		for s := range h.touched(items[:n]) {
			s.offer(items[:n])
		}
		items = items[n:]
	}
	h.cursor = page.Cursor
}

func (h *hub) touched(items []*published) map[*session]struct{} {
	found := map[*session]struct{}{}
	for _, p := range items {
		row := &p.entry.Row
		for s := range h.topics[topic{entity: row.Entity, all: true}] {
			found[s] = struct{}{}
		}
		if row.Scope == nil {
			continue
		}
		for s := range h.topics[topic{entity: row.Entity, scope: *row.Scope}] {
			found[s] = struct{}{}
		}
	}
	return found
}

func (h *hub) heartbeat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.sessions() {
		s.heartbeat(h.cursor)
	}
}

// subscribe replaces a session's topics and gives the place from which the hub
// will publish to it.
func (h *hub) subscribe(s *session, filters []trackers.Filter) models.Cursor {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(s)
	s.topics = topicsOf(filters)
	for _, t := range s.topics {
		if h.topics[t] == nil {
			h.topics[t] = map[*session]struct{}{}
		}
		h.topics[t][s] = struct{}{}
	}
	return h.cursor
}

// unsubscribe forgets a session.
func (h *hub) unsubscribe(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(s)
}

func (h *hub) drop(s *session) {
	for _, t := range s.topics {
		delete(h.topics[t], s)
		if len(h.topics[t]) == 0 {
			delete(h.topics, t)
		}
	}
	s.topics = nil
}

func topicsOf(filters []trackers.Filter) []topic {
	var topics []topic
	for _, f := range filters {
		if f.All {
			topics = append(topics, topic{entity: f.Entity, all: true})
			continue
		}
		for _, scope := range f.Scopes {
			topics = append(topics, topic{entity: f.Entity, scope: scope})
		}
	}
	return topics
}
