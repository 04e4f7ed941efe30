package handlers_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// server is an application that takes pushes.
type server struct {
	t      testing.TB
	db     *gorm.DB
	sync   *gormsync.Plugin
	log    *trackers.Log
	url    string
	client string // who pushes; c1 if empty
	whole  *bool  // set to false by tests whose log does not tell all of the table
}

// open starts an application with these entities. Everybody may do everything
// unless allow says otherwise.
func open(t testing.TB, d *dbtest.DB, allow func(c echo.Context, entity string) (gormsync.Access, error), entities ...gormsync.Entity) server {
	t.Helper()
	db := d.Open(t)
	for _, e := range entities {
		require.NoError(t, db.AutoMigrate(e.Model))
	}
	if allow == nil {
		allow = gormsync.UnsafeAllowAll
	}
	s := serve(t, db, gormsync.Config{Entities: entities, Authorize: allow, Poll: -1, Retention: -1, MutationRetention: -1})
	replay := true
	s.whole = &replay
	d.Check(func(t testing.TB) {
		if replay {
			dbtest.Replay(t, s.log)
		}
	})
	return s
}

func serve(t testing.TB, db *gorm.DB, cfg gormsync.Config) server {
	t.Helper()
	plugin, err := gormsync.New(cfg)
	require.NoError(t, err)
	require.NoError(t, db.Use(plugin))
	e := echo.New()
	require.NoError(t, plugin.Mount(e.Group("/api")))
	http := httptest.NewServer(e)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, plugin.Close(ctx))
		http.Close()
	})
	log, err := trackers.NewLog(context.Background(), db, trackers.Config{Entities: cfg.Entities})
	require.NoError(t, err)
	return server{t: t, db: db, sync: plugin, log: log, url: http.URL}
}

// reply is any answer.
type reply struct {
	Code    int
	Text    string // the body
	Error   string
	Message string
	models.PushResponse
}

// send posts a body with headers, given as "Name: value".
func (s server) send(path, body string, headers ...string) reply {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/api"+path, strings.NewReader(body))
	require.NoError(s.t, err)
	return s.do(req, headers)
}

func (s server) do(req *http.Request, headers []string) reply {
	s.t.Helper()
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	text, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	require.NoError(s.t, res.Body.Close())
	r := reply{Code: res.StatusCode, Text: string(text)}
	require.True(s.t, json.Valid(text), "%s", text)
	_ = json.Unmarshal(text, &r) // answers about fields have another form
	return r
}

// push posts changes for one entity, and expects an answer with a result for each.
func (s server) push(entity string, changes ...string) []models.PushResult {
	s.t.Helper()
	r := s.send("/sync/"+entity, fmt.Sprintf(`{"client_id":%q,"changes":[%s]}`, cmp.Or(s.client, "c1"), strings.Join(changes, ",")))
	require.Equal(s.t, http.StatusOK, r.Code, "%s", r.Text)
	require.Len(s.t, r.Results, len(changes), "%s", r.Text)
	return r.Results
}

// one posts one change.
func (s server) one(entity, change string) models.PushResult {
	s.t.Helper()
	return s.push(entity, change)[0]
}
