package gormsync_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// several is the answer to a pull of several entities.
type several struct {
	answer
	Entities []string
	Anew     []string `json:"reset"`
}

func (a app) getSeveral(t *testing.T, query string) several {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+"/api/sync"+query, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	got := several{answer: answer{Status: res.StatusCode}}
	if got.Status != http.StatusOK {
		require.NoError(t, json.Unmarshal(body, &got.answer), "%s", body)
		return got
	}
	require.NoError(t, json.Unmarshal(body, &got), "%s", body)
	return got
}

func startSeveral(t *testing.T, d *dbtest.DB, access func(entity string) gormsync.Access) app {
	t.Helper()
	return start(t, d, func(cfg *gormsync.Config) {
		cfg.Entities = []gormsync.Entity{{Model: &Todo{}, Scope: "team"}, {Model: &Note{}, Scope: "team_id"}}
		cfg.Authorize = func(_ echo.Context, entity string) (gormsync.Access, error) { return access(entity), nil }
	})
}

func TestPullSeveral(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		notes := gormsync.Access{Read: true, Scopes: []string{"red"}}
		a := startSeveral(t, d, func(entity string) gormsync.Access {
			if entity == "notes" {
				return notes
			}
			return gormsync.Access{Read: true, AllScopes: true}
		})
		require.NoError(t, a.db.Create(&Todo{ID: "before", Team: "red"}).Error)
		now := a.getSeveral(t, "?entities=todos,notes&since=now")
		require.Equal(t, http.StatusOK, now.Status)
		require.Equal(t, []string{"notes", "todos"}, now.Entities)
		require.Empty(t, now.Changes)
		require.Empty(t, now.Anew)
		require.Equal(t, []string{"notes", "todos"}, a.getSeveral(t, "").Anew, "from nothing all need a snapshot")

		require.NoError(t, a.db.Create(&Todo{ID: "t", Team: "red"}).Error)
		require.NoError(t, a.db.Create(&Note{ID: "seen", TeamID: "red"}).Error)
		require.NoError(t, a.db.Create(&Note{ID: "hidden", TeamID: "blue"}).Error)
		all := a.getSeveral(t, "?entities=todos,notes&since="+now.Cursor)
		require.Equal(t, []string{"create t", "create seen"}, all.lines())
		require.False(t, all.HasMore)
		page := a.getSeveral(t, "?entities=todos,notes&limit=1&since="+now.Cursor)
		require.Equal(t, []string{"create t"}, page.lines())
		require.True(t, page.HasMore)
		require.Equal(t, []string{"create seen"}, a.getSeveral(t, "?entities=todos,notes&since="+page.Cursor).lines())
		require.Equal(t, []string{"create seen"}, a.get(t, "/api/sync/notes?since="+now.Cursor).lines(), "good for each of them")

		alone := a.getSeveral(t, "?entities=todos&since=now")
		require.NoError(t, a.db.Model(&Todo{ID: "t"}).Update("title", "x").Error)
		both := a.getSeveral(t, "?entities=todos,notes&since="+alone.Cursor)
		require.Equal(t, []string{"notes"}, both.Anew, "it has not followed notes")
		require.Equal(t, []string{"update t"}, both.lines())
		require.Empty(t, a.getSeveral(t, "?entities=todos,notes&since="+both.Cursor).Anew)
		notes.Scopes = []string{"blue"}
		require.Equal(t, []string{"notes"}, a.getSeveral(t, "?entities=todos,notes&since="+both.Cursor).Anew, "under other scopes")
	})
}

func TestPullSeveralRefuses(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		may := map[string]bool{"todos": true}
		a := startSeveral(t, d, func(entity string) gormsync.Access { return gormsync.Access{Read: may[entity], AllScopes: true} })
		require.NoError(t, a.db.Create(&Note{ID: "secret"}).Error)
		require.Equal(t, []string{"todos"}, a.getSeveral(t, "?since=now").Entities, "all that may be read")
		for query, code := range map[string]string{
			"?entities=todos,notes":        "unknown_entity",
			"?entities=todos,nowhere":      "unknown_entity",
			"?entities=todos,":             "unknown_entity",
			"?entities=todos&since=rubble": "bad_cursor",
			"?entities=todos&limit=none":   "bad_request",
		} {
			got := a.getSeveral(t, query)
			require.Equal(t, code, got.Error, query)
			require.GreaterOrEqual(t, got.Status, 400)
			require.Less(t, got.Status, 500)
		}
		cursor := a.getSeveral(t, "?since=now").Cursor
		may["todos"] = false
		got := a.getSeveral(t, "?since="+cursor)
		require.Equal(t, http.StatusForbidden, got.Status)
		require.Empty(t, got.Changes, "nobody gets everything by being allowed nothing")
		require.NoError(t, a.db.Exec(`UPDATE _rhtmx_sync_meta SET value = 'another' WHERE key = 'epoch'`).Error)
		may["todos"] = true
		require.Equal(t, http.StatusGone, a.getSeveral(t, "?since="+cursor).Status)
	})
}

// What a new version of the application hides is taken from the clients too: they
// have to take the entity anew, and only that one.
func TestHidingAColumnResetsItsReaders(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		entities := []gormsync.Entity{{Model: &Todo{}}, {Model: &Note{}}}
		old := start(t, d, func(cfg *gormsync.Config) { cfg.Entities = entities })
		require.NoError(t, old.db.Create(&Todo{ID: "a", Title: "a secret"}).Error)
		cursor := old.getSeveral(t, "?since=now").Cursor
		require.NoError(t, old.db.Create(&Todo{ID: "b", Title: "a secret"}).Error)

		hidden := []gormsync.Entity{{Model: &Todo{}, Hide: []string{"title"}}, {Model: &Note{}}}
		a := serve(t, d.Open(t), gormsync.Config{Entities: hidden, Authorize: gormsync.UnsafeAllowAll, Poll: -1})
		got := a.getSeveral(t, "?since="+cursor)
		require.Equal(t, []string{"todos"}, got.Anew)
		require.Equal(t, []string{"create b"}, got.lines())
		require.NotContains(t, string(got.Changes[0].Data), "secret")
		require.Equal(t, http.StatusGone, a.get(t, "/api/sync/todos?since="+cursor).Status)
		require.Equal(t, http.StatusOK, a.get(t, "/api/sync/notes?since="+cursor).Status)
	})
}
