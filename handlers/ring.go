package handlers

import (
	"slices"
	"sync/atomic"

	"github.com/rhtmx/gormsync/models"
)

// ringBytes is how much the entries of a ring have in memory: of large rows it holds
// fewer than it has slots for.
const ringBytes = 64 << 20

// ring holds the newest entries. One goroutine appends; anybody reads, without a
// lock: a slot that has another entry than expected, or none, lost it.
type ring struct {
	mask   uint64
	slots  []atomic.Pointer[entry]
	now    atomic.Pointer[place] // up to where transactions are whole
	oldest atomic.Uint64         // the idx of the oldest entry that is there

	// the hub's own, under its lock
	most    int           // bytes
	bytes   int           // of the entries
	next    uint64        // the idx of the next entry
	cursor  models.Cursor // behind it; may be amid a transaction
	dropped atomic.Uint64 // the highest transaction that has a row no longer in the ring
}

// place is a border between entries of the ring with its place in the log.
type place struct {
	head   uint64 // entries below it are published
	cursor models.Cursor
}

// newRing makes a ring for at least size entries.
func newRing(size int) *ring {
	n := 1
	for n < size {
		n *= 2
	}
	r := &ring{mask: uint64(n - 1), slots: make([]atomic.Pointer[entry], n), most: ringBytes}
	r.now.Store(&place{})
	return r
}

func (r *ring) size() uint64 { return r.mask + 1 }

// at gives the entry at idx; nil when it is no longer there.
func (r *ring) at(idx uint64) *entry {
	if e := r.slots[idx&r.mask].Load(); e != nil && e.idx == idx {
		return e
	}
	return nil
}

// begin empties the ring and lets it go on at a place of the log.
func (r *ring) begin(c models.Cursor) {
	for i := range r.slots {
		r.slots[i].Store(nil)
	}
	r.bytes = 0
	r.oldest.Store(r.next)
	r.cursor = c
	if c.From.Xmax > 0 {
		r.dropped.Store(c.From.Xmax - 1)
	}
	r.now.Store(&place{head: r.next, cursor: c})
}

// append puts a page's entries into the ring and reports whether the last of its
// transactions is whole.
func (r *ring) append(p *page, link func(*entry)) (whole bool) {
	for _, e := range p.entries {
		e.idx = r.next
		if e.created != nil {
			e.created.idx = r.next
		}
		link(e)
		r.bytes += e.size()
		for r.next-r.oldest.Load() == r.size() || r.bytes > r.most && r.oldest.Load() < r.next {
			r.drop()
		}
		r.slots[r.next&r.mask].Store(e)
		for _, l := range e.links {
			l.topic.head.Store(e.idx + 1)
		}
		r.next++
	}
	r.cursor = p.next
	n := len(p.entries)
	if n == 0 || !p.entries[n-1].open {
		r.now.Store(&place{head: r.next, cursor: p.next})
		return true
	}
	last := p.entries[n-1].last
	for n > 0 && p.entries[n-1].last == last {
		n--
	}
	if n > 0 { // what is before the open transaction is whole
		r.now.Store(&place{head: p.entries[n-1].idx + 1, cursor: p.entries[n-1].cursor})
	}
	return false
}

// drop forgets the oldest entry.
func (r *ring) drop() {
	at := r.oldest.Load()
	slot := &r.slots[at&r.mask]
	if e := slot.Load(); e != nil {
		r.dropped.Store(max(r.dropped.Load(), e.tx)) // before the slot: who misses the entry knows what is lost
		r.bytes -= e.size()
	}
	r.oldest.Store(at + 1)
	slot.Store(nil)
}

// tail is the idx of the oldest entry that may still be there.
func (r *ring) tail() uint64 { return r.oldest.Load() }

// find gives the place in the ring from which to go on behind a client's cursor.
// known are the transactions that the client has beyond those before the place;
// ok is false when the log has to be read.
func (r *ring) find(c models.Cursor) (next uint64, known models.TxSet, ok bool) {
	now := r.now.Load()
	if c.Epoch != now.cursor.Epoch {
		return 0, known, false
	}
	if samePlace(c, now.cursor) {
		return now.head, known, true
	}
	tail := min(r.tail(), now.head)
	for idx := now.head; idx > tail; idx-- {
		e := r.at(idx - 1)
		if e == nil {
			break
		}
		if !e.amid && samePlace(c, e.cursor) {
			return idx, known, true
		}
	}
	// A cursor from elsewhere: all that it lacks has to be in the ring, and it must not be ahead.
	dropped := r.dropped.Load()
	if c.Batch != nil || c.From.Xmax <= dropped || c.From.Xmax > now.cursor.From.Xmax || (len(c.From.Xip) > 0 && c.From.Xip[0] <= dropped) {
		return 0, known, false
	}
	return tail, c.From, true
}

func samePlace(a, b models.Cursor) bool {
	if a.Epoch != b.Epoch || a.From.Xmax != b.From.Xmax || !slices.Equal(a.From.Xip, b.From.Xip) || (a.Batch == nil) != (b.Batch == nil) {
		return false
	}
	if a.Batch == nil {
		return true
	}
	x, y := a.Batch, b.Batch
	return x.Of == y.Of && x.AfterTx == y.AfterTx && x.AfterID == y.AfterID && x.To.Xmax == y.To.Xmax && slices.Equal(x.To.Xip, y.To.Xip)
}

// includes reports whether a has every transaction that b has.
func includes(a, b models.TxSet) bool {
	if b.Xmax > a.Xmax {
		return false
	}
	for _, x := range a.Xip {
		if b.Has(x) {
			return false
		}
	}
	return true
}
