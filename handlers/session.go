package handlers

import (
	"context"
	"sync"
	"time"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

const (
	// maxFrame is the size at which a frame of several changes is closed.
	maxFrame = 32 << 10
	// maxQueue is how many changes wait for a slow client before it is sent to
	// the log for them. They are shared with all other sessions.
	maxQueue = 2000
	// maxReplies is how many answers may wait; a client that asks for more
	// without reading is cut.
	maxReplies = 100
)

// session is one connection's place in the feed. At most one frame is on its way
// at any time: when the connection has taken it, sent asks for the next. So
// nothing is ever dropped by a full buffer, and a slow client gets larger
// frames, not a longer queue.
type session struct {
	hub    *hub
	write  func([]byte)    // hands one frame to the connection; must not block
	fail   func(closeCode) // ends the connection; must not block
	topics []topic         // the hub's
	client string          // the client's name for itself; its messages come one by one

	mu       sync.Mutex
	closed   bool
	inflight []byte
	replies  [][]byte
	queue    []*published
	sub      *subscription // nil before the first subscribe
}

// subscription is what a session follows. A later subscribe replaces it whole.
type subscription struct {
	filters []trackers.Filter
	covers  []models.Cover
	batch   bool
	seen    map[string]models.TxSet // what was read from the log, by entity
	common  models.TxSet            // what was read of every entity
	place   models.Cursor           // behind the last change handed to the connection
	behind  bool                    // the log is being read; the queue waits
	lost    bool                    // the queue overflowed meanwhile
	pages   []*published            // read from the log, not yet sent
	drained chan struct{}           // closed when the connection took all of pages; nil if nobody waits
	expire  *time.Timer
	ctx     context.Context // ends with the subscription
	cancel  context.CancelFunc
}

// reply queues an answer to a message of the client.
func (s *session) reply(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.replies) >= maxReplies {
		s.fail(closeTooMany)
		return
	}
	s.replies = append(s.replies, frame)
	s.pump()
}

// offer queues the changes of one transaction. The hub calls it, so it is quick.
func (s *session) offer(items []*published) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sub == nil || s.sub.lost {
		return
	}
	s.queue = append(s.queue, s.sub.pick(items)...)
	if len(s.queue) > maxQueue {
		s.queue = nil
		if s.sub.behind {
			s.sub.lost = true // whoever reads the log now will read on
			return
		}
		s.sub.behind = true
		sub := s.sub
		s.hub.background.Go(func() { s.catchUp(sub, []span{{sub.filters, sub.place}}) })
		return
	}
	s.pump()
}

// pick takes the changes that the session may see and has not read from the log,
// and settles moves between scopes for it.
func (sub *subscription) pick(items []*published) []*published {
	byVersion := map[int64]*published{}
	var entries []trackers.Entry[models.Change]
	for _, p := range items {
		row := &p.entry.Row
		if sub.sees(row) && !sub.seen[row.Entity].Has(p.entry.Tx) {
			byVersion[p.entry.Version] = p
			entries = append(entries, p.entry)
		}
	}
	out := make([]*published, 0, len(entries))
	for _, e := range trackers.Resolve(entries, sub.filters) {
		p := byVersion[e.Version]
		if e.Row.Action != p.entry.Row.Action { // an update that is a create to this client
			p = &published{entry: e, json: e.Row.AppendJSON(nil), cursor: p.cursor}
		}
		out = append(out, p)
	}
	return out
}

func (sub *subscription) sees(row *models.Change) bool {
	for i := range sub.filters {
		if sub.filters[i].Sees(row) {
			return true
		}
	}
	return false
}

// cursor completes a place in the log for this client.
func (sub *subscription) cursor(c models.Cursor) models.Cursor {
	c.From = c.From.Union(sub.common)
	c.Covers = sub.covers
	return c
}

// heartbeat tells a client that is up to date how far the log is, so that its
// cursor moves on although nothing it sees happens.
func (s *session) heartbeat(at models.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sub == nil || s.sub.behind || len(s.queue) > 0 || s.inflight != nil || len(s.replies) > 0 {
		return
	}
	s.sub.place = s.sub.cursor(at)
	s.replies = append(s.replies, heartbeatFrame(s.sub.place))
	s.pump()
}

// restart begins at another place, of which the old one says nothing: the client
// has to take everything anew.
func (s *session) restart(at models.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sub == nil || s.sub.behind { // whoever reads the log finds out itself
		return
	}
	s.queue, s.sub.common, s.sub.place = nil, models.TxSet{}, at
	for entity := range s.sub.seen {
		s.sub.seen[entity] = at.From
	}
	s.replies = append(s.replies, resetFrame(namesOf(s.sub.filters), "cursor_expired"))
	s.pump()
}

// sent tells that the connection took a frame.
func (s *session) sent(frame []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(frame) == 0 || len(s.inflight) == 0 || &frame[0] != &s.inflight[0] {
		return // a pong or a close of the protocol itself
	}
	s.inflight = nil
	s.pump()
}

// pump hands the next frame to the connection if it has none. s.mu is held.
func (s *session) pump() {
	if s.closed || s.inflight != nil {
		return
	}
	switch {
	case len(s.replies) > 0:
		s.inflight, s.replies = s.replies[0], s.replies[1:]
	case s.sub == nil:
		return
	case len(s.sub.pages) > 0:
		s.inflight, s.sub.pages = s.sub.frame(s.sub.pages)
	case s.sub.drained != nil:
		close(s.sub.drained)
		s.sub.drained = nil
		return
	case !s.sub.behind && len(s.queue) > 0:
		s.inflight, s.queue = s.sub.frame(s.queue)
	default:
		return
	}
	s.write(s.inflight)
}

// frame makes a frame of the first items, one change or for batch clients whole
// transactions up to maxFrame, and gives the items that are left.
func (sub *subscription) frame(items []*published) (frame []byte, rest []*published) {
	if !sub.batch {
		sub.place = sub.cursor(items[0].cursor)
		return changeFrame(items[0].json, sub.place), items[1:]
	}
	var changes [][]byte
	size, n, border := 0, 0, 0 // border: how many items make whole transactions
	for n < len(items) && (n == 0 || size+len(items[n].json) <= maxFrame) {
		size += len(items[n].json)
		changes = append(changes, items[n].json)
		n++
		if n == len(items) || items[n].entry.Last != items[n-1].entry.Last {
			border = n
		}
	}
	if border == 0 { // one transaction is longer than a frame
		sub.place = sub.cursor(items[n-1].cursor)
		return changesFrame(changes, models.Cursor{}, true), items[n:]
	}
	sub.place = sub.cursor(items[border-1].cursor)
	return changesFrame(changes[:border], sub.place, false), items[border:]
}

// close ends the session for good.
func (s *session) close() {
	s.hub.unsubscribe(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.queue, s.replies = nil, nil
	s.end()
}

// end stops what the present subscription has going. s.mu is held.
func (s *session) end() {
	if s.sub == nil {
		return
	}
	s.sub.cancel()
	if s.sub.expire != nil {
		s.sub.expire.Stop()
	}
	s.sub = nil
}
