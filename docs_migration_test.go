package gormsync_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
)

// The code of docs/sqlite-to-postgres.md.
func TestSQLiteToPostgreSQLDocument(t *testing.T) {
	ctx := t.Context()
	src, dst := dbtest.SQLite(t).Open(t), dbtest.Postgres(t).Open(t)
	check(src.AutoMigrate(&Note{}))
	sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Note{}}}})
	check(err)
	check(src.Use(sync))
	check(src.Create(&Note{ID: "n1", Text: "hello"}).Error)
	report, err := migrate.Copy(ctx, src, dst, &Note{})
	check(err)
	for _, t := range report.Tables {
		fmt.Println(t.Table, t.Rows, t.Checksum)
	}
	var note Note
	require.NoError(t, dst.Take(&note, "id = ?", "n1").Error)
	require.Equal(t, "hello", note.Text)
}

// docs/operations.md: a backup of SQLite that is put back with a new epoch refuses
// the cursors from before.
func TestBackupDocument(t *testing.T) {
	sql := blocks(t, "docs/operations.md", "sql")
	require.Len(t, sql, 2)
	t.Chdir(t.TempDir())
	open := func(file string) *gormsync.Plugin {
		db, err := gormsync.Open("sqlite://" + file)
		require.NoError(t, err)
		check(db.AutoMigrate(&Note{}))
		if file == "backup.db" {
			require.NoError(t, db.Exec(sql[1]).Error)
		}
		sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Note{}}}})
		check(err)
		check(db.Use(sync))
		check(db.Create(&Note{ID: file}).Error)
		if file == "notes.db" {
			require.NoError(t, db.Exec(sql[0]).Error)
		}
		pool, err := db.DB()
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, pool.Close()) })
		return sync
	}
	before, err := open("notes.db").Changes().Since(t.Context(), "notes", models.Cursor{}, 0)
	require.NoError(t, err)
	restored := open("backup.db")
	_, err = restored.Changes().Since(t.Context(), "notes", before.Cursor, 0)
	require.ErrorIs(t, err, models.ErrCursorExpired)
	again, err := restored.Changes().Since(t.Context(), "notes", models.Cursor{}, 0)
	require.NoError(t, err)
	require.Len(t, again.Entries, 2)
}

// The code of docs/security.md.
func TestSecurityDocument(t *testing.T) {
	db := dbtest.SQLite(t).Open(t)
	check(db.AutoMigrate(&Note{}))
	sync, err := gormsync.New(gormsync.Config{
		Entities: []gormsync.Entity{{Model: &Note{}, Scope: "team_id"}},
		Authorize: func(c echo.Context, entity string) (gormsync.Access, error) {
			user := c.Request().Header.Get("X-User") // your session or token
			if user == "" {
				return gormsync.Access{}, echo.ErrUnauthorized
			}
			return gormsync.Access{Read: true, Scopes: []string{user}, Actor: user}, nil
		},
	})
	check(err)
	check(db.Use(sync))
	e := echo.New()
	check(sync.Mount(e.Group("/api")))
	defer closeSoon(t, sync)
	check(db.Create([]Note{{ID: "1", TeamID: "ann", Text: "hers"}, {ID: "2", TeamID: "bob"}}).Error)
	get := func(user, path string) (int, string) {
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.Header.Set("X-User", user)
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, req)
		return rec.Code, rec.Body.String()
	}
	status, _ := get("", "/api/sync/notes")
	require.Equal(t, http.StatusUnauthorized, status)
	status, body := get("ann", "/api/sync/notes")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, body, "hers")
	require.NotContains(t, body, "bob")
	status, _ = get("ann", "/api/sync/nothing")
	require.Equal(t, http.StatusNotFound, status)
}
