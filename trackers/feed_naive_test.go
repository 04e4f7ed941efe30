package trackers_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// feedNaive reads the log as many do: what has a higher id than the last one.
type feedNaive struct {
	db   *gorm.DB
	last int64
	seen map[int64]bool
}

func (n *feedNaive) read() error {
	var ids []int64
	err := n.db.Model(&models.Change{}).Where("id > ?", n.last).Order("id").Limit(1000).Pluck("id", &ids).Error
	for _, id := range ids {
		n.last, n.seen[id] = id, true
	}
	return err
}

func (n *feedNaive) lost(all []models.Change) int {
	lost := 0
	for i := range all {
		if !n.seen[all[i].ID] {
			lost++
		}
	}
	return lost
}

// TestNaiveCursorLoses tests the tests: transactions do not commit in the order
// of their ids, and that is what costs others their rows.
func TestNaiveCursorLoses(t *testing.T) {
	t.Run("orchestrated", naiveOrchestrated)
	t.Run("by chance", naiveByChance)
}

// naiveOrchestrated: in each round three transactions take ids and commit in
// another order, with a read in between.
func naiveOrchestrated(t *testing.T) {
	const rounds = 20
	f := feedSetup(t, dbtest.Postgres(t), 10)
	naive := &feedNaive{db: f.plain, seen: map[int64]bool{}}
	reader := newFeedReader("snapshot", f.log, nil, 2)
	for round := range rounds {
		open := make([]*gorm.DB, 3)
		for i := range open {
			open[i] = f.db.Begin()
			require.NoError(t, open[i].Create(&feedItem{ID: int64(3*round + i + 1), N: 1}).Error)
		}
		for _, i := range []int{1, 2, 0} {
			require.NoError(t, open[i].Commit().Error)
			require.NoError(t, naive.read())
			require.NoError(t, reader.drain(t.Context()))
		}
	}
	all := feedChanges(t, f.plain)
	require.Len(t, all, 3*rounds)
	require.Equal(t, rounds, naive.lost(all), "the first of each round is lost to id > last")
	reader.check(t, all, feedTable(t, f.plain))
}

// naiveByChance: 16 writers, as in an application.
func naiveByChance(t *testing.T) {
	const writers, each = 16, 25
	f := feedSetup(t, dbtest.Postgres(t), writers+4)
	naive := &feedNaive{db: f.plain, seen: map[int64]bool{}}
	reader := newFeedReader("snapshot", f.log, nil, 50)
	random := feedRandom(t)
	failed := make(chan error, writers)
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			rnd := random(uint64(w))
			for i := range each {
				err := f.db.Transaction(func(tx *gorm.DB) error {
					err := tx.Create(&feedTask{Code: fmt.Sprintf("%d-%d", w, i), N: 1}).Error
					if rnd.IntN(3) == 0 {
						feedPause(time.Duration(rnd.IntN(3000)) * time.Microsecond)
					}
					return err
				})
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	go func() {
		running.Wait()
		close(failed)
	}()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for writing := true; writing; {
		select {
		case err, more := <-failed:
			require.NoError(t, err)
			writing = more
		case <-ticker.C:
		}
		require.NoError(t, naive.read())
		require.NoError(t, reader.drain(t.Context()))
	}
	require.NoError(t, naive.read())
	require.NoError(t, reader.drain(t.Context()))
	all := feedChanges(t, f.plain)
	require.Len(t, all, writers*each)
	reader.check(t, all, feedTable(t, f.plain))
	t.Logf("id > last lost %d of %d changes; the snapshot cursor lost none", naive.lost(all), len(all))
}
