package migrate

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
)

// valueError is a value that no text of PostgreSQL can hold.
type valueError struct {
	rowid           int64
	column, problem string
}

func (e *valueError) Error() string { return "its column " + e.column + " " + e.problem }

// checkText looks for what COPY would refuse without a word on the row.
func checkText(c copyColumn, rowid int64, text *string) error {
	if text == nil || c.kind == kindBytes {
		return nil
	}
	if i := strings.IndexByte(*text, 0); i >= 0 {
		return &valueError{rowid, c.name, fmt.Sprintf("has a NUL (byte 0) at place %d, which PostgreSQL takes in bytea only", i+1)}
	}
	if !utf8.ValidString(*text) {
		return &valueError{rowid, c.name, fmt.Sprintf("is no UTF-8: %.80q", *text)}
	}
	return nil
}

// batchError names the row that a batch failed at.
func (w *copyWork) batchError(ctx context.Context, r *copyReader, err error) error {
	if closed := r.close(); closed != nil { // a pool may have one connection, and the row is looked up
		return errors.Join(err, closed)
	}
	const then = "mend it in the source, and copy again: it goes on where it was"
	var bad *valueError
	var pg *pgconn.PgError
	switch {
	case errors.As(r.err, &bad):
		return fmt.Errorf("%s: %w; %s", w.describe(ctx, r.t, bad.rowid), bad, then)
	case r.err != nil:
		return fmt.Errorf("reading the source: %w", r.err)
	case errors.As(err, &pg) && pg.Where != "":
		if id, ok := rowAt(r, pg.Where); ok {
			return fmt.Errorf("%s: %w (%s); %s", w.describe(ctx, r.t, id), err, pg.Where, then)
		}
		return fmt.Errorf("%w (%s)", err, pg.Where)
	}
	return err
}

var number = regexp.MustCompile(`\d+`)

// rowAt reads the line out of "COPY table, line 12, column c", in whatever language
// the server says it.
func rowAt(r *copyReader, where string) (rowid int64, ok bool) {
	line, err := strconv.Atoi(number.FindString(strings.TrimPrefix(where, "COPY "+r.t.name)))
	if err != nil || line < 1 || line > len(r.ids) {
		return 0, false
	}
	return r.ids[line-1], true
}

// describe names a row of the source by its key.
func (w *copyWork) describe(ctx context.Context, t *copyTable, rowid int64) string {
	name := fmt.Sprintf("the row with %s %d", t.rowid, rowid)
	var columns, values []string
	for _, c := range t.columns {
		if c.key {
			columns = append(columns, c.name)
			values = append(values, "quote("+quoted(c.name)+")")
		}
	}
	if len(columns) == 0 {
		return name
	}
	texts := make([]string, len(columns))
	into := make([]any, len(columns))
	for i := range texts {
		into[i] = &texts[i]
	}
	query := "SELECT " + strings.Join(values, ", ") + " FROM " + quoted(t.name) + " WHERE " + t.rowid + " = ?"
	if err := w.pool.QueryRowContext(ctx, query, rowid).Scan(into...); err != nil {
		return name
	}
	for i, c := range columns {
		texts[i] = c + " = " + texts[i]
	}
	return "the row with " + strings.Join(texts, ", ")
}

// keyError explains a foreign key that cannot be put back.
func keyError(sql string, err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "23503" {
		return fmt.Errorf("%s: %w", sql, err)
	}
	return fmt.Errorf("the rows of %s break the foreign key %s: %s. SQLite does not look unless it is told to: PRAGMA foreign_key_check lists such rows where SQLite has the key too. "+
		"Mend them in the source, and copy again with Restart (gormsync copy --restart): %w", pg.TableName, pg.ConstraintName, pg.Detail, err)
}
