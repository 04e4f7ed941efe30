package trackers_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// thinSetup keeps the latest of both entities.
func thinSetup(t *testing.T, d *dbtest.DB, connections int) fixture {
	t.Helper()
	f := fixture{db: d.Open(t), plain: d.Open(t)}
	feedConnections(t, f.db, connections)
	require.NoError(t, f.db.AutoMigrate(&feedItem{}, &feedTask{}))
	f.log = thinLog(t, f.db, []trackers.Entity{{Model: &feedItem{}, KeepLatest: true}, {Model: &feedTask{}, Scope: "team", KeepLatest: true}})
	return f
}

// thinned thins out and gives what is left, as versions counted from 1.
func thinned(t *testing.T, f fixture) []int64 {
	t.Helper()
	_, err := f.log.Thin(t.Context())
	require.NoError(t, err)
	left := []int64{}
	for _, c := range feedChanges(t, f.plain) {
		left = append(left, c.Version)
	}
	return left
}

// TestKeepLatest: what is thinned out, and what a reader from before makes of it.
func TestKeepLatest(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := thinSetup(t, d, 5)
		start, err := f.log.Position(t.Context())
		require.NoError(t, err)
		item := func(tx *gorm.DB, id int64) { require.NoError(t, feedUpsertItem(tx, id)) }
		together := func(ids ...int64) {
			require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error {
				for _, id := range ids {
					item(tx, id)
				}
				return nil
			}))
		}
		together(1, 2, 1)                                         // 1 2 3
		item(f.db, 1)                                             // 4
		together(3, 4)                                            // 5 6
		item(f.db, 4)                                             // 7
		item(f.db, 5)                                             // 8
		require.NoError(t, f.db.Delete(&feedItem{ID: 5}).Error)   // 9
		require.NoError(t, feedUpsertTask(f.db, "moves", "red"))  // 10
		move := f.db.Model(&feedTask{Code: "moves"})              //
		require.NoError(t, move.Update("team", "blue").Error)     // 11 leave, 12 enter
		require.NoError(t, move.Update("n", 2).Error)             // 13
		require.NoError(t, move.Update("n", 3).Error)             // 14
		require.NoError(t, feedUpsertTask(f.db, "last", "green")) // 15

		// 1 goes since 3 is behind it in the same transaction. 2 and 3 stay: 2 is the
		// newest of its row, so 3 holds the transaction's place. 6 does so for 5. 10 has
		// 11 behind it, in the same scope.
		require.Equal(t, []int64{2, 3, 4, 5, 6, 7, 9, 11, 12, 14, 15}, thinned(t, f))
		item(f.db, 2) // 16: now the first transaction is superseded whole
		item(f.db, 3) // 17: and that of 5 and 6
		item(f.db, 6) // 18: the newest transaction stays
		require.Equal(t, []int64{4, 7, 9, 11, 12, 14, 15, 16, 17, 18}, thinned(t, f))
		require.NoError(t, f.log.Accept(t.Context(), start), "cursors stay good")
		require.Equal(t, feedTable(t, f.plain), snapFollowN(t, f, start))
	})
}

// thinReader follows a log that is being thinned out.
type thinReader struct {
	name     string
	log      *trackers.Log
	filters  []trackers.Filter
	limit    int
	pause    time.Duration
	cursor   models.Cursor
	rows     map[string]int64
	versions map[string]int64
	seen     map[int64]bool
}

func (r *thinReader) read(ctx context.Context) (more bool, err error) {
	page, err := r.log.Changes().Read(ctx, r.filters, r.cursor, r.limit)
	if err != nil {
		return false, err
	}
	for i := range page.Entries {
		c := &page.Entries[i].Row
		key := feedKey(c.Entity, c.EntityID)
		if r.seen[c.Version] || c.Version <= r.versions[key] {
			return false, fmt.Errorf("%s: %s: version %d after %d", r.name, key, c.Version, r.versions[key])
		}
		r.seen[c.Version], r.versions[key] = true, c.Version
		if len(r.filters) == 0 && c.Move == models.MoveLeave {
			continue
		}
		if c.Action == models.Delete {
			delete(r.rows, key)
			continue
		}
		if r.rows[key], err = feedN(c); err != nil {
			return false, err
		}
	}
	r.cursor, _, err = models.ParseCursor(page.Cursor.String())
	return page.More, err
}

func (r *thinReader) run(ctx context.Context, stop <-chan struct{}) error {
	for {
		if _, err := r.read(ctx); err != nil {
			return err
		}
		select {
		case <-stop:
			for more := true; more; {
				var err error
				if more, err = r.read(ctx); err != nil {
					return err
				}
			}
			return nil
		case <-time.After(r.pause):
		}
	}
}

// TestKeepLatestUnderLoad: readers of any pace and page, some of them always in
// the middle of a batch, end with the table, and have nothing twice.
func TestKeepLatestUnderLoad(t *testing.T) {
	t.Run("postgres", func(t *testing.T) { keepLatest(t, dbtest.Postgres(t), 12) })
	t.Run("sqlite", func(t *testing.T) { keepLatest(t, dbtest.SQLite(t), 4) })
}

func keepLatest(t *testing.T, d *dbtest.DB, writers int) {
	t.Helper()
	f := thinSetup(t, d, writers+20)
	load := newFeedLoad(t, f, feedRandom(t))
	red := []trackers.Filter{{Entity: feedTasks, Scopes: []string{"red"}}}
	both := []trackers.Filter{{Entity: feedTasks, Scopes: []string{"blue", "red"}}}
	readers := []*thinReader{
		{name: "hub", limit: 5000, pause: 10 * time.Millisecond},
		{name: "hub, paging", limit: 5, pause: 5 * time.Millisecond},
		{name: "all, paging", filters: feedAll(feedItems, feedTasks), limit: 3, pause: 5 * time.Millisecond},
		{name: "seldom", filters: feedAll(feedItems, feedTasks), limit: 40, pause: 300 * time.Millisecond},
		{name: "red, paging", filters: red, limit: 2, pause: 10 * time.Millisecond},
		{name: "blue and red", filters: both, limit: 10, pause: 50 * time.Millisecond},
	}
	stop := make(chan struct{})
	failed := make(chan error, len(readers)+1)
	var running sync.WaitGroup
	load.start(writers, 1)
	for _, r := range readers {
		r.log, r.rows, r.versions, r.seen = f.log, map[string]int64{}, map[string]int64{}, map[int64]bool{}
		running.Go(func() { failed <- r.run(t.Context(), stop) })
	}
	var removed int64
	running.Go(func() { failed <- thinAllTheTime(t.Context(), f, stop, &removed) })
	feedPause(*tortureFor * 3 / 4)
	load.end(t)
	close(stop)
	running.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	for _, r := range readers {
		var teams []string
		if len(r.filters) > 0 {
			teams = r.filters[0].Scopes
		}
		require.Equal(t, feedTable(t, f.plain, teams...), r.rows, r.name)
	}
	t.Logf("%v; %d changes removed; the hub's reader had %d, the one that reads seldom %d", load, removed, len(readers[0].seen), len(readers[3].seen))
	require.Positive(t, removed)
	require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error { return feedUpsertTask(tx, "end", "red") }))
	left := thinned(t, f)
	require.Less(t, len(left), len(readers[0].seen))
	require.True(t, slices.IsSorted(left))
}

func thinAllTheTime(ctx context.Context, f fixture, stop <-chan struct{}, removed *int64) error {
	for {
		n, err := f.log.Thin(ctx)
		*removed += n
		if err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// thinLog puts a log for the entities on a database.
func thinLog(t *testing.T, db *gorm.DB, entities []trackers.Entity) *trackers.Log {
	t.Helper()
	require.NoError(t, migrate.Up(t.Context(), db, ""))
	log, err := trackers.NewLog(t.Context(), db, trackers.Config{Entities: entities})
	require.NoError(t, err)
	require.NoError(t, log.Capture(db))
	return log
}

func TestKeepLatestWithFieldLogIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, migrate.Up(t.Context(), db, ""))
		_, err := trackers.NewLog(t.Context(), db, trackers.Config{Entities: []trackers.Entity{{Model: &feedItem{}, FieldLog: true, KeepLatest: true}}})
		require.ErrorContains(t, err, "feed_items has both KeepLatest and FieldLog")
	})
}
