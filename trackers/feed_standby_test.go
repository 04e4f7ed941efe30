package trackers_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// TestStandby: a standby does not know which transactions are open on its primary.
// A reader there may get changes twice, but loses none; and when the standby
// becomes the primary no cursor from before loses one in silence.
func TestStandby(t *testing.T) {
	t.Parallel()
	primary := feedCluster(t, dbtest.ClusterOptions{})
	db := feedOpen(t, primary.URL())
	feedConnections(t, db, 40)
	f := fixture{db: db, plain: feedOpen(t, primary.URL()), log: feedLog(t, db, true)}
	replica := standbyOf(t, primary, f.db, f.plain)
	there := feedOpen(t, replica.URL())
	log := feedLog(t, there, false)
	t.Run("reads", func(t *testing.T) { standbyReads(t, f, there, log) })
	t.Run("pages while a transaction is open", func(t *testing.T) { standbyPages(t, f, there, log) })
	t.Run("promotion", func(t *testing.T) { standbyPromotion(t, f, primary, replica, there, log) })
}

// standbyOf makes a streaming replica from a cold copy of the data, which needs
// no other program than the server.
func standbyOf(t *testing.T, primary *dbtest.Cluster, pools ...*gorm.DB) *dbtest.Cluster {
	t.Helper()
	replica := feedCluster(t, dbtest.ClusterOptions{})
	require.NoError(t, replica.Stop("fast"))
	require.NoError(t, primary.Stop("fast"))
	data := filepath.Join(replica.Dir(), "data")
	require.NoError(t, os.RemoveAll(data))
	run := func(name string, args ...string) {
		out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	run("cp", "-a", filepath.Join(primary.Dir(), "data"), data)
	run("cp", "-a", filepath.Join(data, "PG_VERSION"), filepath.Join(data, "standby.signal")) // with its owner
	auto, err := os.OpenFile(filepath.Join(data, "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	at, err := url.Parse(primary.URL())
	require.NoError(t, err)
	_, err = fmt.Fprintf(auto, "primary_conninfo = 'host=%s port=%s user=postgres'\n", at.Hostname(), at.Port())
	require.NoError(t, errors.Join(err, auto.Close()))
	require.NoError(t, primary.Start())
	require.NoError(t, replica.Start())
	for _, db := range pools {
		feedRevive(t, db)
	}
	return replica
}

// feedRevive has a pool drop the connections to a server that was stopped.
func feedRevive(t *testing.T, db *gorm.DB) {
	t.Helper()
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxIdleConns(-1)
	feedWait(t, 10*time.Second, func() (bool, string) {
		err := pool.PingContext(t.Context())
		return err == nil, "ping: " + errorText(err)
	})
	pool.SetMaxIdleConns(20)
}

// standbyCaughtUp waits until the standby has all that the primary has now.
func standbyCaughtUp(t *testing.T, primary, standby *gorm.DB) {
	t.Helper()
	var end string
	require.NoError(t, primary.Raw("SELECT pg_current_wal_insert_lsn()::text").Scan(&end).Error)
	feedWait(t, 20*time.Second, func() (there bool, state string) {
		err := standby.Raw("SELECT pg_last_wal_replay_lsn() >= ?::pg_lsn", end).Scan(&there).Error
		return err == nil && there, "replay: " + errorText(err)
	})
}

// standbyReader takes each change once, when it comes first.
func standbyReader(name string, log *trackers.Log, limit int) *feedReader {
	r := newFeedReader(name, log, nil, limit)
	r.again = true
	return r
}

func standbyReads(t *testing.T, f fixture, there *gorm.DB, log *trackers.Log) {
	t.Helper()
	load := newFeedLoad(t, f, feedRandom(t))
	readers := []*feedReader{standbyReader("standby, 7", log, 7), standbyReader("standby, 50", log, 50), standbyReader("standby, 5000", log, 5000)}
	stop, failed := make(chan struct{}), make(chan error, len(readers))
	var reading sync.WaitGroup
	load.start(12, 1)
	for _, r := range readers {
		r.poll = 5 * time.Millisecond
		reading.Go(func() { failed <- r.run(t.Context(), stop) })
	}
	feedPause(2 * time.Second)
	load.end(t)
	close(stop)
	reading.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	standbyCaughtUp(t, f.plain, there)
	all, doubled := feedChanges(t, f.plain), 0
	for _, r := range readers {
		require.NoError(t, r.drain(t.Context()))
		for _, n := range r.seen {
			doubled += n - 1
		}
		r.check(t, all, feedTable(t, f.plain))
	}
	t.Logf("%v; %d changes, %d times one again to %d readers", load, len(all), doubled, len(readers))
}

// standbyPages: an open transaction of the primary does not hold up a reader with
// small pages.
func standbyPages(t *testing.T, f fixture, there *gorm.DB, log *trackers.Log) {
	t.Helper()
	reader := standbyReader("behind an open transaction", log, 7)
	require.NoError(t, reader.drain(t.Context()))
	open := f.db.Begin()
	require.NoError(t, open.Create(&feedItem{ID: 5000, N: 1}).Error)
	for range 20 {
		require.NoError(t, feedUpsertItem(f.db, 5001))
	}
	standbyCaughtUp(t, f.plain, there)
	newest := feedNewest(t, f.plain)
	deadline := time.Now().Add(3 * time.Second)
	for reader.seen[newest.Version] == 0 && time.Now().Before(deadline) {
		_, err := reader.read(t.Context())
		require.NoError(t, err)
	}
	stalled := reader.seen[newest.Version] == 0
	require.NoError(t, open.Commit().Error)
	standbyCaughtUp(t, f.plain, there)
	require.NoError(t, reader.drain(t.Context()))
	reader.check(t, feedChanges(t, f.plain), feedTable(t, f.plain))
	require.False(t, stalled, "nothing behind the first page came while a transaction was open")
}

// standbyPromotion: the primary commits what the standby never gets, and dies.
// The numbers of those transactions are handed out again by the new primary.
func standbyPromotion(t *testing.T, f fixture, primary, replica *dbtest.Cluster, there *gorm.DB, log *trackers.Log) {
	t.Helper()
	app := feedOpen(t, standbyBoth(primary, replica)) // an application that goes where it can write
	appLog := feedLog(t, app, false)
	require.NoError(t, feedUpsertItem(f.db, 1))
	standbyCaughtUp(t, f.plain, there)
	_, onStandby := feedVersions(t, log, nil, models.Cursor{}, 1000)
	_, early := feedVersions(t, f.log, nil, models.Cursor{}, 1000)

	require.NoError(t, there.Exec("ALTER SYSTEM SET primary_conninfo = ''").Error)
	require.NoError(t, there.Exec("SELECT pg_reload_conf()").Error)
	feedWait(t, 10*time.Second, func() (bool, string) {
		var receivers int64
		err := there.Raw("SELECT count(*) FROM pg_stat_wal_receiver").Scan(&receivers).Error
		return err == nil && receivers == 0, "receivers: " + errorText(err)
	})
	for range 20 { // lost with the primary
		require.NoError(t, feedUpsertItem(app, 1))
	}
	_, late := feedVersions(t, appLog, nil, models.Cursor{}, 1000)
	require.NoError(t, primary.Stop("immediate"))

	require.NoError(t, there.Exec("SELECT pg_promote()").Error)
	feedRevive(t, app)
	require.NoError(t, feedUpsertItem(app, 1))
	newest := feedNewest(t, app)
	require.True(t, late.From.Has(uint64(newest.Tx)), "the test does not test: transaction %d is new to the cursor", newest.Tx)
	fresh := feedLog(t, feedOpen(t, replica.URL()), false)
	for name, l := range map[string]*trackers.Log{"the standby's log": log, "the application's log": appLog, "a new log": fresh} {
		for held, c := range map[string]models.Cursor{"the standby": onStandby, "the primary": early, "the primary's end": late} {
			page, err := l.Changes().Read(t.Context(), nil, c, 1000)
			if errors.Is(err, models.ErrCursorExpired) {
				continue
			}
			require.NoError(t, err)
			require.NotEmpty(t, page.Entries, "%s: a cursor of %s loses the change %d", name, held, newest.Version)
			require.Equal(t, newest.Version, page.Entries[len(page.Entries)-1].Version)
		}
		reader := newFeedReader(name, l, nil, 100)
		require.NoError(t, reader.drain(t.Context()))
		require.NoError(t, feedUpsertItem(app, 2))
		require.NoError(t, reader.drain(t.Context()))
		reader.check(t, feedChanges(t, app), feedTable(t, app))
	}
}

// standbyBoth is the address of whichever of the two can be written.
func standbyBoth(a, b *dbtest.Cluster) string {
	host := func(c *dbtest.Cluster) string {
		return strings.TrimSuffix(strings.TrimPrefix(c.URL(), "postgres://postgres@"), "/postgres?sslmode=disable")
	}
	return "postgres://postgres@" + host(a) + "," + host(b) + "/postgres?sslmode=disable&target_session_attrs=read-write"
}
