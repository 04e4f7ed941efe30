package trackers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rhtmx/gormsync/models"
)

// shape is what the log's rows of an entity depend on beside the table: the column
// that their scope is from, and what is left out of their data. Meta keeps it.
type shape struct {
	Scope  string   `json:"scope"`
	Hidden []string `json:"hidden"`
	// Generation counts the changes of the shape. It is in the cursors' covers, so
	// that after a change the entity's readers take a new snapshot.
	Generation uint32 `json:"generation"`
}

func (t *Tracked) shape() shape {
	return shape{Scope: t.Scope, Hidden: slices.Sorted(maps.Keys(t.hidden))}
}

func (s shape) equal(o shape) bool { return s.Scope == o.Scope && slices.Equal(s.Hidden, o.Hidden) }

// shapes does at start what a changed configuration asks of the rows that the log
// has already: columns that are hidden now leave their data, and scopes that were
// taken from another column are cleared. On a standby there is nothing to write.
func (l *Log) shapes(ctx context.Context, readOnly bool) error {
	known, err := l.knownShapes(ctx, l.pool)
	if err != nil {
		return err
	}
	same := true
	for name, t := range l.entities {
		old, ok := known[name]
		t.Generation = old.Generation
		same = same && ok && old.equal(t.shape())
	}
	if same || readOnly {
		return nil
	}
	if err := l.reshape(ctx); err != nil {
		return fmt.Errorf("gormsync: fitting %s to the configuration: %w", l.tables.Changes, err)
	}
	return nil
}

func (l *Log) knownShapes(ctx context.Context, db execer) (_ map[string]shape, err error) {
	rows, err := db.QueryContext(ctx, "SELECT key, value FROM "+l.quote(l.tables.Meta)+" WHERE key LIKE "+literal(models.MetaEntity+"%"))
	if err != nil {
		return nil, fmt.Errorf("gormsync: reading %s (run migrate.Up before gormsync is registered): %w", l.tables.Meta, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	known := map[string]shape{}
	for rows.Next() {
		var key, value string
		var s shape
		if err := errors.Join(rows.Scan(&key, &value), json.Unmarshal([]byte(value), &s)); err != nil {
			return nil, fmt.Errorf("gormsync: reading %s: the row %q: %w", l.tables.Meta, key, err)
		}
		known[key[len(models.MetaEntity):]] = s
	}
	return known, rows.Err()
}

// reshape works in one transaction, one process at a time: whoever comes second
// finds it done.
func (l *Log) reshape(ctx context.Context) (err error) {
	tx, err := l.beginAlone(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ignoreDone(tx.Rollback())) }()
	known, err := l.knownShapes(ctx, tx)
	if err != nil {
		return err
	}
	for name, t := range l.entities {
		old, ok := known[name]
		now := t.shape()
		now.Generation, t.Generation = old.Generation, old.Generation
		if ok && old.equal(now) {
			continue
		}
		if ok {
			now.Generation++
		}
		if err := l.fit(ctx, tx, t, old, now); err != nil {
			return err
		}
		value, err := json.Marshal(now)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, l.setMeta(models.MetaEntity+name, string(value))); err != nil {
			return err
		}
		t.Generation = now.Generation
	}
	return tx.Commit()
}

// beginAlone begins a transaction that no other process has at the same time.
func (l *Log) beginAlone(ctx context.Context) (sweepTx, error) {
	if l.dialect == sqlite {
		return l.beginBetweenWriters(ctx)
	}
	tx, err := l.pool.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", l.sweepKey()^1); err != nil {
		return nil, errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx, nil
}

// fit changes the log's rows of one entity.
func (l *Log) fit(ctx context.Context, tx execer, t *Tracked, old, now shape) error {
	changes, fields := l.quote(l.tables.Changes), l.quote(l.tables.Fields)
	if old.Scope != "" && old.Scope != now.Scope {
		for _, table := range []string{changes, fields} {
			if _, err := tx.ExecContext(ctx, "UPDATE "+table+" SET scope = NULL WHERE scope IS NOT NULL AND entity = "+literal(t.Name)); err != nil {
				return err
			}
		}
	}
	fresh := slices.DeleteFunc(slices.Clone(now.Hidden), func(c string) bool { return slices.Contains(old.Hidden, c) })
	if len(fresh) == 0 {
		return nil
	}
	q := &query{dialect: l.dialect}
	q.write("DELETE FROM ", fields, " WHERE entity = ", q.arg(t.Name), " AND field ", q.in(fresh))
	if _, err := tx.ExecContext(ctx, q.sql.String(), q.args...); err != nil {
		return err
	}
	return l.scrub(ctx, tx, t, fresh)
}

// scrub takes columns out of the data of all changes of an entity.
func (l *Log) scrub(ctx context.Context, tx execer, t *Tracked, columns []string) error {
	const portion = 1000
	for after := int64(0); ; {
		ids, texts, err := l.dataOf(ctx, tx, t, after, portion)
		if err != nil || len(ids) == 0 {
			return err
		}
		after = ids[len(ids)-1]
		keep := 0
		for i := range ids {
			without, changed, err := models.JSON(texts[i]).Without(columns)
			if err != nil {
				return fmt.Errorf("change %d: %w", ids[i], err)
			}
			if changed {
				ids[keep], texts[keep] = ids[i], string(without)
				keep++
			}
		}
		if err := l.setData(ctx, tx, ids[:keep], texts[:keep]); err != nil {
			return err
		}
	}
}

func (l *Log) dataOf(ctx context.Context, tx execer, t *Tracked, after int64, limit int) (ids []int64, texts []string, err error) {
	q := &query{dialect: l.dialect}
	q.write("SELECT id, data FROM ", l.quote(l.tables.Changes), " WHERE entity = ", q.arg(t.Name), " AND id > ", q.arg(after),
		" AND data IS NOT NULL ORDER BY id LIMIT ", q.arg(limit))
	rows, err := tx.QueryContext(ctx, q.sql.String(), l.unprepared(q.args...)...)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id int64
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return nil, nil, err
		}
		ids, texts = append(ids, id), append(texts, text)
	}
	return ids, texts, rows.Err()
}

func (l *Log) setData(ctx context.Context, tx execer, ids []int64, texts []string) error {
	changes := l.quote(l.tables.Changes)
	if l.dialect == postgres {
		if len(ids) == 0 {
			return nil
		}
		_, err := tx.ExecContext(ctx, "UPDATE "+changes+" c SET data = v.data FROM unnest($1::bigint[], $2::text[]) AS v (id, data) WHERE c.id = v.id", l.array(ids), l.array(texts))
		return err
	}
	for i := range ids {
		if _, err := tx.ExecContext(ctx, "UPDATE "+changes+" SET data = ? WHERE id = ?", texts[i], ids[i]); err != nil {
			return err
		}
	}
	return nil
}
