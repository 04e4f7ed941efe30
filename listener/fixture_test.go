package listener_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/listener"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// An item is what one process writes and another one is to see.
type item struct {
	ID   int64 `gorm:"primaryKey"`
	Text string
}

// quiet keeps the complaints of a fault that a test makes out of its output.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func newCluster(t *testing.T, options dbtest.ClusterOptions) *dbtest.Cluster {
	t.Helper()
	c, err := dbtest.StartCluster(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Remove()) })
	return c
}

// database makes a database of its own, so that nobody hears another test's bells,
// with the log tables in it. It gives its URL.
func database(t *testing.T, c *dbtest.Cluster, name string) string {
	t.Helper()
	require.NoError(t, pool(t, c.URL()).Exec("CREATE DATABASE "+name).Error)
	return strings.Replace(c.URL(), "/postgres?", "/"+name+"?", 1)
}

func pool(t *testing.T, dsn string) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	closePool(t, db)
	return db
}

func closePool(t *testing.T, db *gorm.DB) {
	t.Helper()
	p, err := db.DB()
	require.NoError(t, err)
	p.SetMaxOpenConns(10)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
}

// writer is a process that writes: all it shares with a reader is the database.
type writer struct {
	db   *gorm.DB
	sync *gormsync.Plugin

	mu      sync.Mutex
	written []write
}

// write is a row that was committed, and when that was known.
type write struct {
	id int64
	at time.Time
}

func newWriter(t *testing.T, dsn string, change func(*gormsync.Config)) *writer {
	t.Helper()
	w := &writer{db: pool(t, dsn)}
	require.NoError(t, w.db.AutoMigrate(&item{}))
	cfg := gormsync.Config{Entities: []gormsync.Entity{{Model: &item{}}}, Logger: quiet}
	if change != nil {
		change(&cfg)
	}
	var err error
	w.sync, err = gormsync.New(cfg)
	require.NoError(t, err)
	require.NoError(t, w.db.Use(w.sync))
	require.NoError(t, w.sync.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, w.sync.Close(ctx))
	})
	return w
}

// write writes a row. What the database did not confirm may or may not be there.
func (w *writer) write() error {
	it := item{Text: "x"}
	err := w.db.Create(&it).Error
	if err == nil {
		w.mu.Lock()
		w.written = append(w.written, write{it.ID, time.Now()})
		w.mu.Unlock()
	}
	return err
}

// traffic writes all the time until it is told to stop.
func (w *writer) traffic() (stop func()) {
	end := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-end:
				return
			case <-ticker.C:
				_ = w.write() // the server may be down: that is what is tested
			}
		}
	})
	return sync.OnceFunc(func() { close(end); all.Wait() })
}

// reader is another process, which follows the log as the hub does: it reads when
// the listener rings, and only then.
type reader struct {
	*listener.Listener
	log  *trackers.Log
	bell chan struct{}

	mu     sync.Mutex
	cursor models.Cursor
	seen   map[int64]time.Time
	twice  []int64
	errs   []error
	held   chan struct{} // while it is not nil, Ring waits for it
}

// newReader reads through one DSN and listens as cfg says; the pool that it asks
// where to listen is that of the reads unless cfg brings another.
func newReader(t *testing.T, dsn string, cfg listener.Config) *reader {
	t.Helper()
	db := pool(t, dsn)
	log, err := trackers.NewLog(t.Context(), db, trackers.Config{Entities: []trackers.Entity{{Model: &item{}}}, Logger: quiet})
	require.NoError(t, err)
	r := &reader{log: log, bell: make(chan struct{}, 1), seen: map[int64]time.Time{}}
	if cfg.DB == nil {
		cfg.DB, err = db.DB()
		require.NoError(t, err)
	}
	cfg.Dialect, cfg.Channel, cfg.Ring, cfg.Logger = "postgres", models.TablesFor("").Channel, r.ring, quiet
	r.Listener, err = listener.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { r.Run(ctx) })
	all.Go(func() { r.follow(ctx) })
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return r
}

func (r *reader) ring() {
	r.mu.Lock()
	held := r.held
	r.mu.Unlock()
	if held != nil {
		<-held
	}
	select {
	case r.bell <- struct{}{}:
	default:
	}
}

func (r *reader) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.bell:
			if err := r.read(ctx); err != nil && ctx.Err() == nil {
				r.mu.Lock()
				r.errs = append(r.errs, err)
				r.mu.Unlock()
			}
		}
	}
}

// read fails with the database, and then reads the same again at the next bell.
func (r *reader) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		page, err := r.log.Changes().Since(ctx, "items", r.cursor, 0)
		if err != nil {
			return err
		}
		r.mu.Lock()
		for _, e := range page.Entries {
			var id int64
			if _, err := fmt.Sscan(e.Row.EntityID, &id); err != nil {
				r.errs = append(r.errs, err)
			}
			if _, seen := r.seen[id]; seen {
				r.twice = append(r.twice, id)
			}
			r.seen[id] = time.Now()
		}
		r.mu.Unlock()
		if r.cursor = page.Cursor; !page.More {
			return nil
		}
	}
}

// delivered writes a row and waits until the reader has it. The pool may have to
// find out first that its connections are gone.
func (r *reader) delivered(t *testing.T, w *writer) time.Duration {
	t.Helper()
	until(t, 10*time.Second, "a row is written", func() bool { return w.write() == nil })
	w.mu.Lock()
	last := w.written[len(w.written)-1]
	w.mu.Unlock()
	var at time.Time
	until(t, 30*time.Second, "the row arrives", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		var ok bool
		at, ok = r.seen[last.id]
		return ok
	})
	return max(0, at.Sub(last.at))
}

// complete fails if a committed row has not come, or one came twice. It gives the
// longest delay.
func (r *reader) complete(t *testing.T, w *writer) time.Duration {
	t.Helper()
	until(t, 30*time.Second, "everything arrives", func() bool { return len(r.missing(w)) == 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Empty(t, r.twice, "some came twice")
	var longest time.Duration
	for _, x := range w.written {
		longest = max(longest, r.seen[x.id].Sub(x.at))
	}
	t.Logf("%d rows, none lost, none twice; the slowest came after %v", len(w.written), longest.Round(time.Millisecond))
	return longest
}

func (r *reader) missing(w *writer) (ids []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range w.written {
		if _, ok := r.seen[x.id]; !ok {
			ids = append(ids, x.id)
		}
	}
	return ids
}

// reaches waits until the reader is in the mode, and gives how long that took.
func (r *reader) reaches(t *testing.T, mode listener.Mode, within time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	until(t, within, "the mode "+string(mode), func() bool { return r.Status().Mode == mode })
	return time.Since(began)
}

func until(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			require.FailNow(t, "it took too long until "+what, "%v", within)
		}
	}
}
