package trackers_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// cleanupAll prunes what can be pruned; with a server that others use too that may
// take until their transactions have ended.
func cleanupAll(t *testing.T, f fixture, want []int64) {
	t.Helper()
	feedWait(t, 5*time.Second, func() (bool, string) {
		_, err := f.log.Cleanup(t.Context(), 0)
		require.NoError(t, err)
		left := []int64{}
		for _, c := range feedChanges(t, f.plain) {
			left = append(left, c.Version)
		}
		return slices.Equal(want, left), fmt.Sprintf("left %v, not %v", left, want)
	})
}

// cleanupKept are the versions that stay for ever: the newest change of each row
// that exists, and the highest transaction.
func cleanupKept(t *testing.T, f fixture) []int64 {
	t.Helper()
	newest, highest, kept := map[string]models.Change{}, int64(0), []int64{}
	all := feedChanges(t, f.plain)
	for _, c := range all {
		newest[feedKey(c.Entity, c.EntityID)] = c
		highest = max(highest, c.Tx)
	}
	for _, c := range all {
		last := newest[feedKey(c.Entity, c.EntityID)]
		if c.Tx == highest || (c.Version == last.Version && c.Action != models.Delete) {
			kept = append(kept, c.Version)
		}
	}
	return kept
}

// TestCleanupKeeps: what stays, in both logs, and what a reader makes of it.
func TestCleanupKeeps(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedPruned(t, d, 5)
		rnd := feedRandom(t)(1)
		for range 3 {
			feedFill(t, f.db, rnd, 20)
			fields := f.fieldRows(t)
			want := cleanupKept(t, f)
			cleanupAll(t, f, want)
			for version := range fields {
				if !slices.Contains(want, version) {
					delete(fields, version)
				}
			}
			require.Equal(t, fields, f.fieldRows(t), "the field log goes with the change log")
			_, end := feedVersions(t, f.log, nil, models.Cursor{}, 1000)
			rows := snapFollowN(t, f, models.Cursor{})
			require.Equal(t, feedTable(t, f.plain), rows, "the rest of the log gives the table")
			n, err := f.log.Cleanup(t.Context(), 0)
			require.NoError(t, err)
			require.Zero(t, n)
			got, _ := feedVersions(t, f.log, nil, end, 10)
			require.Empty(t, got, "the end is still good")
		}
		deleted := f.db.Where("1 = 1").Delete(&feedItem{})
		require.NoError(t, deleted.Error)
		require.NoError(t, f.db.Where("1 = 1").Delete(&feedTask{}).Error)
		cleanupAll(t, f, cleanupKept(t, f))
		require.Empty(t, snapFollowN(t, f, models.Cursor{}), "nothing is left of deleted rows but the highest transaction")
	})
}

// snapFollowN folds the log from a cursor on, as far as it is there.
func snapFollowN(t *testing.T, f fixture, c models.Cursor) map[string]int64 {
	t.Helper()
	rows := map[string]int64{}
	for more := true; more; {
		page, err := f.log.Changes().Read(t.Context(), feedAll(feedItems, feedTasks), c, 7)
		require.NoError(t, err)
		for _, e := range page.Entries {
			key := feedKey(e.Row.Entity, e.Row.EntityID)
			if e.Row.Action == models.Delete {
				delete(rows, key)
				continue
			}
			rows[key], err = feedN(&e.Row)
			require.NoError(t, err)
		}
		c, more = feedText(t, page.Cursor), page.More
	}
	return rows
}

// TestCleanupExpires: which cursors are refused, and which are as good as ever.
func TestCleanupExpires(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedPruned(t, d, 5)
		rnd := feedRandom(t)(1)
		feedFill(t, f.db, rnd, 10)
		begun, err := f.log.Changes().Read(t.Context(), nil, models.Cursor{}, 2)
		require.NoError(t, err)
		snapshot, err := f.log.Changes().Snapshot(t.Context(), feedAll(feedItems)[0], models.Cursor{}, 1)
		require.NoError(t, err)
		_, old := feedVersions(t, f.log, nil, models.Cursor{}, 1000)
		feedFill(t, f.db, rnd, 10)
		batch, err := f.log.Changes().Read(t.Context(), nil, old, 2)
		require.NoError(t, err)
		end, err := f.log.Position(t.Context())
		require.NoError(t, err)
		_, followed := feedVersions(t, f.log, nil, old, 1000)
		cleanupAll(t, f, cleanupKept(t, f))
		require.NoError(t, feedUpsertItem(f.db, 1))
		newest := feedNewest(t, f.plain)
		for name, c := range map[string]models.Cursor{"in the first batch": begun.Cursor, "snapshot": snapshot.Cursor, "old": old, "in a later batch": batch.Cursor} {
			restoreRefuses(t, f.log, name, c)
			require.ErrorIs(t, f.log.Accept(t.Context(), c), models.ErrCursorExpired, name)
		}
		for name, c := range map[string]models.Cursor{"end": end, "followed": followed} {
			got, _ := feedVersions(t, f.log, nil, c, 10)
			require.Equal(t, []int64{newest.Version}, got, name)
		}

		// From nothing after a clean-up: good until there is another one.
		begun, err = f.log.Changes().Read(t.Context(), nil, models.Cursor{}, 2)
		require.NoError(t, err)
		_, err = f.log.Changes().Read(t.Context(), nil, begun.Cursor, 2)
		require.NoError(t, err)
		require.NoError(t, feedUpsertItem(f.db, 1))
		require.NoError(t, feedUpsertItem(f.db, 1))
		cleanupAll(t, f, cleanupKept(t, f))
		_, err = f.log.Changes().Read(t.Context(), nil, begun.Cursor, 2)
		require.ErrorIs(t, err, models.ErrCursorExpired)
	})
}

// TestCleanupClocks: the changes of a row bear the times of several computers. A
// delete does not go before what it deletes.
func TestCleanupClocks(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedPruned(t, d, 5)
		ahead := f.db.Session(&gorm.Session{NowFunc: func() time.Time { return time.Now().Add(30 * time.Second) }})
		require.NoError(t, ahead.Create(&feedItem{ID: 1, N: 1}).Error)
		require.NoError(t, f.db.Delete(&feedItem{ID: 1}).Error)
		require.NoError(t, ahead.Create(&feedItem{ID: 2, N: 1}).Error)
		require.NoError(t, feedUpsertItem(f.db, 2))
		require.NoError(t, feedUpsertItem(f.db, 3))
		for _, olderThan := range []time.Duration{0, -10 * time.Second, -time.Minute} {
			_, err := f.log.Cleanup(t.Context(), olderThan)
			require.NoError(t, err)
			require.Equal(t, feedTable(t, f.plain), snapFollowN(t, f, models.Cursor{}), "what is younger than %v", olderThan)
		}
		require.Empty(t, cleanupOf(t, f, "1"), "nothing is left of the row that went")
	})
}

// cleanupOf gives the changes of an item that the log still has.
func cleanupOf(t *testing.T, f fixture, id string) []models.Change {
	t.Helper()
	history, err := f.log.Changes().History(t.Context(), feedItems, id, 0, 0)
	require.NoError(t, err)
	return history
}

// TestCleanupOpenTransactions: what an open transaction may still precede stays,
// and its changes reach whoever waits for them.
func TestCleanupOpenTransactions(t *testing.T) {
	f := feedPruned(t, dbtest.Postgres(t), 10)
	number := func(tx *gorm.DB) *gorm.DB {
		t.Cleanup(func() { tx.Rollback() }) // if the test fails
		require.NoError(t, tx.Exec("SELECT pg_current_xact_id()").Error)
		return tx
	}
	deleter, open, creator := number(f.db.Begin()), number(f.db.Begin()), number(f.db.Begin())
	require.NoError(t, feedUpsertItem(creator, 1))
	require.NoError(t, creator.Commit().Error)
	require.NoError(t, deleter.Delete(&feedItem{ID: 1}).Error)
	require.NoError(t, deleter.Commit().Error)
	require.NoError(t, feedUpsertItem(open, 2))
	for range 3 {
		require.NoError(t, feedUpsertItem(f.db, 3))
	}
	reader := newFeedReader("waits", f.log, nil, 1000)
	require.NoError(t, reader.drain(t.Context()))
	_, err := f.log.Cleanup(t.Context(), 0)
	require.NoError(t, err)
	require.NotContains(t, snapFollowN(t, f, models.Cursor{}), feedKey(feedItems, "1"), "the delete went, but not the create")
	require.Len(t, cleanupOf(t, f, "3"), 3, "younger than what is open")
	require.NoError(t, reader.drain(t.Context()), "the cursor has not expired")

	require.NoError(t, open.Commit().Error)
	require.NoError(t, reader.drain(t.Context()))
	require.Equal(t, feedTable(t, f.plain), reader.rows)
	require.Empty(t, reader.faults)
	cleanupAll(t, f, cleanupKept(t, f))
	require.Empty(t, cleanupOf(t, f, "1"))
	require.NoError(t, reader.drain(t.Context()), "whoever is at the end is never expired")
}

// TestCleanupOfWhatWasOpen: a cursor that waits for an open transaction is refused
// when changes of that transaction are gone, though it is younger than they are.
func TestCleanupOfWhatWasOpen(t *testing.T) {
	f := feedPruned(t, dbtest.Postgres(t), 10)
	open := f.db.Begin()
	t.Cleanup(func() { open.Rollback() }) // if the test fails
	require.NoError(t, feedUpsertItem(open, 1))
	require.NoError(t, feedUpsertItem(f.db, 2))
	_, waits := feedVersions(t, f.log, nil, models.Cursor{}, 100)
	require.Len(t, waits.From.Xip, 1)
	require.NoError(t, feedUpsertItem(open, 1))
	require.NoError(t, open.Commit().Error)
	_, knows := feedVersions(t, f.log, nil, waits, 100)
	cleanupAll(t, f, cleanupKept(t, f))
	require.Len(t, cleanupOf(t, f, "1"), 1)
	restoreRefuses(t, f.log, "that waits for a transaction whose first change is gone", waits)
	got, _ := feedVersions(t, f.log, nil, knows, 100)
	require.Empty(t, got)
}
