package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

type Todo struct {
	ID    string `gorm:"primaryKey"`
	Title string
	Done  bool
}

// call runs the command as main does.
func call(t *testing.T, args ...string) (code int, out, stderr string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

// callJSON runs a command with --json and reads its answer.
func callJSON(t *testing.T, want int, args ...string) map[string]any {
	t.Helper()
	code, out, stderr := call(t, append(args, "--json")...)
	require.Equal(t, want, code, stderr)
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &v), out)
	return v
}

// tracked makes a database with a log.
func tracked(t *testing.T, d *dbtest.DB) (*gorm.DB, *trackers.Log) {
	t.Helper()
	db := d.Open(t)
	require.NoError(t, db.AutoMigrate(&Todo{}))
	require.NoError(t, migrate.Up(t.Context(), db, ""))
	log, err := trackers.NewLog(t.Context(), db, trackers.Config{Entities: []trackers.Entity{{Model: &Todo{}}}})
	require.NoError(t, err)
	require.NoError(t, log.Capture(db))
	return db, log
}

func TestMigrate(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		d.Open(t).Exec("CREATE TABLE x (i int)") // SQLite makes the file with the first table
		at := []string{"--database", d.URL}
		with := func(args ...string) []string { return append(args, at...) }

		code, out, _ := call(t, with("migrate", "plan")...)
		require.Equal(t, exitFound, code)
		require.Contains(t, out, "CREATE TABLE")
		require.True(t, strings.HasPrefix(out, "BEGIN;\n") && strings.HasSuffix(out, ";\nCOMMIT;\n"), out)
		require.NotEmpty(t, callJSON(t, exitFound, with("migrate", "plan")...)["statements"])
		code, out, _ = call(t, with("migrate", "status")...)
		require.Equal(t, exitFound, code)
		require.Contains(t, out, "run gormsync migrate up")

		code, out, _ = call(t, with("migrate", "up")...)
		require.Zero(t, code)
		require.Contains(t, out, "now (before: 0)")
		code, out, _ = call(t, with("migrate", "up")...)
		require.Zero(t, code)
		require.Contains(t, out, "already")
		require.EqualValues(t, migrate.SchemaVersion, callJSON(t, 0, with("migrate", "up")...)["to"])
		code, out, _ = call(t, with("migrate", "plan")...)
		require.Zero(t, code)
		require.Equal(t, "-- nothing to do\n", out)
		require.Empty(t, callJSON(t, 0, with("migrate", "plan")...)["statements"])

		db, _ := tracked(t, d)
		require.NoError(t, db.Create([]Todo{{ID: "1"}, {ID: "2"}}).Error)
		code, out, _ = call(t, with("migrate", "status")...)
		require.Zero(t, code)
		require.Regexp(t, `(?s)up to date\nchanges +2\nfields +0\noldest .*\nentity +todos\n`, out)
		s := callJSON(t, 0, with("migrate", "status")...)
		require.EqualValues(t, 2, s["changes"])
		require.Equal(t, []any{"todos"}, s["entities"])

		code, _, stderr := call(t, with("migrate", "down")...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, stderr, "--yes")
		code, _, _ = call(t, with("migrate", "down", "--yes")...)
		require.Zero(t, code)
		require.False(t, db.Migrator().HasTable("_rhtmx_sync_log"))
	})
}

func TestUsage(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	for _, args := range [][]string{
		{"nonsense"}, {"migrate", "nonsense"}, {"migrate", "up", "nonsense"}, {"tail", "--nonsense"}, {"migrate", "status"}, {"cleanup"},
		{"copy", "--from", "sqlite://x.db"}, {"cleanup", "--older-than", "week"}, {"tail", "--action", "drop"},
		{"doctor", "--old-transaction=-5m", "--database", "sqlite://x.db"}, {"migrate", "status", "--database", "mysql://localhost/x"}, {"doctor", "--database", "mysql://localhost/x"},
	} {
		code, _, stderr := call(t, args...)
		require.Equal(t, exitUsage, code, "%v: %s", args, stderr)
		require.NotEmpty(t, stderr)
	}
	missing := filepath.Join(t.TempDir(), "none.db")
	code, _, stderr := call(t, "migrate", "up", "--database", "sqlite://"+missing, "--json")
	require.Equal(t, exitFailed, code)
	require.NoFileExists(t, missing)
	var failure map[string]string
	require.NoError(t, json.Unmarshal([]byte(stderr), &failure))
	require.Contains(t, failure["error"], "no such SQLite database")

	t.Setenv("DATABASE_URL", "postgres://u:secret@127.0.0.1:1/x")
	code, out, stderr := call(t, "--help")
	require.Zero(t, code)
	require.NotContains(t, out+stderr, "secret")
	code, _, stderr = call(t, "migrate", "status")
	require.Equal(t, exitFailed, code, "the variable is not used")
	require.NotContains(t, stderr, "secret")
}

func TestTail(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db, log := tracked(t, d)
		alice := trackers.WithActor(t.Context(), "alice")
		require.NoError(t, db.Create(&Todo{ID: "1", Title: strings.Repeat("long ", 40)}).Error)
		require.NoError(t, db.WithContext(alice).Model(&Todo{ID: "1"}).Update("done", true).Error)
		require.NoError(t, db.Create(&Todo{ID: "2"}).Error)
		require.NoError(t, db.Delete(&Todo{ID: "1"}).Error)
		at := []string{"tail", "--database", d.URL, "--since", "start"}
		code, out, stderr := call(t, append(at, "--count", "4")...)
		require.Zero(t, code, stderr)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		require.Len(t, lines, 4)
		require.Regexp(t, `^\S+ \S+ create todos 1 #\d+ - \{"id":"1".*…$`, lines[0])
		require.Regexp(t, `update todos 1 #\d+ alice`, lines[1])
		require.Regexp(t, `delete todos 1`, lines[3])
		for filter, want := range map[string]string{"--actor=alice": "update todos 1", "--id=2": "create todos 2", "--action=delete": "delete todos 1"} {
			code, out, _ = call(t, append(at, "--count", "1", "--entity", "todos", filter)...)
			require.Zero(t, code)
			require.Contains(t, out, want)
		}
		code, out, _ = call(t, append(at, "--count", "1", "--wide")...)
		require.Zero(t, code)
		require.Contains(t, out, strings.Repeat("long ", 40))

		line := callJSON(t, 0, append(at, "--count", "1", "--action", "delete")...)
		cursor, _ := line["cursor"].(string)
		require.NoError(t, db.Create(&Todo{ID: "3"}).Error)
		line = callJSON(t, 0, "tail", "--database", d.URL, "--since", cursor, "--count", "1")
		require.Equal(t, "3", line["change"].(map[string]any)["entity_id"])

		require.NoError(t, db.WithContext(trackers.WithActor(trackers.WithClient(t.Context(), "\x1b[2J"), "\u009b31m")).Create(&Todo{ID: "\x1b]0;x\a", Title: "\u009b5m"}).Error)
		code, out, _ = call(t, append(at, "--count", "1", "--client", "\x1b[2J")...)
		require.Zero(t, code)
		require.NotRegexp(t, "[\x1b\u009b\a]", out, "the terminal would obey what a client wrote")
		live(t, d, db, log)
	})
}

// live: what is written later comes too, and an interrupt ends it well.
func live(t *testing.T, d *dbtest.DB, db *gorm.DB, log *trackers.Log) {
	t.Helper()
	position, err := log.Position(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	out := &lineWriter{lines: make(chan string, 10)}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"tail", "--database", d.URL, "--since", position.String()}, out, &bytes.Buffer{})
	}()
	for _, id := range []string{"a", "b"} {
		require.NoError(t, db.Create(&Todo{ID: id}).Error)
		require.Contains(t, <-out.lines, "create todos "+id)
	}
	cancel()
	require.Zero(t, <-ended)
}

type lineWriter struct{ lines chan string }

func (w *lineWriter) Write(b []byte) (int, error) {
	w.lines <- string(b)
	return len(b), nil
}

func TestCleanup(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db, _ := tracked(t, d)
		require.NoError(t, db.Create(&Todo{ID: "1"}).Error)
		for _, title := range []string{"a", "b", "c"} {
			require.NoError(t, db.Model(&Todo{ID: "1"}).Update("title", title).Error)
		}
		code, out, _ := call(t, "cleanup", "--older-than", "1h", "--database", d.URL)
		require.Zero(t, code)
		require.Equal(t, "0 changes removed\n", out)
		require.EqualValues(t, 3, callJSON(t, 0, "cleanup", "--older-than", "1ns", "--database", d.URL)["removed"])
		require.NoError(t, db.Create(&models.Mutation{Actor: "a", ClientID: "c", MutationID: "m", CreatedAt: time.Now().Add(-time.Hour)}).Error)
		require.EqualValues(t, 0, callJSON(t, 0, "cleanup", "--older-than", "1h", "--mutations-older-than", "2h", "--database", d.URL)["forgotten"])
		code, out, _ = call(t, "cleanup", "--older-than", "1h", "--mutations-older-than", "1m", "--database", d.URL)
		require.Zero(t, code)
		require.Contains(t, out, "1 answers forgotten\n")
	})
}

func TestCopy(t *testing.T) {
	from, to := dbtest.SQLite(t), dbtest.Postgres(t)
	src, _ := tracked(t, from)
	dst := to.Open(t)
	require.NoError(t, dst.AutoMigrate(&Todo{}))
	require.NoError(t, src.Create([]Todo{{ID: "1", Title: "one"}, {ID: "2", Done: true}}).Error)
	require.NoError(t, src.Exec("CREATE TABLE users (id integer PRIMARY KEY, name text)").Error)
	require.NoError(t, src.Exec("INSERT INTO users VALUES (7, 'ann')").Error)
	code, _, stderr := call(t, "copy", "--from", from.URL, "--to", to.URL, "--table", "users")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "no table users")
	require.NoError(t, dst.Exec("CREATE TABLE users (id bigserial PRIMARY KEY, name text)").Error)
	code, out, stderr := call(t, "copy", "--from", from.URL, "--to", to.URL, "--table", "users", "--batch", "1")
	require.Zero(t, code, stderr)
	require.Regexp(t, `todos +2 rows +checksum [0-9a-f]{32}`, out)
	require.Contains(t, out, "both sides are equal")
	require.Contains(t, stderr, "copy todos: 2 of 2")
	require.Contains(t, stderr, "check todos: 2 of 2")
	var name string
	require.NoError(t, dst.Raw("SELECT name FROM users WHERE id = 7").Scan(&name).Error)
	require.Equal(t, "ann", name)

	other := dbtest.Postgres(t)
	require.NoError(t, other.Open(t).AutoMigrate(&Todo{}))
	report := callJSON(t, 0, "copy", "--database", from.URL, "--to", other.URL)
	require.Equal(t, []any{"users"}, report["left"])
	require.Len(t, report["tables"], 1+len(copiedLogs))
}

// copiedLogs are the log tables that are copied.
var copiedLogs = []string{models.TablesFor("").Changes, models.TablesFor("").Fields, models.TablesFor("").Mutations}

// The progress on a terminal is a bar: it is drawn, and complete at the end.
func TestBars(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	b := &bars{out: file}
	b.show(migrate.CopyProgress{Step: "copy", Table: "todos", Done: 0, Total: 2})
	b.show(migrate.CopyProgress{Step: "copy", Table: "todos", Done: 1, Total: 2})
	b.show(migrate.CopyProgress{Step: "copy", Table: "todos", Done: 2, Total: 2})
	b.end()
	text, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	require.Equal(t, "copy todos: 0 of 2\ncopy todos: 2 of 2\n", string(text))
}

func TestDoctorCommand(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		tracked(t, d)
		code, out, stderr := call(t, "doctor", "--database", d.URL)
		require.Zero(t, code, out+stderr)
		require.Contains(t, out, "ok       server")
		answer := callJSON(t, 0, "doctor", "--database", d.URL)
		require.Equal(t, true, answer["ok"])
		require.NoError(t, d.Open(t).Table("_rhtmx_sync_meta").Where("key = ?", models.MetaEpoch).Delete(&models.Meta{}).Error)
		code, out, _ = call(t, "doctor", "--database", d.URL)
		require.Equal(t, exitFound, code)
		require.Regexp(t, `error +epoch +.*\n +→ run gormsync migrate up`, out)
		answer = callJSON(t, exitFound, "doctor", "--database", d.URL)
		require.Equal(t, false, answer["ok"])
	})
}
