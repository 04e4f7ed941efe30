package migrate

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/models"
)

// Plan gives the statements that Up would run now, in their order and without a
// semicolon; none if there is nothing to do. It runs none of them: it only reads. What it shows holds until somebody changes the tables, but for
// the random epoch of new tables.
//
// To run them by hand, put them into one transaction.
func Plan(ctx context.Context, db *gorm.DB, prefix string) ([]string, error) {
	tables, err := tablesFor(prefix)
	if err != nil {
		return nil, err
	}
	return plan(ctx, db, tables)
}

func plan(ctx context.Context, db *gorm.DB, tables models.Tables) ([]string, error) {
	if _, err := version(ctx, db, tables); err != nil {
		return nil, err
	}
	tx := db.Session(&gorm.Session{NewDB: true, Context: ctx, SkipDefaultTransaction: true})
	r := &recorder{ConnPool: tx.Statement.ConnPool, db: tx}
	tx.Statement.ConnPool = r
	if err := up(tx, tables); err != nil {
		return nil, err
	}
	return r.statements, nil
}

// recorder is a pool that reads, and writes down what it is told to execute.
type recorder struct {
	gorm.ConnPool
	db         *gorm.DB
	statements []string
}

// ExecContext implements gorm.ConnPool.
func (r *recorder) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	text := query
	if len(args) > 0 && r.db.Name() == sqlite { // whose dialector would quote texts as names
		text = logger.ExplainSQL(query, nil, "'", args...)
	} else if len(args) > 0 {
		text = r.db.Explain(query, args...)
	}
	r.statements = append(r.statements, text)
	return driver.RowsAffected(0), nil
}
