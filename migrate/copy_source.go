package migrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// source is the SQLite side.
type source struct{ pool *sql.DB }

func (s *source) open(db *gorm.DB) (err error) {
	if s.pool, err = db.DB(); err != nil {
		return fmt.Errorf("migrate: the source has no *sql.DB: %w", err)
	}
	return nil
}

// copyTable is one table on its way.
type copyTable struct {
	name    string
	target  string // its quoted name on PostgreSQL
	rowid   string // what SQLite calls the number of a row, where no column has that name
	columns []copyColumn
	rows    int64 // how many the source has
}

type copyColumn struct {
	name string
	kind string // PostgreSQL's type, such as timestamptz
	// transaction numbers mean nothing in another database: the log's rows get 0,
	// and come before all that follows.
	zero bool
	key  bool // of the source's primary key
}

func (t *copyTable) targetColumns() string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = quoted(c.name)
	}
	return strings.Join(names, ", ")
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// columnsOf gives the columns of a table of the source, in their order.
func (s *source) columnsOf(ctx context.Context, table string) ([]string, error) {
	return s.texts(ctx, "SELECT name FROM pragma_table_info(?)", table)
}

// keysOf gives the columns of the primary key.
func (s *source) keysOf(ctx context.Context, table string) ([]string, error) {
	return s.texts(ctx, "SELECT name FROM pragma_table_info(?) WHERE pk > 0", table)
}

func (s *source) texts(ctx context.Context, query string, args ...any) (texts []string, err error) {
	rows, err := s.pool.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("migrate: looking at the source: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, fmt.Errorf("migrate: looking at the source: %w", err)
		}
		texts = append(texts, text)
	}
	return texts, rows.Err()
}

// left gives the tables of the source that are not copied.
func (s *source) left(ctx context.Context, copied []string, logs models.Tables) ([]string, error) {
	names, err := s.texts(ctx, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`)
	return slices.DeleteFunc(names, func(n string) bool { return n == logs.Meta || slices.Contains(copied, n) }), err
}

// identity changes when the log of the source does.
func (s *source) identity(ctx context.Context, logs models.Tables) (string, error) {
	found, err := s.texts(ctx, fmt.Sprintf("SELECT value || '/' || (SELECT coalesce(max(id), 0) FROM %s) FROM %s WHERE key = '%s'", quoted(logs.Changes), quoted(logs.Meta), models.MetaEpoch))
	return strings.Join(found, ""), err
}

// counter is the highest number that SQLite has given to a row of the table; 0 if
// it does not keep count.
func (s *source) counter(ctx context.Context, table string) (n int64, err error) {
	err = s.pool.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'").Scan(&n)
	if err == nil && n > 0 {
		err = s.pool.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", table).Scan(&n)
	}
	return n, err
}

// numbered counts the rows of a table, and fails where they have no numbers.
func (s *source) numbered(ctx context.Context, t *copyTable) (n int64, err error) {
	if t.rowid == "" {
		return 0, errors.New("columns have all of its names")
	}
	err = s.pool.QueryRowContext(ctx, "SELECT count("+t.rowid+") FROM "+quoted(t.name)).Scan(&n)
	return n, err
}

// rows reads rows in the order of their numbers, each with its number first; a
// limit of -1 means all. The plus signs keep the driver from guessing: a column
// that is declared a time would give year 1 for what the driver cannot read.
func (s *source) rows(ctx context.Context, t *copyTable, after int64, limit int) (*copyReader, error) {
	var sql strings.Builder
	sql.WriteString("SELECT " + t.rowid)
	for _, c := range t.columns {
		sql.WriteString(", +" + quoted(c.name))
	}
	sql.WriteString(" FROM " + quoted(t.name) + " WHERE " + t.rowid + " > ? ORDER BY " + t.rowid + " LIMIT ?")
	rows, err := s.pool.QueryContext(ctx, sql.String(), after, limit) //nolint:rowserrcheck // copyReader.scan looks at it
	return &copyReader{t: t, rows: rows}, err
}

// rowID finds a name for the number of a row.
func rowID(columns []string) string {
	for _, name := range []string{"rowid", "_rowid_", "oid"} {
		if !slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, name) }) {
			return name
		}
	}
	return ""
}

// copyReader gives rows as COPY wants them, one at a time.
type copyReader struct {
	t    *copyTable
	rows *sql.Rows
	buf  []byte
	rest []byte
	ids  []int64 // of the rows so far
	n    int64
	last int64
	err  error
}

// Read implements io.Reader.
func (r *copyReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 && !r.next() {
		if r.err != nil {
			return 0, r.err
		}
		return 0, io.EOF
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *copyReader) next() bool {
	id, values, ok := r.scan()
	if !ok {
		return false
	}
	r.buf = r.buf[:0]
	for i, v := range values {
		if r.err = checkText(r.t.columns[i], id, v); r.err != nil {
			return false
		}
		if i > 0 {
			r.buf = append(r.buf, '\t')
		}
		r.buf = appendCopy(r.buf, v)
	}
	r.buf = append(r.buf, '\n')
	r.rest, r.last, r.ids = r.buf, id, append(r.ids, id)
	r.n++
	return true
}

func (r *copyReader) close() error { return r.rows.Close() }

// scan reads a row as texts; nil is NULL.
func (r *copyReader) scan() (id int64, values []*string, ok bool) {
	if r.err != nil || !r.rows.Next() {
		if r.err == nil {
			r.err = r.rows.Err()
		}
		return 0, nil, false
	}
	raw := make([]any, len(r.t.columns))
	dests := []any{&id}
	for i := range raw {
		dests = append(dests, &raw[i])
	}
	if r.err = r.rows.Scan(dests...); r.err != nil {
		return 0, nil, false
	}
	values = make([]*string, len(raw))
	for i, v := range raw {
		c := r.t.columns[i]
		if c.zero {
			v = int64(0)
		}
		values[i] = textFor(c.kind, v)
	}
	return id, values, true
}
