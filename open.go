package gormsync

import (
	"errors"
	"fmt"
	"strings"

	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
)

// Open opens a database by URL. Any other *gorm.DB on these databases serves as
// well; Open only knows what suits them.
//
//	postgres://user:password@host:5432/name   PostgreSQL, also postgresql://
//	sqlite://todos.db                         a SQLite file, relative; sqlite:///var/lib/todos.db absolute
//	sqlite::memory:                           SQLite in memory, gone with the process
//	file:todos.db?mode=rwc                    a SQLite URI, taken as it is
//
// SQLite files are opened with a write-ahead log and a busy timeout of 5 s unless
// the URL says otherwise (?_journal_mode=…&_busy_timeout=…). A database in memory
// has one connection, since each connection would have a database of its own.
func Open(url string, opts ...gorm.Option) (*gorm.DB, error) {
	switch {
	case strings.HasPrefix(url, "postgres://"), strings.HasPrefix(url, "postgresql://"):
		return open(postgres.Open(url), opts)
	case url == "sqlite::memory:", url == "sqlite://:memory:":
		return openMemory(":memory:", opts)
	case strings.HasPrefix(url, "file:") && (strings.Contains(url, ":memory:") || strings.Contains(url, "mode=memory")):
		return openMemory(url, opts)
	case strings.HasPrefix(url, "sqlite://"):
		path := strings.TrimPrefix(url, "sqlite://")
		if path == "" || path[0] == '?' {
			return nil, errors.New("gormsync: the URL sqlite:// names no file; write sqlite://todos.db, or sqlite::memory: for none")
		}
		return open(sqlite.Open(withSQLiteDefaults(path)), opts)
	case strings.HasPrefix(url, "file:"):
		return open(sqlite.Open(withSQLiteDefaults(url)), opts)
	}
	scheme, _, _ := strings.Cut(url, ":")
	return nil, fmt.Errorf("gormsync: cannot open a URL that begins with %q; use postgres://, postgresql://, sqlite://path, sqlite::memory: or file:path", scheme+":")
}

func open(dialector gorm.Dialector, opts []gorm.Option) (*gorm.DB, error) {
	if len(opts) == 0 {
		opts = []gorm.Option{&gorm.Config{}}
	}
	db, err := gorm.Open(dialector, opts...)
	if err != nil {
		return nil, fmt.Errorf("gormsync: opening the database: %w", err)
	}
	return db, nil
}

func openMemory(dsn string, opts []gorm.Option) (*gorm.DB, error) {
	db, err := open(sqlite.Open(dsn), opts)
	if err != nil {
		return nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, fmt.Errorf("gormsync: opening the database: %w", err)
	}
	pool.SetMaxOpenConns(1)
	return db, nil
}

func withSQLiteDefaults(dsn string) string {
	for _, p := range []struct{ name, short, value string }{
		{"_journal_mode", "_journal", "WAL"},
		{"_busy_timeout", "_timeout", "5000"},
	} {
		if strings.Contains(dsn, p.name+"=") || strings.Contains(dsn, p.short+"=") {
			continue
		}
		separator := "?"
		if strings.Contains(dsn, "?") {
			separator = "&"
		}
		dsn += separator + p.name + "=" + p.value
	}
	return dsn
}
