package handlers

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// entry is one row of a log as every session gets it: encoded once. It never
// changes once it is published.
type entry struct {
	idx           uint64 // its place in the ring; of no meaning in a page of the log
	version, last int64
	tx            uint64
	entity, id    string
	scope         *string
	move          models.Move
	open          bool // its transaction goes on behind it
	amid          bool // a field amid those of its change: cursor is the place before them
	json          []byte
	created       *entry        // the same change to a client that sees the row come from elsewhere
	twin          bool          // it is the created of another
	cursor        models.Cursor // the place behind it
	at            time.Time     // when it was logged
	links         []link
	shared        atomic.Pointer[sharedFrame] // the last frame that ended with it
}

// size is about what the entry has in memory, in bytes.
func (e *entry) size() int {
	const rest = 512
	n := rest + 2*len(e.json) // also in a frame
	if e.created != nil {
		n += 2 * len(e.created.json)
	}
	return n
}

// link leads to the entry before this one in the same topic.
type link struct {
	topic *topic
	prev  uint64 // 1 + its idx; 0 for none
}

// page is what one read of a log gives.
type page struct {
	entries []*entry
	next    models.Cursor
	more    bool
}

// source is one of the two logs.
type source interface {
	// noun is what a change is called on the wire: change or field_change.
	noun() string
	read(ctx context.Context, filters []trackers.Filter, from models.Cursor, limit int) (page, error)
	// until gives the cursor that leads from one place to another and no further.
	until(filters []trackers.Filter, from models.Cursor, to models.TxSet) models.Cursor
	// settle gives a place without the batch that these filters cannot go on with.
	settle(filters []trackers.Filter, from models.Cursor) models.Cursor
	// pull gives what GET gives.
	pull(ctx context.Context, f trackers.Filter, from models.Cursor) (page, error)
}

// changeSource reads the change log.
type changeSource struct{ *trackers.Changes }

func (changeSource) noun() string { return "change" }

func (s changeSource) read(ctx context.Context, filters []trackers.Filter, from models.Cursor, limit int) (page, error) {
	p, err := s.Read(ctx, filters, from, limit)
	if err != nil {
		return page{}, err
	}
	return pageOf(&p, newChange), nil
}

func (s changeSource) until(filters []trackers.Filter, from models.Cursor, to models.TxSet) models.Cursor {
	return s.Until(filters, from, to)
}

func (s changeSource) settle(filters []trackers.Filter, from models.Cursor) models.Cursor {
	return s.Settle(filters, from)
}

func (s changeSource) pull(ctx context.Context, f trackers.Filter, from models.Cursor) (page, error) {
	if !from.IsZero() && from.Page == nil {
		return s.read(ctx, []trackers.Filter{f}, from.Position(), 0)
	}
	p, err := s.Snapshot(ctx, f, from, 0)
	if err != nil {
		return page{}, err
	}
	out := pageOf(&p, newChange)
	for i, e := range out.entries { // inside the page there is no place to go on from
		if e.cursor = from; i == len(out.entries)-1 {
			e.cursor = p.Cursor
		}
	}
	return out, nil
}

// newChange makes an entry of a change, and what it is to those who did not see the row before.
func newChange(row *models.Change) *entry {
	e := &entry{entity: row.Entity, id: row.EntityID, scope: row.Scope, move: row.Move, at: row.CreatedAt, json: row.AppendJSON(nil)}
	if row.Move == models.MoveEnter && row.Action != models.Create {
		create := *row
		create.Action = models.Create
		e.created = &entry{entity: e.entity, id: e.id, scope: e.scope, move: e.move, at: e.at, json: create.AppendJSON(nil), twin: true}
	}
	return e
}

// fieldSource reads the field log.
type fieldSource struct{ *trackers.Fields }

func (fieldSource) noun() string { return "field_change" }

func (s fieldSource) read(ctx context.Context, filters []trackers.Filter, from models.Cursor, limit int) (page, error) {
	p, err := s.Read(ctx, filters, from, limit)
	if err != nil {
		return page{}, err
	}
	return pageOf(&p, func(row *models.FieldChange) *entry {
		return &entry{entity: row.Entity, id: row.EntityID, scope: row.Scope, at: row.Timestamp, json: row.AppendJSON(nil)}
	}), nil
}

func (s fieldSource) until(filters []trackers.Filter, from models.Cursor, to models.TxSet) models.Cursor {
	return s.Until(filters, from, to)
}

func (s fieldSource) settle(filters []trackers.Filter, from models.Cursor) models.Cursor {
	return s.Settle(filters, from)
}

func (s fieldSource) pull(ctx context.Context, f trackers.Filter, from models.Cursor) (page, error) {
	return s.read(ctx, []trackers.Filter{f}, from, 0)
}

// pageOf encodes a page of a log.
func pageOf[T any](p *trackers.Page[T], encode func(*T) *entry) page {
	out := page{entries: make([]*entry, len(p.Entries)), next: p.Cursor, more: p.More}
	for i := range p.Entries {
		from := &p.Entries[i]
		e := encode(&from.Row)
		e.version, e.last, e.tx, e.cursor = from.Version, from.Last, from.Tx, p.After(i)
		e.open = goesOn(p, i)
		e.amid = i < len(p.Entries)-1 && p.Entries[i+1].Version == from.Version
		if e.created != nil {
			c := e.created
			c.version, c.last, c.tx, c.cursor, c.open = e.version, e.last, e.tx, e.cursor, e.open
		}
		out.entries[i] = e
	}
	return out
}

// goesOn reports whether the transaction of entry i has more rows behind it.
func goesOn[T any](p *trackers.Page[T], i int) bool {
	e := &p.Entries[i]
	if i < len(p.Entries)-1 {
		return p.Entries[i+1].Last == e.Last
	}
	b := p.Cursor.Batch
	return b != nil && b.AfterTx == e.Last && b.AfterID != b.AfterTx
}

// leaves reports whether the entry takes the row out of the client's sight.
func (e *entry) leaves() bool { return e.move == models.MoveLeave }

// settle decides for one reader what the moves between scopes among whole
// transactions are to it; see trackers.Resolve.
func settle(entries []*entry, filters []trackers.Filter) []*entry {
	byVersion := make(map[int64]*entry, len(entries))
	rows := make([]trackers.Entry[models.Change], len(entries))
	for i, e := range entries {
		byVersion[e.version] = e
		rows[i] = trackers.Entry[models.Change]{Version: e.version, Last: e.last, Row: models.Change{Entity: e.entity, EntityID: e.id, Move: e.move}}
	}
	out := entries[:0]
	for _, row := range trackers.Resolve(rows, filters) {
		e := byVersion[row.Version]
		if row.Row.Action == models.Create && e.created != nil {
			e = e.created
		}
		out = append(out, e)
	}
	return out
}
