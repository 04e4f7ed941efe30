package trackers

import (
	"strings"

	"github.com/rhtmx/gormsync/models"
)

// A read is one statement, so that the position and the new rows are of one
// moment. One of its rows is the position.

// whole asks for all new rows, at most limit of them, in whatever order is at hand.
func (r feed) whole(filters []Filter, c models.Cursor, limit int) *query {
	q := r.positioned()
	n := q.arg(limit)
	// An order that an index has keeps PostgreSQL from reading the table from its
	// beginning because a limit ends the search early.
	order := " ORDER BY tx, id LIMIT "
	if q.dialect == sqlite {
		order = " ORDER BY id LIMIT "
	}
	q.write("SELECT * FROM (")
	r.arms(q, filters, c, func(f *Filter) string {
		known := "1 = 1"
		if f != nil {
			known = r.known(q, []Filter{*f}, "c")
		}
		return r.log.changeList("c", known, "0")
	}, order+n)
	q.write(" LIMIT ", n, ") m")
	return q
}

// paged asks for the first of the new rows, up to limit, in the order of the feed.
// A batch that was begun over all entities goes on in that order; the filters then
// apply to its outcome.
func (r feed) paged(filters []Filter, c models.Cursor, limit int) *query {
	l, q := r.log, r.positioned()
	inner, outer := filters, []Filter(nil)
	if c.Batch != nil && c.Batch.Of == r.of(nil) {
		inner, outer = nil, filters
	}
	known := "1 = 1"
	if len(filters) > 0 {
		known = r.known(q, filters, "l")
	}
	q.write("SELECT ", l.changeList("l", known, "n.last"), " FROM (SELECT w.id, w.last FROM (SELECT id, seen, max(id) OVER (PARTITION BY tx) AS last FROM (")
	r.arms(q, inner, c, func(*Filter) string { return "id, tx, " + r.seen(q, outer) + " AS seen" }, "")
	q.write(") i) w WHERE w.seen")
	if c.Batch != nil {
		q.write(" AND (last, id) > (", q.arg(c.Batch.AfterTx), ", ", q.arg(c.Batch.AfterID), ")")
	}
	q.write(" ORDER BY last, id LIMIT ", q.arg(limit), ") n JOIN ", l.quote(l.tables.Changes), " l ON l.id = n.id")
	return q
}

// positioned begins a query with the position.
func (r feed) positioned() *query {
	q := &query{dialect: r.log.dialect}
	q.write("SELECT NULL, o.at", strings.Repeat(", NULL", r.log.changeColumns()-2), " FROM (", r.log.positionSQL(), ") o UNION ALL ")
	return q
}

// arms selects from the new rows: one SELECT for the transactions from xmax on and
// one for those that were open. Written with OR, PostgreSQL would walk the whole
// primary key. The list may depend on the filter; what an arm ends with may be an
// order and a limit.
func (r feed) arms(q *query, filters []Filter, c models.Cursor, list func(*Filter) string, end string) {
	if len(filters) == 0 {
		r.arm(q, nil, c, list, end)
	}
	for i := range filters {
		if i > 0 {
			q.write(" UNION ALL ")
		}
		r.arm(q, &filters[i], c, list, end)
	}
}

func (r feed) arm(q *query, f *Filter, c models.Cursor, list func(*Filter) string, end string) {
	from := "SELECT * FROM (SELECT " + list(f) + " FROM " + r.log.quote(r.log.tables.Changes) + " c WHERE "
	if q.dialect == sqlite {
		// Ids are in the order of commits here; by them the log's end is at hand.
		q.write(from, "id >= ", q.arg(int64(c.From.Xmax)))
		r.conditions(q, f, c)
		q.write(end, ") a")
		return
	}
	q.write(from, "tx >= ", q.arg(int64(c.From.Xmax)))
	r.conditions(q, f, c)
	q.write(end, ") a")
	if len(c.From.Xip) > 0 {
		q.write(" UNION ALL ", from, "tx = ANY(", q.arg(c.From.Array()), "::bigint[])")
		r.conditions(q, f, c)
		q.write(end, ") a")
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
		q.write(" AND ", r.condition(q, f, "c"))
	}
}

// seen is whether the filters let a row of an arm through, for a batch that was
// begun over all entities. To look the rows up again from outside would be a join,
// which PostgreSQL does row by row as long as nothing has analysed the table.
func (r feed) seen(q *query, filters []Filter) string {
	if len(filters) == 0 {
		return "1 = 1"
	}
	conditions := make([]string, len(filters))
	for i := range filters {
		conditions[i] = r.condition(q, &filters[i], "c")
	}
	return "(" + strings.Join(conditions, " OR ") + ")"
}

// known is whether the reader saw an entering row before.
func (r feed) known(q *query, filters []Filter, row string) string {
	seen := make([]string, len(filters))
	for i := range filters {
		seen[i] = r.cameFrom(q, &filters[i], row)
	}
	return "(" + row + ".move = 'enter' AND (" + strings.Join(seen, " OR ") + "))"
}

// condition is that for the rows of the log that the filter lets through; row is
// the alias of the log table. A leave does not count for whoever sees where the row
// went.
func (r feed) condition(q *query, f *Filter, row string) string {
	is := "(" + r.column(row, "entity") + " = " + q.arg(f.Entity)
	scopes := ""
	if !f.All {
		scopes = q.in(f.Scopes)
		is += " AND " + r.column(row, "scope") + " " + scopes
	}
	switch {
	case r.leaves:
	case f.All:
		is += " AND " + row + ".move <> 'leave'"
	default:
		is += " AND (" + row + ".move <> 'leave' OR " + r.neighbour(row, scopes, ">", "") + " <> 'enter')"
	}
	return is + ")"
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

// cameFrom is whether the filter lets through where an entering row came
// from: then the change is an update to the reader, and otherwise a create.
func (r feed) cameFrom(q *query, f *Filter, row string) string {
	from := row + ".entity = " + q.arg(f.Entity)
	if !f.All {
		from += " AND " + r.neighbour(row, q.in(f.Scopes), "<", " DESC") + " = 'leave'"
	}
	return "(" + from + ")"
}
