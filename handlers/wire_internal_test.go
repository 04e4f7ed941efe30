package handlers

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

// A client that is silent is asked whether it is there; who answers stays.
func TestSilentClients(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newWorld(t, d, hubOptions{ring: 64, window: -1, heartbeat: time.Hour})
		h := New(Config{Log: w.log, Authorize: UnsafeAllowAll, Heartbeat: time.Hour})
		h.socket.pingPeriod, h.socket.pongWait = 100*time.Millisecond, 500*time.Millisecond
		e := echo.New()
		require.NoError(t, h.Mount(e.Group("")))
		require.NoError(t, h.Start(t.Context()))
		server := httptest.NewServer(e)
		t.Cleanup(func() {
			require.NoError(t, h.Close(context.Background()))
			server.Close()
		})
		dial := func(ping func(string) bool) <-chan struct{} {
			conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/sync/ws", nil)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			t.Cleanup(func() { _ = conn.Close() })
			answer := conn.PingHandler()
			conn.SetPingHandler(func(data string) error {
				if ping(data) {
					return answer(data)
				}
				return nil
			})
			ended := make(chan struct{})
			go func() {
				_, _, _ = conn.ReadMessage()
				close(ended)
			}()
			return ended
		}
		pings := make(chan struct{}, 1000)
		stays := dial(func(string) bool {
			pings <- struct{}{}
			return true
		})
		gone := dial(func(string) bool { return false })
		within(t, 10*time.Second, "the end of the client that is gone", gone)
		for range 5 {
			<-pings
		}
		select {
		case <-stays:
			t.Error("the client that answers was cut")
		default:
		}
	})
}
