package trackers

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// statementError is what a statement of a push met, as opposed to a hook of the
// application.
type statementError struct{ err error }

func (e *statementError) Error() string { return e.err.Error() }
func (e *statementError) Unwrap() error { return e.err }

// saveError is what came of saving a model: an error of the database, or of the
// application's hooks.
type saveError struct{ err error }

func (e *saveError) Error() string { return e.err.Error() }
func (e *saveError) Unwrap() error { return e.err }

// unloggedError is a change that was not made because the log could not be written.
type unloggedError struct{ err error }

func (e *unloggedError) Error() string { return e.err.Error() }
func (e *unloggedError) Unwrap() error { return e.err }

// sqlState is PostgreSQL's code of an error, whatever the driver; empty for none.
func sqlState(err error) string {
	var s interface{ SQLState() string }
	if errors.As(err, &s) {
		return s.SQLState()
	}
	return ""
}

// sqliteText is the text of an error that a SQLite driver made; empty for others.
func sqliteText(err error) string {
	for ; err != nil; err = errors.Unwrap(err) {
		t := reflect.TypeOf(err)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if strings.Contains(t.PkgPath(), "sqlite") {
			return err.Error()
		}
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, one := range many.Unwrap() {
				if text := sqliteText(one); text != "" {
					return text
				}
			}
		}
	}
	return ""
}

// passes tells whether an error may be gone at the next attempt: a deadlock, a
// transaction that came too late, a busy database, a lost connection.
func passes(err error) bool {
	switch state := sqlState(err); {
	case state == "40001", state == "40P01", state == "55P03":
		return true
	case strings.HasPrefix(state, "08"), strings.HasPrefix(state, "53"), strings.HasPrefix(state, "57P"):
		return true
	case state != "":
		return false
	}
	if text := sqliteText(err); text != "" {
		return strings.Contains(text, "locked") || strings.Contains(text, "busy")
	}
	return lost(err)
}

// lost tells whether an error is about the connection.
func lost(err error) bool {
	var network net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}

// refusalOf tells what the client did wrong; nil when the error is none of its
// making. What the database says itself is never told.
func (l *Log) refusalOf(t *Tracked, err error) *models.PushError {
	var known *models.PushError
	var unlogged *unloggedError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &unlogged), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil
	}
	if state := sqlState(err); state != "" {
		return l.refusalOfState(t, state, err)
	}
	if text := sqliteText(err); text != "" {
		return refusalOfSQLite(t, text)
	}
	var statement *statementError
	var save *saveError
	switch {
	case errors.Is(err, gorm.ErrDuplicatedKey):
		return refuse("invalid", "", unique)
	case errors.Is(err, gorm.ErrForeignKeyViolated):
		return refuse("invalid", "", foreign)
	case errors.Is(err, gorm.ErrCheckConstraintViolated):
		return refuse("invalid", "", check)
	case lost(err):
		return nil
	case errors.As(err, &statement):
		return refuse("invalid", "", noValue)
	case errors.As(err, &save):
		return refuse("invalid", "", save.err.Error()) // a hook's own words
	}
	return nil
}

const (
	unique  = "Another row has this value already."
	foreign = "A row that this one refers to is not there, or one that refers to this one is."
	check   = "The values break a rule of the table."
	missing = "This field needs a value."
	noValue = "The database cannot hold one of the values."
)

func (l *Log) refusalOfState(t *Tracked, state string, err error) *models.PushError {
	switch {
	case state == "23505":
		return refuse("invalid", "", unique)
	case state == "23503":
		return refuse("invalid", "", foreign)
	case state == "23502":
		return refuse("invalid", t.shown(notNullColumn(err)), missing)
	case strings.HasPrefix(state, "23"), strings.HasPrefix(state, "44"), state == "P0001":
		return refuse("invalid", "", check)
	case strings.HasPrefix(state, "22"):
		return refuse("invalid", "", noValue)
	}
	return nil
}

// notNullColumn reads the column from the error, whose fields have the same name
// in both drivers for PostgreSQL but no interface.
func notNullColumn(err error) string {
	var s interface{ SQLState() string }
	if !errors.As(err, &s) {
		return ""
	}
	v := reflect.Indirect(reflect.ValueOf(s))
	for _, name := range []string{"ColumnName", "Column"} { // pgx, lib/pq
		if v.Kind() != reflect.Struct {
			break
		}
		if f := v.FieldByName(name); f.IsValid() && f.Kind() == reflect.String {
			return f.String()
		}
	}
	return ""
}

func refusalOfSQLite(t *Tracked, text string) *models.PushError {
	_, column, _ := strings.Cut(text, "constraint failed: ")
	column = t.shown(column[strings.LastIndexByte(column, '.')+1:])
	switch {
	case strings.Contains(text, "UNIQUE constraint failed"):
		return refuse("invalid", column, unique)
	case strings.Contains(text, "FOREIGN KEY constraint failed"):
		return refuse("invalid", "", foreign)
	case strings.Contains(text, "NOT NULL constraint failed"):
		return refuse("invalid", column, missing)
	case strings.Contains(text, "constraint failed"):
		return refuse("invalid", "", check)
	case strings.Contains(text, "datatype mismatch"), strings.Contains(text, "too big"), strings.Contains(text, "parser stack overflow"):
		return refuse("invalid", "", noValue)
	}
	return nil
}

// shown is the column's name if clients know it.
func (t *Tracked) shown(column string) string {
	if slices.Contains(t.Schema.DBNames, column) && !t.hidden[column] {
		return column
	}
	return ""
}

// isDuplicate tells whether an error is a key that is taken.
func isDuplicate(err error) bool {
	return errors.Is(err, gorm.ErrDuplicatedKey) || sqlState(err) == "23505" || strings.Contains(sqliteText(err), "UNIQUE constraint failed")
}
