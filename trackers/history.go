package trackers

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/rhtmx/gormsync/models"
)

// History gives the changes of one row, the newest first: those with a version
// below before (0 for the newest), at most limit (DefaultPage if not positive).
// What was pruned is not among them.
func (c *Changes) History(ctx context.Context, entity, id string, before int64, limit int) ([]models.Change, error) {
	l := c.log
	if l.Entity(entity) == nil {
		return nil, fmt.Errorf("gormsync: no model has the table %q; name it in Config.Entities", entity)
	}
	if limit <= 0 {
		limit = DefaultPage
	}
	q := &query{dialect: l.dialect}
	q.write("SELECT ", l.changeList("l", "1 = 1", "0"), " FROM ", l.quote(l.tables.Changes), " l WHERE entity = ", q.arg(entity), " AND entity_id = ", q.arg(id))
	if before > 0 {
		q.write(" AND id < ", q.arg(before))
	}
	q.write(" ORDER BY id DESC LIMIT ", q.arg(limit))
	rows, err := l.pool.QueryContext(ctx, q.sql.String(), l.unprepared(q.args...)...)
	if err != nil {
		return nil, fmt.Errorf("gormsync: reading %s: %w", l.tables.Changes, err)
	}
	defer func() { _ = rows.Close() }()
	changes := []models.Change{}
	row := l.changeRow()
	for rows.Next() {
		var e Entry[models.Change]
		err := rows.Scan(row.dests...)
		if err == nil {
			_, err = row.take(&e)
		}
		if err != nil {
			return nil, fmt.Errorf("gormsync: reading %s: %w", l.tables.Changes, err)
		}
		changes = append(changes, e.Row)
	}
	return changes, rows.Err()
}

// LatestVersion gives the highest version in an entity's log; 0 if it is empty.
func (c *Changes) LatestVersion(ctx context.Context, entity string) (int64, error) {
	l := c.log
	if l.Entity(entity) == nil {
		return 0, fmt.Errorf("gormsync: no model has the table %q; name it in Config.Entities", entity)
	}
	q := &query{dialect: l.dialect}
	q.write("SELECT max(id) FROM ", l.quote(l.tables.Changes), " WHERE entity = ", q.arg(entity))
	var version sql.NullInt64
	if err := l.pool.QueryRowContext(ctx, q.sql.String(), l.unprepared(q.args...)...).Scan(&version); err != nil {
		return 0, fmt.Errorf("gormsync: reading %s: %w", l.tables.Changes, err)
	}
	return version.Int64, nil
}
