package trackers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rhtmx/gormsync/models"
)

// SetSpillBytes makes statements spill to files earlier, and gives the way back.
func SetSpillBytes(n int) (restore func()) {
	before := spillBytes
	spillBytes = n
	return func() { spillBytes = before }
}

// ExplainRead tells how the database does a read.
func (c *Changes) ExplainRead(ctx context.Context, filters []Filter, cursor models.Cursor, limit int) (string, error) {
	cursor = cursor.Position()
	plan, err := c.log.explain(ctx, c.paged(filters, cursor, limit))
	if err != nil || cursor.Batch != nil {
		return plan, err
	}
	whole, err := c.log.explain(ctx, c.whole(filters, cursor, limit))
	return plan + whole, err
}

// OfAll names the order of a read of all entities.
func (c *Changes) OfAll() uint32 { return c.of(nil) }

// ExplainFields tells how the database finds the fields of versions, a JSON array.
func (f *Fields) ExplainFields(ctx context.Context, versions string) (string, error) {
	return f.log.explain(ctx, f.fieldsQuery(versions))
}

func (l *Log) explain(ctx context.Context, q *query) (string, error) {
	explain := "EXPLAIN "
	if l.dialect == sqlite {
		explain = "EXPLAIN QUERY PLAN "
	}
	rows, err := l.pool.QueryContext(ctx, explain+q.sql.String(), l.unprepared(q.args...)...)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var plan strings.Builder
	for rows.Next() {
		vals, dests := anys(len(columns))
		if err := rows.Scan(dests...); err != nil {
			return "", err
		}
		fmt.Fprintln(&plan, vals[len(vals)-1])
	}
	return plan.String(), rows.Err()
}
