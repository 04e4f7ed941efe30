package gormsync_test

import (
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/handlers"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// The middleware sees a live connection again under the path that it came by, also
// where a slash in it is encoded and means no other place.
func TestLiveBehindAnEncodedPath(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, db.AutoMigrate(&Todo{}))
		plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}, Poll: -1, Authorize: gormsync.UnsafeAllowAll})
		require.NoError(t, err)
		require.NoError(t, db.Use(plugin))
		e := echo.New()
		require.NoError(t, plugin.Mount(e.Group("/t/:tenant/api")))
		server := httptest.NewServer(e)
		defer server.Close()
		defer func() { require.NoError(t, plugin.Close(t.Context())) }()
		for _, tenant := range []string{"a", "a%2Fb", "a%20b", "%25"} {
			conn, res, err := websocket.DefaultDialer.Dial("ws"+server.URL[len("http"):]+"/t/"+tenant+"/api/sync/ws", nil)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			s := socket{t, conn}
			s.send(`{"type":"subscribe","entities":["todos"]}`)
			require.Equal(t, "subscribed", s.next().Type, tenant)
			require.NoError(t, conn.Close())
		}
	})
}

// behind keeps how far connections were behind.
type behind struct {
	handlers.NopObserver
	most atomic.Int64
}

func (b *behind) Delivered(_, _, behind int, _ time.Duration) {
	b.most.Store(max(b.most.Load(), int64(behind)))
}

func TestObserverTellsHowFarBehind(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		seen := &behind{}
		a := start(t, d, func(c *gormsync.Config) { c.Ring, c.Observer = 16, seen })
		s := a.dial(t)
		s.send(`{"type":"subscribe","entities":["todos"]}`)
		cursor := s.next().Cursor
		for i := range 50 {
			require.NoError(t, a.db.Create(&Todo{ID: string(rune('A' + i))}).Error)
			s.next()
		}
		require.Less(t, seen.most.Load(), int64(50))
		s = a.dial(t)
		s.send(`{"type":"subscribe","entities":["todos"],"since":"` + cursor + `"}`)
		for range 51 {
			s.next()
		}
		require.InDelta(t, 49, seen.most.Load(), 3)
	})
}
