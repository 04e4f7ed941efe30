package handlers

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// span is a part of a subscription that begins at one place of the log.
type span struct {
	filters []trackers.Filter
	from    models.Cursor
}

// request is a subscription as a client asked for it and may have it.
type request struct {
	filters []trackers.Filter
	spans   []span   // empty: live from now on
	reset   []string // entities whose cursor cannot be followed
	batch   bool
	expires time.Time // zero: never
}

func namesOf(filters []trackers.Filter) []string {
	names := make([]string, len(filters))
	for i, f := range filters {
		names[i] = f.Entity
	}
	return names
}

// subscribe replaces what the session follows. The order makes it gapless: first
// the session is in the hub's topics and queues what is published; then it reads
// the log, which holds at least what was published before; then it drops from
// the queue what it has read.
func (s *session) subscribe(r request) {
	ctx, cancel := context.WithCancel(context.Background())
	sub := &subscription{
		filters: r.filters, covers: coversOf(r.filters), batch: r.batch, behind: true, ctx: ctx, cancel: cancel,
		seen: map[string]models.TxSet{},
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		cancel()
		return
	}
	s.end()
	s.sub, s.queue = sub, nil
	s.mu.Unlock()
	at := s.hub.subscribe(s, r.filters)
	s.mu.Lock()
	for _, f := range r.filters {
		sub.seen[f.Entity] = at.From
	}
	begin := sub.cursor(at)
	s.mu.Unlock()
	if len(r.spans) > 0 { // whoever breaks off now must not resume behind what it missed
		begin = r.spans[0].from
		begin.Covers = coversOf(r.spans[0].filters)
	}
	s.reply(subscribedFrame(namesOf(r.filters), begin))
	if len(r.reset) > 0 {
		s.reply(resetFrame(r.reset, "cursor_expired"))
	}
	s.expireAt(sub, r.expires)
	if len(r.spans) > 0 {
		s.hub.background.Go(func() { s.catchUp(sub, r.spans) })
		return
	}
	s.rejoin(sub, at.From)
}

func (s *session) expireAt(sub *subscription, at time.Time) {
	if at.IsZero() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sub == sub {
		sub.expire = time.AfterFunc(time.Until(at), func() { s.fail(closeExpired) })
	}
}

// catchUp reads the log from the spans' places to its end, and then lets the
// session be live.
func (s *session) catchUp(sub *subscription, spans []span) {
	for {
		for i := 0; i < len(spans); i++ {
			err := s.readSpan(sub, &spans[i])
			if errors.Is(err, models.ErrCursorExpired) {
				s.anew(sub, spans[i].filters)
				spans = slices.Delete(spans, i, i+1)
				i--
				continue
			}
			if err != nil {
				s.broken(sub, err)
				return
			}
		}
		common := models.TxSet{}
		if len(spans) == 1 && len(spans[0].filters) == len(sub.filters) {
			common = spans[0].from.From
		}
		if s.rejoin(sub, common) {
			return
		}
	}
}

// anew tells the client to take entities anew. What is published from here on
// reaches it; what was before is in the snapshot that it is going to take.
func (s *session) anew(sub *subscription, filters []trackers.Filter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sub != sub {
		return
	}
	sub.lost, s.queue = false, nil
	s.replies = append(s.replies, resetFrame(namesOf(filters), "cursor_expired"))
	s.pump()
}

func (s *session) broken(sub *subscription, err error) {
	if sub.ctx.Err() != nil { // replaced or closed
		return
	}
	s.hub.logger.Error("gormsync: a session cannot read the log", "error", err)
	s.fail(closeRestart)
}

// readSpan sends what the log holds behind the span's place, and moves the place.
func (s *session) readSpan(sub *subscription, sp *span) error {
	for {
		page, err := s.readPage(sub.ctx, sp)
		if err != nil {
			return err
		}
		if err := s.send(sub, sp, &page); err != nil {
			return err
		}
		sp.from = page.Cursor
		if !page.More {
			return nil
		}
	}
}

func (s *session) readPage(ctx context.Context, sp *span) (trackers.Page[models.Change], error) {
	select {
	case s.hub.reads <- struct{}{}:
		defer func() { <-s.hub.reads }()
	case <-ctx.Done():
		return trackers.Page[models.Change]{}, ctx.Err()
	}
	return s.hub.changes.Read(ctx, sp.filters, sp.from, 0)
}

// send hands a page to the connection and waits until it took all of it.
func (s *session) send(sub *subscription, sp *span, page *trackers.Page[models.Change]) error {
	drained := make(chan struct{})
	s.mu.Lock()
	if s.sub != sub {
		s.mu.Unlock()
		return context.Canceled
	}
	sub.pages = make([]*published, len(page.Entries))
	for i := range page.Entries {
		e := &page.Entries[i]
		sub.pages[i] = &published{entry: *e, json: e.Row.AppendJSON(nil), cursor: page.After(i)}
	}
	for _, f := range sp.filters {
		sub.seen[f.Entity] = page.Cursor.From
	}
	sub.covers = coversOf(sp.filters)
	sub.drained = drained
	s.pump()
	s.mu.Unlock()
	select {
	case <-drained:
		return nil
	case <-sub.ctx.Done():
		return sub.ctx.Err()
	}
}

// rejoin lets the session be live, and says false when its queue overflowed
// meanwhile: then the log has to be read on.
func (s *session) rejoin(sub *subscription, common models.TxSet) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sub != sub {
		return true
	}
	if sub.lost {
		sub.lost, s.queue = false, nil
		return false
	}
	sub.behind, sub.common, sub.covers = false, common, coversOf(sub.filters)
	fresh := s.queue[:0]
	for _, p := range s.queue {
		if !sub.seen[p.entry.Row.Entity].Has(p.entry.Tx) {
			fresh = append(fresh, p)
		}
	}
	s.queue = fresh
	s.pump()
	return true
}

func coversOf(filters []trackers.Filter) []models.Cover {
	covers := make([]models.Cover, len(filters))
	for i, f := range filters {
		covers[i] = f.Cover()
	}
	return covers
}
