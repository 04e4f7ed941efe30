package trackers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/models"
)

// work is one mutation and the row that it is about, which is locked.
type work struct {
	*group
	m     *Mutation
	as    *Mutation // m as it came
	t     *Tracked
	p     *plan
	id    string       // the row's entity id, spelled as the log does
	keys  []any        // its key; nil where no row can have the id
	given map[int]bool // the parts of the key that a client without an id has sent; nil for none
	mine  Edit

	image  *image  // the row in the table; nil for none. It may be marked as deleted.
	newest *logged // its newest change; nil if it was never logged
}

// logged is a change of a row as a push needs it.
type logged struct {
	version int64
	action  models.Action
	move    models.Move
	data    models.JSON
	scope   *string
	edit    Edit
}

// open locks the row of a mutation and looks at it.
func (g *group) open(ctx context.Context, m *Mutation, id string) (*work, error) {
	t := g.log.entities[m.Entity]
	p, err := g.log.planOf(ctx, g.pool, t)
	if err == nil && p.lacks(m.Data) {
		g.log.forget(t)
		p, err = g.log.planOf(ctx, g.pool, t)
	}
	if err != nil {
		return nil, err
	}
	w := &work{group: g, m: m, as: m, t: t, p: p, id: id, mine: m.edit(g.by, g.now)}
	if w.keys, w.id, err = p.entityKey(ctx, id); err != nil {
		if errors.Is(err, models.ErrBadID) {
			w.id = id
			return w, nil // no row can have this id
		}
		return nil, err
	}
	return w, w.look(ctx)
}

// lacks: the client sends a column of the model that the table did not have when
// the plan was made. Another process has migrated it, perhaps.
func (p *plan) lacks(data map[string]models.JSON) bool {
	for name := range data {
		if _, known := p.byName[name]; !known && p.entity.shown(name) != "" {
			return true
		}
	}
	return false
}

// entityKey turns an entity id into the values of the key, and spells it as the log does.
func (p *plan) entityKey(ctx context.Context, id string) (keys []any, canonical string, err error) {
	parts, err := models.DecodeID(id, len(p.pks))
	if err != nil {
		return nil, "", err
	}
	keys = make([]any, len(parts))
	for i, k := range p.pks {
		var ok bool
		if keys[i], parts[i], ok = p.keyPart(ctx, k, parts[i]); !ok {
			return nil, "", models.ErrBadID
		}
	}
	return keys, models.EncodeID(parts...), nil
}

// keyPart turns a text into the value of a column of the key, and spells it as the log does.
func (p *plan) keyPart(ctx context.Context, col int, text string) (value any, canonical string, ok bool) {
	if text, ok = p.cols[col].spelled(text); ok {
		value, canonical, ok = p.value(ctx, col, text)
	}
	if v := reflect.ValueOf(value); v.CanUint() && v.Uint() > math.MaxInt64 { // no database has such a number
		return nil, "", false
	}
	return value, canonical, ok
}

// look reads the row and its newest change.
func (w *work) look(ctx context.Context) error {
	w.image, w.newest = nil, nil
	found, err := w.log.lockRows(ctx, w.pool, w.p, []target{{key: w.keys, id: w.id}})
	if err != nil {
		return err
	}
	w.image = found[w.id]
	changes, err := w.log.changesOf(ctx, w.pool, w.t.Name, w.id, 0, 1)
	if err == nil && len(changes) > 0 {
		w.newest = &changes[0]
	}
	return err
}

// changesOf gives the changes of a row from a version on, the newest first.
func (l *Log) changesOf(ctx context.Context, pool gorm.ConnPool, entity, id string, from int64, limit int) ([]logged, error) {
	q := l.changeQuery(entity, id)
	q.write(" AND id >= ", q.arg(from), " ORDER BY id DESC LIMIT ", q.arg(limit))
	return l.readChanges(ctx, pool, q)
}

// changeAt gives the change of a row that made a version; nil if it is not in the log.
func (l *Log) changeAt(ctx context.Context, pool gorm.ConnPool, entity, id string, version int64) (*logged, error) {
	q := l.changeQuery(entity, id)
	q.write(" AND id = ", q.arg(version))
	changes, err := l.readChanges(ctx, pool, q)
	if err != nil || len(changes) == 0 {
		return nil, err
	}
	return &changes[0], nil
}

func (l *Log) changeQuery(entity, id string) *query {
	q := &query{dialect: l.dialect}
	q.write("SELECT id, action, move, data, scope, client_id, ", l.moment("edited_at"), " FROM ", l.quote(l.tables.Changes), " WHERE entity = ", q.arg(entity), " AND entity_id = ", q.arg(id))
	return q
}

func (l *Log) readChanges(ctx context.Context, pool gorm.ConnPool, q *query) ([]logged, error) {
	rows, err := pool.QueryContext(ctx, q.sql.String(), l.unprepared(q.args...)...)
	if err != nil {
		return nil, l.unread(l.tables.Changes, err)
	}
	defer func() { _ = rows.Close() }()
	var changes []logged
	for rows.Next() {
		var c logged
		var client *string
		if err := rows.Scan(&c.version, &c.action, &c.move, &c.data, &c.scope, &client, moment{&c.edit.At}); err != nil {
			return nil, l.unread(l.tables.Changes, err)
		}
		if client != nil {
			c.edit.Client = *client
		}
		changes = append(changes, c)
	}
	return changes, rows.Err()
}

// unread is an error that came of reading a table of the log.
func (l *Log) unread(table string, err error) error {
	return &logError{fmt.Errorf("gormsync: reading %s: %w", table, err)}
}

// alive: the row is in the table and not marked as deleted.
func (w *work) alive() bool { return w.image != nil && !w.p.gone(w.image) }

// visible: the client may see and change the row, or could before it was deleted.
func (w *work) visible() bool {
	switch {
	case w.m.Filter.All:
		return true
	case w.alive():
		return w.p.inSight(w.image, w.m.Filter)
	case w.newest != nil:
		return w.newest.scope != nil && slices.Contains(w.m.Filter.Scopes, *w.newest.scope)
	}
	return w.image != nil && w.p.inSight(w.image, w.m.Filter)
}

// deleted: the row was there, as far as anybody knows.
func (w *work) deleted() bool {
	return !w.alive() && (w.image != nil || (w.newest != nil && w.newest.action == models.Delete))
}

func (w *work) version() int64 {
	if w.newest == nil {
		return 0
	}
	return w.newest.version
}

// answer completes a result with the row as it is, as far as the client may see it.
func (w *work) answer(r models.PushResult) models.PushResult {
	if r.ID == "" {
		r.ID = w.id
	}
	version := int64(0)
	r.Data = models.JSON("null")
	if w.visible() {
		version = w.version()
		if w.alive() {
			r.Data = models.JSON(w.image.data())
		}
	}
	r.Version = &version
	return r
}

func (w *work) rejected(why *models.PushError) models.PushResult {
	return w.answer(models.PushResult{Status: models.PushRejected, Error: why})
}

func (w *work) conflicting(why *models.PushError, conflicts []models.Conflict) models.PushResult {
	return w.answer(models.PushResult{Status: models.PushConflict, Error: why, Conflicts: conflicts})
}

// server is the row by column, as the log would have it.
func (w *work) server() map[string]models.JSON {
	row := make(map[string]models.JSON, w.p.visible)
	for i := range w.p.cols[:w.p.visible] {
		row[w.p.cols[i].name] = models.JSON(w.image.col(i))
	}
	return row
}

// where finds the row by its key, all parts of it: GORM leaves out those that are zero.
func (w *work) where() clause.Where {
	exprs := make([]clause.Expression, len(w.keys))
	for i, k := range w.p.pks {
		exprs[i] = clause.Eq{Column: clause.Column{Table: clause.CurrentTable, Name: w.p.cols[k].name}, Value: w.keys[i]}
	}
	return clause.Where{Exprs: exprs}
}

// load reads the row into a model of the application.
func (w *work) load(ctx context.Context) (reflect.Value, error) {
	model := reflect.New(w.t.Schema.ModelType)
	db := w.session(ctx, nil)
	err := db.Session(&gorm.Session{SkipHooks: true}).Unscoped().Clauses(w.where()).Take(model.Interface()).Error
	if err != nil {
		return model, fmt.Errorf("gormsync: reading %s %q: %w", w.t.Name, w.id, err)
	}
	// The hook runs here, so that its errors can be told from those of reading.
	if found, ok := model.Interface().(callbacks.AfterFindInterface); ok {
		if err := found.AfterFind(db); err != nil {
			return model, &saveError{err}
		}
	}
	return model, nil
}

// session gives a *gorm.DB in the group's transaction whose changes are logged as
// the client's.
func (w *work) session(ctx context.Context, by *pushed) *gorm.DB {
	if by != nil {
		by.id, by.edited, by.entity, by.row = w.m.MutationID, w.mine.At, w.t.Name, w.id
		ctx = withPushed(ctx, by)
	}
	return w.tx.Session(&gorm.Session{NewDB: true, Context: ctx})
}

// parsed takes a row apart.
func parsed(data models.JSON) (map[string]models.JSON, error) {
	var fields map[string]models.JSON
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("gormsync: the log's data is damaged: %w", err)
	}
	for name, v := range fields {
		if v == nil {
			fields[name] = models.JSON("null")
		}
	}
	return fields, nil
}
