package gormsync_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// ask gives the status and the tag of an answer.
func (a app) ask(t *testing.T, path, tag string) (status int, newTag string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+path, nil)
	require.NoError(t, err)
	req.Header.Set("If-None-Match", tag)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	return res.StatusCode, res.Header.Get("ETag")
}

func TestIdlePullsAreNotModified(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		require.NoError(t, a.db.Create(&Todo{ID: "a"}).Error)
		path := "/api/sync/todos?since=" + a.get(t, "/api/sync/todos").Cursor
		status, tag := a.ask(t, path, "")
		require.Equal(t, http.StatusOK, status)
		require.NotEmpty(t, tag)
		status, _ = a.ask(t, path, tag)
		require.Equal(t, http.StatusNotModified, status)
		status, _ = a.ask(t, path, `"another", W/`+tag) // as proxies that compress ask
		require.Equal(t, http.StatusNotModified, status)
		require.NoError(t, a.db.Create(&Todo{ID: "b"}).Error)
		status, _ = a.ask(t, path, tag)
		require.Equal(t, http.StatusOK, status)
	})
}

// A long answer is written page by page, and compressed by whoever does that.
func TestPullInsideGzip(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, db.AutoMigrate(&Todo{}))
		plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}, Authorize: gormsync.UnsafeAllowAll})
		require.NoError(t, err)
		require.NoError(t, db.Use(plugin))
		rows := make([]Todo, 5000)
		for i := range rows {
			rows[i] = Todo{ID: fmt.Sprintf("%05d", i), Title: strings.Repeat("x", 50)}
		}
		require.NoError(t, db.CreateInBatches(rows, 1000).Error)
		e := echo.New()
		e.Use(middleware.Gzip(), middleware.Recover())
		require.NoError(t, plugin.Mount(e.Group("/api")))
		server := httptest.NewServer(e)
		defer server.Close()
		a := app{db: db, sync: plugin, url: server.URL}
		all := a.get(t, "/api/sync/todos") // the client asks for gzip and opens it
		require.Len(t, all.Changes, len(rows))
		require.Equal(t, "04999", all.Changes[4999].EntityID)
		require.Empty(t, a.get(t, "/api/sync/todos?since="+all.Cursor).Changes)
		require.NoError(t, plugin.Close(t.Context()))
	})
}
