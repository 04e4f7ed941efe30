package trackers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/rhtmx/gormsync/models"
)

// column is one column of a tracked table that is also a field of its model.
type column struct {
	name   string
	quoted string
	key    []byte // "name":
	field  *schema.Field
	raw    rawEncoder // nil: through the field
	loose  bool       // a text in the model, another type in PostgreSQL
	json   bool       // what it holds is embedded in the row's JSON as it is
	uuid   bool       // a text in the model, a UUID in PostgreSQL
}

// plan says how the rows of a tracked table are read and encoded.
type plan struct {
	entity  *Tracked
	cols    []column
	visible int   // cols[:visible] make up data; the rest only identify the row
	pks     []int // into cols
	scope   int   // into cols, -1 without scopes
	soft    []int // into cols
	byName  map[string]int
	list    string // the quoted columns, joined with commas

	constraints map[string][]string // PostgreSQL's unique constraints and their columns
	partitioned bool                // such a table has no system columns to return
}

// planOf gives the plan of an entity. It reads which columns the table really
// has, once: a model may have fields that the table lacks, and naming those
// would make the application's statement fail.
func (l *Log) planOf(ctx context.Context, pool gorm.ConnPool, t *Tracked) (*plan, error) {
	if p, ok := l.plans.Load(t.Name); ok {
		return p.(*plan), nil
	}
	if err := l.refresh(ctx, pool); err != nil {
		return nil, fmt.Errorf("gormsync: reading the columns of %s: %w", t.Name, err)
	}
	// Unprepared: PostgreSQL refuses a prepared * once the columns are others.
	rows, err := pool.QueryContext(ctx, "SELECT * FROM "+l.quote(t.Schema.Table)+" WHERE 1=0", l.unprepared()...)
	if err != nil {
		return nil, fmt.Errorf("gormsync: reading the columns of %s: %w", t.Name, err)
	}
	types, err := rows.ColumnTypes()
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("gormsync: reading the columns of %s: %w", t.Name, err)
	}
	p, err := l.newPlan(t, types)
	if err != nil {
		return nil, err
	}
	if err := l.readConstraints(ctx, pool, p); err != nil {
		return nil, fmt.Errorf("gormsync: reading the constraints of %s: %w", t.Name, err)
	}
	l.plans.Store(t.Name, p)
	return p, nil
}

// refresh makes a connection of SQLite see what others did to the tables: it looks
// only when a statement runs, and the columns are asked for before.
func (l *Log) refresh(ctx context.Context, pool gorm.ConnPool) error {
	if l.dialect != sqlite {
		return nil
	}
	var n int
	return pool.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master").Scan(&n)
}

// forget drops an entity's plan, because its table may have changed.
func (l *Log) forget(t *Tracked) { l.plans.Delete(t.Name) }

func (l *Log) newPlan(t *Tracked, types []*sql.ColumnType) (*plan, error) {
	p := &plan{entity: t, scope: -1, byName: map[string]int{}}
	for _, wanted := range []bool{true, false} { // the visible columns first
		for _, typ := range types {
			f := l.fieldOf(t, typ.Name())
			if f == nil {
				continue
			}
			if f.PrimaryKey {
				if err := t.checkKey(f, typ.DatabaseTypeName()); err != nil {
					return nil, err
				}
			}
			name := f.DBName
			if t.hidden[name] == wanted || (!wanted && !t.identifies(f)) {
				continue
			}
			p.add(column{name: name, quoted: l.quote(name), key: append(models.AppendString(nil, name), ':'), field: f, raw: rawEncoderOf(f, typ.DatabaseTypeName()), loose: l.isLoose(f, typ.DatabaseTypeName()),
				json: embedsJSON(f, typ.DatabaseTypeName()), uuid: l.isLoose(f, typ.DatabaseTypeName()) && typ.DatabaseTypeName() == "UUID"})
		}
		if wanted {
			p.visible = len(p.cols)
		}
	}
	for _, f := range t.Schema.PrimaryFields {
		i, ok := p.byName[f.DBName]
		if !ok {
			return nil, fmt.Errorf("gormsync: the table %s has no column %s, the primary key of its model; migrate the table", t.Name, f.DBName)
		}
		p.pks = append(p.pks, i)
	}
	return p, nil
}

// fieldOf finds the field of a column. SQLite's names have no case.
func (l *Log) fieldOf(t *Tracked, column string) *schema.Field {
	if f := t.Schema.FieldsByDBName[column]; f != nil || l.dialect != sqlite {
		return f
	}
	for name, f := range t.Schema.FieldsByDBName {
		if strings.EqualFold(name, column) {
			return f
		}
	}
	return nil
}

// isLoose: PostgreSQL refuses to compare such a column with a text that is no
// value of its type.
func (l *Log) isLoose(f *schema.Field, columnType string) bool {
	return l.dialect == postgres && f.IndirectFieldType.Kind() == reflect.String && columnType != "TEXT" && columnType != "VARCHAR"
}

// identifies: the key, the scope and the deleted mark are read even when hidden.
func (t *Tracked) identifies(f *schema.Field) bool {
	if f.PrimaryKey || (t.Scope != "" && f.DBName == t.Scope) {
		return true
	}
	for _, s := range t.soft {
		if s == f {
			return true
		}
	}
	return false
}

func (p *plan) add(c column) {
	i := len(p.cols)
	p.cols = append(p.cols, c)
	p.byName[c.name] = i
	if i > 0 {
		p.list += ","
	}
	p.list += c.quoted
	if p.entity.Scope != "" && c.name == p.entity.Scope {
		p.scope = i
	}
	for _, s := range p.entity.soft {
		if s == c.field {
			p.soft = append(p.soft, i)
		}
	}
}

// prefixed lists the columns, each after a prefix such as "o.".
func (p *plan) prefixed(prefix string) string {
	l := make([]string, len(p.cols))
	for i := range p.cols {
		l[i] = prefix + p.cols[i].quoted
	}
	return strings.Join(l, ",")
}

// returning lists the columns for a RETURNING of stmt, qualified when other
// tables take part in the statement.
func (p *plan) returning(stmt *gorm.Statement) string {
	if !hasFrom(stmt) {
		return p.list
	}
	return p.prefixed(stmt.Quote(clause.Table{Name: stmt.Table}) + ".")
}

func hasFrom(stmt *gorm.Statement) bool {
	from, ok := stmt.Clauses["FROM"].Expression.(clause.From)
	return ok && len(from.Tables) > 0
}

// keys lists the primary key's columns, each after a prefix.
func (p *plan) keys(prefix string) string {
	l := make([]string, len(p.pks))
	for i, k := range p.pks {
		l[i] = prefix + p.cols[k].quoted
	}
	return strings.Join(l, ",")
}

// assigns reports whether a statement assigns one of the columns.
func (p *plan) assigns(set clause.Set, cols []int) bool {
	for _, a := range set {
		for _, c := range cols {
			if p.cols[c].name == a.Column.Name {
				return true
			}
		}
	}
	return false
}

// indexes finds columns by name; those that the plan lacks are left out.
func (p *plan) indexes(names []string) []int {
	var at []int
	for _, name := range names {
		if i, ok := p.byName[name]; ok {
			at = append(at, i)
		}
	}
	return at
}

// readConstraints asks PostgreSQL what upserts have to know of a table: which
// columns each unique constraint has, and whether it is partitioned.
func (l *Log) readConstraints(ctx context.Context, pool gorm.ConnPool, p *plan) error {
	if l.dialect != postgres {
		return nil
	}
	err := pool.QueryRowContext(ctx, "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass($1)", l.quote(p.entity.Schema.Table)).Scan(&p.partitioned)
	if err != nil {
		return err
	}
	rows, err := pool.QueryContext(ctx, `SELECT c.conname, a.attname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY(c.conkey)
 WHERE c.contype IN ('p', 'u') AND c.conrelid = to_regclass($1) ORDER BY c.conname, array_position(c.conkey, a.attnum)`, l.quote(p.entity.Schema.Table))
	if err != nil {
		return err
	}
	p.constraints = map[string][]string{}
	var name, column string
	for rows.Next() {
		if err := rows.Scan(&name, &column); err != nil {
			return errors.Join(err, rows.Close())
		}
		p.constraints[name] = append(p.constraints[name], column)
	}
	return errors.Join(rows.Err(), rows.Close())
}
