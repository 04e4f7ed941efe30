package handlers

import (
	"cmp"
	"slices"

	"github.com/rhtmx/gormsync/models"
)

// stairs puts places of entities into steps that lead to one: those who are behind
// the others read on to the next ones, then these together on to those after them,
// and at last all read on together. So whoever is read is behind all others, and a
// cursor from there is good for all. It is false for places of which neither is
// behind the other.
func stairs(src source, places []span) (steps []span, ok bool) {
	left := slices.Clone(places)
	for i := range left {
		left[i].from = src.settle(left[i].filters, left[i].from)
	}
	for len(left) > 1 {
		slices.SortStableFunc(left, lowest)
		low, next := &left[0], &left[1]
		switch from := &low.from; {
		case from.Epoch != next.from.Epoch || !includes(next.from.From, from.From):
			return nil, false
		case from.Batch != nil: // to its end first
			steps = append(steps, span{filters: low.filters, from: *from, until: true})
			from.From, from.Batch = from.From.Union(from.Batch.To), nil
		case includes(from.From, next.from.From):
			next.filters = slices.Concat(low.filters, next.filters)
			left = left[1:]
		default:
			steps = append(steps, span{filters: low.filters, from: src.until(low.filters, *from, next.from.From), until: true})
			from.From = next.from.From
		}
	}
	return append(steps, left[0]), true
}

// lowest comes first; among the same those that are amid a batch.
func lowest(a, b span) int {
	batch := func(c models.Cursor) int {
		if c.Batch != nil {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(a.from.From.Xmax, b.from.From.Xmax),
		cmp.Compare(len(b.from.From.Xip), len(a.from.From.Xip)),
		cmp.Compare(batch(a.from), batch(b.from)),
	)
}

// climb has the subscription read what lies behind these places. Without stairs,
// which are there for all cursors of one server, they are read one after the other:
// until they meet in the ring a cursor is good for the entities of its frame alone,
// and whoever breaks off just then gets some of it again.
func (sub *subscription) climb(src source, places []span) {
	if sub.spans, sub.stairs = stairs(src, places); !sub.stairs {
		sub.spans = places
	}
	sub.behind = true
	sub.rewind()
}

// places gives where the subscription would go on, for all its entities.
func (sub *subscription) places() []span {
	switch {
	case len(sub.spans) == 0:
		return []span{{filters: sub.view.filters, from: sub.place.Position()}}
	case !sub.stairs:
		places := slices.Clone(sub.spans)
		if sub.behind {
			places[sub.at].from = sub.place.Position()
		}
		return places
	}
	var places []span
	seen := map[string]bool{}
	for i, step := range sub.spans[sub.at:] {
		place := span{from: step.from.Position()}
		if i == 0 {
			place.from = sub.place.Position()
		}
		for _, f := range step.filters { // the first step that an entity takes part in is where it is
			if !seen[f.Entity] {
				seen[f.Entity] = true
				place.filters = append(place.filters, f)
			}
		}
		if len(place.filters) > 0 {
			places = append(places, place)
		}
	}
	return places
}
