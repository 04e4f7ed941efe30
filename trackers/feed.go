package trackers

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

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

// changeColumns is how many columns readChange reads.
const changeColumns = 12

// changeList writes them for the rows of an alias of the change log.
func (l *Log) changeList(row string) string {
	return strings.ReplaceAll("?id, ?entity, ?entity_id, ?action, ?data, ?client_id, ?actor, ?mutation_id, ", "?", row+".") + l.moment(row+".created_at") +
		strings.ReplaceAll(", ?tx, ?scope, ?move", "?", row+".")
}

// readChange takes a change from the scanned values of changeList.
func readChange(c *models.Change, v []any) error {
	err := errors.Join(
		into(&c.ID, v[0]), into(&c.Entity, v[1]), into(&c.EntityID, v[2]), into((*string)(&c.Action), v[3]),
		c.Data.Scan(v[4]), intoPointer(&c.ClientID, v[5]), into(&c.Actor, v[6]), into(&c.MutationID, v[7]),
		moment{&c.CreatedAt}.Scan(v[8]), into(&c.Tx, v[9]), intoPointer(&c.Scope, v[10]), into((*string)(&c.Move), v[11]),
	)
	c.Version = c.ID
	return err
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
	q := r.query(filters, c, limit+1)
	rows, err := r.log.pool.QueryContext(ctx, q.sql.String(), r.log.unprepared(q.args...)...)
	if err != nil {
		return Page[models.Change]{}, fmt.Errorf("gormsync: reading %s: %w", r.log.tables.Changes, err)
	}
	at, entries, err := r.scan(rows)
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

// query asks for the position and the new rows in one statement, so that both
// are of one moment. A batch that was begun over all entities goes on in that
// order; the filters then apply to its outcome.
func (r feed) query(filters []Filter, c models.Cursor, limit int) *query {
	l := r.log
	q := &query{dialect: l.dialect}
	inner, outer := filters, []Filter(nil)
	if c.Batch != nil && c.Batch.Of == r.of(nil) {
		inner, outer = nil, filters
	}
	q.write("SELECT o.at, ", l.changeList("l"), ", n.last, ")
	r.known(q, filters)
	q.write(" FROM (SELECT NULL AS id, NULL AS last UNION ALL SELECT * FROM (SELECT w.id, w.last FROM (SELECT id, max(id) OVER (PARTITION BY tx) AS last FROM (")
	r.arms(q, inner, c)
	q.write(") a) w WHERE 1 = 1")
	if c.Batch != nil {
		q.write(" AND (last, id) > (", q.arg(c.Batch.AfterTx), ", ", q.arg(c.Batch.AfterID), ")")
	}
	r.outer(q, outer)
	q.write(" ORDER BY last, id LIMIT ", q.arg(limit), ") m) n LEFT JOIN (", l.positionSQL(), ") o ON n.id IS NULL LEFT JOIN ", l.quote(l.tables.Changes),
		" l ON l.id = n.id ORDER BY n.last NULLS FIRST, n.id")
	return q
}

// arms writes the new rows' ids: one SELECT for the transactions from xmax on and
// one for those that were open. Written with OR, PostgreSQL would walk the whole
// primary key.
func (r feed) arms(q *query, filters []Filter, c models.Cursor) {
	if len(filters) == 0 {
		r.arm(q, nil, c)
	}
	for i := range filters {
		if i > 0 {
			q.write(" UNION ALL ")
		}
		r.arm(q, &filters[i], c)
	}
}

func (r feed) arm(q *query, f *Filter, c models.Cursor) {
	from := "SELECT id, tx FROM " + r.log.quote(r.log.tables.Changes) + " c WHERE "
	if q.dialect == sqlite {
		// Ids are in the order of commits here; by them the log's end is at hand.
		q.write(from, "id >= ", q.arg(int64(c.From.Xmax)))
		r.conditions(q, f, c)
		return
	}
	q.write(from, "tx >= ", q.arg(int64(c.From.Xmax)))
	r.conditions(q, f, c)
	if len(c.From.Xip) > 0 {
		q.write(" UNION ALL ", from, "tx = ANY(", q.arg(c.From.Array()), "::bigint[])")
		r.conditions(q, f, c)
	}
}

func (r feed) conditions(q *query, f *Filter, c models.Cursor) {
	if c.Batch != nil {
		q.write(" AND tx < ", q.arg(int64(c.Batch.To.Xmax)))
		if len(c.Batch.To.Xip) > 0 {
			q.write(" AND tx <> ALL(", q.arg(c.Batch.To.Array()), "::bigint[])")
		}
	}
	if f != nil {
		q.write(" AND ")
		r.write(q, f, "c")
	}
}

// outer narrows a batch that was begun over all entities to what the filters let
// through.
func (r feed) outer(q *query, filters []Filter) {
	if len(filters) == 0 {
		return
	}
	changes := r.log.quote(r.log.tables.Changes)
	q.write(" AND EXISTS (SELECT 1 FROM ", changes, " c WHERE c.id = w.id AND (")
	for i := range filters {
		if i > 0 {
			q.write(" OR ")
		}
		r.write(q, &filters[i], "c")
	}
	q.write("))")
}

// known writes whether the reader saw an entering row before; of no interest to
// whoever has no filters.
func (r feed) known(q *query, filters []Filter) {
	if len(filters) == 0 {
		q.write("1 = 1")
		return
	}
	q.write("(l.move = 'enter' AND (")
	for i := range filters {
		if i > 0 {
			q.write(" OR ")
		}
		r.cameFrom(q, &filters[i], "l")
	}
	q.write("))")
}

// write writes the condition for the rows of the log that the filter lets
// through; row is the alias of the log table. A leave does not count for whoever
// sees where the row went.
func (r feed) write(q *query, f *Filter, row string) {
	q.write("(", r.column(row, "entity"), " = ", q.arg(f.Entity))
	defer q.write(")")
	scopes := ""
	if !f.All {
		scopes = q.in(f.Scopes)
		q.write(" AND ", r.column(row, "scope"), " ", scopes)
	}
	switch {
	case r.leaves:
	case f.All:
		q.write(" AND ", row, ".move <> 'leave'")
	default:
		q.write(" AND (", row, ".move <> 'leave' OR ", r.neighbour(row, scopes, ">", ""), " <> 'enter')")
	}
}

// neighbour writes the move of the next change (or with < the one before) of the
// same row in the same transaction that has one of the scopes.
func (r feed) neighbour(row, scopes, direction, order string) string {
	return "coalesce((SELECT e.move FROM " + r.log.quote(r.log.tables.Changes) + " e WHERE e.entity = " + row + ".entity AND e.entity_id = " + row +
		".entity_id AND e.id " + direction + " " + row + ".id AND e.tx = " + row + ".tx AND e.scope " + scopes + " ORDER BY e.id" + order + " LIMIT 1), '')"
}

// column writes a column so that SQLite reads by id: it would rather go through all
// that an entity ever had in an index.
func (r feed) column(row, name string) string {
	if r.log.dialect == sqlite {
		return "+" + row + "." + name
	}
	return row + "." + name
}

// cameFrom writes whether the filter lets through where an entering row came
// from: then the change is an update to the reader, and otherwise a create.
func (r feed) cameFrom(q *query, f *Filter, row string) {
	q.write("(", row, ".entity = ", q.arg(f.Entity))
	if !f.All {
		q.write(" AND ", r.neighbour(row, q.in(f.Scopes), "<", " DESC"), " = 'leave'")
	}
	q.write(")")
}

// scan reads the position and the entries.
func (r feed) scan(rows *sql.Rows) (at *position, entries []Entry[models.Change], err error) {
	defer func() {
		if closeErr := rows.Close(); err == nil {
			err = closeErr
		}
	}()
	at = &position{}
	vals, dests := anys(1 + changeColumns + 2)
	change, rest := vals[1:], vals[1+changeColumns:]
	for first := true; rows.Next(); first = false {
		if err := rows.Scan(dests...); err != nil {
			return nil, nil, err
		}
		if first {
			if err := at.Scan(vals[0]); err != nil {
				return nil, nil, err
			}
			continue
		}
		var e Entry[models.Change]
		var known bool
		if err := errors.Join(readChange(&e.Row, change), into(&e.Last, rest[0]), into(&known, rest[1])); err != nil {
			return nil, nil, err
		}
		if e.Row.Move == models.MoveEnter && !known {
			e.Row.Action = models.Create
		}
		e.Version, e.Tx = e.Row.ID, uint64(e.Row.Tx)
		entries = append(entries, e)
	}
	return at, entries, rows.Err()
}
