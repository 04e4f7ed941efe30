package listener_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/listener"
)

// simple makes pgx do without prepared statements, which transaction poolers lose.
func simple(dsn string) string { return dsn + "&default_query_exec_mode=exec" }

// Behind a transaction pooler LISTEN succeeds and nothing arrives: that is
// noticed, the poll takes over, and a direct ListenDSN mends it.
func faultTransactionPooler(t *testing.T, c *dbtest.Cluster) {
	dsn := database(t, c, "transactions")
	pooled := simple(dbtest.PgBouncer(t, dsn, "transaction"))
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
	pooled := dbtest.PgBouncer(t, dsn, "session")
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
