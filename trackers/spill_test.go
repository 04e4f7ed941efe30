package trackers_test

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// Not parallel: it changes what all statements do.
func TestBulkStatementsSpill(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	defer trackers.SetSpillBytes(4000)()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{{Model: &todo{}, FieldLog: true, Scope: "owner_id"}})
		rows := make([]*todo, 600)
		for i := range rows {
			rows[i] = &todo{Title: strings.Repeat("x", i%100)}
		}
		require.NoError(t, f.db.Create(rows).Error)
		res := f.db.Model(&todo{}).Where("id > ?", 10).Updates(map[string]any{"done": true, "rank": gorm.Expr("id * 1.5")})
		require.NoError(t, res.Error)
		require.EqualValues(t, 590, res.RowsAffected)
		require.NoError(t, f.db.Model(&todo{}).Where("id > ?", 250).Update("owner_id", gorm.Expr("id % 3")).Error)
		require.NoError(t, f.db.Model(&todo{}).Where("id > ?", 500).Update("id", gorm.Expr("id + 10000")).Error)
		require.NoError(t, f.db.Save(rows[:500]).Error)
		res = f.db.Where("id % 2 = 0").Delete(&todo{})
		require.NoError(t, res.Error)
		require.EqualValues(t, 300, res.RowsAffected)
		require.Error(t, f.db.Create([]*todo{{ID: 1}}).Error, "the key is taken")
	})
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "gormsync-*"))
	require.NoError(t, err)
	require.Empty(t, left, "files stay behind")
}

// A table of 10 MB is updated. Its rows before and after and their changes would
// take 30 MB.
func TestBulkUpdateKeepsMemoryFlat(t *testing.T) {
	defer trackers.SetSpillBytes(200 << 10)()
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // or the heap is mostly garbage
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{{Model: &todo{}}})
		untracked := f.db.WithContext(trackers.Untracked(t.Context()))
		rows := make([]todo, 500)
		for range 5 {
			for i := range rows {
				rows[i] = todo{Title: strings.Repeat("x", 4000)}
			}
			require.NoError(t, untracked.Create(&rows).Error)
		}
		highest := watchHeap(t)
		require.NoError(t, f.db.Model(&todo{}).Where("1 = 1").Update("done", true).Error)
		require.Less(t, highest(), uint64(12<<20))
		page, err := f.log.Changes().Since(t.Context(), "todos", zeroCursor, 10)
		require.NoError(t, err)
		require.Len(t, page.Entries, 10)
	})
}

// watchHeap gives a function that tells by how much the heap has grown at most.
func watchHeap(t *testing.T) func() uint64 {
	t.Helper()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	runtime.GC()
	before := heap()
	var most atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				most.Store(max(most.Load(), heap()))
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-stopped
		return max(most.Load(), before) - before
	}
}
