// Package doctor looks at a database with log tables of gormsync and finds what is
// wrong or soon will be. It changes nothing.
package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
)

// Level tells how bad a finding is.
type Level string

// The levels.
const (
	// OK is as it should be.
	OK Level = "ok"
	// Warning works, but badly, or not for long.
	Warning Level = "warning"
	// Error does not work, or breaks a promise.
	Error Level = "error"
)

// Finding is what one check found.
type Finding struct {
	// Check names the check: server, rights, schema, copy, sequence, epoch, bells,
	// lag, transactions, sizes, and on SQLite also journal and writing.
	Check   string `json:"check"`
	Level   Level  `json:"level"`
	Message string `json:"message"`
	// Remedy says what to do; empty if nothing is to be done.
	Remedy string `json:"remedy,omitempty"`
}

// Options are the choices for Examine.
type Options struct {
	// Prefix begins the log tables' names. Defaults to models.DefaultPrefix.
	Prefix string
	// ListenDSN is where bells come from, as Config.ListenDSN. Defaults to where
	// the database is.
	ListenDSN string
	// OldTransaction is how long a transaction may be open. Defaults to 5 minutes.
	OldTransaction time.Duration
}

// Examine makes all checks. It returns an error only when the database cannot be
// asked at all.
func Examine(ctx context.Context, db *gorm.DB, o Options) ([]Finding, error) {
	if o.OldTransaction <= 0 {
		o.OldTransaction = 5 * time.Minute
	}
	e := &examination{Options: o, db: db.Session(&gorm.Session{NewDB: true, Context: ctx}), ctx: ctx, tables: models.TablesFor(o.Prefix)}
	switch db.Name() {
	case "postgres":
		return e.postgres()
	case "sqlite":
		return e.sqlite()
	}
	return nil, fmt.Errorf("the database is %q; gormsync works with PostgreSQL and SQLite", db.Name())
}

// examination is one call of Examine.
type examination struct {
	Options
	ctx      context.Context //nolint:containedctx // it lives as long as one call
	db       *gorm.DB
	tables   models.Tables
	findings []Finding
}

func (e *examination) add(check string, level Level, remedy, format string, args ...any) {
	e.findings = append(e.findings, Finding{Check: check, Level: level, Message: fmt.Sprintf(format, args...), Remedy: remedy})
}

// failed is a check that could not be made.
func (e *examination) failed(check string, err error) {
	e.add(check, Error, "give the role the rights that docs/postgresql.md lists, or look into the message", "cannot be checked: %v", err)
}

// schema looks at the version of the tables, and whether they are whole. It tells
// whether they can be looked into.
func (e *examination) schema() bool {
	v, err := migrate.Version(e.ctx, e.db, e.Prefix)
	switch {
	case err != nil && v > migrate.SchemaVersion:
		e.add("schema", Error, "update this program and the application", "the log tables are of version %d, and this program knows up to %d", v, migrate.SchemaVersion)
		return true
	case err != nil:
		e.failed("schema", err)
		return true
	case v < migrate.SchemaVersion:
		e.add("schema", Error, "run gormsync migrate up, or start the application without SkipMigrate", "the log tables are of version %d; this program needs %d", v, migrate.SchemaVersion)
		return true
	}
	due, err := migrate.Plan(e.ctx, e.db, e.Prefix)
	switch {
	case err != nil:
		e.failed("schema", err)
	case len(due) > 0:
		e.add("schema", Error, "run gormsync migrate up as the owner of the tables", "something is missing in the log tables; to put it back: %s", strings.Join(due, "; "))
		return !strings.Contains(strings.Join(due, "; "), " ADD ")
	default:
		e.add("schema", OK, "", "version %d", v)
	}
	return true
}

// absent tells of log tables that are not there, or not yet gormsync's. It returns
// whether that is so.
func (e *examination) absent(missing []string) bool {
	old, err := migrate.FromRhtmxSync(e.ctx, e.db, e.Prefix)
	switch {
	case err != nil:
		e.failed("schema", err)
	case old:
		e.add("schema", Error, "stop rhtmx-sync, and run gormsync migrate up, which takes them over with their rows (gormsync migrate plan shows how)", "the log tables are those of rhtmx-sync")
		return true
	case len(missing) > 0:
		e.add("schema", Error, "run gormsync migrate up, or start the application without SkipMigrate, or name the --prefix", "there is no table %s", strings.Join(missing, ", "))
	}
	return err != nil || len(missing) > 0
}

// copying looks for a copy that was begun and not ended.
func (e *examination) copying() {
	unfinished, err := migrate.Copying(e.ctx, e.db, e.Prefix)
	switch {
	case err != nil:
		e.failed("copy", err)
	case unfinished:
		e.add("copy", Error, "run gormsync copy again until it says that it is complete, or with --restart to begin anew; start no application on it before",
			"a copy into this database is not complete: rows are missing (or a copy is at work now)")
	}
}

// epoch looks for what makes cursors this log's own.
func (e *examination) epoch() bool {
	var rows []models.Meta
	if err := e.db.Table(e.tables.Meta).Where("key = ?", models.MetaEpoch).Find(&rows).Error; err != nil {
		e.failed("epoch", err)
		return false
	}
	if len(rows) == 0 {
		e.add("epoch", Error, "run gormsync migrate up; clients take a new snapshot then", "%s has no row %q, so no cursor can be given out", e.tables.Meta, models.MetaEpoch)
		return false
	}
	return true
}
