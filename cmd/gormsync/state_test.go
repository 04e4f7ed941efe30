package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
)

// finding is one of doctor's, by its check.
func finding(t *testing.T, check string, args ...string) (level, message, remedy string) {
	t.Helper()
	for _, f := range callJSON(t, exitFound, append([]string{"doctor"}, args...)...)["findings"].([]any) {
		if f := f.(map[string]any); f["check"] == check && f["level"] != "ok" {
			text := func(key string) string { s, _ := f[key].(string); return s }
			return text("level"), text("message"), text("remedy")
		}
	}
	t.Fatalf("doctor finds nothing wrong with %s", check)
	return "", "", ""
}

// fails calls a command that must fail with a sentence.
func fails(t *testing.T, want string, args ...string) {
	t.Helper()
	code, out, stderr := call(t, args...)
	require.Equal(t, exitFailed, code, out)
	require.Contains(t, stderr, want)
}

// Tables that a copy has not finished pass for whole in no command.
func TestUnfinishedCopy(t *testing.T) {
	d := dbtest.Postgres(t)
	db, _ := tracked(t, d)
	require.NoError(t, db.Exec("CREATE TABLE _rhtmx_sync_copy (name text PRIMARY KEY)").Error)
	code, out, _ := call(t, "migrate", "status", "--database", d.URL)
	require.Equal(t, exitFound, code)
	require.Contains(t, out, "not complete")
	require.Equal(t, true, callJSON(t, exitFound, "migrate", "status", "--database", d.URL)["copying"])
	level, message, remedy := finding(t, "copy", "--database", d.URL)
	require.Equal(t, "error", level)
	require.Contains(t, message, "not complete")
	require.Contains(t, remedy, "--restart")
	fails(t, "a copy into this database is not complete", "tail", "--database", d.URL)
	fails(t, "a copy into this database is not complete", "cleanup", "--older-than", "1h", "--database", d.URL)
}

// rhtmx-sync's own tables are known for what they are.
func TestRhtmxSyncTables(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		script, err := os.ReadFile(filepath.Join("..", "..", "migrate", "testdata", "origin_"+d.Dialect+".sql"))
		require.NoError(t, err)
		var args []any
		if d.Dialect == "postgres" { // several statements at once
			args = append(args, pgx.QueryExecModeSimpleProtocol)
		}
		require.NoError(t, db.Exec(string(script), args...).Error)
		code, out, _ := call(t, "migrate", "status", "--database", d.URL)
		require.Equal(t, exitFound, code)
		require.Contains(t, out, "those of rhtmx-sync; gormsync migrate up takes them over")
		_, message, remedy := finding(t, "schema", "--database", d.URL)
		require.Contains(t, message, "those of rhtmx-sync")
		require.Contains(t, remedy, "gormsync migrate up")
		fails(t, "those of rhtmx-sync; gormsync migrate up", "tail", "--database", d.URL)
		fails(t, "those of rhtmx-sync; gormsync migrate up", "cleanup", "--older-than", "1h", "--database", d.URL)
		code, _, stderr := call(t, "migrate", "up", "--database", d.URL)
		require.Zero(t, code, stderr)
		code, out, _ = call(t, "doctor", "--database", d.URL)
		require.Zero(t, code, out)
	})
}

// Tables of another version are let alone, and damaged ones are found and mended.
func TestOtherTables(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		d.Open(t).Exec("CREATE TABLE x (i int)")
		fails(t, "there are no log tables", "tail", "--database", d.URL)
		db, _ := tracked(t, d)
		version := func(v int) {
			require.NoError(t, db.Save(&models.Meta{Key: models.MetaSchema, Value: fmt.Sprint(v)}).Error)
		}
		version(99)
		fails(t, "use a newer gormsync", "tail", "--database", d.URL)
		fails(t, "use a newer gormsync", "cleanup", "--older-than", "1h", "--database", d.URL)
		version(1)
		fails(t, "are of version 1, and this program needs", "tail", "--database", d.URL)
		version(migrate.SchemaVersion)

		require.NoError(t, db.Exec("DROP INDEX _rhtmx_sync_log_row").Error)
		code, out, _ := call(t, "migrate", "status", "--database", d.URL)
		require.Equal(t, exitFound, code)
		require.Contains(t, out, "not whole")
		_, message, _ := finding(t, "schema", "--database", d.URL)
		require.Contains(t, message, "_rhtmx_sync_log_row")
		require.Len(t, callJSON(t, exitFound, "migrate", "plan", "--database", d.URL)["statements"], 1)
		require.NoError(t, db.Exec("ALTER TABLE _rhtmx_sync_log DROP COLUMN scope").Error)
		_, message, _ = finding(t, "schema", "--database", d.URL)
		require.Contains(t, message, "scope")
		code, out, _ = call(t, "migrate", "up", "--database", d.URL)
		require.Zero(t, code)
		require.Contains(t, out, "what was missing")
		code, out, _ = call(t, "doctor", "--database", d.URL)
		require.Zero(t, code, out)
	})
}

// What cannot be opened is a finding too, with what to do about it.
func TestUnreachable(t *testing.T) {
	folder := t.TempDir()
	garbage := filepath.Join(folder, "garbage.db")
	require.NoError(t, os.WriteFile(garbage, []byte("this is a text of more than sixteen bytes, and no database"), 0o600))
	fails(t, garbage, "migrate", "status", "--database", "sqlite://"+garbage)
	cluster, err := dbtest.StartCluster(dbtest.ClusterOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Remove()) })
	for url, want := range map[string]string{
		"postgres://u:secret@127.0.0.1:1/x":                     "start the server",
		"sqlite://" + filepath.Join(folder, "none.db"):          "mend the path",
		"sqlite://" + garbage:                                   "put a backup back",
		strings.Replace(cluster.URL(), "/postgres?", "/no?", 1): "CREATE DATABASE",
		strings.Replace(cluster.URL(), "postgres@", "who@", 1):  "the user and the password",
	} {
		level, message, remedy := finding(t, "server", "--database", url)
		require.Equal(t, "error", level)
		require.NotContains(t, message, "secret")
		require.Contains(t, remedy, want, message)
	}
}

// A role that may not use the schema is told so, and not to make the tables.
func TestSchemaOutOfReach(t *testing.T) {
	cluster, err := dbtest.StartCluster(dbtest.ClusterOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Remove()) })
	owner := open(t, cluster.URL())
	require.NoError(t, owner.Exec("CREATE SCHEMA apart; CREATE ROLE poor LOGIN", pgx.QueryExecModeSimpleProtocol).Error)
	apart := cluster.URL() + "&search_path=apart"
	require.NoError(t, migrate.Up(t.Context(), open(t, apart), ""))
	poor := strings.Replace(apart, "postgres@", "poor@", 1)
	for _, command := range [][]string{{"migrate", "status"}, {"tail"}, {"cleanup", "--older-than", "1h"}} {
		fails(t, "in the schema apart, which this role may not use", append(command, "--database", poor)...)
	}
	fails(t, "not in the search_path", "migrate", "status", "--database", cluster.URL())
}

func open(t *testing.T, url string) *gorm.DB {
	t.Helper()
	db, done, err := openURL(url)
	require.NoError(t, err)
	t.Cleanup(done)
	return db
}
