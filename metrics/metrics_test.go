package metrics_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/metrics"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// Note is the model of this test.
type Note struct {
	ID string `gorm:"primaryKey"`
}

var _ gormsync.Observer = (*metrics.Metrics)(nil)

func TestMetrics(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		m := metrics.New()
		registry := prometheus.NewPedanticRegistry()
		require.NoError(t, registry.Register(m))
		db := d.Open(t)
		require.NoError(t, db.AutoMigrate(&Note{}))
		sync, err := gormsync.New(gormsync.Config{
			Entities: []gormsync.Entity{{Model: &Note{}}}, Authorize: gormsync.UnsafeAllowAll, Observer: m, Poll: -1,
		})
		require.NoError(t, err)
		require.NoError(t, db.Use(sync))
		e := echo.New()
		require.NoError(t, sync.Mount(e.Group("/api")))
		server := httptest.NewServer(e)
		defer server.Close()
		conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/api/sync/ws", nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"subscribe","since":"42"}`)))
		for range 2 { // subscribed, and a reset
			_, _, err = conn.ReadMessage()
			require.NoError(t, err)
		}
		require.NoError(t, db.Create(&Note{ID: "a"}).Error)
		_, _, err = conn.ReadMessage()
		require.NoError(t, err)
		require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"sync","entity":"notes"}`)))
		for range 2 { // the change, and synced
			_, _, err = conn.ReadMessage()
			require.NoError(t, err)
		}
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP gormsync_answered_changes_total Changes in those frames.
# TYPE gormsync_answered_changes_total counter
gormsync_answered_changes_total 1
# HELP gormsync_answered_frames_total Frames with changes that answered sync messages.
# TYPE gormsync_answered_frames_total counter
gormsync_answered_frames_total 1
# HELP gormsync_connections Live connections.
# TYPE gormsync_connections gauge
gormsync_connections{transport="websocket"} 1
# HELP gormsync_delivered_changes_total Changes handed to connections.
# TYPE gormsync_delivered_changes_total counter
gormsync_delivered_changes_total 1
# HELP gormsync_resets_total Clients told to take a new snapshot.
# TYPE gormsync_resets_total counter
gormsync_resets_total{reason="cursor_expired"} 1
`), "gormsync_answered_changes_total", "gormsync_answered_frames_total", "gormsync_connections", "gormsync_delivered_changes_total", "gormsync_resets_total"))
		require.NoError(t, sync.Close(t.Context()))
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP gormsync_closed_total Connections ended by the server.
# TYPE gormsync_closed_total counter
gormsync_closed_total{code="1012"} 1
# HELP gormsync_connections Live connections.
# TYPE gormsync_connections gauge
gormsync_connections{transport="websocket"} 0
`), "gormsync_connections", "gormsync_closed_total"))
		found, err := testutil.GatherAndCount(registry)
		require.NoError(t, err)
		require.Equal(t, 14, found)
		problems, err := testutil.GatherAndLint(registry)
		require.NoError(t, err)
		require.Empty(t, problems)
	})
}
