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
		if _, err := os.Stat(path); err != nil {
			return nil, nil, fmt.Errorf("no such SQLite database: %w", err)
		}
		db, err = gorm.Open(sqlite.Open("file:"+(&url.URL{Path: path}).EscapedPath()+"?mode=rw&_busy_timeout=5000"), quiet)
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
	if !strings.HasPrefix(rawURL, "postgres") {
		return rawURL, nil
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
