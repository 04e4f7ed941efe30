package trackers_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// TestCrash: after a crash PostgreSQL hands out transaction numbers again that
// cursors from before may know as decided. The first change that gets such a
// number reaches every cursor all the same, once.
func TestCrash(t *testing.T) {
	t.Parallel()
	const crashes = 10
	// Nobody writes the log of the numbers to disk before the crash.
	cluster := feedCluster(t, dbtest.ClusterOptions{Durable: true, Settings: map[string]string{"wal_writer_delay": "10s", "autovacuum": "off"}})
	db := feedOpen(t, cluster.URL())
	log := feedLog(t, db, true)
	reader := newFeedReader("through all", log, nil, 3)
	require.NoError(t, db.Create(&feedItem{ID: 1, N: 1}).Error)
	reused, lost := 0, 0
	for range crashes {
		require.NoError(t, feedUpsertItem(db, 1))
		require.NoError(t, reader.drain(t.Context()))
		last := crashNumbers(t, db)
		require.NoError(t, reader.drain(t.Context()))
		before := crashCursors(t, log, reader.cursor)
		uncapped := crashUncapped(t, db, reader.cursor)
		crash(t, cluster, db)

		require.NoError(t, feedUpsertItem(db, 1))
		newest := feedNewest(t, db)
		if newest.Tx <= last {
			reused++
		}
		for name, c := range before {
			got, _ := feedVersions(t, log, nil, c, 2)
			require.Equal(t, []int64{newest.Version}, got, "the change of transaction %d, %s; numbers up to %d were handed out before", newest.Tx, name, last)
		}
		if got, _ := feedVersions(t, log, nil, uncapped, 2); len(got) == 0 {
			lost++
		}
	}
	require.NoError(t, reader.drain(t.Context()))
	reader.check(t, feedChanges(t, db), feedTable(t, db))
	t.Logf("in %d of %d crashes the first change had a number that was handed out before; cursors without the cap lost %d", reused, crashes, lost)
	require.GreaterOrEqual(t, reused, crashes/2, "the test did not test")
	require.Positive(t, lost, "the test did not test")
}

// crashNumbers has numbers handed out that leave no trace: of transactions that
// write nothing, that roll back a change, and that are open at the crash. It
// gives the last one.
func crashNumbers(t *testing.T, db *gorm.DB) (last int64) {
	t.Helper()
	for i := range 4 {
		tx := db.Begin()
		require.NoError(t, tx.Error)
		if i%2 == 1 {
			require.NoError(t, feedUpsertItem(tx, int64(100+i)))
		}
		require.NoError(t, tx.Raw("SELECT pg_current_xact_id()::text::bigint").Scan(&last).Error)
		if i < 2 {
			require.NoError(t, tx.Rollback().Error)
		} else {
			t.Cleanup(func() { tx.Rollback() }) // the crash ended it
		}
	}
	return last
}

// crashCursors gives the cursors that readers hold at the crash.
func crashCursors(t *testing.T, log *trackers.Log, followed models.Cursor) map[string]models.Cursor {
	t.Helper()
	end, err := log.Position(t.Context())
	require.NoError(t, err)
	_, read := feedVersions(t, log, nil, end, 10)
	snapshot, err := log.Changes().Snapshot(t.Context(), feedAll(feedItems)[0], models.Cursor{}, 0)
	require.NoError(t, err)
	_, entity := feedVersions(t, log, feedAll(feedItems), followed, 10)
	return map[string]models.Cursor{
		"followed": followed, "the end": feedText(t, end), "read at the end": read, "a snapshot": feedText(t, snapshot.Cursor), "one entity": entity,
	}
}

// crashUncapped is the cursor that would be wrong: the whole snapshot.
func crashUncapped(t *testing.T, db *gorm.DB, c models.Cursor) models.Cursor {
	t.Helper()
	var snapshot string
	require.NoError(t, db.Raw("SELECT pg_current_snapshot()::text").Scan(&snapshot).Error)
	var err error
	c.From, err = models.ParseTxSet(snapshot)
	require.NoError(t, err)
	return c
}

// crash stops the server at once and starts it again. The pool gets new
// connections; those of open transactions are dropped when they are rolled back.
func crash(t *testing.T, cluster *dbtest.Cluster, db *gorm.DB) {
	t.Helper()
	require.NoError(t, cluster.Stop("immediate"))
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxIdleConns(-1)
	require.NoError(t, cluster.Start())
	feedWait(t, 10*time.Second, func() (bool, string) {
		err := pool.PingContext(t.Context())
		return err == nil, "ping: " + errorText(err)
	})
	pool.SetMaxIdleConns(5)
}

func feedNewest(t *testing.T, db *gorm.DB) models.Change {
	t.Helper()
	var c models.Change
	require.NoError(t, db.Session(&gorm.Session{NewDB: true}).Order("id DESC").First(&c).Error)
	return c
}

// TestCrashPrepared: a prepared transaction outlives a crash. It is delivered
// when it is committed, to a cursor from before the crash too, and once.
func TestCrashPrepared(t *testing.T) {
	t.Parallel()
	cluster := feedCluster(t, dbtest.ClusterOptions{Durable: true})
	db := feedOpen(t, cluster.URL())
	log := feedLog(t, db, true)
	reader := newFeedReader("through all", log, nil, 3)
	for _, verb := range []string{"COMMIT", "ROLLBACK"} {
		tx := db.Begin()
		require.NoError(t, feedUpsertItem(tx, 1))
		require.NoError(t, feedUpsertItem(tx, 2))
		require.NoError(t, tx.Exec("PREPARE TRANSACTION 'crash'").Error)
		require.NoError(t, tx.Rollback().Error) // nothing is open any more
		require.NoError(t, feedUpsertItem(db, 3))
		require.NoError(t, reader.drain(t.Context()))
		had := len(reader.seen)
		crash(t, cluster, db)
		require.NoError(t, feedUpsertItem(db, 3))
		require.NoError(t, reader.drain(t.Context()))
		require.Len(t, reader.seen, had+1)
		require.NoError(t, db.Exec(verb+" PREPARED 'crash'").Error)
		require.NoError(t, reader.drain(t.Context()))
		reader.check(t, feedChanges(t, db), feedTable(t, db))
	}
}
