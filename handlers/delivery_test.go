package handlers_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

func (m message) rows() []string {
	var out []string
	for _, c := range append(m.Changes, m.Change) {
		if c.Version != 0 {
			out = append(out, strings.TrimSpace(c.Action+" "+c.EntityID+" "+c.Field))
		}
	}
	return out
}

func TestFieldSocket(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		s, batch := a.dial(t, "/field-sync/ws", nil), a.dial(t, "/field-sync/ws", nil)
		begin := s.subscribe("").Cursor
		batch.subscribe(`,"batch":true`)
		a.save(t, Todo{ID: "1", Title: "x", Team: "red"})
		first := s.next()
		require.Equal(t, "field_change", first.Type)
		require.Equal(t, []string{"update 1 title"}, first.rows())
		require.Equal(t, []string{"update 1 team"}, s.next().rows())
		both := batch.next()
		require.Equal(t, "field_changes", both.Type)
		require.Equal(t, []string{"update 1 title", "update 1 team"}, both.rows())

		again := a.dial(t, "/field-sync/ws", nil)
		again.subscribe(fmt.Sprintf(`,"since":%q,"batch":true`, begin))
		require.Equal(t, both.rows(), again.next().rows())
		again.subscribe(fmt.Sprintf(`,"since":%q,"batch":true`, first.Cursor)) // amid the fields of a change: those come again
		require.Equal(t, both.rows(), again.next().rows())
	})
}

// A row that moves between teams goes from the one and comes to the other, in
// place in its transaction.
func TestMovesBetweenScopes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		a.users.set("red", team("red"))
		a.users.set("blue", team("blue"))
		a.users.set("both", team("blue", "red"))
		a.save(t, Todo{ID: "1", Team: "red"})
		dial := func(token, batch string) ws {
			s := a.dial(t, "/sync/ws?token="+token, nil)
			s.subscribe(batch + since(a.now(t, token)))
			return s
		}
		red, plain, blue, both := dial("red", `,"batch":true`), dial("red", ""), dial("blue", `,"batch":true`), dial("both", `,"batch":true`)
		require.NoError(t, a.db.Transaction(func(tx *gorm.DB) error {
			for _, todo := range []Todo{{ID: "2", Team: "red"}, {ID: "1", Team: "blue"}, {ID: "3", Team: "red"}, {ID: "4", Team: "blue"}} {
				if err := tx.Save(&todo).Error; err != nil {
					return err
				}
			}
			return nil
		}))
		m := red.next()
		require.Equal(t, []string{"create 2"}, m.rows())
		require.True(t, m.More)
		m = red.next()
		require.Equal(t, "leave 1", m.Type+" "+m.EntityID)
		require.True(t, m.More)
		require.Positive(t, m.Version)
		m = red.next()
		require.Equal(t, []string{"create 3"}, m.rows())
		require.NotEmpty(t, m.Cursor)
		require.Equal(t, []string{"create 2"}, plain.next().rows())
		require.Equal(t, []string{"delete 1"}, plain.next().rows())
		require.Equal(t, []string{"create 1", "create 4"}, blue.next().rows())
		require.Equal(t, []string{"create 2", "update 1", "create 3", "create 4"}, both.next().rows())
	})
}

func TestLongTransactions(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Ring = 1024 })
		s := a.dial(t, "/sync/ws", nil)
		s.subscribe(`,"batch":true`)
		todos := make([]Todo, 5000) // longer than a page of the log, and than the ring
		for i := range todos {
			todos[i] = Todo{ID: fmt.Sprint(i), Title: strings.Repeat("x", 100)}
		}
		require.NoError(t, a.db.Transaction(func(tx *gorm.DB) error { return tx.CreateInBatches(todos, 500).Error }))
		n, frames := 0, 0
		for more := true; more; frames++ {
			m := s.next()
			require.Equal(t, "changes", m.Type)
			n += len(m.Changes)
			more = m.More
			require.Equal(t, more, m.Cursor == "")
		}
		require.Equal(t, len(todos), n)
		require.Greater(t, frames, 5)
	})
}

func TestGzipFrames(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		plain, packed := a.dial(t, "/sync/ws", nil), a.dial(t, "/sync/ws", nil)
		plain.subscribe("")
		require.NoError(t, packed.WriteMessage(websocket.BinaryMessage, gzipped(t, []byte(`{"type":"subscribe","entities":["todos"],"compress":"gzip"}`))))
		require.Equal(t, "subscribed", packed.next().Type)
		a.save(t, Todo{ID: "1", Title: strings.Repeat("x", 1000)})
		kind, body, err := packed.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, websocket.BinaryMessage, kind)
		text, same, err := plain.ReadMessage()
		require.NoError(t, err)
		require.Equal(t, websocket.TextMessage, text)
		require.JSONEq(t, string(same), string(gunzip(t, body)))
		require.Less(t, len(body), len(same)/2)
		plain.send(`{"type":"subscribe","compress":"brotli"}`)
		require.Equal(t, "bad_request", plain.next().Code)
	})
}

// The message sync is answered as GET is, while live changes go on.
func TestSyncMessage(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		for i := range 30 {
			a.save(t, Todo{ID: fmt.Sprint(i), Title: strings.Repeat("x", 3000)})
		}
		s := a.dial(t, "/sync/ws", nil)
		pull := func(from string, cursor *string) (rows []string) {
			s.send(fmt.Sprintf(`{"type":"sync","entity":"todos","since":%q}`, from))
			for {
				m := s.next()
				if m.Type == "synced" {
					*cursor = m.Cursor
					require.Equal(t, "todos", m.Entity)
					return rows
				}
				if m.Type == "reset" {
					rows = append(rows, "reset")
				}
				rows = append(rows, m.rows()...)
			}
		}
		var cursor, next string
		require.Len(t, pull("", &cursor), 30)
		require.Empty(t, pull(cursor, &next))
		a.save(t, Todo{ID: "late"})
		require.Equal(t, []string{"create late"}, pull(cursor, &next))
		require.NotEqual(t, cursor, next)
		all := pull("4711", &next) // of the original server
		require.Equal(t, "reset", all[0])
		require.Len(t, all, 32)
		s.subscribe(`,"batch":true,"compress":"gzip"` + since(a.now(t, "")))
		require.Len(t, pull("", &cursor), 31)
		a.save(t, Todo{ID: "live"})
		require.Equal(t, []string{"create live"}, s.next().rows())
		for message, code := range map[string]string{
			`{"type":"sync","entity":"secrets"}`: "unknown_entity", `{"type":"sync","entity":"todos","since":"x"}`: "bad_cursor",
		} {
			s.send(message)
			require.Equal(t, code, s.next().Code)
		}
		f := a.dial(t, "/field-sync/ws", nil)
		f.send(`{"type":"sync","entity":"todos"}`)
		require.Equal(t, []string{"update 0 title"}, f.next().rows())
	})
}

func TestEvents(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		e := a.stream(t, "?entities=todos", nil)
		require.Equal(t, "no-store, no-transform", e.res.Header.Get("Cache-Control"))
		a.save(t, Todo{ID: "1", Title: "a\nb"}, Todo{ID: "2"})
		first := e.next()
		require.Equal(t, []string{"create 1"}, first.rows())
		require.Equal(t, []string{"create 2"}, e.next().rows())
		again := a.stream(t, "?entities=todos", http.Header{"Last-Event-Id": {first.Cursor}})
		require.Equal(t, []string{"create 2"}, again.next().rows())
		bySince := a.stream(t, "?since="+first.Cursor, nil)
		require.Equal(t, []string{"create 2"}, bySince.next().rows())
		require.Equal(t, "reset", a.stream(t, "?since=42", nil).next().Type)
		require.Equal(t, http.StatusNotFound, a.stream(t, "?entities=secrets", nil).res.StatusCode)
		require.Equal(t, http.StatusBadRequest, a.stream(t, "?since=garbage", nil).res.StatusCode)
	})
}

// Middleware that compresses or copies answers must not hold a stream's, and one
// that holds them back is told so.
func TestEventsInsideMiddleware(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		var dumped atomic.Int64
		a := start(t, d, func(_ *gormsync.Config, e *echo.Echo) {
			e.Use(middleware.Gzip(), middleware.Secure(), middleware.BodyDump(func(_ echo.Context, _, body []byte) { dumped.Add(int64(len(body))) }), middleware.Recover())
		})
		e := a.stream(t, "", http.Header{"Accept-Encoding": {"gzip"}})
		require.Empty(t, e.res.Header.Get("Content-Encoding"))
		a.save(t, Todo{ID: "1"})
		require.Equal(t, []string{"create 1"}, e.next().rows())
		s := a.dial(t, "/sync/ws", nil)
		s.subscribe("")
		a.save(t, Todo{ID: "2"})
		require.Equal(t, []string{"create 2"}, s.next().rows())
		require.Equal(t, []string{"create 2"}, e.next().rows())
		require.NoError(t, a.sync.Close(t.Context()))
		_, err := e.in.ReadString('x')
		require.ErrorIs(t, err, io.EOF)
		require.Zero(t, dumped.Load())
	})
}

func TestStreamsInsideTimeout(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(_ *gormsync.Config, e *echo.Echo) {
			e.Use(middleware.TimeoutWithConfig(middleware.TimeoutConfig{Timeout: 1e9})) //nolint:staticcheck // that it is deprecated does not keep people from having it
		})
		res := a.stream(t, "", nil).res
		require.Equal(t, http.StatusInternalServerError, res.StatusCode)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Contains(t, string(body), "skip it for this route")
		require.Equal(t, http.StatusInternalServerError, a.refused(t, "/sync/ws", nil))
	})
}
