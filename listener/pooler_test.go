package listener_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/listener"
)

// pgbouncer runs a PgBouncer before the database of a URL, and gives the URL of
// the same database through it.
func pgbouncer(t *testing.T, dsn, mode string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/pgbouncer")
	}
	require.NoError(t, err, "no PgBouncer to test with: install it (apt-get install pgbouncer), or run make setup")
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	file := filepath.Join(t.TempDir(), "pgbouncer.ini")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `[databases]
* = host=127.0.0.1 port=%s user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = 10
max_client_conn = 100
ignore_startup_parameters = extra_float_digits
`, u.Port(), port, mode), 0o600))
	args := []string{"-q", file}
	if os.Geteuid() == 0 { // it refuses to be root
		args = []string{"-q", "-u", "nobody", file}
	}
	cmd := exec.Command(program, args...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	u.Host = fmt.Sprintf("127.0.0.1:%d", port)
	until(t, 10*time.Second, "PgBouncer answers", func() bool {
		conn, err := net.Dial("tcp", u.Host)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return u.String()
}

// simple makes pgx do without prepared statements, which transaction poolers lose.
func simple(dsn string) string { return dsn + "&default_query_exec_mode=exec" }

// Behind a transaction pooler LISTEN succeeds and nothing arrives: that is
// noticed, the poll takes over, and a direct ListenDSN mends it.
func faultTransactionPooler(t *testing.T, c *dbtest.Cluster) {
	dsn := database(t, c, "transactions")
	pooled := simple(pgbouncer(t, dsn, "transaction"))
	w := newWriter(t, pooled, nil)
	began := time.Now()
	r := newReader(t, pooled, listener.Config{Poll: defaultPoll})
	direct := newReader(t, pooled, listener.Config{Poll: -1, DSN: dsn})
	until(t, 15*time.Second, "the pooler is recognised", func() bool {
		return strings.Contains(r.Status().Reason, "transaction pooler")
	})
	t.Logf("recognised after %v: %s", time.Since(began).Round(time.Millisecond), r.Status().Reason)
	require.Equal(t, listener.Degraded, r.Status().Mode)
	direct.reaches(t, listener.Listening, 10*time.Second)
	until(t, 15*time.Second, "the writer recognises it", func() bool { return w.sync.Status().Mode == gormsync.Degraded })
	stop := w.traffic()
	polled, rung := r.delivered(t, w), direct.delivered(t, w)
	t.Logf("a row came after %v by the poll, after %v to the one with a direct ListenDSN: NOTIFY goes through the pooler", polled.Round(time.Millisecond), rung.Round(time.Millisecond))
	stop()
	require.Less(t, r.complete(t, w), 6*time.Second)
	require.Less(t, direct.complete(t, w), 6*time.Second)
	require.Equal(t, listener.Degraded, r.Status().Mode)
	require.Equal(t, listener.Listening, direct.Status().Mode)
}

func faultSessionPooler(t *testing.T, c *dbtest.Cluster) {
	dsn := database(t, c, "sessions")
	pooled := pgbouncer(t, dsn, "session")
	w := newWriter(t, pooled, nil)
	r := newReader(t, pooled, listener.Config{Poll: -1})
	r.reaches(t, listener.Listening, 10*time.Second)
	stop := w.traffic()
	for range 5 {
		require.Less(t, r.delivered(t, w), 2*time.Second)
	}
	stop()
	r.complete(t, w)
}
