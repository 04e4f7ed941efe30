package trackers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// retentionKept is how long changes are kept in these tests: longer than a writer
// waits for another, since a change is as old as its statement.
func retentionKept() time.Duration { return max(time.Second, *tortureFor/12) }

// TestRetention: while writers write and the log is pruned, a reader that keeps
// up has every change once, and one that does not is told so, never left with a gap.
func TestRetention(t *testing.T) {
	t.Run("postgres", func(t *testing.T) { retention(t, dbtest.Postgres(t), 16) })
	t.Run("sqlite", func(t *testing.T) { retention(t, dbtest.SQLite(t), 4) })
}

func retention(t *testing.T, d *dbtest.DB, writers int) {
	t.Helper()
	f := feedPruned(t, d, writers+20)
	retentionTruth(t, f)
	load := newFeedLoad(t, f, feedRandom(t))
	load.prepared = nil // a prepared transaction may be older than what is kept
	fast := []*feedKeeper{{feedReader: newFeedReader("fast", f.log, nil, 50)}, {feedReader: newFeedReader("fast, 5000", f.log, nil, 5000)}}
	slow := &feedKeeper{feedReader: newFeedReader("slow", f.log, nil, 20), poll: 2 * retentionKept()}
	paging := &feedKeeper{feedReader: newFeedReader("paging", f.log, nil, 3), pause: 50 * time.Millisecond}
	keepers := append(slices.Clone(fast), slow, paging)
	for _, k := range keepers {
		k.load = load
	}

	stop := make(chan struct{})
	failed := make(chan error, len(keepers)+2)
	var running sync.WaitGroup
	load.start(writers, 0)
	for _, k := range keepers {
		running.Go(func() { failed <- k.run(t.Context(), stop) })
	}
	removed := make([]int64, 2)
	for i := range removed { // two processes
		running.Go(func() { failed <- retentionSweep(t.Context(), f, stop, &removed[i]) })
	}
	feedPause(*tortureFor * 3 / 4)
	load.end(t)
	close(stop)
	running.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	var truth []models.Change
	require.NoError(t, f.plain.Table("feed_truth").Order("id").Find(&truth).Error)
	t.Logf("%v; %d changes, %d and %d of them removed", load, len(truth), removed[0], removed[1])
	for _, k := range keepers {
		require.NoError(t, k.drain(t.Context()), k.name)
		k.finish()
		k.check(t, truth, feedTable(t, f.plain))
		t.Logf("%s: expired %d times, longest pause between two reads %v", k.name, k.expired, k.longest)
	}
	for _, k := range fast {
		require.True(t, k.expired == 0 || k.longest+time.Duration(load.slowest.Load()) > retentionKept(), "%s has read every %v and has expired all the same", k.name, k.longest)
	}
	require.Positive(t, slow.expired)
	require.Positive(t, removed[0]+removed[1])
	retentionRest(t, f)
}

// retentionTruth has the database itself keep book of the log.
func retentionTruth(t *testing.T, f fixture) {
	t.Helper()
	require.NoError(t, f.plain.Exec("CREATE TABLE feed_truth (id bigint, version bigint, tx bigint, entity text, entity_id text)").Error)
	const insert = "INSERT INTO feed_truth VALUES (NEW.id, NEW.version, NEW.tx, NEW.entity, NEW.entity_id);"
	statements := []string{`CREATE TRIGGER feed_truth AFTER INSERT ON "_rhtmx_sync_log" BEGIN ` + insert + ` END`}
	if f.log.Dialect() == "postgres" {
		statements = []string{
			"CREATE FUNCTION feed_truth() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + insert + " RETURN NULL; END $$",
			`CREATE TRIGGER feed_truth AFTER INSERT ON "_rhtmx_sync_log" FOR EACH ROW EXECUTE FUNCTION feed_truth()`,
		}
	}
	for _, sql := range statements {
		require.NoError(t, f.plain.Exec(sql).Error)
	}
}

func retentionSweep(ctx context.Context, f fixture, stop <-chan struct{}, removed *int64) error {
	for {
		n, err := f.log.Cleanup(ctx, retentionKept())
		if err != nil {
			return err
		}
		*removed += n
		select {
		case <-stop:
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// retentionRest: what is left has the newest change of each row that exists, and
// the highest transaction.
func retentionRest(t *testing.T, f fixture) {
	t.Helper()
	left, newest, highest := map[string]int64{}, int64(0), int64(0)
	for _, c := range feedChanges(t, f.plain) {
		left[feedKey(c.Entity, c.EntityID)] = c.Version
		newest = max(newest, c.Tx)
	}
	var truth []models.Change
	require.NoError(t, f.plain.Table("feed_truth").Order("id").Find(&truth).Error)
	want := map[string]int64{}
	for _, c := range truth {
		want[feedKey(c.Entity, c.EntityID)] = c.Version
		highest = max(highest, c.Tx)
	}
	require.Equal(t, highest, newest)
	for key := range feedTable(t, f.plain) {
		require.Equal(t, want[key], left[key], "the newest change of %s", key)
	}
}

// feedKeeper is a reader that starts again from a snapshot when its cursor has
// expired. What it had between a start and the next is checked apart.
type feedKeeper struct {
	*feedReader
	load  *feedLoad
	poll  time.Duration // between two times that it reads to the end
	pause time.Duration // between two pages

	expired int
	longest time.Duration // without a read
	last    time.Time
	began   time.Time     // when the snapshot was taken
	whole   models.Cursor // the last place that was not inside a batch
	past    []feedSegment
}

// feedSegment is what a reader had between two starts.
type feedSegment struct {
	start, end models.Cursor
	seen       map[int64]int
}

func (k *feedKeeper) run(ctx context.Context, stop <-chan struct{}) error {
	for {
		more, err := k.step(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		wait := max(k.poll, 10*time.Millisecond)
		if more {
			wait = k.pause
		}
		select {
		case <-stop:
			return nil
		case <-time.After(wait):
		}
	}
}

func (k *feedKeeper) step(ctx context.Context) (more bool, err error) {
	if now := time.Now(); !k.last.IsZero() {
		k.longest = max(k.longest, now.Sub(k.last))
	}
	k.last = time.Now()
	more, err = k.read(ctx)
	if errors.Is(err, models.ErrCursorExpired) {
		// A change may go as soon as it is committed if its transaction was that long.
		if slowest := time.Duration(k.load.slowest.Load()); k.expired > 0 && time.Since(k.began)+slowest < retentionKept() {
			k.fault("the cursor of a snapshot has expired at once")
			return false, err
		}
		k.expired++
		k.finish()
		return true, k.restart(ctx)
	}
	if k.cursor.Batch == nil {
		k.whole = k.cursor
	}
	return more, err
}

func (k *feedKeeper) drain(ctx context.Context) error {
	for {
		more, err := k.step(ctx)
		if err != nil || !more {
			return err
		}
	}
}

func (k *feedKeeper) finish() {
	k.past = append(k.past, feedSegment{k.start, k.whole, k.seen})
}

func (k *feedKeeper) restart(ctx context.Context) error {
	k.began = time.Now()
	faults, pages := k.faults, k.pages
	k.feedReader = newFeedReader(k.name, k.log, nil, k.limit)
	k.faults, k.pages, k.known = faults, pages, true
	for _, f := range feedAll(feedItems, feedTasks) {
		first, err := k.snapshot(ctx, f, 1000)
		if err != nil {
			return err
		}
		if k.start.IsZero() {
			k.start = first
		}
	}
	k.cursor, k.whole = k.start, k.start
	return nil
}

func (k *feedKeeper) check(t *testing.T, truth []models.Change, table map[string]int64) {
	t.Helper()
	require.Empty(t, k.faults, k.name)
	for i, s := range k.past {
		for _, c := range truth {
			n := s.seen[c.Version]
			switch tx := uint64(c.Tx); {
			case s.start.From.Has(tx):
				require.Zero(t, n, "%s, part %d: change %d is from before", k.name, i, c.Version)
			case s.end.From.Has(tx):
				require.Equal(t, 1, n, "%s, part %d: how often change %d came", k.name, i, c.Version)
			}
		}
	}
	require.Equal(t, table, k.rows, "%s: the fold and the table", k.name)
}

// TestRetentionSlowWriters: pruning does not hold up writers. The log has much to
// prune, and one writer, so that nothing else can.
func TestRetentionSlowWriters(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedPruned(t, d, 10)
		series, tx := "SELECT g AS i FROM generate_series(1, 20000) g", "1"
		if d.Dialect == "sqlite" {
			series, tx = "WITH RECURSIVE g (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 20000) SELECT i FROM g", "i"
		}
		require.NoError(t, f.plain.Exec(`INSERT INTO "_rhtmx_sync_log" (version, entity, entity_id, action, data, created_at, edited_at, tx)
SELECT i, 'feed_items', CAST(i % 1000 AS text), 'update', '{"n":1}', '2020-01-01 00:00:00+00:00', '2020-01-01 00:00:00+00:00', `+tx+` FROM (`+series+`) s`).Error)
		quiet := retentionTimes(t, f, 300*time.Millisecond, nil)
		done := make(chan struct{})
		var removed int64
		var err error
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			defer close(done)
			removed, err = f.log.Cleanup(ctx, time.Hour)
		}()
		busy := retentionTimes(t, f, time.Minute, done)
		<-done
		require.NoError(t, err, "%d removed", removed)
		require.EqualValues(t, 19000, removed)
		t.Logf("the longest of %d writes alone %v; of %d beside a clean-up %v, %d over 50 ms", quiet.writes, quiet.most, busy.writes, busy.most, busy.slow)
		require.Greater(t, busy.writes, 10, "the clean-up was over before anybody wrote")
		// How long is a measurement; that a writer waits for a whole clean-up would be a fault.
		require.Less(t, busy.most, 2*time.Second)
	})
}

type retentionTime struct {
	writes, slow int
	most         time.Duration
}

// retentionTimes writes for a while, or until done is closed.
func retentionTimes(t *testing.T, f fixture, during time.Duration, done <-chan struct{}) (r retentionTime) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); {
		select {
		case <-done:
			return r
		default:
		}
		begun := time.Now()
		require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error { return feedUpsertTask(tx, "x", "red") }))
		took := time.Since(begun)
		feedPause(time.Millisecond)
		r.writes, r.most = r.writes+1, max(r.most, took)
		if took > 50*time.Millisecond {
			r.slow++
		}
	}
	return r
}
