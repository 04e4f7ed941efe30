package trackers

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"gorm.io/gorm"
)

// ErrRawSQL is what raw SQL that writes to a tracked table gets with StrictRaw.
var ErrRawSQL = errors.New("raw SQL is in no log")

// hookRaw watches SQL that the application writes itself: for savepoints, for
// changes of the tables' columns, and for writes that no log would hold.
func (l *Log) hookRaw(db *gorm.DB) error {
	cb := db.Callback()
	core := cb.Raw().Get("gorm:raw")
	return errors.Join(
		cb.Raw().Replace("gorm:raw", func(db *gorm.DB) {
			l.checkRaw(db)
			core(db)
			if db.Error == nil && !db.DryRun {
				l.followRaw(db)
			}
		}),
		cb.Query().Before("gorm:query").Register("gormsync:raw", l.checkRaw), // db.Raw("UPDATE … RETURNING …").Scan
		cb.Row().Before("gorm:row").Register("gormsync:raw", l.checkRaw),
	)
}

// checkRaw warns of raw SQL that writes to a tracked table, once for each place
// in the code, or refuses it.
func (l *Log) checkRaw(db *gorm.DB) {
	stmt := db.Statement
	if db.Error != nil || db.DryRun || stmt.SQL.Len() == 0 || untracked(stmt.Context) {
		return
	}
	for _, table := range writtenTables(stmt.SQL.String()) {
		if l.entities[table] == nil {
			table = strings.ToLower(table) // names without quotes have no case
		}
		if l.entities[table] == nil {
			continue
		}
		const remedy = "write through GORM's models, or record the rows with sync.Changes().Record in the same transaction and run the SQL with gormsync.Untracked(ctx)"
		if l.cfg.StrictRaw {
			_ = db.AddError(fmt.Errorf("gormsync: the table %s is tracked, and %w; %s", table, ErrRawSQL, remedy))
			return
		}
		site := callSite()
		if _, again := l.warned.LoadOrStore(site+" "+table, true); !again {
			l.cfg.Logger.WarnContext(stmt.Context, "gormsync: raw SQL writes to a tracked table and is in no log", "table", table, "at", site, "remedy", remedy)
		}
	}
}

func (l *Log) followRaw(db *gorm.DB) {
	sql := strings.TrimSpace(db.Statement.SQL.String())
	t := watchedTxOf(db.Statement.ConnPool)
	if t != nil {
		t.savepoint(sql)
	}
	switch word, _, _ := strings.Cut(sql, " "); strings.ToUpper(word) {
	case "ALTER", "CREATE", "DROP":
		l.plans.Clear()
		if t != nil {
			t.changedTables()
		}
	case "ROLLBACK":
		if t != nil && t.hasChangedTables() {
			l.plans.Clear()
		}
	}
}

// callSite is the place in the application that runs the statement.
func callSite() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "gorm.io/gorm.") && !strings.HasPrefix(f.Function, "gorm.io/gorm/") &&
			!strings.HasPrefix(f.Function, "github.com/rhtmx/gormsync/trackers.") {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
		if !more {
			return "unknown"
		}
	}
}
