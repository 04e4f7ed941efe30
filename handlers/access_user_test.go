package handlers_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// bySession lets everybody who is signed in do everything, as the user whom the
// header X-User names; for a guest Authorize names nobody.
func bySession(c echo.Context, _ string) (gormsync.Access, error) {
	user := c.Request().Header.Get("X-User")
	if user == "" {
		return gormsync.Access{}, echo.ErrUnauthorized
	}
	return gormsync.Access{Read: true, Write: true, AllScopes: true, Actor: strings.TrimPrefix(user, "guest")}, nil
}

// A page that was made for one user gets and does nothing when another one is
// signed in.
func TestPageOfAnotherUser(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, bySession, gormsync.Entity{Model: &Memo{}, Writable: true, FieldLog: true})
		require.NoError(t, s.db.Create(&Memo{ID: "m", Text: "as it was"}).Error)
		change := `{"client_id":"c","changes":[{"id":"m","entity":"memos","action":"update","data":{"text":"mine"},"mutation_id":"1"}]}`
		fields := `{"client_id":"c","changes":[{"entity_id":"m","field":"text","action":"update","value":"mine","mutation_id":"2"}]}`
		before := []string{
			"/sync/memos", "/sync/memos?since=0", "/sync?entities=memos&since=now", "/sync?since=now", "/sync/events?entities=memos", "/sync/ws",
			"/field-sync/memos", "/field-sync/memos/m/latest", "/field-sync/ws",
		}
		with := func(path, user string) string {
			if strings.Contains(path, "?") {
				return path + "&user=" + user
			}
			return path + "?user=" + user
		}
		for _, path := range before {
			r := s.get(with(path, "alice"), "X-User: bob")
			require.Equal(t, http.StatusUnauthorized, r.Code, "%s: %s", path, r.Text)
			require.Contains(t, r.Text, `"error":"unauthorized"`, path)
			require.Contains(t, r.Text, "not the one that this page was made for", path)
			require.NotContains(t, r.Text, "bob", path)
		}
		for path, body := range map[string]string{"/sync": change, "/sync/memos": change, "/field-sync/memos": fields} {
			r := s.send(with(path, "alice"), body, "X-User: bob")
			require.Equal(t, http.StatusUnauthorized, r.Code, "%s: %s", path, r.Text)
		}
		var memo Memo
		require.NoError(t, s.db.First(&memo, "id = ?", "m").Error)
		require.Equal(t, "as it was", memo.Text)

		for _, user := range []string{"alice", "guest"} { // the same one, and one without a name
			require.Equal(t, http.StatusOK, s.get("/sync/memos?user=alice", "X-User: "+user).Code, user)
			require.Equal(t, http.StatusNotFound, s.get("/sync/nothing?user=alice", "X-User: "+user).Code, user)
		}
		require.Equal(t, http.StatusOK, s.get("/sync/memos?user=", "X-User: bob").Code, "a page that names nobody")
		require.Equal(t, http.StatusOK, s.get("/sync/memos?user=Zo%C3%AB+%26+co", "X-User: Zoë & co").Code)
		require.Contains(t, s.get("/sync/memos?user=alice").Text, "Sign in first", "nobody is signed in")
		r := s.send("/sync?user=alice", change, "X-User: alice")
		require.Equal(t, "applied", string(r.Results[0].Status), r.Text)
		require.Equal(t, "applied", string(s.send("/field-sync/memos?user=alice", fields, "X-User: alice").Results[0].Status))
	})
}

// A connection ends when its session becomes somebody else's, and what it sends
// before that is noticed is not done.
func TestSessionBecomesAnotherUsers(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Reauthorize = time.Hour; c.Entities[0].Writable = true })
		bob := team("red")
		bob.Actor, bob.Write = "bob", true
		alice := team("red")
		alice.Write = true
		a.users.set("session", alice)
		require.Equal(t, http.StatusUnauthorized, a.refused(t, "/sync/ws?token=session&user=bob", nil))
		require.Equal(t, http.StatusUnauthorized, a.refused(t, "/field-sync/ws?token=session&user=bob", nil))
		s := a.dial(t, "/sync/ws?token=session&user=alice", nil)
		s.subscribe("")
		idle := a.dial(t, "/sync/ws?token=session&user=alice", nil)

		a.users.set("session", bob)
		s.send(`{"type":"push","entity":"todos","client_id":"c","changes":[{"id":"1","action":"create","data":{"title":"alice's","team":"red"},"mutation_id":"1"}]}`)
		require.Equal(t, "unauthorized", skipTo(s, "error").Code)
		idle.send(`{"type":"subscribe","entities":["todos"]}`)
		require.Equal(t, "unauthorized", skipTo(idle, "error").Code)
		var count int64
		require.NoError(t, a.db.Model(&Todo{}).Count(&count).Error)
		require.Zero(t, count)
	})
}

func TestSessionOfAnotherUserIsNoticed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Reauthorize = 50 * time.Millisecond })
		bob := team("red")
		bob.Actor = "bob"
		a.users.set("session", team("red"))
		s := a.dial(t, "/sync/ws?token=session&user=alice", nil)
		s.subscribe("")
		idle := a.dial(t, "/field-sync/ws?token=session&user=alice", nil)
		e := a.stream(t, "?entities=todos&token=session&user=alice", nil)
		require.Equal(t, http.StatusOK, e.res.StatusCode)
		anybodys := a.dial(t, "/sync/ws?token=session", nil)
		anybodys.subscribe("")

		a.users.set("session", bob)
		require.Equal(t, 4001, s.code())
		require.Equal(t, 4001, idle.code())
		_, err := e.in.ReadString('x')
		require.Error(t, err, "the stream has ended")
		require.Equal(t, http.StatusUnauthorized, a.stream(t, "?entities=todos&token=session&user=alice", nil).res.StatusCode)
		a.save(t, Todo{ID: "1", Team: "red"})
		require.Equal(t, "1", anybodys.next().Change.EntityID, "a page that names nobody goes on")
	})
}

// Routers other than Echo v4 get the same.
func TestPageOfAnotherUserThroughRoutes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, db.AutoMigrate(&Todo{}))
		sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}, Poll: -1, Reauthorize: 50 * time.Millisecond})
		require.NoError(t, err)
		require.NoError(t, db.Use(sync))
		routes, err := sync.Routes()
		require.NoError(t, err)
		users := make(chan string, 1)
		users <- "alice"
		mux := http.NewServeMux()
		for _, r := range routes {
			mux.HandleFunc(r.Method+" /api"+strings.NewReplacer(":entity_id", "{entity_id}", ":entity", "{entity}").Replace(r.Path), func(w http.ResponseWriter, req *http.Request) {
				r.Serve(w, req, gormsync.Client{Through: mux, Authorize: func(string) (gormsync.Access, error) {
					user := <-users
					users <- user
					return gormsync.Access{Read: true, AllScopes: true, Actor: user}, nil
				}})
			})
		}
		server := httptest.NewServer(mux)
		defer server.Close()
		defer func() { require.NoError(t, sync.Close(context.Background())) }()
		status := func(path string) int {
			res, err := http.Get(server.URL + "/api" + path)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			return res.StatusCode
		}
		require.Equal(t, http.StatusUnauthorized, status("/sync/todos?user=bob"))
		require.Equal(t, http.StatusOK, status("/sync/todos?user=alice"))
		conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/api/sync/ws?user=alice", nil)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		defer func() { _ = conn.Close() }()
		<-users
		users <- "bob"
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, _, err = conn.ReadMessage()
		var closed *websocket.CloseError
		require.ErrorAs(t, err, &closed)
		require.Equal(t, 4001, closed.Code)
	})
}

func TestScriptAnswersHead(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, bySession, gormsync.Entity{Model: &Memo{}})
		res, err := http.Head(s.url + "/api/sync/client.js")
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.NotEmpty(t, res.Header.Get("ETag"))
		require.Equal(t, "text/javascript; charset=UTF-8", res.Header.Get("Content-Type"))
	})
}
