package trackers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// sweepTx is the transaction of one step of a clean-up.
type sweepTx interface {
	execer
	Commit() error
	Rollback() error
}

// beginSweep begins a step. It says false when another process cleans up.
func (l *Log) beginSweep(ctx context.Context) (tx sweepTx, mine bool, err error) {
	if l.dialect == sqlite {
		tx, err = l.beginBetweenWriters(ctx)
		return tx, err == nil, err
	}
	pg, err := l.pool.BeginTx(ctx, nil)
	if err != nil {
		return nil, false, err
	}
	err = pg.QueryRowContext(ctx, "SELECT pg_try_advisory_xact_lock($1)", l.sweepKey()).Scan(&mine)
	if err != nil || !mine {
		return nil, false, errors.Join(err, ignoreDone(pg.Rollback()))
	}
	return pg, true, nil
}

// beginBetweenWriters takes SQLite's write lock. SQLite's own waiting sleeps ever
// longer, up to 100 ms, and beside writers that are always busy it would find the
// lock taken each time; this one looks every 1 to 3 ms.
func (l *Log) beginBetweenWriters(ctx context.Context) (_ sweepTx, err error) {
	conn, err := l.pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	tx := &connSweep{Conn: conn}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.end())
		}
	}()
	if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&tx.timeout); err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return nil, err
	}
	for {
		if _, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err == nil {
			return tx, nil
		}
		if !strings.Contains(err.Error(), "locked") {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond + rand.N(2*time.Millisecond)):
		}
	}
}

// connSweep is a transaction on a connection, which it gives back at its end.
type connSweep struct {
	*sql.Conn
	timeout int
	done    bool
}

// Commit ends the step.
func (c *connSweep) Commit() error { return c.finish("COMMIT") }

// Rollback undoes the step; after Commit it does nothing.
func (c *connSweep) Rollback() error { return c.finish("ROLLBACK") }

func (c *connSweep) finish(sql string) error {
	if c.done {
		return nil
	}
	_, err := c.ExecContext(context.Background(), sql)
	return errors.Join(err, c.end())
}

// end gives the connection back as it was.
func (c *connSweep) end() error {
	c.done = true
	_, err := c.ExecContext(context.Background(), fmt.Sprintf("PRAGMA busy_timeout = %d", c.timeout))
	return errors.Join(err, c.Close())
}
