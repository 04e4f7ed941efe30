package trackers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/models"
)

// recordChunk is how many rows Record reads at once.
const recordChunk = 500

// Record logs changes that gormsync could not see, such as those of raw SQL, in
// the transaction tx in which they were made (it opens one if tx is none). rows
// is a model, a pointer to one, or a slice of either; of each only the primary
// key is read, and the scope column where a deleted row was never logged. For
// models.Create and models.Update the row is read again as the table has it, and
// what differs from its newest change in the log becomes a create, an update, a
// delete or nothing. For models.Delete the row is logged as gone.
//
//	db.Transaction(func(tx *gorm.DB) error {
//		raw := tx.WithContext(gormsync.Untracked(ctx))
//		if err := raw.Exec("UPDATE todos SET done = true WHERE id = ?", id).Error; err != nil {
//			return err
//		}
//		return sync.Changes().Record(ctx, tx, models.Update, &Todo{ID: id})
//	})
//
// It returns an error when the model is not tracked, and when a row to be
// created or updated is not in the table.
func (c *Changes) Record(ctx context.Context, tx *gorm.DB, action models.Action, rows any) error {
	if !action.Valid() {
		return fmt.Errorf("gormsync: Record: there is no action %q; use models.Create, models.Update or models.Delete", action)
	}
	if v := reflect.ValueOf(rows); !v.IsValid() || (v.Kind() == reflect.Pointer && v.IsNil()) {
		return fmt.Errorf("gormsync: Record: the rows are a nil %T; give a model or a slice of them", rows)
	}
	db := tx.Session(&gorm.Session{NewDB: true, Context: ctx})
	stmt := &gorm.Statement{DB: db}
	if err := stmt.Parse(rows); err != nil {
		return fmt.Errorf("gormsync: Record: GORM cannot use %T: %w", rows, err)
	}
	t := c.log.byTable[c.log.tableKey(stmt.Schema.Table)]
	if t == nil {
		return fmt.Errorf("gormsync: Record: the model %T is not tracked; name it in Config.Entities", rows)
	}
	targets, err := targetsOf(ctx, t, reflect.Indirect(reflect.ValueOf(rows)))
	if err != nil {
		return err
	}
	db = db.Model(t.Model) // gives db a statement of its own
	c.log.inTransaction(db, func(pool gorm.ConnPool) {
		for part := range slices.Chunk(targets, recordChunk) {
			if db.Error == nil {
				_ = db.AddError(c.log.recordRows(pool, db, t, action, part))
			}
		}
	})
	return db.Error
}

// target is a row that the application says was changed.
type target struct {
	row reflect.Value
	key []any
	id  string
}

// targetsOf reads the primary keys of a model or a slice of models.
func targetsOf(ctx context.Context, t *Tracked, rv reflect.Value) ([]target, error) {
	if rv.Kind() != reflect.Slice && rv.Kind() != reflect.Array {
		one := target{row: rv, key: make([]any, len(t.Schema.PrimaryFields))}
		for i, f := range t.Schema.PrimaryFields {
			one.key[i], _ = f.ValueOf(ctx, rv)
		}
		return []target{one}, nil
	}
	var all []target
	for i := range rv.Len() {
		row := reflect.Indirect(rv.Index(i))
		if row.Kind() != reflect.Struct {
			return nil, fmt.Errorf("gormsync: Record: row %d is a %s, not a model", i, row.Kind())
		}
		one, err := targetsOf(ctx, t, row)
		if err != nil {
			return nil, err
		}
		all = append(all, one...)
	}
	return all, nil
}

func (l *Log) recordRows(pool gorm.ConnPool, db *gorm.DB, t *Tracked, action models.Action, targets []target) error {
	ctx := db.Statement.Context
	p, err := l.planOf(ctx, bare(pool), t)
	if err != nil {
		return err
	}
	for i := range targets {
		if targets[i].id, err = p.idOf(ctx, targets[i].row); err != nil {
			return err
		}
	}
	now, err := l.lockRows(ctx, bare(pool), p, targets)
	if err != nil {
		return err
	}
	ids := make([]string, len(targets))
	for i := range targets {
		ids[i] = targets[i].id
	}
	before, err := l.newest(ctx, bare(pool), p, ids)
	if err != nil {
		return err
	}
	b := newBatch(db, t)
	for _, one := range targets {
		after := now[one.id]
		switch {
		case action == models.Delete && before[one.id] == nil:
			err = b.add(logRow{id: one.id, action: models.Delete, scope: p.scopeIn(ctx, one.row)})
		case action == models.Delete:
			err = b.change(p, before[one.id], nil)
		case after == nil:
			err = fmt.Errorf("gormsync: Record: %s has no row %q; record it as models.Delete", t.Name, one.id)
		default:
			err = b.change(p, before[one.id], after)
		}
		if err != nil {
			return errors.Join(err, b.file.remove())
		}
	}
	return errors.Join(l.record(pool, db, b), b.file.remove())
}

// idOf encodes the key of a model as the image of its row would.
func (p *plan) idOf(ctx context.Context, row reflect.Value) (string, error) {
	parts := make([]string, len(p.pks))
	for i, k := range p.pks {
		f := p.cols[k].field
		text, err := appendGo(nil, f.ReflectValueOf(ctx, addressable(row)))
		if err != nil {
			return "", fmt.Errorf("gormsync: reading %s.%s: %w", p.entity.Name, f.DBName, err)
		}
		parts[i] = plain(text)
	}
	return models.EncodeID(parts...), nil
}

// scopeIn is the scope that a model says it has; nil for none.
func (p *plan) scopeIn(ctx context.Context, row reflect.Value) *string {
	if p.scope < 0 {
		return nil
	}
	text, err := appendGo(nil, p.cols[p.scope].field.ReflectValueOf(ctx, addressable(row)))
	if err != nil || isNull(text) {
		return nil
	}
	scope := plain(text)
	return &scope
}

// lockRows reads rows by key and keeps others from changing them until the
// transaction ends: the log's ids have to be in the order of the changes.
func (l *Log) lockRows(ctx context.Context, pool gorm.ConnPool, p *plan, targets []target) (map[string]*image, error) {
	if l.dialect == sqlite {
		if err := l.lockSQLite(ctx, pool, p.entity); err != nil {
			return nil, err
		}
	}
	s := &gorm.Statement{DB: l.db, Table: p.entity.Schema.Table, Schema: p.entity.Schema, Clauses: map[string]clause.Clause{}, Context: ctx}
	s.WriteString("SELECT " + p.list + " FROM ")
	s.WriteQuoted(clause.Table{Name: clause.CurrentTable})
	s.WriteString(" WHERE (" + p.keys("") + ") IN ")
	in := make([]any, len(targets))
	for i, one := range targets {
		in[i] = one.key
		if len(one.key) == 1 {
			in[i] = one.key[0]
		}
	}
	s.AddVar(s, in)
	if l.dialect == postgres {
		s.WriteString(" FOR NO KEY UPDATE")
	}
	rows, err := pool.QueryContext(ctx, s.SQL.String(), s.Vars...)
	if err != nil {
		return nil, fmt.Errorf("gormsync: Record: reading %s: %w", p.entity.Name, err)
	}
	r, found := newReader(p), map[string]*image{}
	err = each(rows, nil, []*reader{r}, func() error {
		im, err := r.take(ctx)
		if err == nil {
			found[im.id] = im
		}
		return err
	})
	return found, err
}

// newest gives the rows as the log knows them last; those that are not there, or
// went, are missing.
func (l *Log) newest(ctx context.Context, pool gorm.ConnPool, p *plan, ids []string) (map[string]*image, error) {
	q := &query{dialect: l.dialect}
	q.write("SELECT entity_id, data, scope FROM ", l.quote(l.tables.Changes), " WHERE id IN (SELECT max(id) FROM ", l.quote(l.tables.Changes),
		" WHERE entity = ", q.arg(p.entity.Name), " AND entity_id ", q.in(ids), " GROUP BY entity_id)")
	rows, err := pool.QueryContext(ctx, q.sql.String(), l.unprepared(q.args...)...)
	if err != nil {
		return nil, fmt.Errorf("gormsync: reading %s: %w", l.tables.Changes, err)
	}
	defer func() { _ = rows.Close() }()
	found := map[string]*image{}
	for rows.Next() {
		var id string
		var data models.JSON
		var scope *string
		if err := rows.Scan(&id, &data, &scope); err != nil {
			return nil, fmt.Errorf("gormsync: reading %s: %w", l.tables.Changes, err)
		}
		if data == nil {
			continue
		}
		if found[id], err = p.imageOf(id, data, scope); err != nil {
			return nil, err
		}
	}
	return found, rows.Err()
}

// imageOf makes an image of a change's data. A column that it lacks is null.
func (p *plan) imageOf(id string, data models.JSON, scope *string) (*image, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fmt.Errorf("gormsync: the log's data of %s %q is damaged: %w", p.entity.Name, id, err)
	}
	im := &image{span: make([][2]int, len(p.cols)), id: id}
	for i := range p.cols {
		value, ok := fields[p.cols[i].name]
		if !ok {
			value = []byte("null")
			if i == p.scope && scope != nil {
				value = models.AppendString(nil, *scope)
			}
		}
		start := len(im.buf)
		im.buf = append(im.buf, value...)
		im.span[i] = [2]int{start, len(im.buf)}
		if i < p.visible {
			im.size = len(im.buf)
		}
	}
	return im, nil
}
