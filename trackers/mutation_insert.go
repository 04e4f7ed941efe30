package trackers

import (
	"context"
	"maps"
	"reflect"
	"slices"

	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/models"
)

// insert creates the row.
func (w *work) insert(ctx context.Context) (models.PushResult, error) {
	client, err := w.fieldsOfNew(ctx)
	if err != nil {
		return w.refused(err)
	}
	return w.create(ctx, client)
}

var errNeedsID = refuse("invalid", "id", "The row needs an id; choose one.")

// nameNew takes the key of a row that comes without an id from the client's fields.
// Parts that are not among them are left to the hooks and the database.
func (w *work) nameNew(ctx context.Context) error {
	if w.m.Action != models.Create || w.m.ID != "" || w.databaseMakesKey() {
		return nil
	}
	keys, parts, given := make([]any, len(w.p.pks)), make([]string, len(w.p.pks)), map[int]bool{}
	for i, k := range w.p.pks {
		raw := w.m.Data[w.p.cols[k].name]
		if k >= w.p.visible || raw == nil || isNull(raw) {
			continue
		}
		text, err := w.spell(w.p.cols[k].name, raw)
		if err != nil {
			return err
		}
		value, canonical, ok := w.p.keyPart(ctx, k, plain(text))
		if !ok {
			return refuse("invalid", w.p.cols[k].name, "The value does not fit the key of the table.")
		}
		keys[i], parts[i], given[i] = value, canonical, true
	}
	if w.given = given; len(given) == 0 {
		return nil
	}
	if w.keys = keys; len(given) < len(keys) {
		return nil
	}
	own := *w.m // what was asked for stays as it is: its hash is stored
	own.ID = models.EncodeID(parts...)
	w.m, w.id = &own, own.ID
	return w.look(ctx)
}

// fieldsOfNew checks the fields of a row that is to be created. Its key is not
// among them.
func (w *work) fieldsOfNew(ctx context.Context) (map[string]models.JSON, error) {
	if w.databaseMakesKey() || w.m.ID == "" { // what the client calls the row is no key
		data := make(map[string]models.JSON, len(w.m.Data))
		for name, raw := range w.m.Data {
			if i, ok := w.p.byName[name]; !ok || i >= w.p.visible || !w.p.cols[i].field.PrimaryKey {
				data[name] = raw
			}
		}
		own := *w.m // what was asked for stays as it is: its hash is stored
		own.Data, w.m = data, &own
	}
	client, err := w.fields(ctx)
	if err != nil {
		return nil, err
	}
	for name := range client {
		if w.p.cols[w.p.byName[name]].field.Creatable {
			continue
		}
		if !w.m.original() {
			return nil, refuse("invalid", name, "This field cannot be set.")
		}
		delete(client, name)
	}
	return client, nil
}

// create makes the row through GORM.
func (w *work) create(ctx context.Context, fields map[string]models.JSON) (models.PushResult, error) {
	model := reflect.New(w.t.Schema.ModelType)
	chosen := !w.databaseMakesKey() && w.m.ID != ""
	if err := w.prepare(ctx, model, fields, chosen); err != nil {
		return models.PushResult{}, err
	}
	by := &pushed{model: model.Interface(), fields: slices.Collect(maps.Keys(fields))}
	if err := w.session(ctx, by).Omit(clause.Associations).Create(model.Interface()).Error; err != nil {
		if chosen && isDuplicate(err) { // somebody made the same row just now, or one that is not the client's
			return models.PushResult{}, w.verdictOn(w.m, err, 1)
		}
		if isDuplicate(err) && w.lacksKey(ctx, model, true) {
			return models.PushResult{}, errNeedsID
		}
		return models.PushResult{}, &saveError{err}
	}
	if by.unkept { // a trigger left it out
		return models.PushResult{}, refuse("invalid", "", unkept)
	}
	return w.created(ctx, model)
}

// prepare fills a new model: the key, the client's fields, and the scope if there is just one.
func (w *work) prepare(ctx context.Context, model reflect.Value, fields map[string]models.JSON, chosen bool) error {
	for i, k := range w.p.pks {
		if chosen || w.given[i] {
			if err := w.p.cols[k].field.Set(ctx, model.Elem(), w.keys[i]); err != nil {
				return refuse("invalid", "id", "The id does not fit the key of the table.")
			}
		}
	}
	if err := w.assign(ctx, model, fields); err != nil {
		return err
	}
	if s := w.p.scope; s >= 0 && !w.m.Filter.All && len(w.m.Filter.Scopes) == 1 {
		_, sent := fields[w.p.cols[s].name]
		if value, _, ok := w.p.value(ctx, s, w.m.Filter.Scopes[0]); ok && !sent && !w.p.cols[s].field.PrimaryKey {
			if err := w.p.cols[s].field.Set(ctx, model.Elem(), value); err != nil {
				return err
			}
		}
	}
	return validate(model)
}

// lacksKey: nobody chose a part of the key. Before the row is made those that the
// database makes are still to come.
func (w *work) lacksKey(ctx context.Context, model reflect.Value, before bool) bool {
	if w.m.ID != "" || w.databaseMakesKey() {
		return false
	}
	for i, k := range w.p.pks {
		f := w.p.cols[k].field
		if _, zero := f.ValueOf(ctx, model.Elem()); zero && !w.given[i] && (!before || !f.HasDefaultValue) {
			return true
		}
	}
	return false
}

// rename takes the row's id from its model.
func (w *work) rename(ctx context.Context, model reflect.Value) error {
	id, err := w.p.idOf(ctx, model.Elem())
	if err != nil {
		return err
	}
	if w.lacksKey(ctx, model, false) {
		return errNeedsID
	}
	if w.keys, w.id, err = w.p.entityKey(ctx, id); err != nil || w.id == "" {
		return errNeedsID
	}
	return nil
}

// created looks at the new row.
func (w *work) created(ctx context.Context, model reflect.Value) (models.PushResult, error) {
	if err := w.rename(ctx, model); err != nil {
		return models.PushResult{}, err
	}
	if err := w.look(ctx); err != nil {
		return models.PushResult{}, err
	}
	if w.image == nil { // it is not where it should be
		return models.PushResult{}, refuse("invalid", "", unkept)
	}
	if err := w.inSight(); err != nil {
		return models.PushResult{}, err
	}
	return w.answer(models.PushResult{ID: w.id, Status: models.PushApplied}), nil
}

// revive decides between the client's edit and the deletion of its row.
func (w *work) revive(ctx context.Context) (models.PushResult, error) {
	past, err := w.since(ctx)
	if err != nil {
		return models.PushResult{}, err
	}
	gone := refuse("deleted", "", "Somebody else deleted the row.")
	known := w.m.Base != nil && *w.m.Base == w.version() && w.m.Action == models.Create
	var deletion Edit
	if w.newest != nil {
		deletion = w.newest.edit
	}
	if !known && !w.rule("").Revives(w.m.Action, w.mine, deletion) {
		return w.conflicting(gone, nil), nil
	}
	if w.image != nil {
		return w.undelete(ctx)
	}
	fields, err := w.fieldsOfNew(ctx)
	if err != nil {
		return w.refused(err)
	}
	if w.m.Action == models.Create {
		return w.create(ctx, fields)
	}
	if past.before == nil || len(w.t.hidden) > 0 { // the log has not all of the row
		return w.conflicting(gone, nil), nil
	}
	for name, value := range past.before {
		_, sent := fields[name]
		if i, ok := w.p.byName[name]; ok && !sent && w.p.cols[i].field.Creatable && !w.p.cols[i].field.PrimaryKey && w.p.cols[i].field.AutoUpdateTime == 0 {
			fields[name] = value
		}
	}
	return w.create(ctx, fields)
}

// undelete takes the mark off a row that is marked as deleted, and sets the client's fields.
func (w *work) undelete(ctx context.Context) (models.PushResult, error) {
	fields, err := w.fields(ctx)
	if err != nil {
		return w.refused(err)
	}
	d := Divergence{Client: fields, Server: w.server(), Edit: w.mine}
	if why := w.readOnly(&d); why != nil {
		return w.rejected(why), nil
	}
	model, err := w.load(ctx)
	if err != nil {
		return models.PushResult{}, err
	}
	by := w.watching(ctx, model)
	if err := w.assign(ctx, model, fields); err != nil {
		return models.PushResult{}, err
	}
	for _, f := range w.t.soft {
		f.ReflectValueOf(ctx, model.Elem()).SetZero()
		by.fields = append(by.fields, f.DBName)
	}
	if err := w.save(ctx, model, by, true); err != nil {
		return models.PushResult{}, err
	}
	return w.answer(models.PushResult{Status: models.PushApplied}), nil
}
