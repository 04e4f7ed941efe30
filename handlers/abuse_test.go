package handlers_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// heap is what is in use after a collection, in MiB.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc >> 20)
}

// TestAbuse: what no honest client sends ends in the documented close code or
// status, and leaves nothing in memory.
func TestAbuse(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) {
			c.AllowedOrigins = []string{"https://app.example"}
			c.Limits.MessageRate, c.Limits.MessageBurst = 200, 20
		})
		before := heap()
		for name, fn := range map[string]func(*testing.T, *app){
			"origin": foreignOrigins, "large frames": largeFrames, "gzip bombs": gzipBombs, "ping flood": pingFlood,
			"many subscriptions": manySubscriptions, "many names": manyNames, "half handshakes": halfHandshakes, "nesting": nesting,
			"unread answers": unreadAnswers,
		} {
			t.Run(name, func(t *testing.T) { fn(t, a) })
		}
		require.Less(t, heap()-before, 16, "MiB more than before")
		s := a.dial(t, "/sync/ws", nil) // and the others never notice
		s.subscribe(since(a.now(t, "")))
		a.save(t, Todo{ID: "a"})
		require.Equal(t, "a", s.next().Change.EntityID)
	})
}

func foreignOrigins(t *testing.T, a *app) {
	t.Helper()
	origin := func(text string) http.Header { return http.Header{"Origin": {text}} }
	for _, foreign := range []string{"https://evil.example", "null", "http://" + a.server.Listener.Addr().String() + ".evil.example", "https://app.example.evil"} {
		require.Equal(t, http.StatusForbidden, a.refused(t, "/sync/ws", origin(foreign)), foreign)
		require.Equal(t, http.StatusForbidden, a.refused(t, "/field-sync/ws", origin(foreign)), foreign)
		require.Equal(t, http.StatusForbidden, a.stream(t, "", origin(foreign)).res.StatusCode, foreign)
	}
	for _, own := range []string{"https://app.example", a.server.URL} {
		require.NoError(t, a.dial(t, "/sync/ws", origin(own)).Close())
		require.Equal(t, http.StatusOK, a.stream(t, "", origin(own)).res.StatusCode)
	}
}

func largeFrames(t *testing.T, a *app) {
	t.Helper()
	for range 8 {
		s := a.dial(t, "/sync/ws", nil)
		s.send(strings.Repeat("x", 1<<20))
		require.Equal(t, 1009, s.code())
	}
}

func gzipBombs(t *testing.T, a *app) {
	t.Helper()
	bomb := gzipped(t, bytes.Repeat([]byte{'['}, 16<<20))
	require.Less(t, len(bomb), 64<<10)
	for range 4 {
		s := a.dial(t, "/sync/ws", nil)
		require.NoError(t, s.WriteMessage(websocket.BinaryMessage, bomb))
		require.Equal(t, 1009, s.code())
	}
	s := a.dial(t, "/sync/ws", nil)
	require.NoError(t, s.WriteMessage(websocket.BinaryMessage, []byte("no gzip")))
	require.Equal(t, "bad_request", s.next().Code)
	require.NoError(t, s.WriteMessage(websocket.BinaryMessage, gzipped(t, []byte(`{"type":"ping"}`))))
	require.Equal(t, "pong", s.next().Type)
}

// flood sends until the server has had enough.
func flood(t *testing.T, a *app, kind int, body string) int {
	t.Helper()
	s := a.dial(t, "/sync/ws", nil)
	go func() {
		for s.WriteMessage(kind, []byte(body)) == nil { // until the server has had enough
		}
	}()
	return s.code()
}

func pingFlood(t *testing.T, a *app) {
	t.Helper()
	require.Equal(t, 4029, flood(t, a, websocket.PingMessage, "x"))
	require.Equal(t, 4029, flood(t, a, websocket.TextMessage, `{"type":"ping"}`))
	require.Equal(t, 4029, flood(t, a, websocket.BinaryMessage, "no gzip"))
}

func manySubscriptions(t *testing.T, a *app) {
	t.Helper()
	require.Equal(t, 4029, flood(t, a, websocket.TextMessage, `{"type":"subscribe","entities":["todos"]}`))
}

func manyNames(t *testing.T, a *app) {
	t.Helper()
	s := a.dial(t, "/sync/ws", nil)
	s.send(`{"type":"subscribe","entities":["todos"` + strings.Repeat(`,"todos"`, 6000) + `]}`)
	require.Equal(t, "bad_request", s.next().Code)
	require.Equal(t, http.StatusBadRequest, a.stream(t, "?entities="+strings.Repeat("x,", 200), nil).res.StatusCode)
}

func halfHandshakes(t *testing.T, a *app) {
	t.Helper()
	conns := make([]net.Conn, 50)
	for i := range conns {
		conns[i] = a.half(t)
	}
	for _, conn := range conns {
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err := io.Copy(io.Discard, conn) // the server ends it: http.Server.ReadHeaderTimeout
		require.NoError(t, err)
	}
}

func nesting(t *testing.T, a *app) {
	t.Helper()
	s := a.dial(t, "/sync/ws", nil)
	for _, open := range []string{`[`, `{"a":`, `{"type":"subscribe","since":{"a":`, `{"since":[[`} {
		s.send(strings.Repeat(open, (60<<10)/len(open)))
		require.Equal(t, "bad_request", s.next().Code)
	}
	s.send(`{"type":"ping"}`)
	require.Equal(t, "pong", s.next().Type)
}

// A client that asks and does not read.
func unreadAnswers(t *testing.T, a *app) {
	t.Helper()
	for i := range 100 {
		a.save(t, Todo{ID: strings.Repeat("z", i+1), Title: strings.Repeat("x", 10_000)})
	}
	s := a.dial(t, "/sync/ws", nil)
	go func() {
		for s.WriteMessage(websocket.TextMessage, []byte(`{"type":"sync","entity":"todos"}`)) == nil {
		}
	}()
	require.Equal(t, 4029, s.code())
}
