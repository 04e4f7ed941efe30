package trackers

import (
	"context"
	"database/sql"
	"database/sql/driver"
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
			_, _ = conn.ExecContext(context.Background(), "ROLLBACK") // if it began all the same, as ctx ended
			err = errors.Join(err, tx.wait(), tx.end())
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

// Commit ends the step. With a rollback journal readers may be in the way, so it
// waits as the application would; what cannot be committed is rolled back.
func (c *connSweep) Commit() error {
	if c.done {
		return nil
	}
	err := c.wait()
	if err == nil {
		_, err = c.ExecContext(context.Background(), "COMMIT")
	}
	if err != nil {
		return errors.Join(err, c.Rollback())
	}
	return c.end()
}

// Rollback undoes the step; after Commit it does nothing.
func (c *connSweep) Rollback() error {
	if c.done {
		return nil
	}
	_, err := c.ExecContext(context.Background(), "ROLLBACK")
	if err != nil { // nobody must get a connection with an open transaction
		_ = c.Raw(func(any) error { return driver.ErrBadConn })
	}
	return errors.Join(err, c.wait(), c.end())
}

// wait lets the connection wait for others as it did before.
func (c *connSweep) wait() error {
	_, err := c.ExecContext(context.Background(), fmt.Sprintf("PRAGMA busy_timeout = %d", c.timeout))
	return err
}

// end gives the connection back.
func (c *connSweep) end() error {
	c.done = true
	return c.Close()
}
