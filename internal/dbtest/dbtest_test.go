package dbtest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

type note struct {
	ID   uint
	Text string
}

func TestEachRunsOnBothDatabases(t *testing.T) {
	var dialects []string
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		conn := db.Open(t)
		require.Equal(t, db.Dialect, conn.Name())
		require.Equal(t, db.Dialect, t.Name()[strings.LastIndex(t.Name(), "/")+1:])
		dialects = append(dialects, db.Dialect)
	})
	require.Equal(t, []string{"sqlite", "postgres"}, dialects)
}

// Two tests of one dialect use the same table at the same time: neither may see the other's row.
func TestDatabasesAreIsolated(t *testing.T) {
	for _, text := range []string{"mine", "yours"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
				conn := db.Open(t)
				require.NoError(t, conn.AutoMigrate(&note{}))
				require.NoError(t, conn.Create(&note{ID: 1, Text: text}).Error)
				require.Equal(t, []note{{ID: 1, Text: text}}, notes(t, conn))
			})
		})
	}
}

func TestPoolsShareTheDatabase(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		first, second := db.Open(t), db.Open(t)
		require.NoError(t, first.AutoMigrate(&note{}))
		require.NoError(t, first.Create(&note{Text: "shared"}).Error)
		require.Equal(t, []note{{ID: 1, Text: "shared"}}, notes(t, second))
		require.NotSame(t, first.ConnPool, second.ConnPool)
	})
}

func TestPoolOfASubtestIsClosedWithIt(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		var inner *gorm.DB
		t.Run("inner", func(t *testing.T) { inner = db.Open(t) })
		require.ErrorContains(t, inner.Exec("SELECT 1").Error, "database is closed")
		require.NoError(t, db.Open(t).Exec("SELECT 1").Error)
	})
}

// Order of the end: the test's own clean-ups, the checks as registered, the pools, the database itself.
func TestChecksRunBeforeTheEnd(t *testing.T) {
	dialects := map[string]func(testing.TB) *dbtest.DB{"sqlite": dbtest.SQLite, "postgres": dbtest.Postgres}
	for dialect, open := range dialects {
		t.Run(dialect, func(t *testing.T) {
			var db *dbtest.DB
			var conn *gorm.DB
			var events []string
			t.Run("body", func(t *testing.T) {
				db = open(t)
				conn = db.Open(t)
				db.Check(func(t testing.TB) {
					require.NoError(t, conn.Exec("SELECT * FROM notes").Error)
					events = append(events, "first check")
				})
				db.Check(func(t testing.TB) {
					require.Len(t, notes(t, db.Open(t)), 1)
					events = append(events, "second check")
				})
				t.Cleanup(func() { events = append(events, "clean-up") })
				require.NoError(t, conn.AutoMigrate(&note{}))
				require.NoError(t, conn.Create(&note{Text: "still here"}).Error)
				events = append(events, "body")
			})
			require.Equal(t, []string{"body", "clean-up", "first check", "second check"}, events)
			require.ErrorContains(t, conn.Exec("SELECT 1").Error, "database is closed")
			requireRemoved(t, db)
		})
	}
}

func TestURLWorksForOtherPrograms(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		db := dbtest.SQLite(t)
		db.Open(t)
		path, ok := strings.CutPrefix(db.URL, "sqlite://")
		require.True(t, ok, db.URL)
		require.FileExists(t, path)
	})
	t.Run("postgres", func(t *testing.T) {
		db := dbtest.Postgres(t)
		require.NoError(t, db.Open(t).AutoMigrate(&note{}))
		require.Equal(t, int64(1), count(t, db.URL, "SELECT count(*) FROM pg_tables "+
			"WHERE schemaname = current_schema() AND tablename = 'notes'"))
	})
}

func TestSQLiteSettings(t *testing.T) {
	conn := dbtest.SQLite(t).Open(t)
	var mode string
	var timeout int
	require.NoError(t, conn.Raw("PRAGMA journal_mode").Scan(&mode).Error)
	require.NoError(t, conn.Raw("PRAGMA busy_timeout").Scan(&timeout).Error)
	require.Equal(t, "wal", mode)
	require.Equal(t, 60000, timeout)
}

func TestOpenTakesOptions(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
		require.Equal(t, logger.Discard, db.Open(t, &gorm.Config{DryRun: true}).Logger)
		mine := logger.Default.LogMode(logger.Error)
		conn := db.Open(t, &gorm.Config{Logger: mine, DryRun: true})
		require.Same(t, mine, conn.Logger)
		require.True(t, conn.DryRun)
	})
}

func notes(t testing.TB, conn *gorm.DB) []note {
	t.Helper()
	var found []note
	require.NoError(t, conn.Order("id").Find(&found).Error)
	return found
}

// requireRemoved says that nothing of the database is left.
func requireRemoved(t *testing.T, db *dbtest.DB) {
	t.Helper()
	if path, ok := strings.CutPrefix(db.URL, "sqlite://"); ok {
		require.NoFileExists(t, path)
		return
	}
	require.Zero(t, count(t, db.URL, "SELECT count(*) FROM pg_namespace WHERE nspname = current_setting('search_path')"))
}

// count runs a query for one number through pgx alone.
func count(t *testing.T, url, query string) int64 {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	var n int64
	require.NoError(t, conn.QueryRow(context.Background(), query).Scan(&n))
	return n
}
