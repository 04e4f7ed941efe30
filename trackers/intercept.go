package trackers

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/models"
)

// intercept is the ConnPool of one statement while GORM's own step runs. It
// knows its statement by the text, extends it, and hands on all else.
type intercept struct {
	gorm.ConnPool
	log     *Log
	db      *gorm.DB
	action  models.Action
	entity  *Tracked
	done    bool
	changes *batch
}

// Commit implements gorm.TxCommitter: GORM has to see that it is in a transaction.
func (c *intercept) Commit() error { return c.ConnPool.(gorm.TxCommitter).Commit() }

// Rollback implements gorm.TxCommitter.
func (c *intercept) Rollback() error { return c.ConnPool.(gorm.TxCommitter).Rollback() }

// StmtContext implements gorm.Tx.
func (c *intercept) StmtContext(ctx context.Context, s *sql.Stmt) *sql.Stmt {
	return c.ConnPool.(gorm.Tx).StmtContext(ctx, s)
}

// GetDBConn implements gorm.GetDBConnector.
func (c *intercept) GetDBConn() (*sql.DB, error) {
	if v, ok := c.ConnPool.(gorm.GetDBConnector); ok {
		return v.GetDBConn()
	}
	return c.log.pool, nil
}

// begin tells the statement's own SQL from whatever else runs meanwhile and
// gives its plan.
func (c *intercept) begin(ctx context.Context, query string) (*plan, error) {
	if c.done || query == "" || query != c.db.Statement.SQL.String() {
		return nil, nil
	}
	c.done = true
	c.changes = newBatch(c.db, c.entity)
	p, err := c.plan(ctx)
	if err == nil && c.stale(p) {
		c.log.forget(c.entity)
		p, err = c.plan(ctx)
	}
	return p, err
}

// plan gives the plan of the entity. To make one means to read, and on SQLite a
// transaction that is going to write must not read first.
func (c *intercept) plan(ctx context.Context) (*plan, error) {
	if p, ok := c.log.plans.Load(c.entity.Name); ok {
		return p.(*plan), nil
	}
	if c.log.dialect == sqlite {
		if err := c.log.lockSQLite(ctx, c.ConnPool, c.entity); err != nil {
			return nil, err
		}
	}
	return c.log.planOf(ctx, bare(c.ConnPool), c.entity)
}

// stale: the statement writes a column of the model that the table did not have
// when the plan was made. Another process has migrated it.
func (c *intercept) stale(p *plan) bool {
	unknown := func(name string) bool {
		_, known := p.byName[name]
		return !known && !c.entity.hidden[name] && c.entity.Schema.FieldsByDBName[name] != nil
	}
	for _, a := range c.assignments() {
		if unknown(a.Column.Name) {
			return true
		}
	}
	vals, _ := c.db.Statement.Clauses["VALUES"].Expression.(clause.Values)
	return slices.ContainsFunc(vals.Columns, func(col clause.Column) bool { return unknown(col.Name) })
}

// ExecContext implements gorm.ConnPool.
func (c *intercept) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	p, err := c.begin(ctx, query)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return c.ConnPool.ExecContext(ctx, query, args...)
	}
	count, err := c.exec(ctx, p, query, args)
	if err != nil {
		c.log.forget(c.entity)
		return nil, err
	}
	return c.result(ctx, count)
}

// result answers as the driver's own would have. The application may keep it
// (gorm.WithResult), so SQLite's row id is asked for before the log is written.
func (c *intercept) result(ctx context.Context, count int64) (sql.Result, error) {
	if c.log.dialect != sqlite {
		return result{count: count, idErr: errors.New("LastInsertId is not supported by this driver")}, nil
	}
	r := result{count: count}
	if c.action == models.Create || c.db.Statement.Result != nil {
		if err := bare(c.ConnPool).QueryRowContext(ctx, "SELECT last_insert_rowid()").Scan(&r.id); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// QueryContext implements gorm.ConnPool. It runs when GORM itself wants rows
// back: those it gets as if nothing had happened.
func (c *intercept) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	p, err := c.begin(ctx, query)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return c.ConnPool.QueryContext(ctx, query, args...)
	}
	t, err := c.query(ctx, p, query, args)
	if err != nil {
		c.log.forget(c.entity)
		return nil, err
	}
	return t.rows(ctx)
}

type result struct {
	count, id int64
	idErr     error
}

// RowsAffected implements sql.Result.
func (r result) RowsAffected() (int64, error) { return r.count, nil }

// LastInsertId implements sql.Result.
func (r result) LastInsertId() (int64, error) { return r.id, r.idErr }

// tape holds the rows that GORM asked for.
type tape struct {
	cols  []string
	types []*sql.ColumnType
	vals  [][]driver.Value
	count int64
}

// record reads all rows: the first columns go on the tape, the others are those
// of the readers. It calls fn for each row.
func (t *tape) record(rows *sql.Rows, readers []*reader, fn func() error) error {
	names, err := rows.Columns()
	if err != nil {
		return errors.Join(err, rows.Close())
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		return errors.Join(err, rows.Close())
	}
	n := len(names)
	for _, r := range readers {
		n -= len(r.vals) + len(r.extra)
	}
	t.cols, t.types = names[:n], types[:n]
	vals, dests := make([]any, n), make([]any, n)
	for i := range vals {
		dests[i] = &vals[i]
	}
	return each(rows, dests, readers, func() error {
		t.count++
		if n > 0 {
			line := make([]driver.Value, n)
			for i, v := range vals {
				line[i] = v
			}
			t.vals = append(t.vals, line)
		}
		return fn()
	})
}
