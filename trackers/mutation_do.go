package trackers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"

	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/models"
)

// do does what the mutation asks for. An error undoes the whole group.
func (w *work) do(ctx context.Context) (models.PushResult, error) {
	if err := w.nameNew(ctx); err != nil {
		return w.refused(err)
	}
	switch {
	case w.m.Action == models.Delete:
		return w.delete(ctx)
	case w.m.Action == models.Create && (w.databaseMakesKey() || w.m.ID == ""):
		return w.insert(ctx)
	case w.keys == nil && w.m.Action == models.Create:
		return w.rejected(refuse("invalid", "id", "The id does not fit the key of the table.")), nil
	case w.alive() && w.visible():
		return w.update(ctx)
	case w.m.Action == models.Create && w.image == nil && !w.deleted():
		return w.insert(ctx)
	case w.deleted() && w.visible():
		return w.revive(ctx)
	case w.m.Action == models.Create && w.image == nil:
		return w.insert(ctx) // an id that others used once
	case w.m.Action == models.Create:
		return w.rejected(taken), nil
	}
	return w.rejected(refuse("not_found", "", "There is no such row, or it is not yours.")), nil
}

var taken = refuse("invalid", "id", "This id cannot be used; choose another one.")

// databaseMakesKey: clients choose keys that are texts or UUIDs only.
func (w *work) databaseMakesKey() bool {
	f := w.t.Schema.PrioritizedPrimaryField
	return len(w.p.pks) == 1 && f != nil && f.AutoIncrement
}

// rule tells how a field is settled; the empty name is the row as a whole.
func (w *work) rule(field string) Rule {
	r := Rule{Strategy: w.t.Strategy}
	if s, ok := w.t.FieldStrategy[field]; ok {
		r.Strategy = s
	}
	if resolve := w.t.Resolve[field]; resolve != nil {
		r.Resolve = func(c models.Conflict) (models.JSON, error) {
			c.Entity, c.EntityID = w.t.Name, w.id
			value, err := resolve(c)
			if err != nil {
				return nil, unresolved(field, err)
			}
			text, err := json.Marshal(value)
			if err != nil {
				return nil, &fieldError{field, err}
			}
			return w.spell(field, text)
		}
	}
	return r
}

// unresolved is the error of a Resolve: its own words are for the client, those of a
// database are not.
func unresolved(field string, err error) error {
	_, text := sqliteError(err)
	if text != "" || sqlState(err) != "" || fateOf(err) != final {
		return &fieldError{field, err}
	}
	return refuse("invalid", field, words(err))
}

// spell writes a value as the log does.
func (w *work) spell(field string, value models.JSON) (models.JSON, error) {
	if w.log.dialect == postgres && hasNUL(value) {
		return nil, refuse("invalid", field, nulText)
	}
	scratch := reflect.New(w.t.Schema.ModelType).Elem()
	value, err := w.p.cols[w.p.byName[field]].decode(context.Background(), scratch, value)
	if err != nil {
		return nil, refuse("invalid", field, asSentence(err))
	}
	return value, nil
}

// update merges the client's fields into the row.
func (w *work) update(ctx context.Context) (models.PushResult, error) {
	client, err := w.fields(ctx)
	if err != nil {
		return w.refused(err)
	}
	past, err := w.since(ctx)
	if err != nil {
		return models.PushResult{}, err
	}
	d := Divergence{Client: client, Server: w.server(), Base: past.base, Changed: past.changed, Others: past.others, Edit: w.mine}
	if why := w.readOnly(&d); why != nil {
		return w.rejected(why), nil
	}
	merged, err := Merge(d, w.rule)
	if err != nil {
		return w.refused(err)
	}
	against := make([]int64, len(merged.Conflicts))
	for i := range merged.Conflicts {
		c := &merged.Conflicts[i]
		against[i] = w.version()
		if unseen, is := d.overlaid(c.Field, w.rule(c.Field)); is {
			against[i] = unseen.version
		}
		c.Entity, c.EntityID = w.t.Name, w.id
		if c.ClientTimestamp.IsZero() {
			c.ClientTimestamp = w.now
		}
	}
	w.against[w.as] = against
	if err := w.saveMerged(ctx, &merged); err != nil {
		return models.PushResult{}, err
	}
	r := w.answer(models.PushResult{Status: models.PushApplied, Conflicts: merged.Conflicts})
	switch {
	case len(merged.Conflicts) == 0:
	case len(merged.Won) == 0:
		r.Status, r.Error = models.PushConflict, refuse("changed", "", "Somebody else changed the same fields.")
	default:
		r.Status = models.PushMerged
	}
	return r, nil
}

// refused is the result of an error that is the client's own, before anything was done.
func (w *work) refused(err error) (models.PushResult, error) {
	var known *models.PushError
	if errors.As(err, &known) {
		return w.rejected(known), nil
	}
	return models.PushResult{}, err
}

// readOnly refuses fields that clients may not write, unless they come as they
// are or were. The original clients send whole rows, so theirs are left out.
func (w *work) readOnly(d *Divergence) *models.PushError {
	for _, name := range slices.Sorted(maps.Keys(d.Client)) {
		if w.p.cols[w.p.byName[name]].field.Updatable {
			continue
		}
		base, known := d.Base[name]
		if !w.m.original() && !bytes.Equal(d.Client[name], d.Server[name]) && (!known || !bytes.Equal(d.Client[name], base)) {
			return refuse("invalid", name, "This field cannot be changed.")
		}
		delete(d.Client, name)
	}
	return nil
}

// saveMerged saves the row if a field changes, or if an edit stands that has to be
// remembered although the value is the same.
func (w *work) saveMerged(ctx context.Context, m *Merged) error {
	remember := w.t.FieldLog && !w.mine.At.IsZero() && len(m.Won) > 0
	if len(m.Set) == 0 && !remember {
		return nil
	}
	model, err := w.load(ctx)
	if err != nil {
		return err
	}
	by := w.watching(ctx, model)
	by.fields = slices.Collect(maps.Keys(m.Set))
	if remember {
		by.fields = m.Won
	}
	if err := w.assign(ctx, model, m.Set); err != nil {
		return err
	}
	return w.save(ctx, model, by, false)
}

func (w *work) assign(ctx context.Context, model reflect.Value, fields map[string]models.JSON) error {
	for name, value := range fields {
		if _, err := w.p.cols[w.p.byName[name]].decode(ctx, model.Elem(), value); err != nil {
			return refuse("invalid", name, asSentence(err))
		}
	}
	return nil
}

// save validates and updates the row, all of it to GORM; see pushed.narrow.
func (w *work) save(ctx context.Context, model reflect.Value, by *pushed, unscoped bool) error {
	if err := validate(model); err != nil {
		return err
	}
	db := w.session(ctx, by).Model(model.Interface()).Clauses(w.where())
	if unscoped {
		db = db.Unscoped()
	}
	if err := db.Select("*").Omit(clause.Associations).Updates(model.Interface()).Error; err != nil {
		return &saveError{err}
	}
	if by.unkept { // a trigger, or a condition that a hook has added
		return refuse("invalid", "", unkept)
	}
	return w.after(ctx)
}

// validate asks the model itself.
func validate(model reflect.Value) error {
	if v, ok := model.Interface().(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return &saveError{err}
		}
	}
	return nil
}

// after looks at the row again: it must still be one that the client may see.
func (w *work) after(ctx context.Context) error {
	if err := w.look(ctx); err != nil {
		return err
	}
	return w.inSight()
}

func (w *work) inSight() error {
	if !w.visible() {
		why := refuse("forbidden", "", "The row would not be yours.")
		if w.p.scope >= 0 {
			why.Field = w.t.shown(w.p.cols[w.p.scope].name)
		}
		return why
	}
	return nil
}

// delete removes the row. One that is gone, or not the client's, is as the client
// wants it.
func (w *work) delete(ctx context.Context) (models.PushResult, error) {
	if !w.alive() || !w.visible() {
		return w.answer(models.PushResult{Status: models.PushApplied}), nil
	}
	past, err := w.since(ctx)
	if err != nil {
		return models.PushResult{}, err
	}
	if !w.rule("").Deletes(w.mine, past.last, past.any) {
		return w.conflicting(refuse("changed", "", "Somebody else changed the row."), nil), nil
	}
	model, err := w.load(ctx)
	if err != nil {
		return models.PushResult{}, err
	}
	if err := w.session(ctx, &pushed{}).Clauses(w.where()).Delete(model.Interface()).Error; err != nil {
		return models.PushResult{}, &saveError{err}
	}
	if err := w.look(ctx); err != nil {
		return models.PushResult{}, err
	}
	if w.alive() && w.visible() { // a trigger kept it
		return models.PushResult{}, refuse("invalid", "", unkept)
	}
	return w.answer(models.PushResult{Status: models.PushApplied}), nil
}
