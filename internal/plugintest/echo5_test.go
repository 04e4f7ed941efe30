package plugintest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// mountOn5 is the whole layer that an Echo v5 application needs.
func mountOn5(g *echo.Group, sync *gormsync.Plugin, authorize func(c *echo.Context, entity string) (gormsync.Access, error)) error {
	routes, err := sync.Routes()
	for _, r := range routes {
		g.Add(r.Method, r.Path, func(c *echo.Context) error {
			for _, v := range c.PathValues() {
				c.Request().SetPathValue(v.Name, v.Value)
			}
			r.Serve(c.Response(), c.Request(), gormsync.Client{
				Authorize: func(entity string) (gormsync.Access, error) { return authorize(c, entity) }, Through: c.Echo(),
			})
			return nil
		})
	}
	return err
}

func TestEcho5(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, db.AutoMigrate(&Part{}))
		sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Part{}}}, Poll: -1, Reauthorize: 50 * time.Millisecond})
		require.NoError(t, err)
		require.NoError(t, db.Use(sync))
		signedIn := make(chan bool, 1)
		signedIn <- true
		e := echo.New()
		e.Use(middleware.Recover(), middleware.Gzip())
		require.NoError(t, mountOn5(e.Group("/api/:tenant"), sync, func(c *echo.Context, _ string) (gormsync.Access, error) {
			now := <-signedIn
			signedIn <- now
			if !now || c.Param("tenant") != "one" {
				return gormsync.Access{}, echo.ErrUnauthorized
			}
			return gormsync.Access{Read: true, AllScopes: true}, nil
		}))
		server := httptest.NewServer(e)
		defer server.Close()
		defer func() { require.NoError(t, sync.Close(context.Background())) }()

		res, err := http.Get(server.URL + "/api/one/sync/parts")
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusOK, res.StatusCode)
		address := "ws" + strings.TrimPrefix(server.URL, "http")
		_, res, err = websocket.DefaultDialer.Dial(address+"/api/two/sync/ws", nil)
		require.Error(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
		conn, res, err := websocket.DefaultDialer.Dial(address+"/api/one/sync/ws", nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		require.NoError(t, conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"subscribe"}`)))
		_, body, err := conn.ReadMessage()
		require.NoError(t, err)
		require.Contains(t, string(body), `"subscribed"`)
		require.NoError(t, db.Create(&Part{ID: 7}).Error)
		_, body, err = conn.ReadMessage()
		require.NoError(t, err)
		require.Contains(t, string(body), `"entity_id":"7"`)
		<-signedIn
		signedIn <- false
		_, _, err = conn.ReadMessage()
		require.True(t, websocket.IsCloseError(err, 4001), "%v", err)
	})
}
