package handlers

import "slices"

// pick gives the session's next entries of the ring: none when it has all, and
// false when it has fallen off and the log has to be read.
func (h *hub) pick(sub *subscription) (entries []*entry, ok bool) {
	if len(sub.pending) == 0 {
		head := h.ring.now.Load().head
		if sub.next >= head {
			return nil, true
		}
		found, ok := h.collect(sub, head)
		if !ok {
			return nil, false
		}
		sub.take(found, head)
		if len(sub.pending) == 0 {
			return nil, true
		}
	}
	for _, p := range sub.pending {
		e := h.ring.at(p.idx)
		if e == nil { // and soon those behind it
			return nil, false
		}
		if p.created {
			e = e.created
		}
		entries = append(entries, e)
		if !sub.form.batch && !sub.form.events {
			break // it takes one at a time
		}
	}
	return entries, true
}

// take keeps the first of the entries found, whole transactions, for the next frames.
func (sub *subscription) take(found []*entry, head uint64) {
	n := min(maxPending, len(found))
	for n < len(found) && found[n].last == found[n-1].last {
		n++
	}
	sub.next = head
	if n < len(found) {
		sub.next = found[n-1].idx + 1
	}
	sub.pending = make([]picked, n)
	for i, e := range found[:n] {
		sub.pending[i] = picked{e.idx, e.twin}
	}
}

// collect finds the entries below head that the session is to get, with the moves
// between scopes settled.
func (h *hub) collect(sub *subscription, head uint64) ([]*entry, bool) {
	next := max(sub.next, min(head, sub.view.since)) // entries of before that are not linked
	found, ok := h.scan(sub.view, sub.next, next)
	if !ok {
		return nil, false
	}
	linked, ok := h.walk(sub.view, next, head)
	if !ok {
		return nil, false
	}
	found = append(found, linked...)
	moves := false
	fresh := found[:0]
	for _, e := range found {
		if !sub.known[e.entity].Has(e.tx) {
			fresh = append(fresh, e)
			moves = moves || e.move != ""
		}
	}
	if moves {
		fresh = settle(fresh, sub.view.filters)
	}
	return fresh, true
}

// scan looks at every entry of a part of the ring.
func (h *hub) scan(v *view, from, to uint64) (found []*entry, ok bool) {
	for idx := from; idx < to; idx++ {
		e := h.ring.at(idx)
		if e == nil {
			return nil, false
		}
		if v.sees(e) {
			found = append(found, e)
		}
	}
	return found, true
}

// walk follows the links of the view's topics back. It costs what matches, never
// what else is in the ring.
func (h *hub) walk(v *view, from, to uint64) (found []*entry, ok bool) {
	for _, t := range v.topics {
		for at := t.head.Load(); at > from; {
			e := h.ring.at(at - 1)
			if e == nil {
				return nil, false
			}
			if e.idx < to {
				found = append(found, e)
			}
			at = e.before(t)
		}
	}
	slices.SortFunc(found, func(a, b *entry) int { return int(int64(a.idx) - int64(b.idx)) })
	return slices.CompactFunc(found, func(a, b *entry) bool { return a.idx == b.idx }), true
}

// before gives 1 + the idx of the entry before e in a topic; 0 for none.
func (e *entry) before(t *topic) uint64 {
	for i := range e.links {
		if e.links[i].topic == t {
			return e.links[i].prev
		}
	}
	return 0
}

// lag is how many entries the ring is ahead of one. For what came from the log it
// is the distance of the versions, which counts other entities too.
func (h *hub) lag(e *entry) int {
	head := h.ring.now.Load().head
	if h.ring.at(e.idx) == e {
		return int(head - e.idx - 1)
	}
	if head == 0 {
		return 0
	}
	newest := h.ring.at(head - 1)
	if newest == nil {
		return 0
	}
	return int(max(0, newest.version-e.version))
}
