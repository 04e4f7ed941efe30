package dbtest

import (
	"os"
	"path/filepath"
	"testing"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
)

// sqliteOptions are what an application with more than one connection needs: readers beside the writer, and writers
// that wait for their turn. They wait longer than an application would, so that no test fails because the machine is
// slow. Whoever can never have its turn is refused at once all the same.
const sqliteOptions = "?_journal_mode=WAL&_busy_timeout=60000"

// SQLite gives the test an empty SQLite database in a file of its own.
func SQLite(t testing.TB) *DB {
	t.Helper()
	dir, err := os.MkdirTemp("", "gormsync-sqlite-") //nolint:usetesting // t.TempDir has the test's name in it, and the # of a repeated subtest would end the URL
	if err != nil {
		t.Fatalf("cannot make a folder for the database: %v", err)
	}
	path := filepath.ToSlash(filepath.Join(dir, "test.db"))
	db := &DB{
		Dialect:   "sqlite",
		URL:       "sqlite://" + path,
		dialector: func() gorm.Dialector { return sqlite.Open(path + sqliteOptions) },
	}
	return newDB(t, db, func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("cannot remove the database of the test: %v", err)
		}
	})
}
