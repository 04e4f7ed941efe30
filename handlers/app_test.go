package handlers_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
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

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// A Todo is the model of these tests.
type Todo struct {
	ID    string `gorm:"primaryKey"`
	Title string
	Team  string
}

// app is a whole application on a server.
type app struct {
	db     *gorm.DB
	sync   *gormsync.Plugin
	echo   *echo.Echo
	server *httptest.Server
	users  *users
	dialer websocket.Dialer
}

// users are who may see what: by the token in the query or in the header X-Token.
// Without any, everybody sees everything.
type users struct {
	mu  sync.Mutex
	all map[string]gormsync.Access
}

func (u *users) set(token string, access *gormsync.Access) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil {
		u.all = map[string]gormsync.Access{}
	}
	if access == nil {
		delete(u.all, token)
		return
	}
	u.all[token] = *access
}

// session is the middleware of the application: who has no token is not let in.
func (u *users) session(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.all == nil {
			c.Set("user", gormsync.Access{Read: true, Write: true, AllScopes: true})
		} else if access, ok := u.all[c.QueryParam("token")+c.Request().Header.Get("X-Token")]; ok {
			c.Set("user", access)
		} else {
			return echo.ErrUnauthorized
		}
		u.mu.Unlock()
		defer u.mu.Lock()
		return next(c)
	}
}

func start(t *testing.T, d *dbtest.DB, change func(*gormsync.Config, *echo.Echo)) *app {
	t.Helper()
	a := prepare(t, d, change)
	a.server.Start()
	return a
}

func startTLS(t *testing.T, d *dbtest.DB, change func(*gormsync.Config, *echo.Echo)) *app {
	t.Helper()
	a := prepare(t, d, change)
	a.server.StartTLS()
	transport, ok := a.server.Client().Transport.(*http.Transport)
	require.True(t, ok)
	a.dialer.TLSClientConfig = transport.TLSClientConfig.Clone()
	a.dialer.TLSClientConfig.NextProtos = nil
	return a
}

// prepare makes an application whose server has to be started.
func prepare(t *testing.T, d *dbtest.DB, change func(*gormsync.Config, *echo.Echo)) *app {
	t.Helper()
	a := &app{db: d.Open(t), echo: echo.New(), users: &users{}}
	require.NoError(t, a.db.AutoMigrate(&Todo{}))
	cfg := gormsync.Config{
		Entities: []gormsync.Entity{{Model: &Todo{}, Scope: "team", FieldLog: true}},
		Authorize: func(c echo.Context, _ string) (gormsync.Access, error) {
			access, _ := c.Get("user").(gormsync.Access) // nil for a context that no middleware has seen
			return access, nil
		},
		Poll: -1, Heartbeat: time.Hour,
	}
	if change != nil {
		change(&cfg, a.echo)
	}
	var err error
	a.sync, err = gormsync.New(cfg)
	require.NoError(t, err)
	require.NoError(t, a.db.Use(a.sync))
	require.NoError(t, a.sync.Mount(a.echo.Group("/t/:tenant/api", a.users.session)))
	a.server = httptest.NewUnstartedServer(a.echo)
	a.server.Config.ReadHeaderTimeout = 500 * time.Millisecond
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, a.sync.Close(ctx))
		a.server.Close()
	})
	return a
}

func (a *app) url(path string) string { return a.server.URL + "/t/one/api" + path }

func (a *app) save(t *testing.T, todos ...Todo) {
	t.Helper()
	require.NoError(t, a.db.Save(&todos).Error)
}

// message is any frame of the server.
type message struct {
	Type     string
	Change   row
	Changes  []row
	Cursor   string
	More     bool
	Code     string
	Entity   string
	EntityID string `json:"entity_id"`
	Entities []string
	Reason   string
	Version  int64
}

type row struct {
	EntityID string `json:"entity_id"`
	Action   string
	Field    string
	Version  int64
	Value    json.RawMessage
}

// ws is a WebSocket of a test.
type ws struct {
	*websocket.Conn
	t *testing.T
}

func (a *app) dial(t *testing.T, path string, header http.Header) ws {
	t.Helper()
	conn, res, err := a.dialer.Dial("ws"+strings.TrimPrefix(a.url(path), "http"), header)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	t.Cleanup(func() { _ = conn.Close() })
	return ws{conn, t}
}

// refused dials and gives the status of the refusal.
func (a *app) refused(t *testing.T, path string, header http.Header) int {
	t.Helper()
	_, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(a.url(path), "http"), header)
	require.ErrorIs(t, err, websocket.ErrBadHandshake)
	require.NoError(t, res.Body.Close())
	return res.StatusCode
}

func (s ws) send(text string) {
	s.t.Helper()
	require.NoError(s.t, s.WriteMessage(websocket.TextMessage, []byte(text)))
}

func (s ws) next() message {
	s.t.Helper()
	return s.nextWithin(10 * time.Second)
}

func (s ws) nextWithin(d time.Duration) message {
	s.t.Helper()
	require.NoError(s.t, s.SetReadDeadline(time.Now().Add(d)))
	kind, body, err := s.ReadMessage()
	require.NoError(s.t, err)
	if kind == websocket.BinaryMessage {
		body = gunzip(s.t, body)
	}
	var m message
	require.NoError(s.t, json.Unmarshal(body, &m), "%s", body)
	return m
}

// code reads until the server ends the connection and gives the close code. Much may
// be on its way before that, and a machine may be busy.
func (s ws) code() int {
	s.t.Helper()
	require.NoError(s.t, s.SetReadDeadline(time.Now().Add(20*time.Second)))
	for {
		if _, _, err := s.ReadMessage(); err != nil {
			var closed *websocket.CloseError
			require.ErrorAs(s.t, err, &closed)
			return closed.Code
		}
	}
}

func (s ws) subscribe(rest string) message {
	s.t.Helper()
	s.send(`{"type":"subscribe","entities":["todos"]` + rest + `}`)
	m := s.next()
	require.Equal(s.t, "subscribed", m.Type, m.Code)
	return m
}

func gunzip(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	out, err := io.ReadAll(z)
	require.NoError(t, err)
	return out
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return out.Bytes()
}

// events is a stream of server-sent events of a test.
type events struct {
	t   *testing.T
	res *http.Response
	in  *bufio.Reader
}

func (a *app) stream(t *testing.T, query string, header http.Header) events {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url("/sync/events"+query), nil)
	require.NoError(t, err)
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	return events{t, res, bufio.NewReader(res.Body)}
}

// next gives the next event; its data is in Change, its id in Cursor.
func (e events) next() message {
	e.t.Helper()
	var m message
	for {
		line, err := e.in.ReadString('\n')
		require.NoError(e.t, err)
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch key {
		case "event":
			m.Type = value
		case "id":
			m.Cursor = value
		case "data":
			if m.Type == "sync" {
				require.NoError(e.t, json.Unmarshal([]byte(value), &m.Change))
			}
		case "":
			if m.Type != "" {
				return m
			}
		}
	}
}

// half opens a connection and sends the beginning of a handshake only.
func (a *app) half(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", a.server.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, "GET /t/one/api/sync/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
	require.NoError(t, err)
	return conn
}

// pull gives the ids of all changes behind a cursor, over HTTP.
func (a *app) pull(t *testing.T, since string) []string {
	t.Helper()
	res, err := http.Get(a.url("/sync/todos?since=" + since))
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	var m struct{ Changes []row }
	require.NoError(t, json.NewDecoder(res.Body).Decode(&m))
	var ids []string
	for _, c := range m.Changes {
		ids = append(ids, c.EntityID)
	}
	return ids
}

// now gives the cursor of this moment. A subscription without since begins where the
// hub is, which may be a moment ago.
func (a *app) now(t *testing.T, token string) string {
	t.Helper()
	res, err := http.Get(a.url("/sync?entities=todos&since=now&token=" + token))
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	var m message
	require.NoError(t, json.NewDecoder(res.Body).Decode(&struct{ Cursor *string }{&m.Cursor}))
	return m.Cursor
}

func since(cursor string) string { return `,"since":"` + cursor + `"` }
