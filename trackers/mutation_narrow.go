package trackers

import (
	"bytes"
	"context"
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
