package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync"
)

// open opens the database of --database.
func (t *tool) open() (*gorm.DB, func(), error) {
	if t.database == "" {
		return nil, nil, usageError{errors.New("which database? Give --database or set DATABASE_URL")}
	}
	return openURL(t.database)
}

// openURL opens a database without changing anything about it: a SQLite file must
// be there, and keeps its journal; and it works behind transaction poolers.
func openURL(rawURL string) (db *gorm.DB, done func(), err error) {
	quiet := &gorm.Config{Logger: logger.Discard}
	if path, ok := sqlitePath(rawURL); ok {
		db, err = openFile(path, quiet)
	} else if rawURL, err = unprepared(rawURL); err == nil {
		db, err = gormsync.Open(rawURL, quiet)
	}
	if err != nil {
		return nil, nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, nil, err
	}
	return db, func() { _ = pool.Close() }, nil // the process ends
}

func openFile(path string, config *gorm.Config) (*gorm.DB, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("no such SQLite database: %w", err)
	}
	db, err := gorm.Open(sqlite.Open("file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=rw&_busy_timeout=5000"), config)
	if err == nil {
		err = db.Exec("PRAGMA schema_version").Error // SQLite reads the file with the first query
	}
	if err != nil {
		return nil, fmt.Errorf("the SQLite database %s cannot be opened: %w", path, err)
	}
	return db, nil
}

func sqlitePath(rawURL string) (path string, ok bool) {
	for _, scheme := range []string{"sqlite://", "file:"} {
		if path, ok := strings.CutPrefix(rawURL, scheme); ok {
			path, _, _ = strings.Cut(path, "?")
			return path, true
		}
	}
	return "", false
}

// unprepared has pgx do without prepared statements, which transaction poolers
// lose.
func unprepared(rawURL string) (string, error) {
	if scheme, _, _ := strings.Cut(rawURL, ":"); scheme != "postgres" && scheme != "postgresql" {
		return "", usageError{fmt.Errorf("a URL that begins with %q is none that gormsync knows; use postgres://…, or sqlite:// and the path of a file", scheme+":")}
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", errors.New("the URL of the database cannot be read; a password needs its special characters percent-encoded")
	}
	query := u.Query()
	if !query.Has("default_query_exec_mode") {
		query.Set("default_query_exec_mode", "exec")
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
}
