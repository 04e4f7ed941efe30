package migrate

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// onTarget lends one connection of the target's pool. It is closed afterwards: it
// holds a lock and has settings that are nobody else's.
func (w *copyWork) onTarget(ctx context.Context, dst *gorm.DB, fn func(*pgx.Conn) error) error {
	pool, err := dst.DB()
	if err != nil {
		return fmt.Errorf("migrate: the target has no *sql.DB: %w", err)
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("migrate: connecting to the target: %w", err)
	}
	defer func() { _ = conn.Close() }() // it is closed already, or goes back as it was
	var result error
	err = conn.Raw(func(c any) error {
		pg, ok := c.(*stdlib.Conn)
		if !ok {
			result = fmt.Errorf("migrate: Copy needs the pgx driver, which gorm.io/driver/postgres uses by default; the target's connection is a %T", c)
			return nil
		}
		result = fn(pg.Conn())
		return driver.ErrBadConn
	})
	if errors.Is(err, driver.ErrBadConn) {
		err = nil
	}
	return errors.Join(result, err)
}

// state is the table that remembers a copy until it is complete.
func (w *copyWork) state() string { return quoted(w.logs.Copy) }

// Copying tells whether a copy into the database was begun and is not complete. An
// application refuses to start on such a database.
func Copying(ctx context.Context, db *gorm.DB, prefix string) (bool, error) {
	tables, err := tablesFor(prefix)
	if err != nil || db.Name() != postgres {
		return false, err
	}
	var found bool
	if err := db.Session(&gorm.Session{NewDB: true, Context: ctx}).Raw("SELECT to_regclass(?) IS NOT NULL", quoted(tables.Copy)).Scan(&found).Error; err != nil {
		return false, fmt.Errorf("migrate: looking for %s: %w", tables.Copy, err)
	}
	return found, nil
}

func (*copyWork) again() string {
	return "see that nobody writes, and copy again with Restart (gormsync copy --restart)"
}

// lookAt compares a table of both sides.
func (w *copyWork) lookAt(ctx context.Context, name string) (*copyTable, error) {
	columns, err := w.columnsOf(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(columns) == 0 {
		return nil, fmt.Errorf("migrate: the source has no table %s", name)
	}
	t := &copyTable{name: name, target: quoted(name), rowid: rowID(columns)}
	if t.rows, err = w.numbered(ctx, t); err != nil {
		return nil, fmt.Errorf("migrate: counting the rows of %s by their rowid, which it must have: %w", name, err)
	}
	kinds, err := w.kinds(ctx, t)
	if err != nil {
		return nil, err
	}
	keys, err := w.keysOf(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, c := range columns {
		kind, ok := kinds[c]
		if !ok {
			return nil, fmt.Errorf("migrate: the target's table %s has no column %s; let the application make it as it is in the source", name, c)
		}
		if kind != "" {
			t.columns = append(t.columns, copyColumn{name: c, kind: kind, zero: c == "tx" && slices.Contains(logTables(w.logs), name), key: slices.Contains(keys, c)})
		}
	}
	return t, nil
}

// kinds gives the types of the target's columns; an empty one is computed by
// the database.
func (w *copyWork) kinds(ctx context.Context, t *copyTable) (map[string]string, error) {
	rows, err := w.conn.Query(ctx, `SELECT a.attname, CASE WHEN a.attgenerated <> '' THEN '' WHEN t.typtype = 'e' OR t.typcategory = 'S' AND coalesce(b.typname, t.typname) <> 'bpchar' THEN 'text'
 ELSE coalesce(b.typname, t.typname) END
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype
WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped`, t.target)
	if err != nil {
		return nil, fmt.Errorf("migrate: looking at the target's table %s: %w", t.name, err)
	}
	kinds := map[string]string{}
	var name, kind string
	_, err = pgx.ForEachRow(rows, []any{&name, &kind}, func() error {
		kinds[name] = kind
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("migrate: looking at the target's table %s: %w", t.name, err)
	}
	if len(kinds) == 0 {
		return nil, fmt.Errorf("migrate: the target has no table %s; give its model to Copy, or start the application on the target once, so that it makes its tables", t.name)
	}
	return kinds, nil
}

// begin begins the copy or goes on with it.
func (w *copyWork) begin(ctx context.Context) error {
	identity, err := w.identity(ctx, w.logs)
	if err != nil {
		return err
	}
	w.copied = identity
	var begun bool
	if err := w.conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", w.state()).Scan(&begun); err != nil {
		return fmt.Errorf("migrate: preparing the target: %w", err)
	}
	if begun && w.Restart {
		if err := pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error { return w.undo(ctx, tx) }); err != nil {
			return fmt.Errorf("migrate: removing what was copied: %w", err)
		}
	} else if begun {
		return w.resume(ctx, identity)
	}
	if err := w.mustBeEmpty(ctx, identity); err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error { return w.first(ctx, tx, identity) })
	if err != nil {
		return fmt.Errorf("migrate: beginning the copy: %w", err)
	}
	return nil
}

func (w *copyWork) mustBeEmpty(ctx context.Context, identity string) error {
	var copied string
	if err := w.conn.QueryRow(ctx, "SELECT coalesce(max(value), '') FROM "+quoted(w.logs.Meta)+" WHERE key = $1", models.MetaCopied).Scan(&copied); err != nil {
		return fmt.Errorf("migrate: reading %s: %w", w.logs.Meta, err)
	}
	for _, t := range w.tables {
		var filled bool
		if err := w.conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+t.target+")").Scan(&filled); err != nil {
			return fmt.Errorf("migrate: looking at the target's table %s: %w", t.name, err)
		}
		if filled && copied == identity {
			return errors.New("migrate: the copy of this source is complete already; start the application on the target")
		}
		if filled {
			return fmt.Errorf("migrate: the target's table %s has rows already, and no copy was begun; copy into an empty database", t.name)
		}
	}
	return nil
}

// first writes down what the copy is, and takes the foreign keys off: rows come
// in the order of the source.
func (w *copyWork) first(ctx context.Context, tx pgx.Tx, identity string) error {
	if _, err := tx.Exec(ctx, "CREATE TABLE "+w.state()+" (name text PRIMARY KEY, last bigint NOT NULL DEFAULT -9223372036854775808, done bigint NOT NULL DEFAULT 0, source text, undo text)"); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO "+w.state()+" (name, source) VALUES ('', $1)", identity); err != nil {
		return err
	}
	for _, t := range w.tables {
		if _, err := tx.Exec(ctx, "INSERT INTO "+w.state()+" (name) VALUES ($1)", t.name); err != nil {
			return err
		}
	}
	return w.takeOff(ctx, tx)
}

// takeOff takes the foreign keys of all tables of the copy off, and remembers them.
// An application that was started amid the copy has put some back, perhaps in
// another form: then that is the one to keep.
func (w *copyWork) takeOff(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `SELECT 'foreign key: ' || conrelid::regclass || '.' || conname, format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
 format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE contype = 'f' AND conrelid IN (SELECT to_regclass(quote_ident(name)) FROM `+w.state()+` WHERE name <> '' AND undo IS NULL)`)
	if err != nil {
		return err
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Name, Drop, Undo string }])
	if err != nil {
		return err
	}
	for _, k := range keys {
		if _, err := tx.Exec(ctx, "INSERT INTO "+w.state()+" (name, undo) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET undo = excluded.undo", k.Name, k.Undo); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, k.Drop); err != nil {
			return err
		}
	}
	return nil
}

func (w *copyWork) resume(ctx context.Context, identity string) error {
	var begun string
	if err := w.conn.QueryRow(ctx, "SELECT source FROM "+w.state()+" WHERE name = ''").Scan(&begun); err != nil {
		return fmt.Errorf("migrate: reading %s: %w", w.logs.Copy, err)
	}
	if begun != identity {
		return fmt.Errorf("migrate: the copy that was begun is of another source, or somebody has written to the source since; %s", w.again())
	}
	for _, t := range w.tables {
		var known bool
		if err := w.conn.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+w.state()+" WHERE name = $1)", t.name).Scan(&known); err != nil {
			return fmt.Errorf("migrate: reading %s: %w", w.logs.Copy, err)
		}
		if !known {
			return fmt.Errorf("migrate: the copy was begun without the table %s; go on without it, or %s", t.name, w.again())
		}
	}
	if err := pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error { return w.takeOff(ctx, tx) }); err != nil {
		return fmt.Errorf("migrate: going on with the copy: %w", err)
	}
	return nil
}

// undo leaves the target as it was before the copy was begun: its tables empty.
func (w *copyWork) undo(ctx context.Context, tx pgx.Tx) error {
	if err := w.takeOff(ctx, tx); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, "SELECT name FROM "+w.state()+" WHERE name <> '' AND undo IS NULL AND to_regclass(quote_ident(name)) IS NOT NULL")
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names { // TRUNCATE would refuse tables that others refer to
		if _, err := tx.Exec(ctx, "DELETE FROM "+quoted(name)); err != nil {
			return err
		}
	}
	return w.putBack(ctx, tx)
}

// putBack puts the foreign keys back, and forgets the copy.
func (w *copyWork) putBack(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, "SELECT undo FROM "+w.state()+" WHERE undo IS NOT NULL ORDER BY name")
	if err != nil {
		return err
	}
	undo, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, sql := range append(undo, "DROP TABLE "+w.state()) {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return keyError(sql, err)
		}
	}
	return nil
}

// finish makes the target ready for use, all at once.
func (w *copyWork) finish(ctx context.Context) error {
	return pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		for _, t := range w.tables {
			if err := w.setSequences(ctx, tx, t); err != nil {
				return err
			}
		}
		for _, e := range append(w.entities, models.Meta{Key: models.MetaCopied, Value: w.copied}) {
			_, err := tx.Exec(ctx, "INSERT INTO "+quoted(w.logs.Meta)+" (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value", e.Key, e.Value)
			if err != nil {
				return err
			}
		}
		if err := w.takeOff(ctx, tx); err != nil { // those that came back meanwhile
			return err
		}
		if err := w.putBack(ctx, tx); err != nil {
			return err
		}
		for _, t := range w.tables { // or the first queries go by guesses
			if _, err := tx.Exec(ctx, "ANALYZE "+t.target); err != nil {
				return err
			}
		}
		return nil
	})
}

// setSequences lets new rows get numbers that none had before, also none that is
// gone: versions must never come twice.
func (w *copyWork) setSequences(ctx context.Context, tx pgx.Tx, t *copyTable) error {
	used, err := w.counter(ctx, t.name)
	if err != nil {
		return err
	}
	for _, c := range t.columns {
		var sequence *string
		if err := tx.QueryRow(ctx, "SELECT pg_get_serial_sequence($1, $2)", t.target, c.name).Scan(&sequence); err != nil {
			return err
		}
		if sequence == nil {
			continue
		}
		_, err := tx.Exec(ctx, "SELECT setval($1::text::regclass, greatest(m, $2::bigint, 1), greatest(m, $2::bigint) > 0) FROM (SELECT coalesce(max("+quoted(c.name)+"), 0) AS m FROM "+t.target+") x", *sequence, used)
		if err != nil {
			return err
		}
	}
	return nil
}
