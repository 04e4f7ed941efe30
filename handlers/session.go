package handlers

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

const (
	// maxReplies is how many answers may wait; a client that asks for more
	// without reading is cut.
	maxReplies = 100
	// maxPending is how many entries a session looks up in the ring at once; it
	// takes more only to have a transaction whole.
	maxPending = 512
)

// session is one connection's place in the feed. At most one frame is on its way
// at any time: when the connection has taken it, sent asks for the next. So
// nothing is ever dropped by a full buffer, and a slow client gets larger
// frames, not a longer queue: it owns a place in the ring, or in the log when the
// ring has gone on without it.
type session struct {
	hub    *hub
	write  func(frame)     // hands one frame to the connection; must not block
	ready  func()          // instead of write: the connection may take a frame, with next; must not block
	fail   func(closeCode) // ends the connection; must not block
	client string          // the client's name for itself; its messages come one by one

	view *view // under the hub's lock
	beat int   // the same

	mu      sync.Mutex
	closed  bool
	busy    bool // a frame is on its way
	due     bool // a heartbeat, unless there is something else
	form    form
	replies []frame
	sub     *subscription // nil before the first subscribe
	pulling bool          // a goroutine answers sync messages
	pulls   []pullJob
	taken   chan struct{} // closed when the connection took what that goroutine gave
}

// subscription is what a session follows. A later subscribe replaces it whole.
type subscription struct {
	view *view
	form form
	// next is up to where the ring's entries are in pending, or were.
	next    uint64
	pending []picked
	// known is what was read from the log, by entity, until the hub has passed it.
	known map[string]models.TxSet
	// common is what was read of all entities beyond the hub's place.
	common models.TxSet
	place  models.Cursor // behind the last change handed out

	behind  bool   // the log is read
	spans   []span // from where, while behind, and until something came from the ring
	stairs  bool   // the spans are steps: what is read is behind all others
	at      int    // the span that is being read
	rejoin  uint64 // from where the ring holds what the log did not
	covers  []models.Cover
	page    *logPage
	sent    int             // entries of page
	reading *span           // what is being read for it now
	ctx     context.Context // ends with the subscription
	cancel  context.CancelFunc
}

// span is a part of a subscription that begins at one place of the log.
type span struct {
	filters []trackers.Filter
	from    models.Cursor
	until   bool // it ends where the batch of from ends
}

// picked is an entry that the session is to get.
type picked struct {
	idx     uint64
	created bool // as a create
}

// reply queues an answer to a message of the client.
func (s *session) reply(message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.replies) >= maxReplies {
		s.fail(closeTooMany)
		return
	}
	s.replies = append(s.replies, s.form.compressed(message))
	s.pump()
}

// wake says that there may be something new. The hub calls it, so it is quick.
func (s *session) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pump()
}

// sent tells that the connection took the frame that it had.
func (s *session) sent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	s.pump()
}

// pump has the connection take the next frame if it has none. s.mu is held.
func (s *session) pump() {
	switch {
	case s.closed || s.busy:
	case s.ready != nil:
		s.busy = true
		s.ready()
	default:
		var f frame
		if f, s.busy = s.take(); s.busy {
			s.write(f)
		}
	}
}

// next gives the frame that follows the one that the connection took; false when
// there is none now, and then ready tells of the next.
func (s *session) next() (f frame, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return frame{}, false
	}
	f, s.busy = s.take()
	return f, s.busy
}

// take makes the next frame. The connection has taken the one before. s.mu is held.
func (s *session) take() (f frame, ok bool) {
	if len(s.replies) > 0 {
		f, s.replies = s.replies[0], s.replies[1:]
		return f, true
	}
	if s.taken != nil {
		close(s.taken)
		s.taken = nil
	}
	if s.sub == nil {
		return frame{}, false
	}
	if f, ok = s.nextChanges(s.sub); !ok && s.due {
		f, ok = s.sub.heartbeat(s.hub.ring.now.Load())
	}
	s.due = false
	return f, ok
}

// nextChanges makes the next frame of changes; false when there is none now.
func (s *session) nextChanges(sub *subscription) (frame, bool) {
	for {
		if sub.behind {
			entries := s.fromLog(sub)
			if len(entries) > 0 {
				f, n := s.compose(sub, entries, !entries[len(entries)-1].open)
				sub.sent += n
				return f, true
			}
			if sub.behind {
				return frame{}, false
			}
		}
		entries, ok := s.hub.pick(sub)
		switch {
		case !ok:
			s.fallBehind(sub)
			continue
		case len(entries) == 0:
			if now := s.hub.ring.now.Load(); sub.next >= now.head { // and not something newer
				sub.passed(now.cursor)
			}
			return frame{}, false
		}
		f, n := s.compose(sub, entries, true)
		sub.pending, sub.spans = sub.pending[n:], nil
		sub.passed(entries[n-1].cursor)
		return f, true
	}
}

// compose makes a frame of the first entries and gives their number. Sessions of
// one view share the frames, unless they know more than the hub.
func (s *session) compose(sub *subscription, entries []*entry, whole bool) (f frame, n int) {
	n, more := sub.form.cut(entries, whole)
	last := entries[n-1]
	share := !sub.behind && sub.known == nil
	if was := last.shared.Load(); share && was != nil && was.view == sub.view && was.form == sub.form && was.first == entries[0].idx {
		f = was.frame
	} else {
		f = sub.form.encode(entries[:n], more, sub.cursor)
		if share {
			last.shared.Store(&sharedFrame{sub.view, sub.form, entries[0].idx, f})
		}
	}
	sub.place = sub.cursor(last.cursor)
	s.hub.opts.observer.Delivered(n, len(f.bytes), s.hub.lag(last), time.Since(last.at))
	return f, n
}

// cursor completes a place in the log for this client.
func (sub *subscription) cursor(c models.Cursor) models.Cursor {
	c.From = c.From.Union(sub.common)
	c.Covers = sub.covers
	return c
}

// passed forgets what the client knows beyond the hub once the hub, at the place
// up to which the client has all, knows it too.
func (sub *subscription) passed(at models.Cursor) {
	for _, known := range sub.known {
		if !includes(at.From, known) {
			return
		}
	}
	sub.known, sub.common = nil, models.TxSet{}
}

// heartbeat has a client that is up to date told how far the log is, so that its
// cursor moves on although nothing it sees happens. The hub calls it.
func (s *session) heartbeat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.busy { // otherwise it hears something anyway
		s.due = true
		s.pump()
	}
}

// heartbeat makes that frame; false while the client lacks something.
func (sub *subscription) heartbeat(now *place) (frame, bool) {
	if sub.behind || sub.next < now.head {
		return frame{}, false
	}
	sub.place, sub.spans = sub.cursor(now.cursor), nil
	return sub.beat(), true
}

func (sub *subscription) beat() frame {
	text := sub.place.String()
	return sub.form.message("heartbeat", heartbeatFrame(text), text)
}

// restart begins at another place, of which the old one says nothing: the client
// has to take everything anew. The hub calls it.
func (s *session) restart(now *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.sub
	if sub == nil {
		return
	}
	sub.forget()
	sub.behind, sub.known, sub.common = false, nil, models.TxSet{}
	sub.next, sub.covers = now.head, sub.view.covers
	sub.place = sub.cursor(now.cursor)
	s.resetFor(sub, sub.view.names, reasonExpired)
}

// following gives what the session follows and from where it would go on; nil
// when it follows nothing.
func (s *session) following() ([]trackers.Filter, []span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.sub
	if sub == nil {
		return nil, nil
	}
	return sub.view.filters, sub.places()
}

// resetFor tells the client to take entities anew. s.mu is held.
func (s *session) resetFor(sub *subscription, names []string, reason string) {
	s.hub.opts.observer.Reset(reason)
	s.replies = append(s.replies, sub.form.message("reset", resetFrame(names, reason), ""))
	s.pump()
}

// close ends the session for good.
func (s *session) close() {
	s.hub.detach(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.replies, s.pulls = nil, nil
	if s.taken != nil {
		close(s.taken)
		s.taken = nil
	}
	s.end()
}

// end stops what the present subscription has going. s.mu is held.
func (s *session) end() {
	if s.sub == nil {
		return
	}
	s.sub.cancel()
	s.sub = nil
}

// jitter is d, give or take a tenth, so that what began together does not stay so.
func jitter(d time.Duration) time.Duration {
	if d < 10 {
		return d
	}
	return d - d/10 + rand.N(d/5)
}
