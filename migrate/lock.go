package migrate

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// locked runs fn in a transaction that no other migration of these tables
// overlaps.
func locked(ctx context.Context, db *gorm.DB, tables models.Tables, fn func(*gorm.DB) error) error {
	db = db.Session(&gorm.Session{NewDB: true, Context: ctx})
	if db.Name() == "sqlite" {
		return immediate(ctx, db, fn)
	}
	h := fnv.New64a()
	h.Write([]byte("gormsync migrate " + tables.Meta))
	return db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("SELECT pg_advisory_xact_lock(?)", int64(h.Sum64())).Error; err != nil {
			return fmt.Errorf("migrate: waiting for other migrations: %w", err)
		}
		return fn(tx)
	})
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
