package trackers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/rhtmx/gormsync/models"
)

// Tail gives a place with about n of the newest changes behind it, fewer where the
// log holds fewer or where they were pruned. Whatever is not behind it belongs to
// transactions below its Xmax.
func (l *Log) Tail(ctx context.Context, n int) (models.Cursor, error) {
	end, err := l.position(ctx)
	if err != nil {
		return models.Cursor{}, err
	}
	epoch, err := l.epochOf(ctx, end)
	if err != nil {
		return models.Cursor{}, err
	}
	pruned, err := end.pruned()
	if err != nil {
		return models.Cursor{}, err
	}
	q := &query{dialect: l.dialect}
	q.write("SELECT tx FROM ", l.quote(l.tables.Changes), " ORDER BY tx DESC LIMIT 1 OFFSET ", q.arg(n))
	var tx int64
	err = l.pool.QueryRowContext(ctx, q.sql.String(), l.unprepared(q.args...)...).Scan(&tx)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return models.Cursor{}, fmt.Errorf("gormsync: reading the end of %s: %w", l.tables.Changes, err)
	}
	return models.Cursor{Epoch: epoch, From: models.TxSet{Xmax: max(uint64(tx), pruned+1)}}, nil
}
