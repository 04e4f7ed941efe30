package gormsync_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// A Todo is the model of these tests.
type Todo struct {
	ID    string `gorm:"primaryKey"`
	Title string
	Done  bool
	Team  string
	Token string `json:"-"`
}

// app is a whole application: database, plugin, HTTP server.
type app struct {
	db   *gorm.DB
	sync *gormsync.Plugin
	url  string
}

func start(t *testing.T, d *dbtest.DB, change func(*gormsync.Config)) app {
	t.Helper()
	cfg := gormsync.Config{
		Entities:  []gormsync.Entity{{Model: &Todo{}, FieldLog: true}},
		Authorize: gormsync.UnsafeAllowAll,
		Poll:      -1,
	}
	if change != nil {
		change(&cfg)
	}
	db := d.Open(t)
	require.NoError(t, db.AutoMigrate(&Todo{}, &Note{}))
	return serve(t, db, cfg)
}

func serve(t *testing.T, db *gorm.DB, cfg gormsync.Config) app {
	t.Helper()
	plugin, err := gormsync.New(cfg)
	require.NoError(t, err)
	require.NoError(t, db.Use(plugin))
	e := echo.New()
	require.NoError(t, plugin.Mount(e.Group("/api")))
	server := httptest.NewServer(e)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, plugin.Close(ctx))
		server.Close()
	})
	return app{db, plugin, server.URL}
}

type answer struct {
	Status  int
	Error   string
	Message string
	Cursor  string
	Version string
	HasMore bool `json:"has_more"`
	Reset   bool
	Changes []models.Change
}

func (a app) get(t *testing.T, path string) answer {
	t.Helper()
	res, err := http.Get(a.url + path)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	got := answer{Status: res.StatusCode}
	require.NoError(t, json.Unmarshal(body, &got), "%s", body)
	return got
}

func (a answer) lines() []string {
	lines := []string{}
	for _, c := range a.Changes {
		lines = append(lines, string(c.Action)+" "+c.EntityID)
	}
	return lines
}

type frame struct {
	Type     string
	Change   models.Change
	Changes  []models.Change
	Cursor   string
	More     bool
	Code     string
	Message  string
	Entities []string
	Reason   string
}

type socket struct {
	t    *testing.T
	conn *websocket.Conn
}

func (a app) dial(t *testing.T) socket {
	t.Helper()
	conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(a.url, "http")+"/api/sync/ws", nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	t.Cleanup(func() { _ = conn.Close() })
	return socket{t, conn}
}

func (s socket) send(message string) {
	s.t.Helper()
	require.NoError(s.t, s.conn.WriteMessage(websocket.TextMessage, []byte(message)))
}

func (s socket) next() frame {
	s.t.Helper()
	require.NoError(s.t, s.conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	for {
		_, body, err := s.conn.ReadMessage()
		require.NoError(s.t, err)
		var f frame
		require.NoError(s.t, json.Unmarshal(body, &f), "%s", body)
		if f.Type != "heartbeat" {
			return f
		}
	}
}

func TestFirstRun(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		require.NoError(t, a.db.Create(&Todo{ID: "a", Title: "milk", Token: "secret"}).Error)
		snapshot := a.get(t, "/api/sync/todos")
		require.Equal(t, []string{"create a"}, snapshot.lines())
		require.JSONEq(t, `{"id":"a","title":"milk","done":false,"team":""}`, string(snapshot.Changes[0].Data))

		s := a.dial(t)
		s.send(`{"type":"subscribe","entities":["todos"]}`)
		require.Equal(t, "subscribed", s.next().Type)
		ctx := gormsync.WithClient(gormsync.WithActor(t.Context(), "alice"), "phone")
		require.NoError(t, a.db.WithContext(ctx).Model(&Todo{ID: "a"}).Update("done", true).Error)
		live := s.next()
		require.Equal(t, "change", live.Type)
		require.Equal(t, models.Update, live.Change.Action)
		require.Equal(t, "alice", live.Change.Actor)
		require.Equal(t, "phone", *live.Change.ClientID)
		require.Greater(t, live.Change.Version, snapshot.Changes[0].Version)

		later := a.get(t, "/api/sync/todos?since="+snapshot.Cursor)
		require.Equal(t, []string{"update a"}, later.lines())
		require.Equal(t, live.Change.Version, later.Changes[0].Version)
		require.Empty(t, a.get(t, "/api/sync/todos?since="+live.Cursor).Changes)
		require.Empty(t, a.get(t, "/api/sync/todos?since="+later.Version).Changes)
	})
}

func TestRollbackRingsNoBell(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		s := a.dial(t)
		s.send(`{"type":"subscribe","entities":["todos"],"batch":true}`)
		require.Equal(t, "subscribed", s.next().Type)
		stop := errors.New("stop")
		require.ErrorIs(t, a.db.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Create(&Todo{ID: "never"}).Error)
			return stop
		}), stop)
		require.NoError(t, a.db.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Create(&Todo{ID: "a"}).Error)
			return tx.Create(&Todo{ID: "b"}).Error
		}))
		f := s.next()
		require.Equal(t, "changes", f.Type)
		require.Equal(t, []string{"create a", "create b"}, answer{Changes: f.Changes}.lines())
		var rows int64
		require.NoError(t, a.db.Table(models.TablesFor("").Changes).Count(&rows).Error)
		require.EqualValues(t, 2, rows)
	})
}

func TestSubscribeSince(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		cursor := a.get(t, "/api/sync/todos").Cursor
		for i := range 20 {
			require.NoError(t, a.db.Create(&Todo{ID: fmt.Sprint(i)}).Error)
		}
		s := a.dial(t)
		s.send(`{"type":"ping"}`)
		require.Equal(t, "pong", s.next().Type)
		s.send(fmt.Sprintf(`{"type":"subscribe","entities":["todos"],"since":{"todos":%q}}`, cursor))
		require.Equal(t, "subscribed", s.next().Type)
		require.NoError(t, a.db.Create(&Todo{ID: "20"}).Error)
		seen := map[string]string{}
		for i := range 21 {
			f := s.next()
			require.Equal(t, fmt.Sprint(i), f.Change.EntityID)
			seen[f.Change.EntityID] = f.Cursor
		}
		for i := range 20 { // every frame's cursor goes on exactly behind it
			rest := a.get(t, "/api/sync/todos?since="+seen[fmt.Sprint(i)])
			require.Len(t, rest.lines(), 20-i)
		}
	})
}

func TestScopes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config) {
			c.Entities[0].Scope = "team"
			c.Authorize = func(c echo.Context, _ string) (gormsync.Access, error) {
				return gormsync.Access{Read: true, Scopes: c.QueryParams()["team"]}, nil
			}
		})
		require.NoError(t, a.db.Create(&[]Todo{{ID: "1", Team: "red"}, {ID: "2", Team: "blue"}}).Error)
		red, both := a.get(t, "/api/sync/todos?team=red"), a.get(t, "/api/sync/todos?team=red&team=blue")
		require.Equal(t, []string{"create 1"}, red.lines())
		require.Equal(t, []string{"create 1", "create 2"}, both.lines())
		blue := a.get(t, "/api/sync/todos?team=blue")
		require.NoError(t, a.db.Model(&Todo{ID: "1"}).Update("team", "blue").Error)
		require.Equal(t, []string{"delete 1"}, a.get(t, "/api/sync/todos?team=red&since="+red.Cursor).lines())
		require.Equal(t, []string{"create 1"}, a.get(t, "/api/sync/todos?team=blue&since="+blue.Cursor).lines())
		require.Equal(t, []string{"update 1"}, a.get(t, "/api/sync/todos?team=red&team=blue&since="+both.Cursor).lines())
		other := a.get(t, "/api/sync/todos?team=blue&since="+red.Cursor)
		require.Equal(t, http.StatusGone, other.Status)
		require.Empty(t, a.get(t, "/api/sync/todos").Changes, "no scopes see no rows")
	})
}

func TestPages(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		rows := make([]Todo, 10)
		for i := range rows {
			rows[i].ID = fmt.Sprint(i)
		}
		require.NoError(t, a.db.Create(&rows).Error)
		page := a.get(t, "/api/sync/todos?limit=4")
		require.Len(t, page.Changes, 4)
		require.True(t, page.HasMore)
		require.NoError(t, a.db.Delete(&Todo{ID: "0"}).Error)
		require.NoError(t, a.db.Model(&Todo{ID: "9"}).Update("done", true).Error)
		got := page.lines()
		for page.HasMore {
			page = a.get(t, "/api/sync/todos?limit=4&since="+page.Cursor)
			got = append(got, page.lines()...)
		}
		require.Len(t, got, 10)
		rest := a.get(t, "/api/sync/todos?limit=1&since="+page.Cursor)
		require.Equal(t, []string{"delete 0"}, rest.lines())
		rest = a.get(t, "/api/sync/todos?limit=1&since="+rest.Cursor)
		require.Equal(t, []string{"update 9"}, rest.lines())
		rest = a.get(t, "/api/sync/todos?limit=1&since="+rest.Cursor) // the log may have gone on meanwhile
		require.Empty(t, rest.lines())
		require.False(t, rest.HasMore)
	})
}

func TestBadInput(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		good := a.get(t, "/api/sync/todos")
		for path, want := range map[string]answer{
			"/api/sync/secrets":                              {Status: 404, Error: "unknown_entity"},
			"/api/field-sync/secrets":                        {Status: 404, Error: "unknown_entity"},
			"/api/sync/todos?since=garbage":                  {Status: 400, Error: "bad_cursor"},
			"/api/sync/todos?since=c" + good.Cursor:          {Status: 400, Error: "bad_cursor"},
			"/api/sync/todos?since=" + good.Cursor[:8]:       {Status: 400, Error: "bad_cursor"},
			"/api/sync/todos?limit=0":                        {Status: 400, Error: "bad_request"},
			"/api/sync/todos?limit=x":                        {Status: 400, Error: "bad_request"},
			"/api/sync/todos?since=42":                       {Status: 200, Reset: true},
			"/api/sync/todos?since=" + foreign(good.Cursor):  {Status: 410, Error: "cursor_expired", Reset: true},
			"/api/sync/todos?since=" + foreign(good.Version): {Status: 200, Reset: true},
			"/api/sync/ws":                                   {Status: 426, Error: "bad_request"},
			"/api/sync/to%64os":                              {Status: 200},
			"/api/sync/to%24dos":                             {Status: 404, Error: "unknown_entity"},
		} {
			got := a.get(t, path)
			require.Equal(t, want, answer{Status: got.Status, Error: got.Error, Reset: got.Reset}, path)
		}
		s := a.dial(t)
		for message, code := range map[string]string{
			`{`: "bad_request", `[]`: "bad_request", `{"type":"dance"}`: "bad_request",
			`{"type":"subscribe","entities":["secrets"]}`:                 "unknown_entity",
			`{"type":"subscribe","entities":["todos"],"since":"garbage"}`: "bad_cursor",
		} {
			s.send(message)
			f := s.next()
			require.Equal(t, "error", f.Type, message)
			require.Equal(t, code, f.Code, message)
		}
		for since, reset := range map[string]bool{foreign(good.Cursor): true, "42": true, "0": false, "": false} {
			s.send(fmt.Sprintf(`{"type":"subscribe","entities":["todos"],"since":%q}`, since))
			require.Equal(t, "subscribed", s.next().Type, since)
			if reset {
				require.Equal(t, "reset", s.next().Type, since)
			}
			s.send(`{"type":"ping"}`)
			require.Equal(t, "pong", s.next().Type, since)
		}
	})
}

// foreign is the same place in another database.
func foreign(cursor string) string {
	c, isVersion, err := models.ParseCursor(cursor)
	if err != nil {
		return err.Error()
	}
	c.Epoch++
	if isVersion {
		return c.Version()
	}
	return c.String()
}

func TestNewAndMountRefuse(t *testing.T) {
	_, err := gormsync.New(gormsync.Config{})
	require.ErrorContains(t, err, "Config.Entities is empty")
	_, err = gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: "todos"}}})
	require.ErrorContains(t, err, "the model string is no struct")
	_, err = gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &struct{ Title string }{}}}})
	require.ErrorContains(t, err, "has no primary key")
	_, err = gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}, Poll: -5})
	require.ErrorContains(t, err, "Config.Poll")
	for _, prefix := range []string{`a"b`, "app.", "1_", strings.Repeat("x", 31)} {
		_, err = gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}, TablePrefix: prefix})
		require.ErrorContains(t, err, "Config.TablePrefix")
	}

	plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}})
	require.NoError(t, err)
	require.ErrorContains(t, plugin.Mount(echo.New().Group("/api")), "call db.Use(sync) first")
	require.ErrorContains(t, plugin.Start(t.Context()), "call db.Use(sync) first")
	require.NoError(t, plugin.Close(t.Context()))

	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}})
		require.NoError(t, err)
		require.NoError(t, d.Open(t).Use(plugin))
		require.ErrorContains(t, plugin.Mount(echo.New().Group("/api")), "Config.Authorize is missing")
		for _, e := range []gormsync.Entity{{Model: &Todo{}, Scope: "tribe"}, {Model: &Todo{}, Hide: []string{"tribe"}}} {
			plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{e}})
			require.NoError(t, err)
			require.ErrorContains(t, d.Open(t).Use(plugin), `"tribe", which is no column`)
		}
		plugin, err = gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}, SkipMigrate: true, TablePrefix: "none_"})
		require.NoError(t, err)
		require.ErrorContains(t, d.Open(t).Use(plugin), "run migrate.Up")

		require.NoError(t, d.Open(t).Table("_rhtmx_sync_meta").Where(clause.Eq{Column: "key", Value: models.MetaSchema}).Update("value", "1").Error)
		plugin, err = gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}, SkipMigrate: true})
		require.NoError(t, err)
		require.ErrorContains(t, d.Open(t).Use(plugin), "of schema version 1, and SkipMigrate is set; run migrate.Up")
	})
}

func TestStartAndCloseAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config) { c.Poll = time.Millisecond })
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				for range 20 {
					if err := a.sync.Start(t.Context()); err != nil {
						require.ErrorIs(t, err, gormsync.ErrClosed)
					}
				}
			})
			all.Go(func() { require.NoError(t, a.sync.Close(t.Context())) })
		}
		all.Wait()
		require.ErrorIs(t, a.sync.Start(t.Context()), gormsync.ErrClosed)
	})
}

func TestCloseSendsClientsAway(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		s := a.dial(t)
		s.send(`{"type":"subscribe"}`)
		require.Equal(t, []string{"todos"}, s.next().Entities)
		require.NoError(t, a.sync.Close(t.Context()))
		_, _, err := s.conn.ReadMessage()
		require.True(t, websocket.IsCloseError(err, 1012), "%v", err)
		require.Equal(t, http.StatusServiceUnavailable, a.get(t, "/api/sync/ws").Status)
	})
}

func firstData(body []byte) string {
	var got answer
	check(json.Unmarshal(body, &got))
	return string(got.Changes[0].Data)
}

func TestAccessIsAskedFirst(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		var refusal error
		a := start(t, d, func(c *gormsync.Config) {
			c.Authorize = func(echo.Context, string) (gormsync.Access, error) { return gormsync.Access{}, refusal }
		})
		for _, c := range []struct {
			refusal    error
			pull, dial int
		}{
			{nil, http.StatusNotFound, http.StatusForbidden},
			{echo.ErrUnauthorized, http.StatusUnauthorized, http.StatusUnauthorized},
			{echo.ErrForbidden, http.StatusForbidden, http.StatusForbidden},
			{errors.New("the session store is gone"), http.StatusInternalServerError, http.StatusInternalServerError},
		} {
			refusal = c.refusal
			require.Equal(t, c.pull, a.get(t, "/api/sync/todos").Status, c.refusal)
			require.Equal(t, c.pull, a.get(t, "/api/sync/secrets").Status, c.refusal)
			_, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(a.url, "http")+"/api/sync/ws", nil)
			require.ErrorIs(t, err, websocket.ErrBadHandshake)
			require.NoError(t, res.Body.Close())
			require.Equal(t, c.dial, res.StatusCode, c.refusal)
		}
	})
}

func TestScopesAreTakenByTheLetter(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config) {
			c.Entities[0].Scope = "done"
			c.Authorize = func(c echo.Context, _ string) (gormsync.Access, error) {
				return gormsync.Access{Read: true, Scopes: c.QueryParams()["done"]}, nil
			}
		})
		require.NoError(t, a.db.Create(&[]Todo{{ID: "1"}, {ID: "2", Done: true}}).Error)
		require.Empty(t, a.get(t, "/api/sync/todos?done=zzz").Changes, "what is no truth value is not false")
		for _, yes := range []string{"true", "1", "TRUE"} {
			got := a.get(t, "/api/sync/todos?done="+yes)
			require.Equal(t, []string{"create 2"}, got.lines(), yes)
			require.NoError(t, a.db.Model(&Todo{ID: "2"}).Update("title", yes).Error)
			require.Equal(t, []string{"update 2"}, a.get(t, "/api/sync/todos?done="+yes+"&since="+got.Cursor).lines(), yes)
		}
	})
}

// A client that asks for two entities with a cursor that covers one of them, and
// breaks off at once, must be able to go on from the first cursor that it got.
func TestSubscribedCursorSkipsNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config) {
			c.Entities = append(c.Entities, gormsync.Entity{Model: &Note{}})
		})
		cursor := a.get(t, "/api/sync/todos").Cursor
		require.NoError(t, a.db.Create(&Todo{ID: "missed"}).Error)
		s := a.dial(t)
		s.send(fmt.Sprintf(`{"type":"subscribe","entities":["todos","notes"],"since":%q}`, cursor))
		first := s.next()
		require.Equal(t, "subscribed", first.Type)
		require.Equal(t, []string{"notes"}, s.next().Entities, "a reset")
		require.Equal(t, []string{"create missed"}, a.get(t, "/api/sync/todos?since="+first.Cursor).lines())
		require.Equal(t, http.StatusGone, a.get(t, "/api/sync/notes?since="+first.Cursor).Status)
	})
}
