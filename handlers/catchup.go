package handlers

import (
	"context"
	"errors"
	"math"
	"slices"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

const (
	reasonExpired = "cursor_expired"
	reasonAccess  = "access_changed"
)

// request is a subscription as a client asked for it and may have it.
type request struct {
	filters []trackers.Filter
	spans   []span   // empty: live from now on
	reset   []string // entities whose cursor cannot be followed
	reason  string   // why; reasonExpired if empty
	form    form
}

// subscribe replaces what the session follows. The order makes it gapless: first
// the session is in the hub's topics, then it reads the log, which holds at least
// what was published before; what it has read it does not take from the ring.
func (s *session) subscribe(r request) {
	ctx, cancel := context.WithCancel(context.Background())
	v, now := s.hub.attach(s, r.filters)
	sub := &subscription{view: v, form: r.form, next: now.head, covers: v.covers, ctx: ctx, cancel: cancel}
	sub.place = sub.cursor(now.cursor)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		cancel()
		s.hub.detach(s)
		return
	}
	defer s.mu.Unlock()
	s.end()
	s.sub, s.form = sub, r.form
	begin := s.start(sub, r.spans, now)
	begin.Covers = r.covered(begin.Covers)
	if !r.form.events {
		s.replies = append(s.replies, r.form.compressed(subscribedFrame(v.names, begin)))
	}
	if len(r.reset) > 0 {
		reason := r.reason
		if reason == "" {
			reason = reasonExpired
		}
		s.resetFor(sub, r.reset, reason)
	}
	s.pump()
}

// covered leaves out the entities that have to be taken anew: a client that breaks
// off before it has them must not go on as if it had.
func (r *request) covered(covers []models.Cover) []models.Cover {
	covers = slices.Clone(covers)
	for _, f := range r.filters {
		if slices.Contains(r.reset, f.Entity) {
			covers = slices.DeleteFunc(covers, func(v models.Cover) bool { return v == f.Cover() })
		}
	}
	return covers
}

// start sets where a subscription begins, and gives the cursor from which a client
// that breaks off at once can go on.
func (s *session) start(sub *subscription, spans []span, now *place) models.Cursor {
	if len(spans) == 0 {
		return sub.place
	}
	if len(spans) == 1 && len(spans[0].filters) == len(sub.view.filters) {
		if next, known, ok := s.hub.ring.find(spans[0].from); ok {
			sub.next, sub.common, sub.place = next, known, spans[0].from
			sub.place.Covers = sub.covers
			if known.Xmax > 0 {
				sub.know(sub.view.filters, known)
			}
			return sub.place
		}
	}
	sub.climb(s.hub.source, slices.Concat(spans, restOf(sub.view.filters, spans, now)))
	return sub.place
}

// restOf is the span of the entities that no cursor was given for: they begin now.
func restOf(filters []trackers.Filter, spans []span, now *place) []span {
	named := map[string]bool{}
	for _, sp := range spans {
		for _, f := range sp.filters {
			named[f.Entity] = true
		}
	}
	rest := span{from: now.cursor.Position()}
	for _, f := range filters {
		if !named[f.Entity] {
			rest.filters = append(rest.filters, f)
		}
	}
	if len(rest.filters) == 0 {
		return nil
	}
	return []span{rest}
}

func (sub *subscription) know(filters []trackers.Filter, set models.TxSet) {
	if sub.known == nil {
		sub.known = map[string]models.TxSet{}
	}
	for _, f := range filters {
		sub.known[f.Entity] = set
	}
}

// forget drops what was found in the ring or read from the log.
func (sub *subscription) forget() {
	sub.pending, sub.page, sub.sent, sub.spans, sub.reading = nil, nil, 0, nil, nil
}

// rewind begins to read the spans, the first one first.
func (sub *subscription) rewind() {
	sub.at, sub.page, sub.sent, sub.pending, sub.reading = 0, nil, 0, nil, nil
	sub.common, sub.rejoin = models.TxSet{}, math.MaxUint64
	sub.enter()
}

// enter begins with the next span.
func (sub *subscription) enter() {
	sp := &sub.spans[sub.at]
	if sub.covers = sub.view.covers; !sub.stairs {
		sub.covers = coversOf(sp.filters)
	}
	sub.place = sub.cursor(sp.from)
}

// fallBehind leaves the ring, which has gone on too far, for the log.
func (s *session) fallBehind(sub *subscription) {
	s.hub.opts.observer.FellBehind()
	if len(sub.spans) == 0 {
		sub.spans, sub.stairs = sub.places(), true
	}
	sub.behind = true
	sub.rewind()
}

// fromLog gives the session's next entries of the log. When there are none at
// hand it has a page read, which wakes the session.
func (s *session) fromLog(sub *subscription) []*entry {
	for {
		if sub.page == nil {
			s.readPage(sub)
			return nil
		}
		entries := sub.page.entries.Load()
		if entries == nil { // evicted
			sub.spans[sub.at].from = sub.place.Position()
			sub.page = nil
			continue
		}
		fresh := sub.fresh((*entries)[sub.sent:])
		if len(fresh) > 0 {
			return fresh
		}
		at := sub.at
		if sub.pageDone() {
			return nil
		}
		if sub.stairs && sub.at > at && sub.at == len(sub.spans)-1 { // all are at one place now
			s.replies = append(s.replies, sub.beat())
		}
	}
}

// fresh skips what the client had before it fell behind. Only who began at several
// places has such.
func (sub *subscription) fresh(entries []*entry) []*entry {
	for len(entries) > 0 && sub.known[entries[0].entity].Has(entries[0].tx) {
		sub.sent++
		entries = entries[1:]
	}
	return entries
}

// pageDone moves on behind a page; true when the session is live again.
func (sub *subscription) pageDone() bool {
	p, sp := sub.page, &sub.spans[sub.at]
	sp.from = p.next
	sub.place = sub.cursor(p.next)
	sub.page, sub.sent = nil, 0
	switch {
	case sp.until && p.next.Batch != nil, !sp.until && p.more:
		return false
	case sp.until:
		sub.at++
		sub.enter()
		return false
	}
	sub.rejoin = min(sub.rejoin, p.rejoin)
	sub.know(sp.filters, p.next.From)
	if sub.at++; sub.at < len(sub.spans) {
		sub.enter()
		return false
	}
	sub.rejoinRing()
	return true
}

// rejoinRing lets the session be live. Should the ring have gone on too far
// meanwhile, it finds out at the first look and reads on.
func (sub *subscription) rejoinRing() {
	sub.behind, sub.next, sub.covers = false, sub.rejoin, sub.view.covers
	if last := len(sub.spans) - 1; sub.stairs || last == 0 { // all are at its end
		sub.common = sub.spans[last].from.From
		sub.place = sub.cursor(sub.spans[last].from)
		sub.spans = nil
	}
}

// readPage has the next page read. s.mu is held.
func (s *session) readPage(sub *subscription) {
	if sub.reading != nil {
		return
	}
	sp := sub.spans[sub.at]
	sub.reading = &sp
	s.hub.background.Go(func() {
		p, err := s.hub.pages.get(sub.ctx, &sp)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.sub != sub || sub.reading != &sp { // nobody waits for it any more
			return
		}
		sub.reading = nil
		switch {
		case errors.Is(err, models.ErrCursorExpired):
			s.anew(sub)
		case err != nil:
			if s.hub.reading.Err() == nil {
				s.hub.opts.logger.Error("gormsync: a session cannot read the log", "error", err)
			}
			s.fail(closeRestart)
			return
		default:
			sub.page, sub.sent = p, 0
		}
		s.pump()
	})
}

// anew tells the client to take the entities of a span anew. What is published
// from here on reaches it; what was before is in the snapshot that it is going to take.
func (s *session) anew(sub *subscription) {
	names := namesOf(sub.spans[sub.at].filters)
	for _, name := range names {
		delete(sub.known, name)
	}
	now := s.hub.ring.now.Load().cursor
	places := sub.places()
	for i, place := range places {
		if slices.Contains(names, place.filters[0].Entity) { // a step's entities are at one place
			places[i].from = now
		}
	}
	sub.climb(s.hub.source, places)
	s.resetFor(sub, names, reasonExpired)
}
