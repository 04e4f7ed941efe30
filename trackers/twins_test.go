package trackers_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// clock is the application's time: it stands still until it is set, and is odd
// enough to show what becomes of zones and nanoseconds.
type clock struct{ minutes atomic.Int64 }

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.FixedZone("", 8*3600))

func (c *clock) now() time.Time {
	return epoch.Add(time.Duration(c.minutes.Load()) * time.Minute)
}

// listener is a GORM logger that keeps what the application's log would show.
type listener struct {
	mu    sync.Mutex
	heard []string
}

func (l *listener) LogMode(logger.LogLevel) logger.Interface      { return l }
func (l *listener) Info(context.Context, string, ...interface{})  {}
func (l *listener) Warn(context.Context, string, ...interface{})  {}
func (l *listener) Error(context.Context, string, ...interface{}) {}

func (l *listener) Trace(_ context.Context, _ time.Time, fc func() (string, int64), err error) {
	sql, rows := fc()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard = append(l.heard, savepoints.ReplaceAllString(fmt.Sprintf("%s [%d] %v", sql, rows, err), "sp"))
}

// savepoints are GORM's, with names by chance.
var savepoints = regexp.MustCompile(`sp\d+`)

func (l *listener) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	heard := l.heard
	l.heard = nil
	return heard
}

// step is something that an application does. want is what it leaves in the log,
// as take has it; do gives what the application sees of it.
type step struct {
	name string
	do   func(db *gorm.DB) any
	want []string
	// only is the one dialect of the step; empty for both.
	only string
	// unordered is for what GORM or the database do in any order.
	unordered bool
}

// twins are two databases alike, of which one is captured: what an application
// sees must be the same on both.
type twins struct {
	fixture
	dialect      string
	other, peek  *gorm.DB
	clock        *clock
	unordered    bool // all steps are
	heard, asked *listener
	tables       []string
}

// newTwins makes both databases with the tables of the entities; prepare may do
// more to each of them before. A model with the method Made has its table made there.
func newTwins(t *testing.T, d *dbtest.DB, entities []trackers.Entity, cfg gorm.Config, prepare ...func(*gorm.DB) error) twins {
	t.Helper()
	w := twins{dialect: d.Dialect, clock: &clock{}, heard: &listener{}, asked: &listener{}}
	second := dbtest.SQLite
	if d.Dialect == "postgres" {
		second = dbtest.Postgres
	}
	d2 := second(t)
	cfg.NowFunc = w.clock.now
	open := func(d *dbtest.DB, l logger.Interface) *gorm.DB {
		own := cfg
		own.Logger = l
		db := d.Open(t, &own)
		for _, fn := range prepare {
			require.NoError(t, fn(db))
		}
		for _, e := range entities {
			if _, made := e.Model.(interface{ Made() }); !made {
				require.NoError(t, db.AutoMigrate(e.Model))
			}
		}
		return db
	}
	w.other, w.peek = open(d2, w.asked), d2.Open(t)
	w.fixture = attach(t, d, open(d, w.heard), trackers.Config{Entities: entities})
	for name := range w.log.Entities() {
		w.tables = append(w.tables, name)
	}
	w.heard.take()
	w.asked.take()
	return w
}

// run does the steps one after the other on both databases.
func (w twins) run(t *testing.T, steps []step) {
	t.Helper()
	for _, s := range steps {
		if s.only != "" && s.only != w.dialect {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			w.clock.minutes.Add(1)
			want := s.do(w.other)
			got := s.do(w.db)
			asked, heard, lines := w.asked.take(), w.heard.take(), w.take(t)
			if w.unordered || s.unordered {
				for _, l := range [][]string{asked, heard, lines, s.want} {
					slices.Sort(l)
				}
			}
			require.Equal(t, want, got, "what the application sees")
			require.Equal(t, asked, heard, "what the application's logger hears")
			require.Equal(t, strings.Join(s.want, "\n"), strings.Join(lines, "\n"), "what is in the log")
		})
	}
	for _, table := range w.tables {
		require.Equal(t, contents(t, w.peek, table), contents(t, w.plain, table), "the table %s", table)
	}
}

// contents gives all rows of a table as texts, sorted.
func contents(t testing.TB, db *gorm.DB, table string) []string {
	t.Helper()
	var rows []map[string]any
	// The table may have changed its columns: PostgreSQL then takes no text that it
	// has prepared, and SQLite's driver knows the columns after the first query.
	for range 2 {
		rows = nil
		require.NoError(t, db.Raw(fmt.Sprintf("SELECT * FROM %q /* %d */", table, reads.Add(1))).Scan(&rows).Error)
	}
	texts := make([]string, len(rows))
	for i, r := range rows {
		texts[i] = fmt.Sprintf("%+v", r)
	}
	slices.Sort(texts)
	return texts
}

var reads atomic.Int64

// saw is what an application sees of a call, beside the values it holds.
func saw(res *gorm.DB, values ...any) any {
	return append([]any{res.RowsAffected, errorText(res.Error)}, values...)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf("%T %v", err, err)
}

func ptr[T any](v T) *T { return &v }
