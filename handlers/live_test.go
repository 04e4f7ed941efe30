package handlers_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

func team(names ...string) *gormsync.Access {
	return &gormsync.Access{Read: true, Scopes: names, Actor: "alice"}
}

func TestConnectionLimits(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) {
			c.Limits = gormsync.Limits{Connections: 4, ActorConnections: 2, Topics: 3}
		})
		bob := team("red", "blue", "green", "grey")
		bob.Actor = "bob"
		a.users.set("alice", team("red"))
		a.users.set("bob", bob)
		first := a.dial(t, "/sync/ws?token=alice", nil)
		require.Equal(t, http.StatusOK, a.stream(t, "?token=alice", nil).res.StatusCode)
		require.Equal(t, http.StatusTooManyRequests, a.refused(t, "/sync/ws?token=alice", nil))
		require.Equal(t, http.StatusTooManyRequests, a.stream(t, "?token=alice", nil).res.StatusCode)
		s := a.dial(t, "/sync/ws?token=bob", nil)
		a.dial(t, "/field-sync/ws?token=bob", nil)
		a.users.set("carol", &gormsync.Access{Read: true, AllScopes: true})
		require.Equal(t, http.StatusServiceUnavailable, a.refused(t, "/sync/ws?token=carol", nil))
		require.Equal(t, http.StatusUnauthorized, a.refused(t, "/sync/ws?token=mallory", nil))

		s.send(`{"type":"subscribe"}`)
		require.Equal(t, "too_many", s.next().Code, "four scopes")
		require.NoError(t, first.Close())
		eventually(t, func() bool { // the server hears of it in a moment
			_, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(a.url("/sync/ws?token=alice"), "http"), nil)
			require.NoError(t, res.Body.Close())
			return err == nil
		})
	})
}

// eventually asks again until it holds.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("it does not come to hold")
		}
	}
}

// What a live connection may see is decided again from time to time, behind the
// application's own middleware.
func TestAccessIsAskedAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Reauthorize = 50 * time.Millisecond })
		a.users.set("alice", team("red", "blue"))
		a.save(t, Todo{ID: "1", Team: "red"}, Todo{ID: "2", Team: "blue"}, Todo{ID: "3", Team: "green"})
		s := a.dial(t, "/sync/ws", http.Header{"X-Token": {"alice"}})
		e := a.stream(t, "?entities=todos&token=alice&since="+a.now(t, "alice"), nil)
		s.subscribe(since(a.now(t, "alice")))

		a.users.set("alice", team("red", "green"))
		require.Equal(t, []string{"todos"}, skipTo(s, "reset").Entities, "other scopes: a snapshot is needed")
		require.Equal(t, "reset", e.next().Type)
		a.save(t, Todo{ID: "2", Team: "blue", Title: "unseen"}, Todo{ID: "3", Team: "green", Title: "seen"})
		require.Equal(t, "3", s.next().Change.EntityID)
		require.Equal(t, "3", e.next().Change.EntityID)

		a.users.set("alice", nil) // signed out
		require.Equal(t, 4001, s.code())
		_, err := e.in.ReadString('x')
		require.Error(t, err, "the stream has ended")
	})
}

func skipTo(s ws, kind string) message {
	s.t.Helper()
	for {
		if m := s.next(); m.Type == kind {
			return m
		}
	}
}

func TestAccessIsTakenAway(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Reauthorize = 50 * time.Millisecond })
		a.users.set("alice", team("red"))
		s := a.dial(t, "/sync/ws?token=alice", nil)
		s.subscribe("")
		a.users.set("alice", &gormsync.Access{Actor: "alice"})
		require.Equal(t, 4003, s.code())
		a.users.set("alice", team("red"))
		s = a.dial(t, "/sync/ws?token=alice", nil) // one that follows nothing yet
		a.users.set("alice", &gormsync.Access{})
		require.Equal(t, 4003, s.code())
	})
}

func TestAccessExpires(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		short := team("red")
		short.Expires = time.Now().Add(300 * time.Millisecond)
		a.users.set("alice", short)
		longer := a.dial(t, "/sync/ws?token=alice", nil)
		ends := a.dial(t, "/sync/ws?token=alice", nil)
		ends.subscribe("")
		require.Equal(t, 4001, ends.code())
		require.Equal(t, 4001, longer.code())
		short.Expires = time.Now().Add(300 * time.Millisecond)
		a.users.set("alice", short)
		s := a.dial(t, "/sync/ws?token=alice", nil)
		s.subscribe("")
		renewed := team("red")
		renewed.Expires = time.Now().Add(time.Hour)
		a.users.set("alice", renewed) // asked again in time
		<-time.After(400 * time.Millisecond)
		a.save(t, Todo{ID: "1", Team: "red"})
		require.Equal(t, "1", s.next().Change.EntityID)
	})
}

func TestDisconnect(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		bob := team("red")
		bob.Actor = "bob"
		a.users.set("alice", team("red"))
		a.users.set("bob", bob)
		hers, his := a.dial(t, "/sync/ws?token=alice", nil), a.dial(t, "/sync/ws?token=bob", nil)
		stream := a.stream(t, "?token=alice", nil)
		hers.subscribe("")
		his.subscribe("")
		a.users.set("alice", nil)
		require.Equal(t, 2, a.sync.Disconnect(func(x gormsync.Access) bool { return x.Actor == "alice" }))
		require.Equal(t, 4001, hers.code())
		_, err := stream.in.ReadString('x')
		require.Error(t, err)
		require.Equal(t, http.StatusUnauthorized, a.refused(t, "/sync/ws?token=alice", nil))
		a.save(t, Todo{ID: "1", Team: "red"})
		require.Equal(t, "1", his.next().Change.EntityID)
	})
}

// A connection whose access was decided before Disconnect and that began after it
// is asked again at once.
func TestDisconnectMissesNobody(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		asked, goOn := make(chan struct{}, 1), make(chan struct{})
		var hold atomic.Bool
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) {
			was := c.Authorize
			c.Authorize = func(x echo.Context, entity string) (gormsync.Access, error) {
				access, err := was(x, entity)
				if hold.CompareAndSwap(true, false) {
					asked <- struct{}{}
					<-goOn
				}
				return access, err
			}
		})
		a.users.set("alice", team("red"))
		s := a.dial(t, "/sync/ws?token=alice", nil)
		hold.Store(true)
		s.send(`{"type":"subscribe"}`)
		<-asked
		a.users.set("alice", nil)
		a.sync.Disconnect(func(x gormsync.Access) bool { return x.Actor == "nobody" })
		close(goOn)
		require.Equal(t, 4001, s.code())
	})
}

// Everything that stays open is sent away, and what does not read is cut.
func TestClose(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		s, fields, idle := a.dial(t, "/sync/ws", nil), a.dial(t, "/field-sync/ws", nil), a.dial(t, "/sync/ws", nil)
		s.subscribe("")
		fields.subscribe("")
		e := a.stream(t, "", nil)
		_ = idle // reads nothing, and does not answer the close
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		codes := make(chan int, 2)
		for _, c := range []ws{s, fields} {
			go func() {
				_, _, err := c.ReadMessage()
				var closed *websocket.CloseError
				if !errors.As(err, &closed) || !strings.Contains(closed.Text, "retry=") {
					codes <- 0
					return
				}
				codes <- closed.Code
			}()
		}
		require.NoError(t, a.sync.Close(ctx))
		require.Less(t, time.Since(begun), 4*time.Second)
		require.Equal(t, 1012, <-codes)
		require.Equal(t, 1012, <-codes)
		rest, err := e.in.ReadString('x')
		require.Error(t, err)
		require.Equal(t, 2, strings.Count(rest, "retry: "), "at the begin and at the end: %q", rest)
		require.Equal(t, http.StatusServiceUnavailable, a.refused(t, "/sync/ws", nil))
		require.Equal(t, http.StatusServiceUnavailable, a.stream(t, "", nil).res.StatusCode)
		require.NoError(t, a.echo.Server.Shutdown(ctx))
	})
}

func TestHeartbeatsMoveTheCursor(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Heartbeat = 100 * time.Millisecond })
		a.users.set("red", team("red"))
		s := a.dial(t, "/sync/ws?token=red", nil)
		begin := s.subscribe("").Cursor
		e := a.stream(t, "?token=red", nil)
		a.save(t, Todo{ID: "1", Team: "blue"})
		eventually(t, func() bool { m := s.next(); return m.Type == "heartbeat" && m.Cursor != begin })
		eventually(t, func() bool { m := e.next(); return m.Type == "heartbeat" && m.Cursor != begin })
	})
}
