// Package dbtest runs the same test on SQLite and on a real PostgreSQL.
//
//	func TestMain(m *testing.M) { dbtest.Main(m) }
//
//	func TestSave(t *testing.T) {
//		dbtest.Each(t, func(t *testing.T, db *dbtest.DB) {
//			conn := db.Open(t)
//			…
//		})
//	}
//
// Every test has a database of its own: a file on SQLite, a schema on PostgreSQL. The PostgreSQL server is the one that
// GORMSYNC_TEST_DATABASE_URL names; without it the test process starts a throw-away cluster, from the programs in
// GORMSYNC_TEST_PG_BIN, on PATH, in Debian's folder, or in client/node_modules. A test that finds no server fails: a
// skipped database test looks like a passed one. Tests of faults start clusters of their own, see StartCluster.
package dbtest

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package and exits with their result; call it from TestMain. When they passed it also fails
// for goroutines that are still running, but those that the options ignore, and it stops the cluster that this process
// started, if it started one.
func Main(m *testing.M, ignore ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		code = failOn(findLeaks(ignore))
	}
	if c := failOn(stopShared()); code == 0 {
		code = c
	}
	os.Exit(code)
}

// Each runs fn twice, as the subtests "sqlite" and "postgres", each time with an empty database. fn may call
// t.Parallel.
func Each(t *testing.T, fn func(t *testing.T, db *DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { fn(t, Postgres(t)) })
}

// findLeaks describes the goroutines that the tests left behind. Those that wait for a server to exit are meant to
// outlive the tests: they end with the shared cluster.
func findLeaks(ignore []goleak.Option) error {
	own := goleak.IgnoreAnyFunction("github.com/rhtmx/gormsync/internal/dbtest.(*process).run")
	return goleak.Find(append(slices.Clone(ignore), own)...)
}

// failOn prints the error, if there is one, and answers with the exit code it deserves.
func failOn(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "dbtest:", err)
	return 1
}
