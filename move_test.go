package gormsync_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
)

// served is a server on one database.
type served struct {
	t    *testing.T
	db   *gorm.DB
	echo *echo.Echo
}

func serveNotes(t *testing.T, db *gorm.DB) served {
	t.Helper()
	require.NoError(t, db.AutoMigrate(&Note{}))
	sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Note{}, FieldLog: true, Writable: true}}, Authorize: gormsync.UnsafeAllowAll})
	require.NoError(t, err)
	require.NoError(t, db.Use(sync))
	e := echo.New()
	require.NoError(t, sync.Mount(e.Group("/api")))
	t.Cleanup(func() { closeSoon(t, sync) })
	return served{t, db, e}
}

func (s served) ask(method, path, body string, into any) (status int) {
	s.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
	rec := httptest.NewRecorder()
	s.echo.ServeHTTP(rec, req)
	require.NoError(s.t, json.Unmarshal(rec.Body.Bytes(), into), rec.Body.String())
	return rec.Code
}

type movePull struct {
	Error, Cursor, Version string
	Reset                  bool
	Changes                []struct {
		EntityID string `json:"entity_id"`
		Version  int64
	}
}

type movePush struct {
	Results []struct {
		ID, Status string
		Version    int64
	}
}

// TestMoveKeepsQueues: a client that edits offline while the database moves from
// SQLite to PostgreSQL loses nothing, and nothing is done twice.
func TestMoveKeepsQueues(t *testing.T) {
	old := serveNotes(t, dbtest.SQLite(t).Open(t))
	require.NoError(t, old.db.Create([]Note{{ID: "n1", Text: "one"}, {ID: "n2", Text: "two"}}).Error)
	var seen movePull
	require.Equal(t, http.StatusOK, old.ask(http.MethodGet, "/api/sync/notes", "", &seen))
	require.Len(t, seen.Changes, 2)
	const acknowledged = `{"id":"n2","action":"update","data":{"text":"arrived, but the answer was lost"},"mutation_id":"m1"}`
	var first movePush
	require.Equal(t, http.StatusOK, old.ask(http.MethodPost, "/api/sync/notes", `{"client_id":"c1","changes":[`+acknowledged+`]}`, &first))
	require.Equal(t, "applied", first.Results[0].Status)
	require.NoError(t, old.db.Model(&Note{ID: "n2"}).Update("text", "somebody else, later").Error)

	fresh := dbtest.Postgres(t).Open(t)
	_, err := migrate.Copy(t.Context(), old.db, fresh, &Note{})
	require.NoError(t, err)
	moved := serveNotes(t, fresh)

	var answer movePull
	require.Equal(t, http.StatusGone, moved.ask(http.MethodGet, "/api/sync/notes?since="+seen.Cursor, "", &answer))
	require.Equal(t, "cursor_expired", answer.Error)
	answer = movePull{} // a client of rhtmx-sync, which knows no 410
	require.Equal(t, http.StatusOK, moved.ask(http.MethodGet, "/api/sync/notes?since="+seen.Version, "", &answer))
	require.True(t, answer.Reset)
	require.Len(t, answer.Changes, 2)

	version := seen.Changes[0].Version
	base, err := json.Marshal(version)
	require.NoError(t, err)
	var pushed movePush
	require.Equal(t, http.StatusOK, moved.ask(http.MethodPost, "/api/sync/notes", `{"client_id":"c1","changes":[`+acknowledged+`,
 {"id":"n1","action":"update","data":{"text":"offline"},"client_version":`+string(base)+`,"mutation_id":"m2"},
 {"id":"n9","action":"create","data":{"text":"made offline"},"mutation_id":"m3"}]}`, &pushed))
	require.Len(t, pushed.Results, 3)
	for i, want := range []string{"duplicate", "applied", "applied"} {
		require.Equal(t, want, pushed.Results[i].Status)
		require.Greater(t, pushed.Results[i].Version, version)
	}
	texts := map[string]string{}
	var notes []Note
	require.NoError(t, fresh.Find(&notes).Error)
	for _, n := range notes {
		texts[n.ID] = n.Text
	}
	require.Equal(t, map[string]string{"n1": "offline", "n2": "somebody else, later", "n9": "made offline"}, texts)
}

// TestOriginIsTakenOver: an application that comes from rhtmx-sync starts on its
// tables, and its clients, which know positions as numbers, begin anew.
func TestOriginIsTakenOver(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		script, err := os.ReadFile("migrate/testdata/origin_" + d.Dialect + ".sql")
		require.NoError(t, err)
		var simple []any
		if d.Dialect == "postgres" { // several statements at once
			simple = append(simple, pgx.QueryExecModeSimpleProtocol)
		}
		require.NoError(t, db.Exec(string(script), simple...).Error)
		require.NoError(t, db.AutoMigrate(&Note{}))
		require.NoError(t, db.Create(&Note{ID: "n1", Text: "old"}).Error)
		require.NoError(t, db.Exec(`INSERT INTO _rhtmx_sync_log (entity, entity_id, action, data, version) VALUES ('notes', 'n1', 'create', '{"id":"n1","text":"older"}', 57)`).Error)
		require.NoError(t, db.Exec(`INSERT INTO _rhtmx_field_sync_log (entity, entity_id, field, value, action, version) VALUES ('notes', 'n1', 'text', '"old"', 'update', 58)`).Error)

		s := serveNotes(t, db)
		for _, since := range []string{"", "?since=0"} {
			var pull movePull
			require.Equal(t, http.StatusOK, s.ask(http.MethodGet, "/api/sync/notes"+since, "", &pull))
			require.Len(t, pull.Changes, 1)
			require.Greater(t, pull.Changes[0].Version, int64(58))
		}
		var reset, next movePull
		require.Equal(t, http.StatusOK, s.ask(http.MethodGet, "/api/sync/notes?since=57", "", &reset))
		require.True(t, reset.Reset)
		require.NoError(t, db.Model(&Note{ID: "n1"}).Update("text", "new").Error)
		require.Equal(t, http.StatusOK, s.ask(http.MethodGet, "/api/sync/notes?since="+reset.Version, "", &next))
		require.False(t, next.Reset)
		require.Len(t, next.Changes, 1)
		var fields movePull
		require.Equal(t, http.StatusOK, s.ask(http.MethodGet, "/api/field-sync/notes?since="+reset.Cursor, "", &fields))
		require.Len(t, fields.Changes, 1)
	})
}
