package handlers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// starter is start or startTLS.
type starter func(*testing.T, *dbtest.DB, func(*gormsync.Config, *echo.Echo)) *app

// eachTransport tests both ways of writing: directly, and by melody for TLS.
func eachTransport(t *testing.T, fn func(*testing.T, *dbtest.DB, starter)) {
	t.Helper()
	t.Run("tcp", func(t *testing.T) { dbtest.Each(t, func(t *testing.T, d *dbtest.DB) { fn(t, d, start) }) })
	t.Run("tls", func(t *testing.T) { dbtest.Each(t, func(t *testing.T, d *dbtest.DB) { fn(t, d, startTLS) }) })
}

// Answers to pings come between the frames of changes, of all sizes, and never amid
// one, also while those fill the socket time and again.
func TestFramesAreWhole(t *testing.T) {
	eachTransport(t, func(t *testing.T, d *dbtest.DB, start starter) {
		t.Helper()
		const changes, pings = 100, 200
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Limits.MessageRate, c.WriteWait = -1, time.Minute })
		s := a.dial(t, "/sync/ws", nil)
		s.subscribe("")
		pongs := make(chan string, pings)
		s.SetPongHandler(func(data string) error {
			pongs <- data
			return nil
		})
		go func() {
			for i := range pings {
				if s.WriteControl(websocket.PingMessage, fmt.Append(nil, i), time.Now().Add(10*time.Second)) != nil {
					return // the test has failed already
				}
				<-time.After(time.Millisecond)
			}
		}()
		go func() {
			for i := range changes {
				if err := a.db.Save(&Todo{ID: fmt.Sprint(i), Title: strings.Repeat("x", 1+i%3*40_000)}).Error; err != nil {
					t.Errorf("saving: %v", err)
				}
			}
		}()
		for i := range changes {
			m := s.next()
			require.Equal(t, fmt.Sprint(i), m.Change.EntityID)
			if i%10 == 0 {
				<-time.After(20 * time.Millisecond)
			}
		}
		s.send(`{"type":"ping"}`) // behind all others
		require.Equal(t, "pong", s.next().Type)
		require.Len(t, pongs, pings)
		for i := range pings {
			require.Equal(t, fmt.Sprint(i), <-pongs)
		}
	})
}

// A client that does not read gets everything once it does, whatever writes.
func TestStalledThenReads(t *testing.T) {
	eachTransport(t, func(t *testing.T, d *dbtest.DB, start starter) {
		t.Helper()
		const changes = 150
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Ring, c.WriteWait = 64, time.Minute })
		s := a.dial(t, "/sync/ws", nil)
		s.subscribe("")
		for i := range changes {
			a.save(t, Todo{ID: fmt.Sprint(i), Title: strings.Repeat("x", 20_000)})
		}
		for i := range changes {
			require.Equal(t, fmt.Sprint(i), s.nextWithin(time.Minute).Change.EntityID)
		}
	})
}

// Every close code comes through, whatever writes.
func TestCloseCodes(t *testing.T) {
	eachTransport(t, func(t *testing.T, d *dbtest.DB, start starter) {
		t.Helper()
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Limits.MessageRate = 200 })
		a.users.set("alice", team("red"))
		dial := func() ws {
			s := a.dial(t, "/sync/ws?token=alice", nil)
			s.subscribe("")
			return s
		}
		s := dial()
		s.send(strings.Repeat("x", 1<<20))
		require.Equal(t, 1009, s.code())
		require.Equal(t, 4029, floodOver(dial(), func(s ws) error { return s.WriteMessage(websocket.PongMessage, nil) }))
		require.Equal(t, 4029, floodOver(dial(), emptyFragments()))
		s = dial()
		require.Positive(t, a.sync.Disconnect(func(x gormsync.Access) bool { return x.Actor == "alice" }))
		require.Equal(t, 4001, s.code())
		s = dial()
		require.NoError(t, a.sync.Close(t.Context()))
		require.Equal(t, 1012, s.code())
	})
}

// floodOver sends until the server has had enough.
func floodOver(s ws, send func(ws) error) int {
	go func() {
		for send(s) == nil {
		}
	}()
	return s.code()
}

// emptyFragments begins a message and goes on with nothing, for ever.
func emptyFragments() func(ws) error {
	next := []byte{0x01, 0x81, 0, 0, 0, 0, '{'} // text, not final, masked
	return func(s ws) error {
		_, err := s.NetConn().Write(next)
		next = []byte(strings.Repeat("\x00\x80\x00\x00\x00\x00", 100))
		return err
	}
}
