package listener_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/listener"
)

// run starts a listener that counts its rings, and ends it with the test.
func run(t *testing.T, db *gorm.DB, cfg listener.Config) (*listener.Listener, *atomic.Int64, context.CancelFunc) {
	t.Helper()
	var err error
	rings := &atomic.Int64{}
	cfg.DB, err = db.DB()
	require.NoError(t, err)
	cfg.Dialect, cfg.Channel, cfg.Ring, cfg.Logger = db.Name(), "bells", func() { rings.Add(1) }, quiet
	l, err := listener.New(cfg)
	require.NoError(t, err)
	require.Equal(t, listener.Off, l.Status().Mode)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.Run(ctx)
	}()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return l, rings, stop
}

func waitFor(t *testing.T, l *listener.Listener, mode listener.Mode) {
	t.Helper()
	until(t, 10*time.Second, "the mode "+string(mode), func() bool { return l.Status().Mode == mode })
}

// ears hears every bell of a channel, apart from the listener.
func ears(t *testing.T, url string) (bells func(d time.Duration) []string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(t.Context(), "LISTEN bells")
	require.NoError(t, err)
	return func(d time.Duration) (payloads []string) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		for {
			n, err := conn.WaitForNotification(ctx)
			if err != nil {
				return payloads
			}
			if !strings.HasPrefix(n.Payload, "test:") {
				payloads = append(payloads, n.Payload)
			}
		}
	}
}

// Many commits make few bells, the first at once, and the last is not forgotten
// when the process ends.
func TestAnnouncementsAreFew(t *testing.T) {
	d := dbtest.Postgres(t)
	bells := ears(t, d.URL)
	l, rings, stop := run(t, d.Open(t), listener.Config{Poll: -1})
	waitFor(t, l, listener.Listening)
	l.Announce()
	require.Len(t, bells(500*time.Millisecond), 1)
	before := rings.Load()
	began := time.Now()
	for time.Since(began) < 300*time.Millisecond {
		l.Announce()
	}
	n := len(bells(500 * time.Millisecond))
	require.Greater(t, n, 2)
	require.LessOrEqual(t, n, 17, "one in 20 ms, the first at once, the last after")
	require.Equal(t, before, rings.Load(), "it heard itself")
	require.Zero(t, l.Status().LastBell)
	l.Announce()
	l.Announce()
	stop()
	require.NotEmpty(t, bells(500*time.Millisecond), "the last commit was not announced")
	require.Equal(t, listener.Off, l.Status().Mode)
}

// Any program may ring, and one process hears the other.
func TestBellsOfOthersRing(t *testing.T) {
	d := dbtest.Postgres(t)
	db := d.Open(t)
	one, rings, _ := run(t, db, listener.Config{Poll: -1})
	other, _, _ := run(t, d.Open(t), listener.Config{Poll: -1})
	waitFor(t, one, listener.Listening)
	before := rings.Load()
	other.Announce()
	until(t, 10*time.Second, "the other is heard", func() bool { return rings.Load() > before })
	require.WithinDuration(t, time.Now(), one.Status().LastBell, 10*time.Second)
	before = rings.Load()
	require.NoError(t, db.Exec("NOTIFY bells").Error)
	until(t, 10*time.Second, "psql is heard", func() bool { return rings.Load() > before })
}

func TestNoNotifyIsQuiet(t *testing.T) {
	d := dbtest.Postgres(t)
	bells := ears(t, d.URL)
	l, rings, _ := run(t, d.Open(t), listener.Config{NoNotify: true, Poll: 20 * time.Millisecond})
	waitFor(t, l, listener.Polling)
	l.Announce()
	require.Empty(t, bells(200*time.Millisecond))
	until(t, 10*time.Second, "the poll rings", func() bool { return rings.Load() > 3 })
}

// Start and Close at any moment, many at once: goleak sees what stays behind.
func TestStartAndCloseStress(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		pool, err := db.DB()
		require.NoError(t, err)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for j := range 12 {
					l, err := listener.New(listener.Config{DB: pool, Dialect: db.Name(), Channel: "bells", Poll: time.Millisecond, Ring: func() {}, Logger: quiet})
					if err != nil {
						t.Error(err)
						return
					}
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i*j)*time.Millisecond)
					l.Announce()
					l.Run(ctx)
					cancel()
				}
			})
		}
		all.Wait()
		if d.Dialect == "sqlite" {
			return
		}
		until(t, 10*time.Second, "no connection of ours is left", func() bool {
			var n int
			require.NoError(t, db.Raw("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gormsync'").Scan(&n).Error)
			return n == 0
		})
	})
}

func TestNewRefuses(t *testing.T) {
	for want, cfg := range map[string]listener.Config{
		"ListenDSN is for PostgreSQL":              {Dialect: "sqlite", DSN: "postgres://x"},
		"choose a shorter Config.TablePrefix":      {Dialect: "postgres", Channel: strings.Repeat("x", 64)},
		"gormsync: Config.ListenDSN: cannot parse": {Dialect: "postgres", DSN: "postgres://user:secret@host:port/x"},
	} {
		_, err := listener.New(cfg)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestStatusAsJSON(t *testing.T) {
	text, err := json.Marshal(listener.Status{Mode: listener.Degraded, Reason: "why", LastError: "what"})
	require.NoError(t, err)
	require.JSONEq(t, `{"mode":"degraded","since":"0001-01-01T00:00:00Z","reason":"why","last_error":"what"}`, string(text))
}

// Two pools on one file are to SQLite what two processes are.
func TestSQLiteFileOfTwo(t *testing.T) {
	d := dbtest.SQLite(t)
	ours, theirs := d.Open(t), d.Open(t)
	require.NoError(t, ours.AutoMigrate(&item{}))
	l, rings, _ := run(t, ours, listener.Config{Poll: -1})
	waitFor(t, l, listener.Listening)
	for range 5 {
		before := rings.Load()
		require.NoError(t, theirs.Create(&item{}).Error)
		until(t, 10*time.Second, "the other's write is seen", func() bool { return rings.Load() > before })
	}
	require.NotZero(t, l.Status().LastBell)
}

// A small pool is never kept from the application, even if it is made so later.
func TestSQLiteWithFewConnections(t *testing.T) {
	for _, most := range []int{1, 2} {
		path := filepath.ToSlash(filepath.Join(t.TempDir(), "few.db"))
		db, err := gorm.Open(sqlite.Open(path), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		pool, err := db.DB()
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, pool.Close()) })
		l, rings, stop := run(t, db, listener.Config{Poll: 20 * time.Millisecond})
		waitFor(t, l, listener.Listening)
		pool.SetMaxOpenConns(most)
		waitFor(t, l, listener.Polling)
		require.Contains(t, l.Status().Reason, "fewer than 3 connections")
		for range most { // all of them at once
			conn, err := pool.Conn(t.Context())
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() }) // before the pool
		}
		before := rings.Load()
		until(t, 10*time.Second, "the poll rings", func() bool { return rings.Load() > before })
		stop()
	}
}

// A link that was cut holds nobody up at the end, whatever is on its way.
func TestCloseOnASilentLink(t *testing.T) {
	t.Parallel()
	for _, pending := range []bool{false, true} {
		d := dbtest.Postgres(t)
		link := newProxy(t, d.URL)
		bells := ears(t, d.URL)
		l, _, stop := run(t, pool(t, link.url), listener.Config{Poll: 20 * time.Millisecond})
		waitFor(t, l, listener.Listening)
		l.Announce()
		require.Len(t, bells(300*time.Millisecond), 1)
		link.cut()
		l.Announce()
		if pending { // or it is sent at the end only
			<-time.After(200 * time.Millisecond)
		}
		began := time.Now()
		stop()
		require.Less(t, time.Since(began), 3*time.Second, "a second is what the last words may take")
	}
}
