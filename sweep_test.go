package gormsync_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
