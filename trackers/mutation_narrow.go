package trackers

import (
	"bytes"
	"context"
	"maps"
	"reflect"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/schema"
)

// fieldValue is a field of a model at one moment: also as JSON, because a hook may
// change what a pointer or a slice holds.
type fieldValue struct {
	value any
	json  []byte // nil if it has none
}

func valueOfField(ctx context.Context, f *schema.Field, model reflect.Value) fieldValue {
	v := fieldValue{}
	v.value, _ = f.ValueOf(ctx, model)
	if text, err := appendGo(nil, f.ReflectValueOf(ctx, model)); err == nil {
		v.json = text
	}
	return v
}

func (v fieldValue) same(o fieldValue) bool {
	return v.json != nil && bytes.Equal(v.json, o.json) && reflect.DeepEqual(v.value, o.value)
}

// watching remembers a model as it was loaded.
func (w *work) watching(ctx context.Context, model reflect.Value) *pushed {
	by := &pushed{model: model.Interface()}
	for _, name := range w.t.Schema.DBNames {
		by.was = append(by.was, valueOfField(ctx, w.t.Schema.FieldsByDBName[name], model.Elem()))
	}
	return by
}

// narrow runs when the hooks of the model have run: it leaves out of an UPDATE of
// the whole row what neither the client nor a hook has changed. So the update says
// what happened, and columns that the model holds with less precision than the
// table, or does not read at all, stay as they are.
func (p *pushed) narrow(stmt *gorm.Statement) {
	if p == nil || p.model == nil || stmt.Dest != p.model || stmt.Schema == nil || len(stmt.Schema.DBNames) != len(p.was) {
		return
	}
	model := reflect.ValueOf(p.model).Elem()
	stmt.Omits = slices.Clip(stmt.Omits)
	for i, name := range stmt.Schema.DBNames {
		f := stmt.Schema.FieldsByDBName[name]
		if f.AutoUpdateTime == 0 && !slices.Contains(p.fields, name) && p.was[i].same(valueOfField(stmt.Context, f, model)) {
			stmt.Omits = append(stmt.Omits, name)
		}
	}
}

// widen has an INSERT say what the client has said also where that is zero: GORM
// takes a zero for nothing where the column has a default. It gives back the schema
// to which the statement is to return.
func (p *pushed) widen(stmt *gorm.Statement) *schema.Schema {
	was := stmt.Schema
	if p == nil || p.model == nil || p.was != nil || stmt.Dest != p.model || was == nil {
		return was
	}
	fields := map[string]*schema.Field{}
	for _, name := range p.fields {
		if f := was.FieldsByDBName[name]; f != nil && f.HasDefaultValue {
			said := *f
			said.HasDefaultValue, said.DefaultValueInterface = false, nil
			fields[name] = &said
		}
	}
	if len(fields) > 0 {
		stmt.Schema = without(was, fields)
	}
	return was
}

// without is a schema for one INSERT, in which fields have no default.
func without(s *schema.Schema, fields map[string]*schema.Field) *schema.Schema {
	all := maps.Clone(s.FieldsByDBName)
	maps.Copy(all, fields)
	return &schema.Schema{
		Name: s.Name, ModelType: s.ModelType, Table: s.Table, DBNames: s.DBNames, Fields: s.Fields, FieldsByName: s.FieldsByName,
		FieldsByBindName: s.FieldsByBindName, FieldsByDBName: all, PrimaryFields: s.PrimaryFields, PrimaryFieldDBNames: s.PrimaryFieldDBNames,
		PrioritizedPrimaryField: s.PrioritizedPrimaryField, CreateClauses: s.CreateClauses,
		FieldsWithDefaultDBValue: slices.DeleteFunc(slices.Clone(s.FieldsWithDefaultDBValue), func(f *schema.Field) bool { return fields[f.DBName] != nil }),
	}
}

// heard notes that the database has swallowed the statement, as triggers do.
func (p *pushed) heard(db *gorm.DB, ran bool) {
	if p != nil && p.model != nil && db.Statement.Dest == p.model {
		p.unkept = ran && db.Error == nil && db.RowsAffected == 0
	}
}
