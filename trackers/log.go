package trackers

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/lib/pq"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// Config configures a Log.
type Config struct {
	// Entities are the tracked models. Required.
	Entities []Entity
	// Prefix begins the log tables' names. Defaults to models.DefaultPrefix.
	Prefix string
	// NoWrap leaves the ConnPool of the *gorm.DB alone: commits are then not seen
	// at once, only by polling the log. Defaults to false.
	NoWrap bool
	// StrictRaw makes raw SQL that writes to a tracked table an error instead of
	// a warning. Defaults to false.
	StrictRaw bool
	// Logger takes the warnings. Defaults to slog.Default().
	Logger *slog.Logger
	// Ring is called after each commit that wrote to the log. It must not block.
	// Defaults to nothing.
	Ring func()
}

// Log is the change log and the field log of one database, with the entities
// that are recorded there.
type Log struct {
	cfg      Config
	db       *gorm.DB                // the application's own, where reads go too
	writer   atomic.Pointer[gorm.DB] // the same once it is captured; pushes go there
	pool     *sql.DB
	dialect  string
	tables   models.Tables
	entities map[string]*Tracked
	byTable  map[string]*Tracked // by tableKey
	server   int                 // PostgreSQL's version, such as 150018
	pgx      bool                // the driver is pgx
	sequence string
	schema   string // where a table is that is named without one

	changesSQL, bothSQL string       // of writePostgres
	plans               sync.Map     // entity name -> *plan
	pools               sync.Map     // gorm.ConnPool -> *watchedPool
	hooked              sync.Map     // callback sets that Capture sits in
	warned              sync.Map     // call sites of raw SQL
	servers             sync.Map     // which database a server is, by when it started
	renewed             atomic.Int64 // when the epoch was renewed last, in Unix seconds
	bells               bells
}

const (
	sqlite   = "sqlite"
	postgres = "postgres"
)

// minSQLite is the first version with RETURNING.
const minSQLite = "3.35.0"

// CheckDialect refuses databases that gormsync does not work with.
func CheckDialect(db *gorm.DB) error {
	switch name := db.Name(); name {
	case sqlite, postgres:
		return nil
	default:
		return fmt.Errorf("gormsync: the database is %q; gormsync works with PostgreSQL (gorm.io/driver/postgres) and SQLite (gorm.io/driver/sqlite)", name)
	}
}

// NewLog binds the entities to the tables of db. The log tables must exist.
func NewLog(ctx context.Context, db *gorm.DB, cfg Config) (*Log, error) {
	if err := CheckDialect(db); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Ring == nil {
		cfg.Ring = func() {}
	}
	entities, err := bindAll(db, cfg.Entities)
	if err != nil {
		return nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, fmt.Errorf("gormsync: the database has no *sql.DB: %w", err)
	}
	l := &Log{
		cfg: cfg, db: db.Session(&gorm.Session{NewDB: true}), pool: pool, dialect: db.Name(),
		tables: models.TablesFor(cfg.Prefix), entities: entities,
	}
	_, l.pgx = pool.Driver().(*stdlib.Driver)
	if err := l.inspect(ctx); err != nil {
		return nil, err
	}
	l.byTable = make(map[string]*Tracked, len(entities))
	for _, t := range entities {
		l.byTable[l.tableKey(t.Schema.Table)] = t
	}
	if err := l.repair(ctx); err != nil {
		return nil, err
	}
	_, err = l.Position(ctx)
	return l, err
}

// inspect asks the database what the log has to know of it.
func (l *Log) inspect(ctx context.Context) error {
	if l.dialect == sqlite {
		l.schema = "main"
		var version string
		if err := l.pool.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
			return fmt.Errorf("gormsync: asking for SQLite's version: %w", err)
		}
		if !atLeast(version, minSQLite) {
			return fmt.Errorf("gormsync: SQLite is %s, and RETURNING needs %s; build with a newer driver", version, minSQLite)
		}
		return nil
	}
	var version, sequence, schema sql.NullString
	err := l.pool.QueryRowContext(ctx, "SELECT current_setting('server_version_num'), current_schema(), pg_get_serial_sequence("+literal(l.quote(l.tables.Changes))+", 'id')").
		Scan(&version, &schema, &sequence)
	if err != nil {
		return fmt.Errorf("gormsync: looking for the log table %s (run migrate.Up): %w", l.tables.Changes, err)
	}
	if !sequence.Valid {
		return fmt.Errorf("gormsync: the column id of %s has no sequence; let migrate.Up make the table", l.tables.Changes)
	}
	l.sequence, l.schema = sequence.String, schema.String
	l.server, err = strconv.Atoi(version.String)
	if err != nil {
		return fmt.Errorf("gormsync: PostgreSQL says version %q, which is no number", version.String)
	}
	l.prepareSQL()
	return nil
}

// Entity gives a tracked entity by name; nil if there is none.
func (l *Log) Entity(name string) *Tracked { return l.entities[name] }

// Entities gives all tracked entities by name.
func (l *Log) Entities() map[string]*Tracked { return l.entities }

// Dialect is "postgres" or "sqlite".
func (l *Log) Dialect() string { return l.dialect }

func (l *Log) quote(name string) string {
	return (&gorm.Statement{DB: l.db}).Quote(name)
}

// literal is a SQL string; names in SQL are ours or the catalog's, but may hold quotes.
func literal(s string) string { return pq.QuoteLiteral(s) }

// unprepared makes pgx plan a query for its own arguments each time: a plan made
// while the log was short reads all of it when it is long.
func (l *Log) unprepared(args ...any) []any {
	if !l.pgx {
		return args
	}
	return append([]any{pgx.QueryExecModeExec}, args...)
}

// array passes a Go slice to the driver at hand.
func (l *Log) array(slice any) any {
	if l.pgx {
		return slice
	}
	return pq.Array(slice)
}

func atLeast(version, minimum string) bool {
	var v, m [3]int
	for _, s := range []struct {
		text string
		to   *[3]int
	}{{version, &v}, {minimum, &m}} {
		if _, err := fmt.Sscanf(s.text, "%d.%d.%d", &s.to[0], &s.to[1], &s.to[2]); err != nil {
			return false
		}
	}
	for i := range v {
		if v[i] != m[i] {
			return v[i] > m[i]
		}
	}
	return true
}

// HasTable reports whether the table of a tracked entity exists.
func (l *Log) HasTable(entity string) bool {
	t := l.entities[entity]
	return t != nil && l.db.Migrator().HasTable(t.Model)
}
