package trackers

import (
	"slices"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/rhtmx/gormsync/models"
)

// collision writes a SELECT of the rows with which an INSERT … ON CONFLICT DO
// UPDATE, or SQLite's INSERT OR REPLACE, may collide; false if it cannot collide.
func (c *intercept) collision(s *gorm.Statement, p *plan) bool {
	vals, ok := s.Clauses["VALUES"].Expression.(clause.Values)
	if !ok {
		return false
	}
	var found []clause.Expression
	for _, names := range c.collides(p) {
		if keys := keysIn(vals, names); len(keys) > 0 {
			col, in := schema.ToQueryValues("", names, keys)
			found = append(found, clause.IN{Column: col, Values: in})
		}
	}
	if len(found) == 0 {
		return false
	}
	s.WriteString("SELECT " + p.list + " FROM ")
	s.WriteQuoted(clause.Table{Name: clause.CurrentTable})
	s.WriteString(" WHERE ")
	clause.Or(found...).Build(s)
	return true
}

// collides lists the sets of columns by which an inserted row may meet another.
func (c *intercept) collides(p *plan) [][]string {
	oc, upsert := c.db.Statement.Clauses["ON CONFLICT"].Expression.(clause.OnConflict)
	switch {
	case c.replaces():
		return p.entity.uniques()
	case !upsert || oc.DoNothing:
		return nil
	case len(oc.Columns) > 0:
		return [][]string{columnNames(oc.Columns)}
	case oc.OnConstraint != "" && p.constraints[oc.OnConstraint] != nil:
		return [][]string{p.constraints[oc.OnConstraint]}
	}
	return p.entity.uniques()
}

func columnNames(cols []clause.Column) []string {
	names := make([]string, len(cols))
	for i, col := range cols {
		names[i] = col.Name
	}
	return names
}

// uniques lists the sets of columns of which the model says that they tell rows
// apart.
func (t *Tracked) uniques() [][]string {
	sets := [][]string{t.Schema.PrimaryFieldDBNames}
	for _, index := range t.Schema.ParseIndexes() {
		if index.Class == "UNIQUE" {
			names := make([]string, len(index.Fields))
			for i, f := range index.Fields {
				names[i] = f.DBName
			}
			sets = append(sets, names)
		}
	}
	for _, f := range t.Schema.Fields {
		if f.Unique {
			sets = append(sets, []string{f.DBName})
		}
	}
	return sets
}

// replaces: INSERT OR REPLACE deletes the rows that it meets.
func (c *intercept) replaces() bool {
	insert, ok := c.db.Statement.Clauses["INSERT"].Expression.(clause.Insert)
	return ok && c.action == models.Create && strings.Contains(strings.ToUpper(insert.Modifier), "REPLACE")
}

// keysIn takes the values of some columns from each row of VALUES. Columns that
// the INSERT does not name are made by the database and never meet another row.
func keysIn(vals clause.Values, names []string) [][]any {
	at := make([]int, len(names))
	for i, name := range names {
		at[i] = slices.IndexFunc(vals.Columns, func(v clause.Column) bool { return v.Name == name })
		if at[i] < 0 {
			return nil
		}
	}
	var keys [][]any
	for _, row := range vals.Values {
		if key := pick(row, at); len(key) > 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// pick takes the key of a row of VALUES; nil when the database makes a part of
// it. An expression is left to the database to evaluate.
func pick(row []any, at []int) []any {
	key := make([]any, len(at))
	for i, j := range at {
		if row[j] == nil {
			return nil
		}
		if e, ok := row[j].(clause.Expr); ok && (e.SQL == "DEFAULT" || e.SQL == "NULL") {
			return nil
		}
		key[i] = row[j]
	}
	return key
}
