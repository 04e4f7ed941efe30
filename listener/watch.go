package listener

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// lookEvery is how often the data version of a SQLite file is asked for, which
// takes a few microseconds.
const lookEvery = 25 * time.Millisecond

var errOneConnection = errors.New("the pool has one connection, which the application needs")

// watch rings when anybody else has written to the SQLite file, until ctx ends.
func (l *Listener) watch(ctx context.Context) {
	wait := minWait
	for ctx.Err() == nil {
		began := time.Now()
		err := l.watchOn(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errOneConnection):
			l.set(Polling, errOneConnection.Error()+"; raise SetMaxOpenConns if other processes use the file", nil)
			pause(ctx, jitter(deafWait))
			continue
		}
		if time.Since(began) > maxWait {
			wait = minWait
		}
		l.set(Degraded, "the data version of the file cannot be read; it is tried again", err)
		pause(ctx, jitter(wait))
		wait = min(2*wait, maxWait)
	}
}

// watchOn holds a connection: data versions compare on the same one only. They
// change with every commit of another connection, of this process or not.
func (l *Listener) watchOn(ctx context.Context) (err error) {
	if l.alone() {
		return errOneConnection
	}
	open, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	conn, err := l.cfg.DB.Conn(open)
	if err != nil {
		return fmt.Errorf("asking the application's pool for a connection: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	version, err := dataVersion(ctx, conn)
	if err != nil {
		return err
	}
	l.set(Listening, "", nil)
	l.ring() // whatever was missed
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if l.alone() {
			return errOneConnection
		}
		now, err := dataVersion(ctx, conn)
		if err != nil {
			return err
		}
		if now != version {
			version = now
			l.heard()
		}
	}
}

// alone reports whether holding a connection would leave the application none.
func (l *Listener) alone() bool { return l.cfg.DB.Stats().MaxOpenConnections == 1 }

func dataVersion(ctx context.Context, conn *sql.Conn) (version int64, err error) {
	if err = conn.QueryRowContext(ctx, "PRAGMA data_version").Scan(&version); err != nil {
		err = fmt.Errorf("PRAGMA data_version: %w", err)
	}
	return version, err
}
