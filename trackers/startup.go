package trackers

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/lib/pq"

	"github.com/rhtmx/gormsync/models"
)

// renewEvery is how often the epoch is renewed at most: a forged cursor must not
// make every client start again all the time.
const renewEvery = 10 * time.Minute

// renewEpoch ends all cursors. It returns models.ErrCursorExpired, or why it
// could not.
func (l *Log) renewEpoch(ctx context.Context) error {
	last := l.renewed.Load()
	if now := time.Now().Unix(); now-last < int64(renewEvery.Seconds()) || !l.renewed.CompareAndSwap(last, now) {
		return models.ErrCursorExpired
	}
	_, err := l.pool.ExecContext(ctx, l.setMeta(models.MetaEpoch, rand.Text()))
	if err != nil {
		return fmt.Errorf("gormsync: writing %s: %w", l.tables.Meta, err)
	}
	return models.ErrCursorExpired
}

func (l *Log) setMeta(key, value string) string {
	return "INSERT INTO " + l.quote(l.tables.Meta) + " (key, value) VALUES (" + literal(key) + ", " + literal(value) +
		") ON CONFLICT (key) DO UPDATE SET value = excluded.value"
}

// repair does at start what a restored or moved log needs before it is read. On
// a standby there is nothing to write.
func (l *Log) repair(ctx context.Context) (err error) {
	if l.dialect == sqlite {
		return l.shapes(ctx, false)
	}
	if err := l.complete(ctx); err != nil {
		return err
	}
	var standby, restored bool
	var cache, behind int64
	changes := l.quote(l.tables.Changes)
	err = l.pool.QueryRowContext(ctx, `SELECT pg_is_in_recovery(),
 EXISTS (SELECT 1 FROM `+changes+` WHERE tx >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint),
 (SELECT seqcache FROM pg_sequence WHERE seqrelid = `+literal(l.sequence)+`::regclass),
 (SELECT coalesce(max(id), 0) FROM `+changes+`) - (SELECT last_value FROM `+l.sequence+`)`).Scan(&standby, &restored, &cache, &behind)
	if err != nil {
		return fmt.Errorf("gormsync: looking at %s (the role needs SELECT on the sequence %s too): %w", l.tables.Changes, l.sequence, err)
	}
	switch {
	case standby:
		return l.shapes(ctx, true)
	case cache != 1:
		return fmt.Errorf("gormsync: the sequence %s has CACHE %d, so versions would not be in the order of changes; run ALTER SEQUENCE %s CACHE 1", l.sequence, cache, l.sequence)
	case restored || behind > 0:
		if err := l.repairRestored(ctx, restored); err != nil {
			return err
		}
	}
	if err := l.settle(ctx); err != nil {
		return err
	}
	return l.shapes(ctx, false)
}

// complete refuses a database that migrate.Copy has not finished: it would pass for
// whole, and the edits that clients made of rows still to come would be refused for
// good.
func (l *Log) complete(ctx context.Context) error {
	var copying bool
	if err := l.pool.QueryRowContext(ctx, "SELECT to_regclass("+literal(l.quote(l.tables.Copy))+") IS NOT NULL").Scan(&copying); err != nil {
		return fmt.Errorf("gormsync: looking for %s: %w", l.tables.Copy, err)
	}
	if copying {
		return fmt.Errorf("gormsync: a copy into this database is not complete; run it again to its end (gormsync copy, or migrate.Copy), with --restart to begin anew. "+
			"To give it up, empty the tables and drop %s", l.tables.Copy)
	}
	return nil
}

// HomeSQL is PostgreSQL's query for what MetaHome holds: which cluster, database and
// log table this is. A timeline is not in it: after a failover the log is the same.
func HomeSQL(tables models.Tables) string {
	return "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()), (SELECT oid FROM pg_database WHERE datname = current_database()), " +
		literal(pq.QuoteIdentifier(tables.Changes)) + "::regclass::oid)"
}

// settle writes down where the log is, so that a dump of it that is restored
// elsewhere is known for one.
func (l *Log) settle(ctx context.Context) error {
	var home, known string
	err := l.pool.QueryRowContext(ctx, "SELECT ("+HomeSQL(l.tables)+"), coalesce((SELECT value FROM "+l.quote(l.tables.Meta)+" WHERE key = "+literal(models.MetaHome)+"), '')").Scan(&home, &known)
	if err != nil {
		return fmt.Errorf("gormsync: asking which database this is: %w", err)
	}
	if home == known {
		return nil
	}
	if _, err := l.pool.ExecContext(ctx, l.setMeta(models.MetaHome, home)); err != nil {
		return fmt.Errorf("gormsync: writing %s: %w", l.tables.Meta, err)
	}
	return nil
}

// repairRestored: when some rows' transactions are still to come, all rows are of
// another cluster, from a dump or by logical replication. Nobody waits for them,
// so they get number 0 and their order from their ids, and the cursors that were
// made of the old numbers end. The sequence must be past the ids that came along.
func (l *Log) repairRestored(ctx context.Context, restored bool) (err error) {
	tx, err := l.pool.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("gormsync: repairing the restored log: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("gormsync: repairing the restored log: %w", err), ignoreDone(tx.Rollback()))
		}
	}()
	changes, fields := l.quote(l.tables.Changes), l.quote(l.tables.Fields)
	steps := []string{
		"LOCK TABLE " + changes + " IN SHARE ROW EXCLUSIVE MODE", // one process repairs, and nobody writes
		"SELECT setval(" + literal(l.sequence) + ", greatest((SELECT last_value FROM " + l.sequence + "), (SELECT max(id) FROM " + changes + ")))",
	}
	if restored {
		steps = append(steps, "UPDATE "+changes+" SET tx = 0 WHERE tx <> 0", "UPDATE "+fields+" SET tx = 0 WHERE tx <> 0",
			l.setMeta(models.MetaEpoch, rand.Text()), l.setMeta(models.MetaHorizon, "0"))
	}
	for _, sql := range steps {
		if _, err = tx.ExecContext(ctx, sql); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}
