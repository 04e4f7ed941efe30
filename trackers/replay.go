package trackers

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"reflect"
)

// GORM wants *sql.Rows, which only package sql can make. So the rows of a tape
// are played back through a driver of our own, which knows no SQL.

var errReplay = errors.New("gormsync: the replay driver only plays back rows")

// rows plays the tape. The pool lives as long as its one query: closing it
// leaves the open rows alone and ends its goroutine, so that a program that
// checks for leaks finds none of ours.
func (t *tape) rows(ctx context.Context) (*sql.Rows, error) {
	db := sql.OpenDB(replayConnector{})
	rows, err := db.QueryContext(context.WithoutCancel(ctx), "", t)
	return rows, errors.Join(err, db.Close())
}

type replayConnector struct{}

func (replayConnector) Connect(context.Context) (driver.Conn, error) { return replayConn{}, nil }
func (replayConnector) Driver() driver.Driver                        { return replayDriver{} }

type replayDriver struct{}

func (replayDriver) Open(string) (driver.Conn, error) { return replayConn{}, nil }

type replayConn struct{}

func (replayConn) Prepare(string) (driver.Stmt, error)      { return nil, errReplay }
func (replayConn) Close() error                             { return nil }
func (replayConn) Begin() (driver.Tx, error)                { return nil, errReplay }
func (replayConn) CheckNamedValue(*driver.NamedValue) error { return nil }

func (replayConn) QueryContext(_ context.Context, _ string, args []driver.NamedValue) (driver.Rows, error) {
	t, ok := args[0].Value.(*tape)
	if !ok {
		return nil, errReplay
	}
	return &replayRows{tape: t}, nil
}

type replayRows struct {
	*tape
	next int
}

func (r *replayRows) Columns() []string { return r.cols }
func (r *replayRows) Close() error      { return nil }

func (r *replayRows) Next(dest []driver.Value) error {
	if r.next >= len(r.vals) {
		return io.EOF
	}
	copy(dest, r.vals[r.next])
	r.next++
	return nil
}

// The column types pass through: GORM scans maps by them.

func (r *replayRows) ColumnTypeScanType(i int) reflect.Type {
	if t := r.types[i].ScanType(); t != nil {
		return t
	}
	return reflect.TypeFor[any]()
}

func (r *replayRows) ColumnTypeDatabaseTypeName(i int) string { return r.types[i].DatabaseTypeName() }

func (r *replayRows) ColumnTypeNullable(i int) (nullable, ok bool) { return r.types[i].Nullable() }
