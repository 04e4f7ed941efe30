package trackers

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"sort"

	"github.com/rhtmx/gormsync/models"
)

// DefaultPage is how many changes a read takes at most unless told otherwise. A
// page scans the rest of its batch anew, so small pages are slow ones.
const DefaultPage = 2000

// Filter is one entity as one reader may see it.
type Filter struct {
	Entity string
	// All is every row, whatever its scope; otherwise only those of Scopes.
	All    bool
	Scopes []string
	// Generation is that of the entity, as Log.Entity tells; cursors that are
	// given to clients need it.
	Generation uint32
}

// Cover is what a cursor remembers of the filter.
func (f Filter) Cover() models.Cover { return models.CoverOf(f.Entity, f.Generation, f.All, f.Scopes) }

// Sees reports whether the filter lets a change through.
func (f *Filter) Sees(c *models.Change) bool {
	if f.Entity != c.Entity {
		return false
	}
	return f.All || (c.Scope != nil && slices.Contains(f.Scopes, *c.Scope))
}

// Entry is one row of a log with the place that it has in the feed.
type Entry[T any] struct {
	Row T
	// Version is the change's version, Tx its transaction, and Last the largest
	// version among the rows of that transaction in the same read. Entries come
	// ordered by (Last, Version).
	Version int64
	Tx      uint64
	Last    int64
}

// Page is what one read of a log gives.
type Page[T any] struct {
	Entries []Entry[T]
	// Cursor is the place after the entries.
	Cursor models.Cursor
	// More says to read on from Cursor at once.
	More bool

	from  models.Cursor
	batch models.Batch
}

// After gives the cursor of the place behind entry i.
func (p *Page[T]) After(i int) models.Cursor {
	if i == len(p.Entries)-1 {
		return p.Cursor
	}
	if p.Entries[i+1].Version == p.Entries[i].Version {
		return p.before(i) // a field amid the fields of its change: those come again
	}
	c, batch, e := p.from, p.batch, &p.Entries[i]
	batch.AfterTx, batch.AfterID = e.Last, e.Version
	if p.Entries[i+1].Last != e.Last {
		batch.AfterID = e.Last // the transaction is through
	}
	c.Batch = &batch
	return c
}

// before gives the place in front of the change that entry i is a part of.
func (p *Page[T]) before(i int) models.Cursor {
	for i > 0 && p.Entries[i-1].Version == p.Entries[i].Version {
		i--
	}
	if i == 0 {
		return p.from
	}
	return p.After(i - 1)
}

// feed reads the change log by cursor. The field log follows it, so one cursor is
// good for either.
type feed struct {
	log *Log
	// leaves: whoever sees both scopes of a move gets the leave too. In the field
	// log it takes away the fields that the row no longer has.
	leaves bool
}

// of tells this feed through these filters from others.
func (r feed) of(filters []Filter) uint32 {
	h := fnv.New32a()
	if len(filters) > 0 && r.leaves {
		h.Write([]byte("leaves"))
	}
	covers := make([]uint64, len(filters)) // in an order of their own
	for i := range filters {
		c := filters[i].Cover()
		covers[i] = uint64(c.Entity)<<32 | uint64(c.Scopes)
	}
	slices.Sort(covers)
	for _, c := range covers {
		h.Write(binary.BigEndian.AppendUint64(nil, c))
	}
	return h.Sum32()
}

// Until gives the cursor to read with from c up to the transactions of to: they
// are one batch, and the cursor behind it has no Batch.
func (r feed) Until(filters []Filter, c models.Cursor, to models.TxSet) models.Cursor {
	c = c.Position()
	c.Batch = &models.Batch{To: to, Of: r.of(filters)}
	return c
}

// Settle gives c without its Batch, if a read through these filters does not go on
// with that but begins it again.
func (r feed) Settle(filters []Filter, c models.Cursor) models.Cursor {
	c = c.Position()
	if c.Batch != nil && c.Batch.Of != r.of(filters) && c.Batch.Of != r.of(nil) {
		c.Batch = nil
	}
	return c
}

// read gives the changes after a cursor, whole transactions together, at most
// limit of them (DefaultPage if limit is not positive). Only a transaction
// longer than that is split. No filters means all entities with all their rows,
// leaves too.
func (r feed) read(ctx context.Context, filters []Filter, c models.Cursor, limit int) (Page[models.Change], error) {
	if limit <= 0 {
		limit = DefaultPage
	}
	c = r.Settle(filters, c) // of another order: begin the batch again, the reader knows what it has
	at, entries, err := r.batch(ctx, filters, c, limit)
	if err != nil {
		return Page[models.Change]{}, fmt.Errorf("gormsync: reading %s: %w", r.log.tables.Changes, err)
	}
	if c.Epoch, err = r.log.accept(ctx, at, c); err != nil {
		return Page[models.Change]{}, err
	}
	to, err := at.after(c.From)
	if err != nil {
		return Page[models.Change]{}, err
	}
	if c.Batch != nil {
		to = c.Batch.To
	}
	page := Page[models.Change]{Entries: entries, from: c, batch: models.Batch{To: to, Of: r.of(filters)}}
	if page.batch.Floor, err = at.pruned(); err != nil {
		return Page[models.Change]{}, err
	}
	if c.Batch != nil {
		page.batch.Of, page.batch.Floor = c.Batch.Of, c.Batch.Floor
	}
	page.cut(limit)
	return page, nil
}

// batch reads what comes after a cursor, with one more than limit when there is
// that much. Most readers are so near that all of it fits: then the rows come as
// an index has them, and are put in order here. Only when they do not fit has the
// database to find out which of them come first.
func (r feed) batch(ctx context.Context, filters []Filter, c models.Cursor, limit int) (*position, []Entry[models.Change], error) {
	if c.Batch == nil {
		at, entries, err := r.run(ctx, r.whole(filters, c, limit+1), limit+1)
		if err != nil || len(entries) <= limit {
			arrange(entries)
			return at, entries, err
		}
	}
	at, entries, err := r.run(ctx, r.paged(filters, c, limit+1), limit+1)
	inOrder(entries, func(e *Entry[models.Change]) int64 { return e.Last })
	return at, entries, err
}

// arrange finds the last version of each transaction, and orders by it.
func arrange(entries []Entry[models.Change]) {
	inOrder(entries, func(e *Entry[models.Change]) int64 { return e.Row.Tx })
	for end := len(entries); end > 0; {
		last := &entries[end-1]
		for ; end > 0 && entries[end-1].Tx == last.Tx; end-- {
			entries[end-1].Last = last.Version
		}
	}
	inOrder(entries, func(e *Entry[models.Change]) int64 { return e.Last })
}

// inOrder sorts by a key and the version. Most often they are in order already.
func inOrder(entries []Entry[models.Change], key func(*Entry[models.Change]) int64) {
	less := func(i, j int) bool {
		a, b := &entries[i], &entries[j]
		return cmp.Or(cmp.Compare(key(a), key(b)), cmp.Compare(a.Version, b.Version)) < 0
	}
	if !sort.SliceIsSorted(entries, less) {
		sort.Slice(entries, less)
	}
}

// cut ends the page at the border of a transaction, or inside one that alone is
// longer, and makes the cursor.
func (p *Page[T]) cut(limit int) {
	if len(p.Entries) <= limit {
		p.Cursor = p.from
		p.Cursor.From, p.Cursor.Batch = p.from.From.Union(p.batch.To), nil
		p.More = p.from.Batch != nil // the batch is through; the log may have gone on since it began
		return
	}
	n := limit
	for n > 0 && p.Entries[n-1].Last == p.Entries[limit].Last {
		n--
	}
	if n == 0 {
		n = limit
	}
	p.More = true
	p.Cursor = p.After(n - 1)
	p.Entries = p.Entries[:n:n]
}
