package trackers_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

var (
	tortureFor  = flag.Duration("torture.for", 4*time.Second, "how long TestTorture writes, on each dialect")
	tortureSeed = flag.Uint64("torture.seed", 0, "seed of the feed's random tests; 0 takes one by chance")
)

// feedItem and feedTask are the rows of the feed's tests. N counts the changes of
// a row since its creation, so that a reader sees when one is missing.
type feedItem struct {
	ID int64 `gorm:"primaryKey;autoIncrement:false"`
	N  int64
}

type feedTask struct {
	Code string `gorm:"primaryKey"`
	N    int64
	Team string
}

const (
	feedItems = "feed_items"
	feedTasks = "feed_tasks"
)

// feedEntities: items have a field log, tasks have scopes.
func feedEntities() []trackers.Entity {
	return []trackers.Entity{{Model: &feedItem{}, FieldLog: true}, {Model: &feedTask{}, Scope: "team"}}
}

func feedAll(entities ...string) []trackers.Filter {
	filters := make([]trackers.Filter, len(entities))
	for i, name := range entities {
		filters[i] = trackers.Filter{Entity: name, All: true}
	}
	return filters
}

// feedSetup is a database of dbtest with the two tables and a log. The checks of
// the capture run at its end.
func feedSetup(t *testing.T, d *dbtest.DB, connections int) fixture {
	t.Helper()
	f := setup(t, d, feedEntities())
	feedConnections(t, f.db, connections)
	return f
}

// feedPruned is the same without the checks: they need the whole log.
func feedPruned(t *testing.T, d *dbtest.DB, connections int) fixture {
	t.Helper()
	f := fixture{db: d.Open(t), plain: d.Open(t)}
	feedConnections(t, f.db, connections)
	f.log = feedLog(t, f.db, true)
	return f
}

func feedConnections(t *testing.T, db *gorm.DB, n int) {
	t.Helper()
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
}

// feedOpen opens a database by its URL, outside of dbtest.
func feedOpen(t *testing.T, url string) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(url), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	return db
}

// feedLog puts a log on a database; with tables it makes them first.
func feedLog(t *testing.T, db *gorm.DB, tables bool) *trackers.Log {
	t.Helper()
	if tables {
		require.NoError(t, migrate.Up(t.Context(), db, ""))
		for _, e := range feedEntities() {
			require.NoError(t, db.AutoMigrate(e.Model))
		}
	}
	log, err := trackers.NewLog(t.Context(), db, trackers.Config{Entities: feedEntities()})
	require.NoError(t, err)
	require.NoError(t, log.Capture(db))
	return log
}

func feedCluster(t *testing.T, options dbtest.ClusterOptions) *dbtest.Cluster {
	t.Helper()
	cluster, err := dbtest.StartCluster(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Remove()) })
	return cluster
}

// feedRandom gives the numbers of one actor of a test; the seed is told if the
// test fails.
func feedRandom(t *testing.T) func(actor uint64) *rand.Rand {
	t.Helper()
	seed := *tortureSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat with -torture.seed=%d", seed)
		}
	})
	return func(actor uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, actor)) }
}

// feedWait asks again until ok says true; what it says last is in the failure.
func feedWait(t testing.TB, within time.Duration, ok func() (bool, string)) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		done, state := ok()
		if done {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline.C:
			require.FailNow(t, "not in time", "%v: %s", within, state)
		}
	}
}

// feedPause is a writer that thinks.
func feedPause(d time.Duration) { <-time.After(d) }

func feedKey(entity, id string) string { return entity + "/" + id }

// feedN is the counter in a change's data.
func feedN(c *models.Change) (int64, error) {
	var row struct{ N int64 }
	err := json.Unmarshal(c.Data, &row)
	return row.N, err
}

// feedTable gives the counters of all rows in sight, from the tables themselves.
func feedTable(t testing.TB, db *gorm.DB, teams ...string) map[string]int64 {
	t.Helper()
	db = db.Session(&gorm.Session{NewDB: true})
	rows := map[string]int64{}
	var tasks []feedTask
	query := db.Model(&feedTask{})
	if len(teams) > 0 {
		query = query.Where("team IN ?", teams)
	}
	require.NoError(t, query.Find(&tasks).Error)
	for _, r := range tasks {
		rows[feedKey(feedTasks, r.Code)] = r.N
	}
	if len(teams) > 0 {
		return rows
	}
	var items []feedItem
	require.NoError(t, db.Find(&items).Error)
	for _, r := range items {
		rows[feedKey(feedItems, fmt.Sprint(r.ID))] = r.N
	}
	return rows
}

// feedChanges gives the change log itself, by version.
func feedChanges(t testing.TB, db *gorm.DB) []models.Change {
	t.Helper()
	var rows []models.Change
	require.NoError(t, db.Session(&gorm.Session{NewDB: true}).Order("id").Find(&rows).Error)
	return rows
}

// feedVersions reads on from a cursor to the end.
func feedVersions(t testing.TB, log *trackers.Log, filters []trackers.Filter, c models.Cursor, limit int) ([]int64, models.Cursor) {
	t.Helper()
	versions := []int64{}
	for {
		page, err := log.Changes().Read(context.Background(), filters, c, limit)
		require.NoError(t, err)
		for _, e := range page.Entries {
			versions = append(versions, e.Version)
		}
		if c = feedText(t, page.Cursor); !page.More {
			return versions, c
		}
	}
}

// feedText takes a cursor through its text, as a client does.
func feedText(t testing.TB, c models.Cursor) models.Cursor {
	t.Helper()
	parsed, isVersion, err := models.ParseCursor(c.String())
	require.NoError(t, err)
	require.False(t, isVersion)
	require.Equal(t, c.String(), parsed.String())
	return parsed
}

func feedUpsertItem(tx *gorm.DB, id int64) error {
	return tx.Clauses(clause.OnConflict{
		Columns:   []clause.Column{{Name: "id"}},
		DoUpdates: clause.Assignments(map[string]any{"n": gorm.Expr("feed_items.n + 1")}),
	}).Create(&feedItem{ID: id, N: 1}).Error
}

func feedUpsertTask(tx *gorm.DB, code, team string) error {
	return tx.Clauses(clause.OnConflict{
		Columns:   []clause.Column{{Name: "code"}},
		DoUpdates: clause.Assignments(map[string]any{"n": gorm.Expr("feed_tasks.n + 1")}),
	}).Create(&feedTask{Code: code, N: 1, Team: team}).Error
}
