package listener_test

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/listener"
)

var outageFor = flag.Duration("outage.for", 8*time.Second, "how long the server of TestListener/server/outage is down")

const defaultPoll = 2 * time.Second

// TestListener has one process write and another one listen while things break.
// Whatever happens, nothing may be lost; how long it takes is printed, and must
// not be longer than what the design promises, with room for a busy machine.
func TestListener(t *testing.T) {
	t.Parallel()
	shared := newCluster(t, dbtest.ClusterOptions{})
	for name, fault := range map[string]func(*testing.T, *dbtest.Cluster){
		"terminate": faultTerminate, "server": faultServer, "hang": faultHang, "cut": faultCut,
		"slow": faultSlow, "password": faultPassword, "elsewhere": faultElsewhere, "transaction pooler": faultTransactionPooler, "session pooler": faultSessionPooler,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fault(t, shared)
		})
	}
}

// backends are the processes behind our own connections to a database, those that
// listen and those that announce.
func backends(t *testing.T, db *gorm.DB) (pids []int) {
	t.Helper()
	require.NoError(t, db.Raw("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'gormsync'").Scan(&pids).Error)
	require.NotEmpty(t, pids)
	return pids
}

// With no poll at all: the bells alone do it.
func faultTerminate(t *testing.T, c *dbtest.Cluster) {
	url := database(t, c, "terminate")
	w := newWriter(t, url, nil)
	r := newReader(t, url, listener.Config{Poll: -1})
	r.reaches(t, listener.Listening, 10*time.Second)
	r.delivered(t, w)
	until(t, 10*time.Second, "there are two connections of a process that writes, and one of one that does not", func() bool { return len(backends(t, w.db)) == 3 })
	stop := w.traffic()
	for range 3 {
		require.NoError(t, w.db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'gormsync'").Error)
		require.Less(t, r.delivered(t, w), 2*time.Second)
		r.reaches(t, listener.Listening, 10*time.Second)
	}
	stop()
	require.NotEmpty(t, r.Status().LastError)
	require.Less(t, r.complete(t, w), 6*time.Second)
}

func faultServer(t *testing.T, _ *dbtest.Cluster) {
	c := newCluster(t, dbtest.ClusterOptions{Durable: true})
	t.Run("restart", func(t *testing.T) { faultRestart(t, c) })
	t.Run("outage", func(t *testing.T) { faultOutage(t, c) })
}

func faultRestart(t *testing.T, c *dbtest.Cluster) {
	w := newWriter(t, c.URL(), nil)
	r := newReader(t, c.URL(), listener.Config{Poll: defaultPoll})
	r.reaches(t, listener.Listening, 10*time.Second)
	stop := w.traffic()
	require.NoError(t, c.Stop("fast"))
	require.NoError(t, c.Start())
	again := r.reaches(t, listener.Listening, 10*time.Second)
	t.Logf("listening again %v after the server was ready", again.Round(time.Millisecond))
	stop()
	require.Less(t, r.delivered(t, w), 2*time.Second)
	r.complete(t, w)
	require.Less(t, again, 6*time.Second)
}

func faultOutage(t *testing.T, c *dbtest.Cluster) {
	w := newWriter(t, c.URL(), nil)
	r := newReader(t, c.URL(), listener.Config{Poll: defaultPoll})
	r.reaches(t, listener.Listening, 10*time.Second)
	stop := w.traffic()
	require.NoError(t, c.Stop("immediate"))
	r.reaches(t, listener.Degraded, 10*time.Second)
	<-time.After(*outageFor)
	require.Equal(t, listener.Degraded, r.Status().Mode)
	require.NotEmpty(t, r.Status().Reason)
	require.NoError(t, c.Start())
	first := r.delivered(t, w)
	again := r.reaches(t, listener.Listening, 10*time.Second)
	t.Logf("after %v without a server: the next row after %v, listening again after %v", *outageFor, first.Round(time.Millisecond), (first + again).Round(time.Millisecond))
	stop()
	r.complete(t, w)
	require.Less(t, first, 2*time.Second)
	require.Less(t, again, 5*time.Second)
}

// The processes behind our connections stop: the connections stay, and say
// nothing.
func faultHang(t *testing.T, c *dbtest.Cluster) {
	url := database(t, c, "hang")
	w := newWriter(t, url, nil)
	r := newReader(t, url, listener.Config{Poll: defaultPoll})
	r.reaches(t, listener.Listening, 10*time.Second)
	stop := w.traffic()
	began := time.Now()
	for _, pid := range backends(t, w.db) {
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) }) // it may be gone
	}
	first := r.delivered(t, w)
	r.reaches(t, listener.Degraded, 10*time.Second)
	noticed := time.Since(began)
	r.reaches(t, listener.Listening, 10*time.Second)
	again := time.Since(began)
	t.Logf("the next row came after %v, the silence was noticed after %v, listening again after %v", first.Round(time.Millisecond), noticed.Round(time.Millisecond), again.Round(time.Millisecond))
	<-time.After(20*time.Second - time.Since(began))
	require.Equal(t, listener.Listening, r.Status().Mode)
	stop()
	require.Less(t, r.complete(t, w), 8*time.Second)
	require.Less(t, first, 6*time.Second, "the poll comes after 2.5 s at most")
	require.Less(t, again, 10*time.Second)
}

// Nothing goes through any more, and nobody is told: a cable, a firewall, a
// machine without power.
func faultCut(t *testing.T, c *dbtest.Cluster) {
	url := database(t, c, "cut")
	w := newWriter(t, url, nil)
	link := newProxy(t, url)
	r := newReader(t, url, listener.Config{Poll: defaultPoll, DSN: link.url})
	r.reaches(t, listener.Listening, 10*time.Second)
	stop := w.traffic()
	link.cut()
	began := time.Now()
	first := r.delivered(t, w)
	r.reaches(t, listener.Degraded, 10*time.Second)
	noticed := time.Since(began)
	link.mend()
	again := r.reaches(t, listener.Listening, 15*time.Second)
	t.Logf("the next row came after %v, the cut was noticed after %v, listening again %v after the link was back", first.Round(time.Millisecond), noticed.Round(time.Millisecond), again.Round(time.Millisecond))
	stop()
	require.Less(t, r.complete(t, w), 8*time.Second)
	require.Less(t, first, 6*time.Second)
	require.Less(t, noticed, 9*time.Second, "the watchdog cuts after 6 s of silence")
	require.Less(t, again, 9*time.Second)
}

// Whoever is rung does not come back for a while: the connection is read all the
// same, or PostgreSQL could not clear its queue.
func faultSlow(t *testing.T, c *dbtest.Cluster) {
	url := database(t, c, "slow")
	w := newWriter(t, url, nil)
	r := newReader(t, url, listener.Config{Poll: -1})
	r.reaches(t, listener.Listening, 10*time.Second)
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	r.mu.Lock()
	r.held = held
	r.mu.Unlock()
	require.NoError(t, w.write())
	since := r.Status().Since
	for i := range 200 { // 8 MB: far more than the buffers of the kernel and of lib/pq hold
		require.NoError(t, w.db.Exec(`SELECT pg_notify('_rhtmx_sync', ?::text || repeat('x', 4000) || n) FROM generate_series(1, 10) n`, fmt.Sprint(i)).Error)
	}
	bell := r.Status().LastBell
	require.NoError(t, w.db.Exec("NOTIFY _rhtmx_sync").Error)
	until(t, 10*time.Second, "the last bell is read", func() bool { return r.Status().LastBell.After(bell) })
	var stuck int
	require.NoError(t, w.db.Raw("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'ClientWrite'").Scan(&stuck).Error)
	require.Zero(t, stuck)
	<-time.After(7 * time.Second) // longer than the watchdog's patience
	require.Equal(t, since, r.Status().Since, "the connection was lost though it was read")
	release()
	r.complete(t, w)
}

func faultPassword(t *testing.T, c *dbtest.Cluster) {
	dsn := database(t, c, "password")
	w := newWriter(t, dsn, nil)
	require.NoError(t, w.db.Exec("CREATE ROLE reader LOGIN SUPERUSER PASSWORD 'first'").Error)
	rules := filepath.Join(c.Dir(), "data", "pg_hba.conf")
	old, err := os.ReadFile(rules)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(rules, append([]byte("host all reader 127.0.0.1/32 scram-sha-256\n"), old...), 0o600))
	require.NoError(t, w.db.Exec("SELECT pg_reload_conf()").Error)
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	u.User = url.UserPassword("reader", "first")
	r := newReader(t, dsn, listener.Config{Poll: defaultPoll, DSN: u.String()})
	r.reaches(t, listener.Listening, 10*time.Second)
	stop := w.traffic()
	require.NoError(t, w.db.Exec("ALTER ROLE reader PASSWORD 'second'").Error)
	require.NoError(t, w.db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'").Error)
	first := r.delivered(t, w)
	until(t, 10*time.Second, "the password is refused", func() bool {
		s := r.Status()
		return s.Mode == listener.Degraded && s.LastError != "" && s.Reason != ""
	})
	until(t, 10*time.Second, "the reason is known", func() bool { return strings.Contains(r.Status().LastError, "password") })
	require.NotContains(t, r.Status().LastError, "first", "the password stands in the error")
	slow := r.delivered(t, w)
	require.NoError(t, w.db.Exec("ALTER ROLE reader PASSWORD 'first'").Error)
	again := r.reaches(t, listener.Listening, 10*time.Second)
	t.Logf("a row came after %v, then after %v by the poll, listening again %v after the password fitted", first.Round(time.Millisecond), slow.Round(time.Millisecond), again.Round(time.Millisecond))
	stop()
	r.complete(t, w)
	require.Less(t, slow, 2*time.Second, "the poll comes after 0.6 s at most")
	require.Less(t, again, 5*time.Second)
}

// A DSN of another database hears nothing of this one.
func faultElsewhere(t *testing.T, c *dbtest.Cluster) {
	here, there := database(t, c, "here"), database(t, c, "there")
	status := modeOf(t, pool(t, here), there)
	require.Equal(t, listener.Degraded, status.Mode)
	require.Contains(t, status.Reason, "two databases")
	require.Equal(t, listener.Listening, modeOf(t, pool(t, here), here).Mode)
}

// A server that does not answer when a process starts is an error, soon.
func TestStartWithoutServer(t *testing.T) {
	t.Parallel()
	link := newProxy(t, dbtest.Postgres(t).URL)
	db := pool(t, link.url)
	require.NoError(t, db.AutoMigrate(&item{}))
	sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &item{}}}, Logger: quiet})
	require.NoError(t, err)
	require.NoError(t, db.Use(sync))
	link.cut()
	began := time.Now()
	err = sync.Start(t.Context())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "is the database up, and is a connection of its pool free?")
	require.Less(t, time.Since(began), 7*time.Second, "5 s are promised")
	link.mend()
	require.NoError(t, sync.Start(t.Context()), "a second attempt")
	require.NoError(t, sync.Close(t.Context()))
}
