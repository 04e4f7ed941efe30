package trackers

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/rhtmx/gormsync/models"
)

// followPoll is how long Follow waits for a bell before it looks by itself.
const followPoll = 2 * time.Second

// Event is one change with the place behind it.
type Event[T any] struct {
	Row    T
	Cursor models.Cursor
}

// bells wake those who follow the log in this process.
type bells struct {
	mu  sync.Mutex
	all map[chan struct{}]struct{}
}

func (b *bells) listen() (bell chan struct{}, stop func()) {
	bell = make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == nil {
		b.all = map[chan struct{}]struct{}{}
	}
	b.all[bell] = struct{}{}
	return bell, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.all, bell)
	}
}

// ring tells everybody that a commit wrote to the log.
func (l *Log) ring() {
	l.cfg.Ring()
	l.Wake()
}

// Wake has everybody who follows the log in this process look for new changes,
// such as those of another process. It never blocks.
func (l *Log) Wake() {
	l.bells.mu.Lock()
	defer l.bells.mu.Unlock()
	for bell := range l.bells.all {
		select {
		case bell <- struct{}{}:
		default: // it is going to look anyway
		}
	}
}

// Follow gives every change of the entities (all of them if none is named) after
// a cursor, for ever: it waits for the next one until ctx ends, which ends the
// sequence. The zero cursor means from the log's beginning. An error ends the
// sequence too, also one of a connection that broke: call it again with the last
// cursor. models.ErrCursorExpired says to begin anew.
//
//	for e, err := range sync.Changes().Follow(ctx, cursor, "todos") {
//		if err != nil {
//			return err
//		}
//		use(e.Row)
//		cursor = e.Cursor // keep it to go on from here later
//	}
func (c *Changes) Follow(ctx context.Context, cursor models.Cursor, entities ...string) iter.Seq2[Event[models.Change], error] {
	return follow(ctx, c.log, cursor, entities, c.Read)
}

// Follow gives every field change of the entities after a cursor, as
// Changes.Follow does.
func (f *Fields) Follow(ctx context.Context, cursor models.Cursor, entities ...string) iter.Seq2[Event[models.FieldChange], error] {
	return follow(ctx, f.log, cursor, entities, f.Read)
}

type readFunc[T any] func(context.Context, []Filter, models.Cursor, int) (Page[T], error)

func follow[T any](ctx context.Context, l *Log, cursor models.Cursor, entities []string, read readFunc[T]) iter.Seq2[Event[T], error] {
	return func(yield func(Event[T], error) bool) {
		filters, err := l.allOf(entities)
		if err != nil {
			yield(Event[T]{}, err)
			return
		}
		bell, stop := l.bells.listen()
		defer stop()
		for {
			page, err := read(ctx, filters, cursor, 0)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(Event[T]{}, err)
				return
			}
			for i := range page.Entries {
				if !yield(Event[T]{page.Entries[i].Row, page.After(i)}, nil) {
					return
				}
			}
			cursor = page.Cursor
			if !page.More && !wait(ctx, bell) {
				return
			}
		}
	}
}

// wait waits for a bell or for followPoll; false when ctx ends.
func wait(ctx context.Context, bell <-chan struct{}) bool {
	timer := time.NewTimer(followPoll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-bell:
	case <-timer.C:
	}
	return true
}

// allOf makes filters that let everything of the entities through.
func (l *Log) allOf(entities []string) ([]Filter, error) {
	if len(entities) == 0 {
		for name := range l.entities {
			entities = append(entities, name)
		}
		slices.Sort(entities)
	}
	filters := make([]Filter, len(entities))
	for i, name := range entities {
		if l.entities[name] == nil {
			return nil, fmt.Errorf("gormsync: no model has the table %q; name it in Config.Entities", name)
		}
		filters[i] = Filter{Entity: name, All: true}
	}
	return filters, nil
}
