package migrate

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// locked runs fn in a transaction that no other migration of these tables
// overlaps.
func locked(ctx context.Context, db *gorm.DB, tables models.Tables, fn func(*gorm.DB) error) error {
	db = db.Session(&gorm.Session{NewDB: true, Context: ctx})
	if db.Name() == sqlite {
		return immediate(ctx, db, fn)
	}
	h := fnv.New64a()
	h.Write([]byte("gormsync migrate " + tables.Meta))
	for try := 1; ; try++ {
		err := db.Transaction(func(tx *gorm.DB) error {
			if err := tx.Exec("SELECT pg_advisory_xact_lock(?)", int64(h.Sum64())).Error; err != nil {
				return fmt.Errorf("migrate: waiting for other migrations: %w", err)
			}
			return fn(tx)
		})
		var pg *pgconn.PgError
		if try == deadlockTries || !errors.As(err, &pg) || pg.Code != deadlock {
			return err
		}
	}
}

const (
	deadlock = "40P01"
	// deadlockTries is how often a migration is begun when somebody else has locked
	// the tables in another order.
	deadlockTries = 5
)

// waitForWriters takes the tables in the order in which a push does, before
// anything is changed: one by one, as the changes come, they would be taken in
// another order than by the writers of a server that still runs.
func waitForWriters(tx *gorm.DB, tables models.Tables) error {
	if tx.Name() == sqlite {
		return nil
	}
	for _, name := range []string{tables.Mutations, tables.Changes, tables.Fields, tables.Meta} {
		columns, err := columnsOf(tx, name)
		if err == nil && len(columns) > 0 {
			err = tx.Exec("LOCK TABLE " + quoted(name)).Error
		}
		if err != nil {
			return fmt.Errorf("migrate: waiting for those who write to %s: %w", name, err)
		}
	}
	return nil
}

// immediate runs fn in a SQLite transaction that has the write lock from its
// start: one that reads first and writes later fails at once when another
// process writes in between.
func immediate(ctx context.Context, db *gorm.DB, fn func(*gorm.DB) error) (err error) {
	pool, err := db.DB()
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("migrate: waiting for SQLite's write lock: %w", err)
	}
	tx := connTx{conn}
	db.Statement.ConnPool = tx
	if err = fn(db); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err = tx.Commit(); err != nil { // nobody must get a connection with an open transaction
		return errors.Join(err, tx.Rollback())
	}
	return nil
}

// connTx is a connection inside a transaction that SQL began. GORM takes it for
// a transaction and nests with savepoints, because it cannot begin another.
type connTx struct{ gorm.ConnPool }

// Commit implements gorm.TxCommitter.
func (c connTx) Commit() error {
	_, err := c.ExecContext(context.Background(), "COMMIT")
	return err
}

// Rollback implements gorm.TxCommitter.
func (c connTx) Rollback() error {
	_, err := c.ExecContext(context.Background(), "ROLLBACK")
	return err
}
