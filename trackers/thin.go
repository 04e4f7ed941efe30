package trackers

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// maxWhole is the longest transaction, in changes, that is thinned out whole.
const maxWhole = 100

// Thin removes the superseded changes of entities with KeepLatest and gives their
// number: those behind which the same row has another change in the same scope.
// A reader that lacks the one lacks the other too, since the second committed
// later, and so comes to the same end; no cursor expires.
//
// Readers are told a transaction at the place of its last change, so a reader in
// the middle of a batch must find that place unmoved. Thus the last change that
// a transaction has of an entity and scope goes with all its others or stays, and
// changes that moved a row between scopes stay until they are old.
func (l *Log) Thin(ctx context.Context) (removed int64, err error) {
	var entities []string
	for name, t := range l.entities {
		if t.KeepLatest {
			entities = append(entities, name)
		}
	}
	if len(entities) == 0 {
		return 0, nil
	}
	slices.Sort(entities)
	s := &sweep{log: l, rows: 200}
	return s.run(ctx, func(ctx context.Context, tx execer) (candidates, error) { return s.superseded(ctx, tx, entities) })
}

// superseded looks at the next rows of the entities.
func (s *sweep) superseded(ctx context.Context, tx execer, entities []string) (found candidates, err error) {
	l := s.log
	changes := l.quote(l.tables.Changes)
	same, of := " IS NOT DISTINCT FROM ", "o.tx = c.tx"
	if l.dialect == sqlite { // which has no index on tx, but a transaction's rows in a row
		same, of = " IS ", fmt.Sprintf("o.id >= c.tx AND o.id <= c.tx + %d AND o.tx = c.tx", maxWhole)
	}
	q := &query{dialect: l.dialect}
	kept := q.in(entities)
	later := func(row, name, within string) string {
		return "EXISTS (SELECT 1 FROM " + changes + " " + name + " WHERE " + within + " AND " + name + ".entity = " + row + ".entity AND " +
			name + ".scope" + same + row + ".scope AND " + name + ".id > " + row + ".id)"
	}
	goes := func(row string) string {
		return "(" + row + ".entity " + kept + " AND " + row + ".move = '' AND " + later(row, "n", "n.entity_id = "+row+".entity_id") + ")"
	}
	q.write("SELECT c.id, c.entity ", kept, " AND c.tx < (SELECT max(tx) FROM ", changes, ") AND ", goes("c"), " AND (", later("c", "h", "h.tx = c.tx"),
		" OR (SELECT count(*) <= ", fmt.Sprint(maxWhole), " AND min(w.goes) = 1 FROM (SELECT CASE WHEN ", goes("o"), " THEN 1 ELSE 0 END AS goes FROM ",
		changes, " o WHERE ", of, " LIMIT ", fmt.Sprint(maxWhole+1), ") w)) FROM ", changes, " c WHERE c.id > ", q.arg(s.after), " ORDER BY c.id LIMIT ", q.arg(s.rows))
	rows, err := tx.QueryContext(ctx, q.sql.String(), l.unprepared(q.args...)...)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found.last = s.after
	looked := 0
	for ; rows.Next(); looked++ {
		var goes bool
		if err := rows.Scan(&found.last, &goes); err != nil {
			return found, err
		}
		if goes {
			found.ids = append(found.ids, found.last)
		}
	}
	found.end = looked < s.rows
	return found, rows.Err()
}
