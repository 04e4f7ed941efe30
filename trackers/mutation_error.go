package trackers

import (
	"cmp"
	"errors"
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

// logError is a change that was not made because the log could not be read or written.
type logError struct{ err error }

func (e *logError) Error() string { return e.err.Error() }
func (e *logError) Unwrap() error { return e.err }

// fieldError is what the application's own code met while it settled a field.
type fieldError struct {
	field string
	err   error
}

func (e *fieldError) Error() string { return "settling " + e.field + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

const (
	unique   = "Another row has this value already."
	neutral  = "A value cannot be used here; choose another one." // whose it is, is nobody's business
	foreign  = "A row that this one refers to is not there, or one that refers to this one is."
	check    = "The values break a rule of the table."
	missing  = "This field needs a value."
	noValue  = "The database cannot hold one of the values."
	unkept   = "The database did not take this change."
	wordless = "The application refused this change."
	broken   = "The server could not apply this change; its log says why."
)

// refusalOf tells a client why its change was not made; nil when the next attempt
// may do better. What the database says itself is never told.
func refusalOf(t *Tracked, err error) *models.PushError {
	var known *models.PushError
	switch {
	case errors.As(err, &known):
		return known
	case fateOf(err) == passing:
		return nil
	}
	if state := sqlState(err); state != "" {
		return refusalOfState(t, state, err)
	}
	if code, text := sqliteError(err); text != "" {
		return refusalOfSQLite(t, code, text)
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
	case errors.As(err, &statement) && fateOf(err) == final:
		return refuse("invalid", "", noValue)
	case errors.As(err, &save) && fateOf(err) == final:
		return refuse("invalid", "", words(save.err))
	}
	return internal(err)
}

// words are the application's own, for the client. They are kept, so they have an end.
func words(err error) string {
	const most = 1000 // bytes
	text := cmp.Or(err.Error(), wordless)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// internal is the refusal of what is none of the client's business.
func internal(err error) *models.PushError {
	why := refuse("internal", "", broken)
	var f *fieldError
	if errors.As(err, &f) {
		why.Field = f.field
	}
	return why
}

func refusalOfState(t *Tracked, state string, err error) *models.PushError {
	switch {
	case state == "23505":
		return refuse("invalid", "", unique)
	case state == "23503":
		return refuse("invalid", "", foreign)
	case state == "23502" && lastName(detail(err, "TableName", "Table")) == t.Name:
		return refuse("invalid", t.shown(detail(err, "ColumnName", "Column")), missing)
	case strings.HasPrefix(state, "23"), strings.HasPrefix(state, "44"), state == "P0001", state == "P0004":
		return refuse("invalid", "", check)
	case strings.HasPrefix(state, "22"), strings.HasPrefix(state, "54"):
		return refuse("invalid", "", noValue)
	}
	return internal(err)
}

// detail reads a part of an error of PostgreSQL, for which the drivers have fields
// but no interface: first pgx's name of it, then lib/pq's.
func detail(err error, names ...string) string {
	var s interface{ SQLState() string }
	if !errors.As(err, &s) {
		return ""
	}
	v := reflect.Indirect(reflect.ValueOf(s))
	if v.Kind() != reflect.Struct {
		return ""
	}
	for _, name := range names {
		if f := v.FieldByName(name); f.IsValid() && f.Kind() == reflect.String {
			return f.String()
		}
	}
	return ""
}

func refusalOfSQLite(t *Tracked, code int, text string) *models.PushError {
	switch {
	case strings.Contains(text, "UNIQUE constraint failed"):
		return refuse("invalid", t.theOne(columnsIn(t, text)), unique)
	case strings.Contains(text, "FOREIGN KEY constraint failed"):
		return refuse("invalid", "", foreign)
	case strings.Contains(text, "NOT NULL constraint failed"):
		return refuse("invalid", t.theOne(columnsIn(t, text)), missing)
	case code == sqliteConstraint, strings.Contains(text, "constraint failed"):
		return refuse("invalid", "", check) // RAISE in a trigger as well
	case code == sqliteTooBig, code == sqliteMismatch, strings.Contains(text, "parser stack overflow"):
		return refuse("invalid", "", noValue)
	}
	return internal(nil)
}

// columnsIn reads the entity's columns from a text such as
// "UNIQUE constraint failed: memos.team, memos.name".
func columnsIn(t *Tracked, text string) []string {
	_, list, _ := strings.Cut(text, "constraint failed: ")
	list, _, _ = strings.Cut(list, " (") // some drivers add the code
	var columns []string
	for _, name := range strings.Split(list, ", ") {
		table, column, _ := strings.Cut(name, ".")
		if table == t.Name {
			columns = append(columns, column)
		}
	}
	return columns
}

// theOne gives the column that a client has to mend when several break a rule
// together: the scope is not its choice. It is empty when there are several.
func (t *Tracked) theOne(columns []string) string {
	one := ""
	for _, c := range columns {
		switch c = t.shown(c); {
		case c == "" || c == t.Scope:
		case one != "":
			return ""
		default:
			one = c
		}
	}
	return one
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
	_, text := sqliteError(err)
	return errors.Is(err, gorm.ErrDuplicatedKey) || sqlState(err) == "23505" || strings.Contains(text, "UNIQUE constraint failed")
}
