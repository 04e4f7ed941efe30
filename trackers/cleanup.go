package trackers

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/rhtmx/gormsync/models"
)

const (
	// sweepTarget is how long one step of a clean-up should take on SQLite, where
	// nobody writes meanwhile, and sweepTargetPostgres where everybody does.
	sweepTarget         = 8 * time.Millisecond
	sweepTargetPostgres = 50 * time.Millisecond
	// sweepPause lets writers in between two steps, also those that wait as SQLite
	// does, looking ever more rarely.
	sweepPause = 15 * time.Millisecond
	// sweepSlack is how far the log's times may be out of the order of its ids: a
	// change in a longer transaction waits for the next clean-up.
	sweepSlack = time.Minute
	// maxSweep is how many rows one step looks at.
	maxSweep = 2000
)

// Cleanup removes changes that are older than that from both logs and gives the
// number of changes removed. Cursors from before them expire. Three things stay
// however old they are: the newest change of a row that still exists (the base of
// its next edit), what an open transaction may still precede, and the newest
// transaction.
//
// What Thin removes goes as well. It works in steps of some milliseconds, with
// pauses. Where several processes clean up at once, one does and the others
// return.
func (l *Log) Cleanup(ctx context.Context, olderThan time.Duration) (removed int64, err error) {
	s := &sweep{log: l, before: time.Now().Add(-olderThan), rows: 200}
	if removed, err = s.run(ctx, s.candidates); err != nil {
		return removed, err
	}
	thinned, err := l.Thin(ctx)
	return removed + thinned, err
}

// run goes through the log in steps; pick chooses what a step removes.
func (s *sweep) run(ctx context.Context, pick func(context.Context, execer) (candidates, error)) (removed int64, err error) {
	for {
		n, done, err := s.step(ctx, pick)
		removed += n
		if err != nil {
			return removed, fmt.Errorf("gormsync: cleaning up %s: %w", s.log.tables.Changes, err)
		}
		if done {
			return removed, nil
		}
		s.adapt()
		select {
		case <-ctx.Done():
			return removed, ctx.Err()
		case <-time.After(sweepPause):
		}
	}
}

// sweep goes through the change log by id.
type sweep struct {
	log    *Log
	before time.Time
	after  int64 // the last id that was looked at
	rows   int   // how many rows a step looks at
	took   time.Duration
}

// adapt makes the next step larger or smaller by the time that the last one held
// the lock, not by the time that it waited for it.
func (s *sweep) adapt() {
	target := sweepTarget
	if s.log.dialect == postgres {
		target = sweepTargetPostgres
	}
	switch {
	case s.took > target:
		s.rows = max(s.rows/2, 100)
	case s.took < target/2:
		s.rows = min(s.rows*2, maxSweep)
	}
}

// step looks at the next rows and removes those that may go, in one transaction
// that also moves the horizon: no reader sees the one without the other.
func (s *sweep) step(ctx context.Context, pick func(context.Context, execer) (candidates, error)) (removed int64, done bool, err error) {
	tx, mine, err := s.log.beginSweep(ctx)
	if err != nil || !mine {
		return 0, true, err
	}
	begun := time.Now()
	defer func() {
		err = errors.Join(err, ignoreDone(tx.Rollback()))
		s.took = time.Since(begun)
	}()
	found, err := pick(ctx, tx)
	if err != nil {
		return 0, false, err
	}
	if len(found.ids) > 0 {
		if err := s.remove(ctx, tx, found.ids, found.horizon); err != nil {
			return 0, false, err
		}
	}
	s.after = found.last
	return int64(len(found.ids)), found.end, tx.Commit()
}

func (l *Log) sweepKey() int64 {
	h := fnv.New64a()
	h.Write([]byte("gormsync cleanup " + l.tables.Changes))
	return int64(h.Sum64())
}

// candidates looks at the next rows and lists those that are old enough and that
// nothing needs any more, with the highest of their transactions. It stops where
// the log is younger: ids are about in the order of time.
func (s *sweep) candidates(ctx context.Context, tx execer) (found candidates, err error) {
	l := s.log
	changes := l.quote(l.tables.Changes)
	q := &query{dialect: l.dialect}
	old := func(row string) string {
		sql := row + ".created_at < " + q.arg(s.before.UTC()) + " AND " + row + ".tx < (SELECT max(tx) FROM " + changes + ")"
		if l.dialect == postgres {
			sql += " AND " + row + ".tx < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
		}
		return "(" + sql + ")"
	}
	same := " FROM " + changes + " n WHERE n.entity = c.entity AND n.entity_id = c.entity_id AND n.id "
	// A delete stays as long as something before it does, which would otherwise
	// stand for a row that exists.
	q.write("SELECT c.id, c.tx, ", l.moment("c.created_at"), ", ", old("c"), " AND (EXISTS (SELECT 1", same, "> c.id) OR (c.action = 'delete' AND NOT EXISTS (SELECT 1", same,
		"< c.id AND NOT ", old("n"), "))) FROM ", changes, " c WHERE c.id > ", q.arg(s.after), " ORDER BY c.id LIMIT ", q.arg(s.rows))
	rows, err := tx.QueryContext(ctx, q.sql.String(), l.unprepared(q.args...)...)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	found.last, found.end = s.after, true
	for looked := 1; rows.Next(); looked++ {
		var id, number int64
		var created time.Time
		var goes bool
		if err := rows.Scan(&id, &number, moment{&created}, &goes); err != nil {
			return found, err
		}
		if created.After(s.before.Add(sweepSlack)) {
			break
		}
		if goes {
			found.ids, found.horizon = append(found.ids, id), max(found.horizon, number)
		}
		found.last, found.end = id, looked < s.rows
	}
	return found, rows.Err()
}

// candidates are the rows that a step may remove.
type candidates struct {
	ids     []int64
	horizon int64 // the highest of their transactions; 0 when cursors from before them stay good
	last    int64 // the last id that was looked at
	end     bool  // there is nothing old behind it
}

// remove deletes changes with their fields and moves the horizon.
func (s *sweep) remove(ctx context.Context, tx execer, ids []int64, horizon int64) error {
	l := s.log
	list := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendInt(list, id, 10)
	}
	each := "SELECT CAST(value AS bigint) FROM json_array_elements_text($1::json)"
	if l.dialect == sqlite {
		each = "SELECT value FROM json_each(?1)"
	}
	for _, sql := range []string{
		"DELETE FROM " + l.quote(l.tables.Fields) + " WHERE id >> " + bits + " IN (" + each + ")" + s.fieldRange(ids),
		"DELETE FROM " + l.quote(l.tables.Changes) + " WHERE id IN (" + each + ")",
	} {
		if _, err := tx.ExecContext(ctx, sql, string(append(list, ']'))); err != nil {
			return err
		}
	}
	var old string
	err := tx.QueryRowContext(ctx, "SELECT coalesce(max(value), '0') FROM "+l.quote(l.tables.Meta)+" WHERE key = "+literal(models.MetaHorizon)).Scan(&old)
	if err != nil {
		return err
	}
	was, err := strconv.ParseInt(old, 10, 64)
	if err != nil || was >= horizon {
		return err
	}
	_, err = tx.ExecContext(ctx, l.setMeta(models.MetaHorizon, strconv.FormatInt(horizon, 10)))
	return err
}

// fieldRange lets the primary key of the field log find the rows.
func (s *sweep) fieldRange(ids []int64) string {
	return fmt.Sprintf(" AND id >= %d AND id < %d", ids[0]<<models.FieldBits, (ids[len(ids)-1]+1)<<models.FieldBits)
}
