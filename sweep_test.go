package gormsync_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// What the configuration says of the log's length holds without anybody calling
// Cleanup.
func TestTheLogIsCleanedUpByItself(t *testing.T) {
	for name, c := range map[string]struct {
		retention time.Duration
		latest    bool
		left      int
	}{
		"retention":            {retention: time.Hour, left: 2},
		"the latest, for ever": {retention: -1, latest: true, left: 2},
		"everything":           {retention: -1, left: 4},
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				a := start(t, d, func(cfg *gormsync.Config) {
					cfg.Entities = []gormsync.Entity{{Model: &Todo{}, KeepLatest: c.latest}}
					cfg.Retention = c.retention
				})
				require.NoError(t, a.db.Create(&Todo{ID: "a"}).Error)
				for _, title := range []string{"x", "y"} {
					require.NoError(t, a.db.Model(&Todo{ID: "a"}).Update("title", title).Error)
				}
				require.NoError(t, a.db.Exec("UPDATE _rhtmx_sync_log SET created_at = ?", time.Now().Add(-2*time.Hour)).Error)
				require.NoError(t, a.db.Create(&Todo{ID: "newest"}).Error)
				require.NoError(t, a.sync.Start(t.Context()))
				count := func() (n int64) {
					require.NoError(t, a.db.Model(&models.Change{}).Count(&n).Error)
					return n
				}
				if c.left == 4 {
					require.EqualValues(t, 4, count())
					return
				}
				require.Eventually(t, func() bool { return count() == int64(c.left) }, 10*time.Second, 10*time.Millisecond)
			})
		})
	}
}

// With a rollback journal a reader is in the way of a clean-up. That may fail, but
// it leaves no transaction open in the application's pool.
func TestCleanupThatCannotCommit(t *testing.T) {
	url := "sqlite://" + filepath.Join(t.TempDir(), "todos.db") + "?_journal_mode=DELETE&_busy_timeout=100"
	open := func() *gorm.DB {
		db, err := gormsync.Open(url, &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		pool, err := db.DB()
		require.NoError(t, err)
		pool.SetMaxOpenConns(1) // the same connection comes next
		t.Cleanup(func() { require.NoError(t, pool.Close()) })
		return db
	}
	db, other := open(), open()
	require.NoError(t, db.AutoMigrate(&Todo{}))
	plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}})
	require.NoError(t, err)
	require.NoError(t, db.Use(plugin))
	for _, title := range []string{"x", "y"} {
		require.NoError(t, db.Save(&Todo{ID: "a", Title: title}).Error)
	}
	require.NoError(t, db.Create(&Todo{ID: "b"}).Error)
	reader := other.Begin()
	require.NoError(t, reader.Find(&[]Todo{}).Error)
	_, err = plugin.Cleanup(t.Context(), 0)
	require.ErrorContains(t, err, "locked")
	require.NoError(t, reader.Rollback().Error)

	require.NoError(t, db.Create(&Todo{ID: "c"}).Error)
	require.NoError(t, other.Create(&Todo{ID: "d"}).Error)
	var n int64
	require.NoError(t, other.Model(&Todo{}).Count(&n).Error)
	require.EqualValues(t, 4, n)
	removed, err := plugin.Cleanup(t.Context(), 0)
	require.NoError(t, err)
	require.Positive(t, removed)
}
