package dbtest

import (
	"slices"
	"sync"
	"testing"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// maxOpenConns keeps ten parallel tests of several packages far below the server's max_connections.
const maxOpenConns = 10

// DB is one test's own, empty database. It is removed when that test ends.
type DB struct {
	// Dialect is "sqlite" or "postgres".
	Dialect string
	// URL names the database to other programs: "sqlite:///path/of/the/file.db" or
	// "postgres://user@host:port/database?search_path=schema". What the URL of the server has beyond that is kept.
	URL string

	t         testing.TB
	dialector func() gorm.Dialector

	mu     sync.Mutex
	pools  []*gorm.DB
	checks []func(testing.TB)
}

// newDB hands out a database whose end is in the right order: the test's own clean-ups, then its checks, then its
// pools, then remove. (Clean-ups run last in, first out.)
func newDB(t testing.TB, db *DB, remove func()) *DB {
	t.Helper()
	db.t = t
	t.Cleanup(remove)
	t.Cleanup(db.closePools)
	t.Cleanup(db.runChecks)
	return db
}

// Open opens a pool of connections of its own on the database; a test may call it several times. The pool is closed
// when t ends, and after the checks if t is the test that the database was made for. Unless an option brings a logger,
// nothing is logged. The test fails at once if the database cannot be opened.
func (d *DB) Open(t testing.TB, opts ...gorm.Option) *gorm.DB {
	t.Helper()
	pool, err := gorm.Open(d.dialector(), append(slices.Clone(opts), quiet{})...)
	if err != nil {
		t.Fatalf("cannot open %s: %v", d.URL, err)
	}
	if sqlDB, err := pool.DB(); err == nil {
		sqlDB.SetMaxOpenConns(maxOpenConns)
	}
	d.closeLater(t, pool)
	return pool
}

// Check has fn run when the body of the test has finished, while its pools are open and its rows are there. Checks run
// in the order they were registered; fn reports through the t it is given, and may call Open.
func (d *DB) Check(fn func(t testing.TB)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.checks = append(d.checks, fn)
}

func (d *DB) closeLater(t testing.TB, pool *gorm.DB) {
	t.Helper()
	if t != d.t {
		t.Cleanup(func() { closePool(t, pool) })
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pools = append(d.pools, pool)
}

func (d *DB) runChecks() {
	d.mu.Lock()
	checks := d.checks
	d.mu.Unlock() // a check may call Open
	for _, check := range checks {
		check(d.t)
	}
}

func (d *DB) closePools() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, pool := range d.pools {
		closePool(d.t, pool)
	}
}

func closePool(t testing.TB, pool *gorm.DB) {
	t.Helper()
	sqlDB, err := pool.DB()
	if err == nil {
		err = sqlDB.Close()
	}
	if err != nil {
		t.Errorf("cannot close a pool of the test: %v", err)
	}
}

// quiet is the option that silences GORM. It only fills a gap: GORM applies every *gorm.Config before it.
type quiet struct{}

func (quiet) Apply(config *gorm.Config) error {
	if config.Logger == nil {
		config.Logger = logger.Discard
	}
	return nil
}

func (quiet) AfterInitialize(*gorm.DB) error { return nil }
