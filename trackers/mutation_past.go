package trackers

import (
	"bytes"
	"context"
	"slices"

	"github.com/rhtmx/gormsync/models"
)

// maxPast is how many changes of a row a push looks at. Whoever is farther behind
// than that is taken for one whose base is not known.
const maxPast = 1000

// past is what happened to a row since a client saw it.
type past struct {
	base    map[string]models.JSON // the row as the client knew it; nil if nobody knows
	changed map[string]Edit        // the last edit of each field since
	others  map[string]Change      // the last change of each field by others than the client; nil if the base is not known
	any     bool                   // anything since, as far as anybody knows
	last    Edit                   // the newest edit since
	before  map[string]models.JSON // the row before it was deleted, if it was; nil if nobody knows
}

// since finds out what happened to the row since the mutation's base.
func (w *work) since(ctx context.Context) (past, error) {
	base := w.m.Base
	switch {
	case base != nil && *base == w.version():
		return w.present(ctx)
	case base == nil && w.alive() && w.alwaysWins():
		return past{any: true}, nil
	}
	var from int64
	if base != nil && *base > 0 {
		from = *base
	}
	changes, err := w.changes(ctx, from)
	known := base != nil && (*base == 0 || (len(changes) > 0 && changes[0].version == *base))
	if err == nil && !known && from > 0 { // no such version, or not any more
		changes, err = w.changes(ctx, 0)
	}
	if err != nil {
		return past{}, err
	}
	return w.follow(ctx, changes, known)
}

// alwaysWins: the edit stands whatever happened before it. The original clients say
// nothing that it could be compared with.
func (w *work) alwaysWins() bool {
	if len(w.t.FieldStrategy) > 0 || len(w.t.Resolve) > 0 {
		return false
	}
	switch w.t.Strategy {
	case models.ClientWins:
		return true
	case models.ServerWins, models.KeepBoth:
		return false
	}
	return w.mine.At.IsZero()
}

// present: the client knows the newest change.
func (w *work) present(ctx context.Context) (past, error) {
	h := past{changed: map[string]Edit{}}
	if w.alive() {
		h.base = w.server()
		return h, nil
	}
	changes, err := w.changes(ctx, 0)
	if err != nil {
		return h, err
	}
	all, err := w.follow(ctx, changes, false)
	h.before = all.before
	return h, err
}

// changes gives the row's changes from a version on, the oldest first.
func (w *work) changes(ctx context.Context, from int64) ([]logged, error) {
	changes, err := w.log.changesOf(ctx, w.pool, w.t.Name, w.id, from, maxPast)
	slices.Reverse(changes)
	return changes, err
}

// follow goes through the changes. If the base is known, the first of them is the
// base itself, unless the row was never logged before them.
func (w *work) follow(ctx context.Context, changes []logged, known bool) (past, error) {
	h := past{changed: map[string]Edit{}, any: !known}
	if known {
		h.others = map[string]Change{}
	}
	named, err := w.namedFields(ctx, changes)
	if err != nil {
		return h, err
	}
	for i := range changes {
		c := &changes[i]
		var now map[string]models.JSON
		if c.data != nil {
			if now, err = parsed(c.data); err != nil {
				return h, err
			}
		}
		switch {
		case i == 0 && known && *w.m.Base == c.version:
			h.base, h.before = now, now
		case c.move != models.MoveLeave: // the row itself comes with the next change
			h.step(c, now, named[c.version], w.mine)
		}
	}
	if !known && w.image != nil { // whatever is not in the log may have changed as well
		for i := range w.p.cols[:w.p.visible] {
			if _, ok := h.changed[w.p.cols[i].name]; !ok {
				h.changed[w.p.cols[i].name] = Edit{}
			}
		}
	}
	return h, nil
}

// step adds one change; now is the row after it, nil for a delete.
func (h *past) step(c *logged, now map[string]models.JSON, named []string, mine Edit) {
	if !h.any || c.edit.after(h.last) {
		h.last = c.edit
	}
	h.any = true
	if now == nil {
		return
	}
	for name, value := range now {
		same := h.before != nil && bytes.Equal(h.before[name], value)
		elsewhere := h.before == nil && named != nil // the field log knows better than nothing
		if (same || elsewhere) && !slices.Contains(named, name) {
			continue
		}
		h.changed[name] = c.edit
		if h.others != nil && !mine.by(c.edit) {
			h.others[name] = Change{c.edit, value, c.version}
		}
	}
	h.before = now
}

// namedFields gives the fields of plain updates as the field log has them: also
// those for which an edit stands although the value stayed the same.
func (w *work) namedFields(ctx context.Context, changes []logged) (map[int64][]string, error) {
	if !w.t.FieldLog || len(changes) == 0 {
		return nil, nil
	}
	l := w.log
	q := &query{dialect: l.dialect}
	q.write("SELECT c.id, f.field FROM ", l.quote(l.tables.Changes), " c JOIN ", l.quote(l.tables.Fields), " f ON f.id >= c.id << ", bits, " AND f.id < (c.id + 1) << ", bits,
		" WHERE c.entity = ", q.arg(w.t.Name), " AND c.entity_id = ", q.arg(w.id), " AND c.id >= ", q.arg(changes[0].version), " AND c.action = 'update' AND c.move = ''")
	rows, err := w.pool.QueryContext(ctx, q.sql.String(), l.unprepared(q.args...)...)
	if err != nil {
		return nil, l.unread(l.tables.Fields, err)
	}
	defer func() { _ = rows.Close() }()
	named := map[int64][]string{}
	for rows.Next() {
		var version int64
		var field string
		if err := rows.Scan(&version, &field); err != nil {
			return nil, l.unread(l.tables.Fields, err)
		}
		named[version] = append(named[version], field)
	}
	return named, rows.Err()
}
