package trackers

import (
	"context"
	"errors"
	"slices"

	"github.com/rhtmx/gormsync/models"
)

// nameField says which field a refusal is about, where the database tells the rule
// that was broken but not its column. It runs when the transaction has ended. A
// refusal that nobody can find the field of stays as it is.
func (l *Log) nameField(ctx context.Context, m *Mutation, why *models.PushError, err error) {
	t := l.entities[m.Entity]
	if why.Field != "" || why.Code != "invalid" {
		return
	}
	var columns []string
	var reading error
	constraint := detail(err, "ConstraintName", "Constraint")
	switch {
	case why.Message == foreign && m.Action == models.Delete: // it is about other rows
	case constraint != "" && lastName(detail(err, "TableName", "Table")) == t.Name:
		columns, reading = l.columnsOf(ctx, t, constraint)
	case why.Message == foreign && l.dialect == sqlite:
		columns, reading = l.references(ctx, t)
		columns = slices.DeleteFunc(columns, func(c string) bool { _, sent := m.Data[c]; return !sent })
	case why.Message == noValue && len(m.Data) == 1:
		for name := range m.Data {
			columns = append(columns, name)
		}
	}
	if reading != nil {
		l.cfg.Logger.WarnContext(ctx, "gormsync: the rules of a table could not be read, so a refusal names no field", "entity", t.Name, "error", reading)
		return
	}
	why.Field = t.theOne(columns)
}

// columnsOf gives the columns of a rule of an entity's table, by PostgreSQL's name for it.
func (l *Log) columnsOf(ctx context.Context, t *Tracked, rule string) ([]string, error) {
	return l.texts(ctx, `SELECT a.attname FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND (
 a.attnum = ANY((SELECT conkey FROM pg_constraint WHERE conrelid = a.attrelid AND conname = $2)::int2[]) OR
 a.attnum = ANY((SELECT i.indkey FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = a.attrelid AND c.relname = $2)::int2[]))`, l.quote(t.Schema.Table), rule)
}

// references gives the columns of an entity's table that refer to other rows, on SQLite.
func (l *Log) references(ctx context.Context, t *Tracked) ([]string, error) {
	return l.texts(ctx, `SELECT DISTINCT "from" FROM pragma_foreign_key_list(?)`, t.Name)
}

func (l *Log) texts(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := l.pool.QueryContext(ctx, query, l.unprepared(args...)...)
	if err != nil {
		return nil, err
	}
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		all = append(all, text)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}
