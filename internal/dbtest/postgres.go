package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

// schemaTimeout bounds making and dropping a schema, connection included.
const schemaTimeout = 30 * time.Second

// Postgres gives the test an empty schema of its own on the PostgreSQL server of this process, which it starts if need
// be. The test fails at once if there is no server.
func Postgres(t testing.TB) *DB {
	t.Helper()
	server, err := sharedServer()
	if err != nil {
		t.Fatal(err)
	}
	schema := "gormsync_test_" + strings.ToLower(rand.Text())
	if err := execute(server, "CREATE SCHEMA "+schema); err != nil {
		t.Fatalf("cannot make a schema for the test: %v", err)
	}
	dsn := withSearchPath(server, schema)
	db := &DB{
		Dialect:   "postgres",
		URL:       dsn,
		dialector: func() gorm.Dialector { return postgres.Open(dsn) },
	}
	return newDB(t, db, func() {
		if err := dropSchema(server, schema); err != nil {
			t.Errorf("cannot drop the schema of the test: %v", err)
		}
	})
}

// withSearchPath names one schema of the server. The server's URL has been parsed before.
func withSearchPath(server, schema string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic(err)
	}
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String()
}

// dropSchema waits 10 s for locks, no longer: they belong to a transaction that the test has forgotten, and a test
// that fails tells more than one that hangs. What a server is just ending, such as the query of a request that was
// given up, takes its locks in another order: then dropping gives way, and is done again.
func dropSchema(server, schema string) (err error) {
	var pgErr *pgconn.PgError
	for range 5 {
		err = execute(server, "SET lock_timeout = '10s'; DROP SCHEMA "+schema+" CASCADE")
		if !errors.As(err, &pgErr) || pgErr.Code != "40P01" { // deadlock_detected
			break
		}
	}
	if errors.As(err, &pgErr) && pgErr.Code == "55P03" { // lock_not_available
		return fmt.Errorf("a transaction of the test is still open, end it before the test ends: %w", err)
	}
	return err
}

// execute runs SQL without parameters on a connection of its own.
func execute(server, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), schemaTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // the statement's own error is the one that counts
	_, err = conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}
