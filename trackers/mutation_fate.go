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

	"github.com/jackc/pgx/v5"
)

// fate is what an error means for a change that is sent again.
type fate int

const (
	final   fate = iota // it would end the same way
	unclear             // nobody can tell: it is tried again some times, and then it is final
	passing             // it may go well
)

// fateOf tells what an error means. Passing is what the change has no part in: that
// others were in the way, and that the database could not be reached, was shutting
// down, could not be written, or was out of something.
func fateOf(err error) fate {
	if state := sqlState(err); state != "" {
		return fateOfState(state, err)
	}
	if code, text := sqliteError(err); text != "" {
		return fateOfSQLite(code, text, err)
	}
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone):
		if isOfApplication(err) { // whose own waiting ends each time, perhaps
			return unclear
		}
		return passing
	case errors.As(err, &network):
		return passing
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		if isOfApplication(err) { // a connection, or something that a hook reads
			return unclear
		}
		return passing
	case errors.Is(err, sql.ErrTxDone), errors.Is(err, pgx.ErrTxCommitRollback):
		return unclear
	}
	return final
}

// isOfApplication: a hook or a Resolve gave the error, and no statement of ours.
func isOfApplication(err error) bool {
	var save *saveError
	var field *fieldError
	var statement *statementError
	return (errors.As(err, &save) || errors.As(err, &field)) && !errors.As(err, &statement) && !isOfLog(err)
}

// The passing errors of PostgreSQL by their code or its beginning.
var passingStates = []string{
	"08", "40", "53", "57", "58", // connections, serialization, resources, operators, the system around
	"25006", "25P03", "25P04", // a standby, or a transaction that took too long
	"26000", "42P05", // prepared statements behind a pooler
	"55P03", "55006", // locks
	"XX001", "XX002", // a damaged file
}

func fateOfState(state string, err error) fate {
	switch {
	case slices.ContainsFunc(passingStates, func(p string) bool { return strings.HasPrefix(state, p) }):
		return passing
	case strings.HasPrefix(state, "42") && isOfLog(err): // the tables of the log are not there, or not ours to use
		return passing
	case state == "0A000" && strings.Contains(err.Error(), "cached plan"): // the table was changed just now
		return passing
	case state == "25P02", state == "25P01", state == "XX000": // what was the matter nobody says
		return unclear
	}
	return final
}

// Primary result codes of SQLite.
const (
	sqliteGeneric    = 1
	sqliteAbort      = 4
	sqliteTooBig     = 18
	sqliteConstraint = 19
	sqliteMismatch   = 20
)

// The passing errors of SQLite: BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, IOERR,
// CORRUPT, FULL, CANTOPEN, PROTOCOL, SCHEMA, NOLFS and NOTADB.
var passingCodes = []int{5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 17, 22, 26}

func fateOfSQLite(code int, text string, err error) fate {
	switch {
	case slices.Contains(passingCodes, code):
		return passing
	case code == sqliteGeneric && isOfLog(err):
		return passing
	case code == sqliteAbort:
		return unclear
	case code == 0 && (strings.Contains(text, "locked") || strings.Contains(text, "busy")):
		return passing
	}
	return final
}

func isOfLog(err error) bool {
	var own *logError
	return errors.As(err, &own)
}

// sqlState is PostgreSQL's code of an error, whatever the driver; empty for none.
func sqlState(err error) string {
	var s interface{ SQLState() string }
	if errors.As(err, &s) {
		return s.SQLState()
	}
	return ""
}

// sqliteError gives the primary result code and the text of an error that a SQLite
// driver made; the code is 0 where the driver has none, the text empty for errors
// of others.
func sqliteError(err error) (code int, text string) {
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.IsValid() && strings.Contains(v.Type().PkgPath(), "sqlite") {
			return sqliteCode(err, v), err.Error()
		}
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			for _, one := range many.Unwrap() {
				if code, text := sqliteError(one); text != "" {
					return code, text
				}
			}
		}
	}
	return 0, ""
}

// sqliteCode reads the code, for which the drivers have a method or a field.
func sqliteCode(err error, v reflect.Value) int {
	if c, ok := err.(interface{ Code() int }); ok {
		return c.Code() & 0xff
	}
	if v.Kind() == reflect.Struct {
		if f := v.FieldByName("Code"); f.IsValid() && f.CanInt() {
			return int(f.Int()) & 0xff
		}
	}
	return 0
}
