package gormsync_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"gorm.io/gorm/utils/tests"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

func TestOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a b.db")
	urls := map[string]string{
		"sqlite::memory:":            "sqlite",
		"sqlite://" + file:           "sqlite",
		"sqlite://" + file + "?x=y":  "sqlite",
		"file:" + file + "?mode=rwc": "sqlite",
		dbtest.Postgres(t).URL:       "postgres",
	}
	for url, dialect := range urls {
		db, err := gormsync.Open(url)
		require.NoError(t, err, url)
		require.Equal(t, dialect, db.Name(), url)
		plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}})
		require.NoError(t, err)
		require.NoError(t, db.AutoMigrate(&Todo{}), url)
		require.NoError(t, db.Use(plugin), url)
		require.NoError(t, db.Save(&Todo{ID: "a"}).Error, url)
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
	}
	require.FileExists(t, file)
}

func TestOpenMemoryHasOneConnection(t *testing.T) {
	for _, url := range []string{"sqlite::memory:", "file::memory:?cache=shared", "file:x?mode=memory&cache=shared"} {
		db, err := gormsync.Open(url)
		require.NoError(t, err)
		pool, err := db.DB()
		require.NoError(t, err)
		require.Equal(t, 1, pool.Stats().MaxOpenConnections, url)
		require.NoError(t, pool.Close())
	}
}

func TestOpenSuitsSQLite(t *testing.T) {
	for dsn, want := range map[string][2]string{
		"":                      {"wal", "5000"},
		"?_busy_timeout=7":      {"wal", "7"},
		"?_journal_mode=DELETE": {"delete", "5000"},
		"?_journal=TRUNCATE":    {"truncate", "5000"},
	} {
		db, err := gormsync.Open("sqlite://" + filepath.Join(t.TempDir(), "x.db") + dsn)
		require.NoError(t, err)
		var mode, timeout string
		require.NoError(t, db.Raw("PRAGMA journal_mode").Scan(&mode).Error)
		require.NoError(t, db.Raw("PRAGMA busy_timeout").Scan(&timeout).Error)
		require.Equal(t, want, [2]string{mode, timeout}, dsn)
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, url := range []string{"mysql://root@localhost/x", "todos.db", "", "sqlite://", "sqlite://?_journal=WAL"} {
		_, err := gormsync.Open(url)
		require.ErrorContains(t, err, "sqlite::memory:", url)
	}
	_, err := gormsync.Open("postgres://nobody@127.0.0.1:1/none?connect_timeout=1", &gorm.Config{Logger: logger.Discard})
	require.ErrorContains(t, err, "opening the database")
}

func TestOtherDialectsAreRefused(t *testing.T) {
	db, err := gorm.Open(tests.DummyDialector{}, &gorm.Config{})
	require.NoError(t, err)
	plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}})
	require.NoError(t, err)
	require.ErrorContains(t, db.Use(plugin), "gormsync works with PostgreSQL")
}
