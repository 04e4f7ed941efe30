package trackers

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rhtmx/gormsync/models"
)

// query is a SQL text with its arguments.
type query struct {
	dialect string
	sql     strings.Builder
	args    []any
}

func (q *query) write(parts ...string) {
	for _, p := range parts {
		q.sql.WriteString(p)
	}
}

// arg adds an argument and gives its placeholder. SQLite's are numbered too,
// since the order of the text need not be that of the calls.
func (q *query) arg(v any) string {
	q.args = append(q.args, v)
	if q.dialect == sqlite {
		return "?" + strconv.Itoa(len(q.args))
	}
	return "$" + strconv.Itoa(len(q.args))
}

// in compares with a list of texts.
func (q *query) in(texts []string) string {
	if q.dialect == sqlite {
		b := []byte{'['}
		for i, s := range texts {
			if i > 0 {
				b = append(b, ',')
			}
			b = models.AppendString(b, s)
		}
		return "IN (SELECT value FROM json_each(" + q.arg(string(append(b, ']'))) + "))"
	}
	return "= ANY(" + q.arg(textArray(texts)) + "::text[])"
}

// moment writes a column that holds a time. These reads are not prepared, so
// PostgreSQL would send it as text in whatever DateStyle the session has. What it
// sends for a binary time, as text, costs it least.
func (l *Log) moment(column string) string {
	if l.dialect == sqlite {
		return column
	}
	return "encode(timestamptz_send(" + column + "), 'hex')"
}

// anys makes n values and what a Scan fills them by. To scan into any costs no
// reflection, which a feed of many rows would feel.
func anys(n int) (vals, dests []any) {
	vals, dests = make([]any, n), make([]any, n)
	for i := range vals {
		dests[i] = &vals[i]
	}
	return vals, dests
}

// into converts a driver's value; NULL becomes the zero value.
func into[T string | int64 | bool](to *T, v any) error {
	if t, ok := v.(T); ok {
		*to = t
		return nil
	}
	var n sql.Null[T]
	err := n.Scan(v)
	*to = n.V
	return err
}

func intoPointer(to **string, v any) error {
	if v == nil {
		*to = nil
		return nil
	}
	*to = new(string)
	return into(*to, v)
}

// moment scans what Log.moment selects: PostgreSQL's microseconds since 2000 in
// hexadecimal digits, or the text that SQLite keeps.
type moment struct{ to *time.Time }

// Scan implements sql.Scanner.
func (m moment) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*m.to = time.Time{}
	case time.Time:
		*m.to = v.UTC()
	case string:
		if len(v) == 16 && strings.IndexByte(v, '-') < 0 {
			return m.sent(v)
		}
		for _, layout := range []string{"2006-01-02 15:04:05.999999999-07:00", time.RFC3339Nano, "2006-01-02 15:04:05.999999999"} {
			if t, err := time.Parse(layout, v); err == nil {
				*m.to = t.UTC()
				return nil
			}
		}
		return fmt.Errorf("the time %q is in no known form", v)
	default:
		return fmt.Errorf("a time cannot be read from a %T", src)
	}
	return nil
}

// sent reads the time that PostgreSQL sends.
func (m moment) sent(digits string) error {
	n, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return fmt.Errorf("the time %q is in no known form", digits)
	}
	*m.to = time.UnixMicro(int64(n) + y2k).UTC()
	return nil
}

// y2k is where PostgreSQL's time begins, in Unix microseconds.
var y2k = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// execer is a transaction, or a connection.
type execer interface {
	ExecContext(ctx context.Context, sql string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, sql string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, sql string, args ...any) *sql.Row
}
