package trackers

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/rhtmx/gormsync/models"
)

// epochOf is what makes a log this log. On PostgreSQL a cursor is made of
// transaction numbers, so it must not outlive their meaning: another cluster,
// another timeline (a failover, a restore to a point in time), another database
// or another log table changes the epoch, and so does the random text in meta.
//
// To ask for all of it with each read would cost more than the read. So a read
// asks when the server started, which is another moment on every server, and for
// the log table's number; the rest is asked for once for each answer.
func (l *Log) epochOf(ctx context.Context, p *position) (uint32, error) {
	base := ""
	if l.dialect == postgres {
		known, ok := l.servers.Load(p.Server)
		if !ok {
			key, identity, err := l.identify(ctx)
			if err != nil {
				return 0, err
			}
			l.servers.Store(key, identity)
			if known = identity; key != p.Server {
				return 0, errors.New("gormsync: the database server changed in the middle of a read; try again")
			}
		}
		base = known.(string)
	}
	if p.Epoch == "" {
		return 0, fmt.Errorf("gormsync: %s has no row %q; run migrate.Up", l.tables.Meta, models.MetaEpoch)
	}
	h := fnv.New32a()
	h.Write([]byte(base + "/" + p.Epoch))
	return h.Sum32(), nil
}

// serverSQL tells this server and this log table from others at no cost.
func (l *Log) serverSQL() string {
	return "concat_ws('/', pg_postmaster_start_time(), pg_is_in_recovery(), " + literal(l.quote(l.tables.Changes)) + "::regclass::oid)"
}

// identify names the server, its timeline, the database and the log table, and
// gives the key under which that is good.
func (l *Log) identify(ctx context.Context) (key, identity string, err error) {
	// pg_control_checkpoint would still tell the old timeline for a while.
	query := "SELECT " + l.serverSQL() + `, concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
 CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
 (SELECT oid FROM pg_database WHERE datname = current_database()), ` + literal(l.quote(l.tables.Changes)) + `::regclass::oid)`
	if err := l.pool.QueryRowContext(ctx, query).Scan(&key, &identity); err != nil {
		return "", "", fmt.Errorf("gormsync: asking which database this is: %w", err)
	}
	return key, identity, nil
}
