package trackers_test

import (
	"fmt"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// TestRestore: a log that was restored from a dump, into another cluster, another
// database or its own, refuses the cursors from before, and serves new ones.
func TestRestore(t *testing.T) {
	t.Parallel()
	s := restoreSource(t)
	fresh := feedCluster(t, dbtest.ClusterOptions{Settings: map[string]string{"autovacuum": "off"}})
	t.Run("fresh cluster", func(t *testing.T) {
		s.check(t, s.restore(t, feedDatabase(t, fresh, "restored")), true)
	})
	t.Run("same cluster", func(t *testing.T) {
		s.check(t, s.restore(t, feedDatabase(t, s.cluster, "restored")), false)
	})
	t.Run("copied rows", func(t *testing.T) {
		s.check(t, s.copyTo(t, feedDatabase(t, fresh, "copied")), true)
	})
	t.Run("interleaved", func(t *testing.T) { s.interleaved(t, fresh) })
	t.Run("under a running log", s.underRunningLog)
}

// restored is a database with its log, and cursors of all kinds.
type restored struct {
	cluster *dbtest.Cluster
	url     string
	db      *gorm.DB
	log     *trackers.Log
	dump    string // the pg_dump
	load    string // the pg_restore
}

func restoreSource(t *testing.T) *restored {
	t.Helper()
	s := &restored{cluster: feedCluster(t, dbtest.ClusterOptions{})}
	s.url = feedDatabase(t, s.cluster, "source")
	s.db = feedOpen(t, s.url)
	var err error
	s.dump, s.load, err = s.cluster.DumpPrograms(t.Context())
	require.NoError(t, err)
	s.log = feedLog(t, s.db, true)
	restoreBurn(t, s.db, 5000) // far beyond what a fresh cluster has handed out
	feedFill(t, s.db, feedRandom(t)(1), 40)
	for id := range int64(3) { // more than a page of them, whatever was deleted
		require.NoError(t, feedUpsertItem(s.db, id+1))
	}
	return s
}

func feedDatabase(t *testing.T, c *dbtest.Cluster, name string) string {
	t.Helper()
	require.NoError(t, feedOpen(t, c.URL()).Exec("CREATE DATABASE "+name).Error)
	u, err := url.Parse(c.URL())
	require.NoError(t, err)
	u.Path = "/" + name
	return u.String()
}

// restoreBurn has transaction numbers handed out.
func restoreBurn(t *testing.T, db *gorm.DB, n int64) {
	t.Helper()
	require.NoError(t, db.Connection(func(db *gorm.DB) error {
		return db.Exec(fmt.Sprintf(`CREATE TEMP TABLE IF NOT EXISTS burnt (i int);
DO $$ BEGIN FOR i IN 1..%d LOOP BEGIN INSERT INTO burnt VALUES (i); EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$`, n)).Error
	}))
}

func (s *restored) cursors(t *testing.T) map[string]models.Cursor {
	t.Helper()
	ctx, cursors := t.Context(), map[string]models.Cursor{}
	page, err := s.log.Changes().Read(ctx, nil, models.Cursor{}, 3)
	require.NoError(t, err)
	cursors["in the first batch"] = page.Cursor
	snapshot, err := s.log.Changes().Snapshot(ctx, feedAll(feedItems)[0], models.Cursor{}, 2)
	require.NoError(t, err)
	require.True(t, snapshot.More)
	cursors["in a snapshot"] = snapshot.Cursor
	_, cursors["the end"] = feedVersions(t, s.log, nil, models.Cursor{}, 1000)
	_, cursors["of an entity"] = feedVersions(t, s.log, feedAll(feedTasks), models.Cursor{}, 1000)
	return cursors
}

// restore makes a dump and restores it into the database of the URL.
func (s *restored) restore(t *testing.T, into string, options ...string) string {
	t.Helper()
	s.pgRestore(t, s.pgDump(t), into, options...)
	return into
}

func (s *restored) pgDump(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "dump")
	out, err := exec.CommandContext(t.Context(), s.dump, "-Fc", "-f", file, s.url).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return file
}

func (s *restored) pgRestore(t *testing.T, file, into string, options ...string) {
	t.Helper()
	args := append(slices.Clone(options), "--exit-on-error", "-d", into, file)
	out, err := exec.CommandContext(t.Context(), s.load, args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// copyTo is what a restore without pg_restore, or logical replication, leaves: the
// rows as they were, and a sequence that knows nothing of them.
func (s *restored) copyTo(t *testing.T, into string) string {
	t.Helper()
	to := feedOpen(t, into)
	require.NoError(t, migrate.Up(t.Context(), to, ""))
	require.NoError(t, to.AutoMigrate(&feedItem{}, &feedTask{}))
	require.NoError(t, to.Exec(`DELETE FROM "_rhtmx_sync_meta"`).Error)
	restoreCopy[models.Meta](t, s.db, to)
	restoreCopy[models.Change](t, s.db, to)
	restoreCopy[models.FieldChange](t, s.db, to)
	restoreCopy[feedItem](t, s.db, to)
	restoreCopy[feedTask](t, s.db, to)
	require.NoError(t, to.Exec(`ALTER SEQUENCE "_rhtmx_sync_log_id_seq" RESTART`).Error)
	return into
}

func restoreCopy[T any](t *testing.T, from, to *gorm.DB) {
	t.Helper()
	var rows []T
	require.NoError(t, from.Session(&gorm.Session{NewDB: true}).Find(&rows).Error)
	if len(rows) > 0 {
		require.NoError(t, to.CreateInBatches(&rows, 100).Error)
	}
}

// check looks at a copy of the source.
func (s *restored) check(t *testing.T, url string, foreign bool) {
	t.Helper()
	db := feedOpen(t, url)
	newest := feedNewest(t, s.db)
	var xmax int64
	const horizon = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
	require.NoError(t, db.Raw(horizon).Scan(&xmax).Error)
	require.Equal(t, foreign, newest.Tx >= xmax, "the test does not test")
	log := feedLog(t, db, false)
	for name, c := range s.cursors(t) {
		restoreRefuses(t, log, name, c)
	}
	require.NoError(t, db.Raw(horizon).Scan(&xmax).Error)
	for _, c := range feedChanges(t, db) {
		require.Less(t, c.Tx, xmax, "change %d is still to come", c.Version)
	}
	require.Equal(t, feedTable(t, s.db), feedTable(t, db))

	whole, late := newFeedReader("from nothing", log, nil, 50), newFeedReader("from a snapshot", log, feedAll(feedItems, feedTasks), 7)
	require.NoError(t, whole.drain(t.Context()))
	whole.check(t, feedChanges(t, db), feedTable(t, db))
	late.known = true
	for _, f := range late.filters {
		first, err := late.snapshot(t.Context(), f, 3)
		require.NoError(t, err)
		if late.start.IsZero() {
			late.start = first
		}
	}
	late.cursor = late.start
	require.NoError(t, late.drain(t.Context()))
	require.Empty(t, late.seen, "what was there before the snapshot comes again")
	feedFill(t, db, feedRandom(t)(2), 20)
	again := feedLog(t, feedOpen(t, url), false) // another process starts
	for _, r := range []*feedReader{whole, late} {
		require.NoError(t, r.drain(t.Context()))
		feedFill(t, db, feedRandom(t)(3), 3)
		r.log = again
		require.NoError(t, r.drain(t.Context()))
		r.check(t, feedChanges(t, db), feedTable(t, db))
	}
	all := feedChanges(t, db)
	versions := map[int64]bool{}
	for _, c := range all {
		require.False(t, versions[c.Version])
		versions[c.Version] = true
	}
	require.Greater(t, all[len(all)-1].Version, newest.Version)
}

func restoreRefuses(t *testing.T, log *trackers.Log, name string, c models.Cursor) {
	t.Helper()
	for set, filters := range feedSets() {
		_, err := log.Changes().Read(t.Context(), filters, c, 100)
		require.ErrorIs(t, err, models.ErrCursorExpired, "the cursor %s, read %s", name, set)
	}
	_, err := log.Fields().Since(t.Context(), feedItems, c, 100)
	require.ErrorIs(t, err, models.ErrCursorExpired, "the cursor %s, fields", name)
	if c.Page != nil {
		_, err = log.Changes().Snapshot(t.Context(), feedAll(feedItems)[0], c, 2)
		require.ErrorIs(t, err, models.ErrCursorExpired, "the cursor %s, snapshot", name)
	}
	for _, err := range log.Changes().Follow(t.Context(), c) {
		require.ErrorIs(t, err, models.ErrCursorExpired, "the cursor %s, follow", name)
	}
}

// interleaved: a row was changed by the later of two transactions first, and the
// cluster that it is restored into has just handed out the number of the earlier.
func (s *restored) interleaved(t *testing.T, fresh *dbtest.Cluster) {
	t.Helper()
	early, late := s.db.Begin(), s.db.Begin()
	var low, high int64
	require.NoError(t, early.Raw("SELECT pg_current_xact_id()::text::bigint").Scan(&low).Error)
	require.NoError(t, late.Raw("SELECT pg_current_xact_id()::text::bigint").Scan(&high).Error)
	for _, tx := range []*gorm.DB{late, early} {
		require.NoError(t, feedUpsertItem(tx, 700))
		require.NoError(t, tx.Commit().Error)
	}
	require.NoError(t, s.db.Delete(&feedItem{ID: 701}).Error)
	url := s.copyTo(t, feedDatabase(t, fresh, "interleaved"))
	db := feedOpen(t, url)
	var next int64
	require.NoError(t, db.Raw("SELECT pg_current_xact_id()::text::bigint").Scan(&next).Error)
	require.Less(t, next, low-10)
	restoreBurn(t, db, low-next-10)
	for next < high-1 {
		require.NoError(t, db.Raw("SELECT pg_current_xact_id()::text::bigint").Scan(&next).Error)
	}
	require.Equal(t, high-1, next)
	log := feedLog(t, db, false)
	for _, limit := range []int{1, 1000} {
		r := newFeedReader("from nothing", log, nil, limit)
		require.NoError(t, r.drain(t.Context()))
		r.check(t, feedChanges(t, db), feedTable(t, db))
	}
}

// underRunningLog: the database goes back to an older state while the application
// runs, and goes on from there with numbers that were there before.
func (s *restored) underRunningLog(t *testing.T) {
	file := s.pgDump(t)
	feedFill(t, s.db, feedRandom(t)(4), 10)
	before := s.cursors(t)
	s.pgRestore(t, file, s.url, "--clean", "--if-exists")
	db := feedOpen(t, s.url)
	for range 3 {
		require.NoError(t, feedUpsertItem(db, 1)) // another process; not logged
	}
	for name, c := range before {
		restoreRefuses(t, s.log, name, c)
		restoreRefuses(t, feedLog(t, feedOpen(t, s.url), false), name, c)
	}
}

// TestRestoreFile: a SQLite file is put back from an older copy. Cursors from
// after the copy end with the first of them, for the log would grow up to them.
func TestRestoreFile(t *testing.T) {
	f := feedSetup(t, dbtest.SQLite(t), 10)
	random := feedRandom(t)
	feedFill(t, f.db, random(1), 10)
	path := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, f.plain.Exec("VACUUM INTO ?", path).Error)
	_, common := feedVersions(t, f.log, nil, models.Cursor{}, 1000)
	feedFill(t, f.db, random(2), 10)
	_, beyond := feedVersions(t, f.log, nil, models.Cursor{}, 1000)

	db, err := gorm.Open(sqlite.Open(path), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	log := feedLog(t, db, false)
	got, _ := feedVersions(t, log, nil, common, 100)
	require.Empty(t, got, "a cursor that the copy knows")
	_, err = log.Changes().Read(t.Context(), nil, beyond, 100)
	require.ErrorIs(t, err, models.ErrCursorExpired)
	feedFill(t, db, random(3), 30)
	_, end := feedVersions(t, log, nil, models.Cursor{}, 1000)
	require.Greater(t, end.From.Xmax, beyond.From.Xmax, "the log has grown")
	for _, c := range []models.Cursor{beyond, common} {
		restoreRefuses(t, log, "after the log has grown", c)
	}
}

// TestStartChecks: what would break the order of versions is refused or mended
// before the log is used.
func TestStartChecks(t *testing.T) {
	f := feedPruned(t, dbtest.Postgres(t), 5)
	start := func() error {
		_, err := trackers.NewLog(t.Context(), f.plain, trackers.Config{Entities: feedEntities()})
		return err
	}
	const sequence = `ALTER SEQUENCE "_rhtmx_sync_log_id_seq" `
	require.NoError(t, f.plain.Exec(sequence+"CACHE 10").Error)
	require.ErrorContains(t, start(), "CACHE 1")
	require.NoError(t, f.plain.Exec(sequence+"CACHE 1").Error)
	require.NoError(t, start())

	for range 3 {
		require.NoError(t, feedUpsertItem(f.db, 1))
	}
	_, c := feedVersions(t, f.log, nil, models.Cursor{}, 10)
	require.NoError(t, f.plain.Exec(sequence+"RESTART").Error)
	require.NoError(t, start())
	require.NoError(t, feedUpsertItem(f.db, 1))
	got, _ := feedVersions(t, f.log, nil, c, 10)
	require.Equal(t, []int64{feedNewest(t, f.plain).Version}, got, "the cursor is as good as before: only the sequence was behind")

	require.NoError(t, migrate.Down(t.Context(), f.plain, ""))
	require.ErrorContains(t, start(), "migrate.Up")
}
