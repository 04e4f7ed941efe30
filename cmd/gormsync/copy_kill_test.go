package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
)

var copyRows = flag.Int("copy.rows", 10_000, "how many rows a copy that is killed has in each of two tables")

// TestCopyKilled kills the program amid the todos and again amid their log. The
// third call goes on, and both sides are equal. It says how far it is, and takes
// the memory that it takes for few rows.
func TestCopyKilled(t *testing.T) {
	program := filepath.Join(t.TempDir(), "gormsync")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	from, to := dbtest.SQLite(t), dbtest.Postgres(t)
	src, _ := tracked(t, from)
	fillTodos(t, src)
	dst := to.Open(t)
	require.NoError(t, dst.AutoMigrate(&Todo{}))
	c := &copyProgram{program: program, args: []string{"copy", "--json", "--from", from.URL, "--to", to.URL, "--batch", fmt.Sprint(max(*copyRows/20, 100))}}

	half := int64(*copyRows) / 2
	c.killAt(t, migrate.CopyProgress{Step: "copy", Table: "todos", Done: half})
	first := c.killAt(t, migrate.CopyProgress{Step: "copy", Table: "_rhtmx_sync_log", Done: half})
	require.Equal(t, "todos", first.Table)
	require.GreaterOrEqual(t, first.Done, half, "it began anew")
	report, first, peak := c.finish(t)
	require.Equal(t, migrate.CopyProgress{Step: "copy", Table: "todos", Done: int64(*copyRows), Total: int64(*copyRows)}, first, "it began anew")
	for _, table := range report.Tables {
		if table.Table == "todos" || table.Table == "_rhtmx_sync_log" {
			require.EqualValues(t, *copyRows, table.Rows)
		}
	}
	t.Logf("%d rows in each of two tables, %d MiB in memory at most", *copyRows, peak>>20)
	require.Less(t, peak, int64(256<<20), "memory grows with the rows")
	requireEqualTodos(t, src, dst)
}

// fillTodos makes rows and their log with SQL: a million of them through GORM takes minutes.
func fillTodos(t *testing.T, db *gorm.DB) {
	t.Helper()
	const numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?) "
	for _, sql := range []string{
		"INSERT INTO todos (id, title, done) SELECT printf('t%08d', i), 'number ' || i, i % 2 FROM n",
		`INSERT INTO _rhtmx_sync_log (id, version, tx, entity, entity_id, action, data, created_at, edited_at)
 SELECT i, i, i, 'todos', printf('t%08d', i), 'create', json_object('id', printf('t%08d', i)), '2026-01-02 03:04:05.5+00:00', '2026-01-02 03:04:05.5+00:00' FROM n`,
	} {
		require.NoError(t, db.Exec(numbers+sql, *copyRows).Error)
	}
}

// requireEqualTodos does not go by the checksums that the copy makes itself.
func requireEqualTodos(t *testing.T, src, dst *gorm.DB) {
	t.Helper()
	type sums struct{ Rows, Keys, Titles, Done int64 }
	sum := func(db *gorm.DB) (s sums) {
		const query = "SELECT count(*) AS rows, sum(CAST(substr(id, 2) AS bigint)) AS keys, sum(CAST(substr(title, 8) AS bigint)) AS titles, sum(CASE WHEN done THEN 1 ELSE 0 END) AS done FROM todos"
		require.NoError(t, db.Raw(query).Scan(&s).Error)
		return s
	}
	require.Equal(t, sum(src), sum(dst))
	require.EqualValues(t, *copyRows, sum(dst).Rows)
}

// copyProgram is a copy in a process of its own.
type copyProgram struct {
	program string
	args    []string
}

func (c *copyProgram) start(t *testing.T) (cmd *exec.Cmd, out io.Reader, progress *bufio.Reader) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), c.program, c.args...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, out, bufio.NewReader(stderr)
}

func readProgress(t *testing.T, from *bufio.Reader) (p migrate.CopyProgress, more bool) {
	t.Helper()
	line, err := from.ReadBytes('\n')
	if err != nil {
		require.ErrorIs(t, err, io.EOF)
		return p, false
	}
	require.NoError(t, json.Unmarshal(line, &p), "%s", line)
	return p, true
}

// killAt kills the program when it has come so far, and gives the first progress
// that it told of.
func (c *copyProgram) killAt(t *testing.T, at migrate.CopyProgress) (first migrate.CopyProgress) {
	t.Helper()
	cmd, _, progress := c.start(t)
	for {
		p, more := readProgress(t, progress)
		require.True(t, more, "it ended before %v", at)
		if first.Step == "" && p.Step != "wait" { // for the server to notice the end of the one before
			first = p
		}
		if p.Step == at.Step && p.Table == at.Table && p.Done >= at.Done {
			break
		}
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait(), "it ended by itself")
	return first
}

// finish lets the program end, and gives its report, the first progress, and the
// bytes that it had in memory at most.
func (c *copyProgram) finish(t *testing.T) (report migrate.CopyReport, first migrate.CopyProgress, peak int64) {
	t.Helper()
	cmd, out, progress := c.start(t)
	for {
		p, more := readProgress(t, progress)
		if !more {
			break
		}
		if first.Step == "" && p.Step != "wait" {
			first = p
		}
	}
	require.NoError(t, json.NewDecoder(out).Decode(&report))
	require.NoError(t, cmd.Wait())
	peak = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if runtime.GOOS == "linux" { // there in KiB
		peak <<= 10
	}
	return report, first, peak
}
