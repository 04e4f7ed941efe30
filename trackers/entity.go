package trackers

import (
	"fmt"
	"reflect"
	"strings"
	"sync"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"github.com/rhtmx/gormsync/models"
)

// Entity says which model is tracked and how.
type Entity struct {
	// Model is a pointer to the model's struct, such as &Todo{}. Required.
	Model any
	// Scope names the column that partitions the entity: clients see the rows of
	// their scopes only. Defaults to none: then only an Access with AllScopes
	// sees the entity.
	Scope string
	// FieldLog writes a row for each changed field to the field log as well.
	// Defaults to false.
	FieldLog bool
	// KeepLatest thins the log out when it is cleaned up, however young it is: of
	// each row it keeps the newest change. Cursors stay good: a reader that was
	// away gets the newest change instead of all that led to it. The row's history
	// is lost, and an edit that was based on a version in between has no base to be
	// merged with. It cannot be had together with FieldLog, whose rows each hold
	// another field. Defaults to false.
	KeepLatest bool
	// Writable lets clients push changes of this entity. Tracking an entity does
	// not make it writable. Defaults to false.
	Writable bool
	// Strategy settles a field that a client and somebody else both changed, and the
	// delete of a row that somebody else changed. Defaults to models.LastWriteWins.
	Strategy models.Strategy
	// FieldStrategy gives fields, by column, a strategy of their own. Defaults to none.
	FieldStrategy map[string]models.Strategy
	// Resolve settles fields, by column, by functions of the application: they get
	// both values and return the one that is to stand, as json.Marshal writes it. An
	// error rejects the change and is told to the client. Defaults to none.
	Resolve map[string]func(models.Conflict) (any, error)
	// Hide names columns that never reach a log or a client, beside those tagged
	// json:"-" or gorm:"->:false". Defaults to none.
	Hide []string
}

// Tracked is an Entity bound to its table.
type Tracked struct {
	Entity
	// Name is the table's name, which is the entity's name for clients.
	Name string
	// Schema is GORM's view of the model.
	Schema *schema.Schema
	// Generation counts how often the entity's scope column or hidden columns have
	// changed since it was tracked first.
	Generation uint32

	hidden map[string]bool // by column
	soft   []*schema.Field // columns that mark a row as deleted
}

// CheckModel tells why a model cannot be tracked: it must be a struct, or a
// pointer to one, that GORM understands and that has a primary key.
func CheckModel(model any) error {
	t := reflect.TypeOf(model)
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return fmt.Errorf("gormsync: the model %T is no struct; give a pointer to the model, such as &Todo{}", model)
	}
	s, err := schema.Parse(model, &sync.Map{}, schema.NamingStrategy{})
	if err != nil {
		return fmt.Errorf("gormsync: GORM cannot use the model %T: %w", model, err)
	}
	if len(s.PrimaryFields) == 0 {
		return fmt.Errorf("gormsync: the model %T has no primary key, so its rows cannot be told apart; tag a field with gorm:\"primaryKey\"", model)
	}
	return nil
}

// bind finds an entity's table and columns by the naming rules of db.
func bind(db *gorm.DB, e Entity) (*Tracked, error) {
	stmt := &gorm.Statement{DB: db}
	if err := stmt.Parse(e.Model); err != nil {
		return nil, fmt.Errorf("gormsync: GORM cannot use the model %T: %w", e.Model, err)
	}
	t := &Tracked{Entity: e, Name: lastName(stmt.Schema.Table), Schema: stmt.Schema, hidden: map[string]bool{}}
	if e.KeepLatest && e.FieldLog {
		return nil, fmt.Errorf("gormsync: the entity %s has both KeepLatest and FieldLog; a field's newest value may be in an older change, so choose one of them", t.Name)
	}
	for _, f := range t.Schema.PrimaryFields {
		columnType, _, _ := strings.Cut(db.Migrator().FullDataTypeOf(f).SQL, " ")
		if err := t.checkKey(f, columnType); err != nil {
			return nil, err
		}
	}
	for _, name := range e.Hide {
		f := t.Schema.LookUpField(name)
		if f == nil || f.DBName == "" {
			return nil, fmt.Errorf("gormsync: the entity %s hides %q, which is no column of %T", t.Name, name, e.Model)
		}
		t.hidden[f.DBName] = true
	}
	for _, f := range t.Schema.Fields {
		if f.DBName == "" {
			continue
		}
		if t.hiddenByTag(f) {
			t.hidden[f.DBName] = true
		}
		if _, ok := reflect.New(f.IndirectFieldType).Interface().(schema.DeleteClausesInterface); ok {
			t.soft = append(t.soft, f)
		}
	}
	if err := t.checkStrategies(); err != nil {
		return nil, err
	}
	if e.Scope != "" {
		f := t.Schema.LookUpField(e.Scope)
		if f == nil || f.DBName == "" {
			return nil, fmt.Errorf("gormsync: the entity %s has the scope %q, which is no column of %T", t.Name, e.Scope, e.Model)
		}
		t.Scope = f.DBName
	}
	return t, nil
}

// checkKey refuses a key that is JSON. Several spellings of it are one key to
// PostgreSQL, which orders them in a way of its own; an entity id is one text.
func (t *Tracked) checkKey(f *schema.Field, columnType string) error {
	if f.IndirectFieldType != rawType && !isJSON(columnType) {
		return nil
	}
	return fmt.Errorf("gormsync: the primary key %s of the entity %s is JSON, whose texts do not tell rows apart; make it a text, a number or a UUID", f.DBName, t.Name)
}

// checkStrategies refuses strategies that there are not, and those of fields that
// clients do not know.
func (t *Tracked) checkStrategies() error {
	if !t.Strategy.Valid() {
		return fmt.Errorf("gormsync: the entity %s has the strategy %q, which is none", t.Name, t.Strategy)
	}
	for name, s := range t.FieldStrategy {
		if !s.Valid() {
			return fmt.Errorf("gormsync: the field %s of the entity %s has the strategy %q, which is none", name, t.Name, s)
		}
		if t.shown(name) == "" {
			return fmt.Errorf("gormsync: the entity %s has a strategy for %q, which is no column that clients see", t.Name, name)
		}
	}
	for name := range t.Resolve {
		if t.shown(name) == "" {
			return fmt.Errorf("gormsync: the entity %s resolves %q, which is no column that clients see", t.Name, name)
		}
	}
	return nil
}

// hiddenByTag: what JSON must not show, or GORM must not read, is probably a
// secret. A struct that JSON leaves out hides all the columns embedded in it.
func (t *Tracked) hiddenByTag(f *schema.Field) bool {
	if !f.Readable {
		return true
	}
	typ := t.Schema.ModelType
	for _, i := range f.StructField.Index {
		if i < 0 { // GORM's mark for a step through a pointer
			i = -i - 1
		}
		step := typ.Field(i)
		if step.Tag.Get("json") == "-" {
			return true
		}
		if typ = step.Type; typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
	}
	return false
}

// Shows reports whether clients get a column of the model.
func (t *Tracked) Shows(column string) bool { return t.shown(column) != "" }

// bindAll binds every entity and refuses two of the same name.
func bindAll(db *gorm.DB, entities []Entity) (map[string]*Tracked, error) {
	all := make(map[string]*Tracked, len(entities))
	for _, e := range entities {
		t, err := bind(db, e)
		if err != nil {
			return nil, err
		}
		if other := all[t.Name]; other != nil {
			return nil, fmt.Errorf("gormsync: the models %T and %T have the same table %s; track one of them", other.Model, e.Model, t.Name)
		}
		all[t.Name] = t
	}
	return all, nil
}

// lastName is the table's name without its schema.
func lastName(table string) string {
	return table[strings.LastIndexByte(table, '.')+1:]
}

// tracked finds the entity that a statement is about; nil if its table is not
// tracked. Tables of the same name in different schemas are different tables.
func (l *Log) tracked(stmt *gorm.Statement) *Tracked {
	return l.byTable[l.tableKey(tableOf(stmt))]
}

// tableKey is a table's name without its schema when that is the usual one.
// SQLite's names have no case.
func (l *Log) tableKey(table string) string {
	if l.dialect == sqlite {
		table = strings.ToLower(table)
	}
	return strings.TrimPrefix(table, l.schema+".")
}

// tableOf is the name of the table that a statement is about, with its schema if
// it has one. Statement.Table holds the alias when there is one, as in
// db.Table("todos AS t"), and never the schema.
func tableOf(stmt *gorm.Statement) string {
	if stmt.TableExpr == nil {
		return stmt.Table
	}
	words := strings.Fields(stmt.TableExpr.SQL)
	if len(words) == 0 || strings.Contains(words[0], "?") {
		return stmt.Table
	}
	return strings.NewReplacer(`"`, "", "`", "", "[", "", "]", "").Replace(words[0])
}
