package trackers_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// TestTorture: whatever the writers do, every reader gets every committed change
// once, in an order that is right for each row, whole transactions together. For
// longer runs: go test -run TestTorture ./trackers -torture.for=60s
func TestTorture(t *testing.T) {
	t.Parallel()
	for _, database := range []struct {
		dialect     string
		open        func(testing.TB) *dbtest.DB
		short, long int // writers
	}{{"postgres", dbtest.Postgres, 24, 3}, {"sqlite", dbtest.SQLite, 8, 1}} {
		t.Run(database.dialect, func(t *testing.T) {
			t.Parallel()
			torture(t, database.open(t), database.short, database.long)
		})
	}
}

func torture(t *testing.T, d *dbtest.DB, short, long int) {
	t.Helper()
	f := feedSetup(t, d, short+long+20)
	load := newFeedLoad(t, f, feedRandom(t))
	end := openThroughout(t, f)
	load.start(short, long)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	readers := tortureReaders(f.log)
	fields := &feedFieldReader{log: f.log, seen: map[int64]int{}}
	stop := make(chan struct{})
	failed := make(chan error, len(readers)+2)
	var reading sync.WaitGroup
	for _, r := range readers {
		reading.Go(func() { failed <- r.run(t.Context(), stop) })
	}
	reading.Go(func() { failed <- fields.run(t.Context(), stop) })
	late := newFeedReader("late", f.log, feedAll(feedItems, feedTasks), 5000)
	feedPause(*tortureFor / 3)
	reading.Go(func() { failed <- late.join(ctx) })
	feedPause(*tortureFor - *tortureFor/3)

	load.end(t)
	close(stop)
	cancel()
	reading.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
	readers = append(readers, late)
	check := func() {
		all := feedChanges(t, f.plain)
		for _, r := range readers {
			require.NoError(t, r.drain(t.Context()), r.name)
			r.check(t, all, r.table(feedTable(t, f.plain), all))
		}
		fields.check(t, f)
	}
	check() // all but what is still open
	end()
	check()
	t.Logf("%v; %d changes", load, len(feedChanges(t, f.plain)))
	for _, r := range readers {
		t.Logf("%s: %d pages, %d changes, cursors up to %d characters", r.name, r.pages, len(r.seen), r.longest)
	}
	require.Greater(t, load.commits.Load(), int64(50))
	require.Positive(t, load.back.Load())
	require.Positive(t, load.long.Load())
	if cap(load.prepared) > 0 {
		require.Positive(t, load.twoPhase.Load())
	}
}

// openThroughout has a transaction open until end: with a change on PostgreSQL,
// reading on SQLite, which has one writer.
func openThroughout(t *testing.T, f fixture) (end func()) {
	t.Helper()
	tx := f.db.Begin()
	require.NoError(t, tx.Error)
	if f.log.Dialect() == "postgres" {
		require.NoError(t, tx.Create(&feedItem{ID: 9999, N: 1}).Error)
	} else {
		require.NoError(t, tx.Find(&[]feedItem{}).Error)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			require.NoError(t, tx.Commit().Error)
		}
	}
	t.Cleanup(end)
	return end
}

func tortureReaders(log *trackers.Log) []*feedReader {
	readers := []*feedReader{
		newFeedReader("hub, 7", log, nil, 7),
		newFeedReader("both, 50", log, feedAll(feedItems, feedTasks), 50),
		newFeedReader("tasks, 1000", log, feedAll(feedTasks), 1000),
		newFeedReader("teams, 5000", log, []trackers.Filter{{Entity: feedTasks, Scopes: []string{"red", "blue"}}}, 5000),
		newFeedReader("hub, 100000", log, nil, 100000),
	}
	for i, poll := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 500 * time.Millisecond} {
		readers[i].poll = poll
	}
	return readers
}

// table keeps the rows that the reader is to have. A team's rows are those whose
// newest change says so.
func (r *feedReader) table(rows map[string]int64, all []models.Change) map[string]int64 {
	visible := map[string]bool{}
	for i := range all {
		c := &all[i]
		visible[feedKey(c.Entity, c.EntityID)] = len(r.filters) == 0 || slices.ContainsFunc(r.filters, func(f trackers.Filter) bool { return f.Sees(c) })
	}
	rows = maps.Clone(rows)
	maps.DeleteFunc(rows, func(key string, _ int64) bool { return !visible[key] })
	return rows
}

// join takes a snapshot of both tables in small pages, and follows from its first
// page until ctx ends.
func (r *feedReader) join(ctx context.Context) error {
	r.known = true
	for _, f := range r.filters {
		first, err := r.snapshot(ctx, f, 9)
		if err != nil {
			return err
		}
		if r.start.IsZero() {
			r.start = first
		}
	}
	r.cursor = r.start
	for e, err := range r.log.Changes().Follow(ctx, r.cursor, feedItems, feedTasks) {
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		r.take(&e.Row)
		r.longest = max(r.longest, len(e.Cursor.String()))
		r.cursor = e.Cursor
	}
	return nil
}

// snapshot reads a table in pages and gives the cursor of the first.
func (r *feedReader) snapshot(ctx context.Context, f trackers.Filter, limit int) (first models.Cursor, err error) {
	for c, more := (models.Cursor{}), true; more; {
		page, err := r.log.Changes().Snapshot(ctx, f, c, limit)
		if err != nil {
			return first, err
		}
		if c, more = page.Cursor, page.More; first.IsZero() {
			first = c.Position()
		}
		for i := range page.Entries {
			row := &page.Entries[i].Row
			key := feedKey(row.Entity, row.EntityID)
			if r.rows[key], err = feedN(row); err != nil {
				return first, err
			}
			r.versions[key] = row.Version
		}
	}
	return first, nil
}

// feedFieldReader follows the field log.
type feedFieldReader struct {
	log    *trackers.Log
	cursor models.Cursor
	seen   map[int64]int
}

func (r *feedFieldReader) run(ctx context.Context, stop <-chan struct{}) error {
	for {
		if err := r.read(ctx); err != nil {
			return err
		}
		select {
		case <-stop:
			return nil
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *feedFieldReader) read(ctx context.Context) error {
	for {
		page, err := r.log.Fields().Since(ctx, feedItems, r.cursor, 30)
		if err != nil {
			return fmt.Errorf("fields: %w", err)
		}
		for i := range page.Entries {
			r.seen[page.Entries[i].Row.ID]++
		}
		if r.cursor = page.Cursor; !page.More {
			return nil
		}
	}
}

func (r *feedFieldReader) check(t *testing.T, f fixture) {
	t.Helper()
	require.NoError(t, r.read(t.Context()))
	var ids []int64
	require.NoError(t, f.plain.Session(&gorm.Session{NewDB: true}).Model(&models.FieldChange{}).Pluck("id", &ids).Error)
	want := map[int64]int{}
	for _, id := range ids {
		want[id] = 1
	}
	require.Equal(t, want, r.seen, "fields")
}
