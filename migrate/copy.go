package migrate

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/models"
)

// Copier copies a database from SQLite to PostgreSQL. Its zero value is good.
type Copier struct {
	// Prefix begins the names of the log tables, on both sides. Defaults to
	// models.DefaultPrefix.
	Prefix string
	// Tables names tables to copy beside those of the models and of the tracked
	// entities. They must exist on both sides. Defaults to none.
	Tables []string
	// Restart begins an unfinished copy anew: what it has copied is removed from
	// the target. Where none was begun it does nothing. Defaults to false.
	Restart bool
	// Batch is how many rows go into one transaction. Defaults to 10,000.
	Batch int
	// Progress is called now and then, from the same goroutine. Defaults to nothing.
	Progress func(CopyProgress)
}

// CopyProgress tells how far a copy is.
type CopyProgress struct {
	// Step is "wait" while another copy into the database is at work, then "copy",
	// and then "check".
	Step string `json:"step"`
	// Table is the table at hand; empty while it waits.
	Table string `json:"table"`
	// Done and Total are its rows.
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// CopyReport tells what a copy did.
type CopyReport struct {
	// Tables are the copied tables, with their rows and checksums, which are the
	// same on both sides.
	Tables []CopiedTable `json:"tables"`
	// Left are the other tables of the source. Nothing of them was copied.
	Left []string `json:"left"`
}

// CopiedTable is one table of a copy.
type CopiedTable struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
	// Checksum is of all values, whatever the order of the rows.
	Checksum string `json:"checksum"`
}

// Copy copies the tables of the models and of all tracked entities, and the log
// tables, from SQLite to PostgreSQL; see Copier.Copy.
func Copy(ctx context.Context, src, dst *gorm.DB, models ...any) (CopyReport, error) {
	return Copier{}.Copy(ctx, src, dst, models...)
}

// Copy copies the tables of the models, of all tracked entities and of c.Tables,
// and the log tables, from SQLite to PostgreSQL. The tables of the models are made
// by AutoMigrate; others must exist, and all must be empty. Nobody may write to
// either side meanwhile.
//
// It works in transactions of c.Batch rows. A copy that was cut off, however hard,
// goes on where it was when it is called again. At the end it compares the number
// of rows and a checksum of the values of every table, sets the sequences, and
// puts back the foreign keys, which it had taken off. Values of types that SQLite
// does not know, such as arrays, are compared as NULL or not NULL only.
//
// Versions stay the same, so the queues of clients fit. Their cursors do not: they
// are refused once, and the clients take a snapshot.
//
// It needs the pgx driver, which gorm.io/driver/postgres brings, a direct
// connection (a transaction pooler is refused), and the rights of the tables' owner.
// A second copy into the same database waits for the first.
func (c Copier) Copy(ctx context.Context, src, dst *gorm.DB, models ...any) (CopyReport, error) {
	if src.Name() != sqlite || dst.Name() != postgres {
		return CopyReport{}, fmt.Errorf("migrate: Copy goes from SQLite to PostgreSQL, not from %s to %s", src.Name(), dst.Name())
	}
	w, err := c.prepare(ctx, src, dst, models)
	if err != nil {
		return CopyReport{}, err
	}
	err = w.onTarget(ctx, dst, func(conn *pgx.Conn) error {
		w.conn = conn
		if err := w.takeTarget(ctx); err != nil {
			return err
		}
		return w.run(ctx)
	})
	return w.report, err
}

// copyWork is one call of Copy.
type copyWork struct {
	Copier
	source
	conn     *pgx.Conn
	logs     models.Tables
	names    []string // of the tables, the tracked ones first
	tables   []*copyTable
	entities []models.Meta // what meta says of them
	seed     maphash.Seed  // of the sums that are compared
	copied   string        // what the copy is of
	report   CopyReport
}

// prepare makes the tables on both sides ready and finds out which to copy.
func (c Copier) prepare(ctx context.Context, src, dst *gorm.DB, list []any) (*copyWork, error) {
	if c.Batch <= 0 {
		c.Batch = 10_000
	}
	if c.Progress == nil {
		c.Progress = func(CopyProgress) {}
	}
	w := &copyWork{Copier: c, logs: models.TablesFor(c.Prefix), seed: maphash.MakeSeed()}
	if v, err := Version(ctx, src, c.Prefix); err != nil {
		return nil, err
	} else if v != SchemaVersion {
		return nil, fmt.Errorf("migrate: the log tables of the source are of schema version %d; let migrate.Up make them %d first", v, SchemaVersion)
	}
	if err := Up(ctx, dst, c.Prefix); err != nil {
		return nil, err
	}
	if m := dst.Session(&gorm.Session{NewDB: true, Context: ctx}).Migrator(); !m.HasTable(w.logs.Copy) { // else it would put foreign keys back
		if err := m.AutoMigrate(list...); err != nil {
			return nil, fmt.Errorf("migrate: making the tables of the models: %w", err)
		}
	}
	for _, model := range list {
		stmt := &gorm.Statement{DB: src}
		if err := stmt.Parse(model); err != nil {
			return nil, fmt.Errorf("migrate: %T is no model: %w", model, err)
		}
		w.names = append(w.names, stmt.Schema.Table)
	}
	src = src.Session(&gorm.Session{NewDB: true, Context: ctx})
	key := clause.Column{Name: "key"}
	if err := src.Table(w.logs.Meta).Where(clause.Like{Column: key, Value: models.MetaEntity + "%"}).Order(clause.OrderByColumn{Column: key}).Find(&w.entities).Error; err != nil {
		return nil, fmt.Errorf("migrate: reading %s: %w", w.logs.Meta, err)
	}
	for _, e := range w.entities {
		w.names = append(w.names, strings.TrimPrefix(e.Key, models.MetaEntity))
	}
	w.names = unique(append(append(w.names, c.Tables...), logTables(w.logs)...))
	return w, w.open(src)
}

// logTables are those that hold rows of the log, and not facts about it.
func logTables(t models.Tables) []string { return []string{t.Changes, t.Fields, t.Mutations} }

func unique(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func (w *copyWork) run(ctx context.Context) (err error) {
	for _, name := range w.names {
		t, err := w.lookAt(ctx, name)
		if err != nil {
			return err
		}
		w.tables = append(w.tables, t)
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	for _, t := range w.tables {
		if err := w.copyTable(ctx, t); err != nil {
			return fmt.Errorf("migrate: copying %s: %w", t.name, err)
		}
	}
	for _, t := range w.tables {
		copied, err := w.check(ctx, t)
		if err != nil {
			return fmt.Errorf("migrate: checking %s: %w", t.name, err)
		}
		w.report.Tables = append(w.report.Tables, copied)
	}
	if w.report.Left, err = w.left(ctx, w.names, w.logs); err != nil {
		return err
	}
	if err := w.finish(ctx); err != nil {
		return fmt.Errorf("migrate: finishing the copy: %w", err)
	}
	return nil
}

// copyTable copies what is not there yet, a batch in a transaction together with
// the place that it reached.
func (w *copyWork) copyTable(ctx context.Context, t *copyTable) error {
	var last, done int64
	if err := w.conn.QueryRow(ctx, "SELECT last, done FROM "+w.state()+" WHERE name = $1", t.name).Scan(&last, &done); err != nil {
		return err
	}
	for {
		w.Progress(CopyProgress{"copy", t.name, done, t.rows})
		n, err := w.batch(ctx, t, &last, &done)
		if err != nil || n < int64(w.Batch) {
			w.Progress(CopyProgress{"copy", t.name, done, t.rows})
			return err
		}
	}
}

func (w *copyWork) batch(ctx context.Context, t *copyTable, last, done *int64) (n int64, err error) {
	r, err := w.rows(ctx, t, *last, w.Batch)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	err = pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		if _, err := tx.Conn().PgConn().CopyFrom(ctx, r, "COPY "+t.target+" ("+t.targetColumns()+") FROM STDIN"); err != nil {
			return err
		}
		if n = r.n; n == 0 {
			return nil
		}
		*last, *done = r.last, *done+n
		_, err := tx.Exec(ctx, "UPDATE "+w.state()+" SET last = $2, done = $3 WHERE name = $1", t.name, *last, *done)
		return err
	})
	if err != nil {
		return 0, w.batchError(ctx, r, err)
	}
	return n, nil
}
