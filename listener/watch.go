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

var errFewConnections = errors.New("the pool has fewer than 3 connections, which the application needs")

// watch rings when anybody else has written to the SQLite file, until ctx ends.
func (l *Listener) watch(ctx context.Context) {
	wait := minWait
	for ctx.Err() == nil {
		began := time.Now()
		err := l.watchOn(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errFewConnections):
			l.set(Polling, errFewConnections.Error()+"; raise SetMaxOpenConns to 3 or more if other processes use the file", nil)
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
	if l.needed() {
		return errFewConnections
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
		if l.needed() {
			return errFewConnections
		}
		now, err := dataVersion(ctx, conn)
		if err != nil {
			return err
		}
		l.set(Listening, "", nil)
		if now != version {
			version = now
			l.heard()
		}
	}
}

// needed reports whether the application may need every connection of its pool:
// one to read a row and another one, meanwhile, to write.
func (l *Listener) needed() bool {
	n := l.cfg.DB.Stats().MaxOpenConnections
	return n == 1 || n == 2
}

func dataVersion(ctx context.Context, conn *sql.Conn) (version int64, err error) {
	if err = conn.QueryRowContext(ctx, "PRAGMA data_version").Scan(&version); err != nil {
		err = fmt.Errorf("PRAGMA data_version: %w", err)
	}
	return version, err
}
