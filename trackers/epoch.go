package trackers

import (
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"

	"github.com/rhtmx/gormsync/models"
)

// readEpoch asks for what makes this log this log. On PostgreSQL a cursor is
// made of transaction numbers, so it must not outlive their meaning: another
// cluster, another timeline (a failover, a restore to a point in time), another
// database or another log table changes the epoch, and so does the random text
// in meta.
func (l *Log) readEpoch(ctx context.Context) (uint32, error) {
	meta := "(SELECT value FROM " + l.quote(l.tables.Meta) + " WHERE key = " + literal(models.MetaEpoch) + ")"
	query := "SELECT " + meta
	if l.dialect == postgres {
		// pg_control_checkpoint would still tell the old timeline for a while.
		query = `SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
 CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
 (SELECT oid FROM pg_database WHERE datname = current_database()), ` + literal(l.quote(l.tables.Changes)) + `::regclass::oid, ` + meta + `)`
	}
	var text sql.NullString
	if err := l.pool.QueryRowContext(ctx, query).Scan(&text); err != nil {
		return 0, fmt.Errorf("gormsync: reading %s (run migrate.Up before gormsync is registered): %w", l.tables.Meta, err)
	}
	if !text.Valid {
		return 0, fmt.Errorf("gormsync: %s has no row %q; run migrate.Up", l.tables.Meta, models.MetaEpoch)
	}
	h := fnv.New32a()
	h.Write([]byte(text.String))
	return h.Sum32(), nil
}
