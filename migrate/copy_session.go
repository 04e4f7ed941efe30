package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// takeTarget makes the session ready and takes the target for this copy alone.
func (w *copyWork) takeTarget(ctx context.Context) error {
	if err := w.ownSession(ctx); err != nil {
		return err
	}
	for _, sql := range []string{
		"SET client_encoding = 'UTF8'", "SET datestyle = 'ISO, YMD'", "SET timezone = 'UTC'", "SET bytea_output = 'hex'", "SET extra_float_digits = 1", "SET statement_timeout = 0", "SET lock_timeout = 0",
	} {
		if _, err := w.conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("migrate: preparing the target: %w", err)
		}
	}
	key := "(hashtextextended('gormsync copy ' || current_schema() || '.' || " + literal(w.logs.Copy) + ", 0))"
	var mine bool
	err := w.conn.QueryRow(ctx, "SELECT pg_try_advisory_lock"+key).Scan(&mine)
	if err == nil && !mine {
		w.Progress(CopyProgress{Step: "wait"})
		_, err = w.conn.Exec(ctx, "SELECT pg_advisory_lock"+key)
	}
	if err != nil {
		return fmt.Errorf("migrate: waiting for another copy into this database: %w", err)
	}
	return nil
}

// sessionTries is how often a pooler is given the opportunity to swap servers.
const sessionTries = 5

// ownSession refuses transaction poolers, where settings and locks are left on
// whichever server comes next. A connection whose server says the number that it
// said at the beginning is direct. Behind a pooler of sessions no other connection
// gets its server, and it gets no other.
func (w *copyWork) ownSession(ctx context.Context) (err error) {
	mine, err := backend(ctx, w.conn)
	if err != nil || mine == w.conn.PgConn().PID() {
		return err
	}
	other, err := pgx.ConnectConfig(ctx, w.conn.Config().Copy())
	if err != nil {
		return fmt.Errorf("migrate: looking for a pooler before the target: %w", err)
	}
	defer func() { err = errors.Join(err, other.Close(context.WithoutCancel(ctx))) }()
	for range sessionTries {
		var its uint32
		if err := pgx.BeginFunc(ctx, other, func(tx pgx.Tx) (err error) {
			its, err = backend(ctx, tx.Conn())
			return err
		}); err != nil {
			return err
		}
		again, err := backend(ctx, w.conn)
		if err != nil {
			return err
		}
		if its == mine || again != mine {
			return errors.New("migrate: a transaction pooler stands before the target, which shares out its connections; copy needs one of its own: give a URL that leads to the server itself, or to a session pooler")
		}
	}
	return nil
}

func backend(ctx context.Context, conn *pgx.Conn) (pid uint32, err error) {
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return 0, fmt.Errorf("migrate: asking which server process this is: %w", err)
	}
	return pid, nil
}
