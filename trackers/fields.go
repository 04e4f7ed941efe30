package trackers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/models"
)

// Fields reads the field log. It follows the change log: a page has the fields of
// a page of changes.
type Fields struct{ feed }

// Fields gives the reader of the field log.
func (l *Log) Fields() *Fields { return &Fields{feed{log: l, leaves: true}} }

// Since gives the field changes of one entity after a cursor, as Changes.Since
// does. The limit counts changes, of which each may have several fields.
func (f *Fields) Since(ctx context.Context, entity string, cursor models.Cursor, limit int) (Page[models.FieldChange], error) {
	if t := f.log.Entity(entity); t == nil || !t.FieldLog {
		return Page[models.FieldChange]{}, fmt.Errorf("gormsync: the entity %q has no field log; set FieldLog in Config.Entities", entity)
	}
	return f.Read(ctx, []Filter{{Entity: entity, All: true}}, cursor, limit)
}

// Read gives the field changes after a cursor that the filters let through.
func (f *Fields) Read(ctx context.Context, filters []Filter, cursor models.Cursor, limit int) (Page[models.FieldChange], error) {
	changes, err := f.read(ctx, filters, cursor, limit)
	if err != nil {
		return Page[models.FieldChange]{}, err
	}
	page := Page[models.FieldChange]{Cursor: changes.Cursor, More: changes.More, from: changes.from, batch: changes.batch}
	fields, err := f.fieldsOf(ctx, changes.Entries)
	if err != nil {
		return Page[models.FieldChange]{}, err
	}
	for i := range changes.Entries {
		e := &changes.Entries[i]
		for _, row := range fields[e.Version] {
			page.Entries = append(page.Entries, Entry[models.FieldChange]{Row: row, Version: e.Version, Tx: e.Tx, Last: e.Last})
		}
	}
	return page, nil
}

// Of gives the field changes of versions, by version.
func (f *Fields) Of(ctx context.Context, versions []int64) (map[int64][]models.FieldChange, error) {
	changes := make([]Entry[models.Change], len(versions))
	for i, v := range versions {
		changes[i].Version = v
	}
	return f.fieldsOf(ctx, changes)
}

// Newest gives the newest change of one field of a row; nil if the log has none.
func (f *Fields) Newest(ctx context.Context, entity, id, field string) (*models.FieldChange, error) {
	l := f.log
	q := &query{dialect: l.dialect}
	q.write("SELECT ", l.fieldColumns(), " FROM ", l.quote(l.tables.Changes), " c JOIN ", l.quote(l.tables.Fields), " f ON f.id >= c.id << ", bits, " AND f.id < (c.id + 1) << ", bits,
		" WHERE c.entity = ", q.arg(entity), " AND c.entity_id = ", q.arg(id), " AND f.field = ", q.arg(field), " ORDER BY f.id DESC LIMIT 1")
	found, err := l.readFields(ctx, q)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// Latest gives the fields of a row as they are, by name, without those that are
// NULL and without the key. It gives nil when there is no such row or the filter
// does not let it through.
func (f *Fields) Latest(ctx context.Context, filter Filter, id string) (map[string]models.JSON, error) {
	l := f.log
	t := l.Entity(filter.Entity)
	if t == nil {
		return nil, fmt.Errorf("gormsync: no model has the table %q; name it in Config.Entities", filter.Entity)
	}
	p, im, err := l.rowOf(ctx, t, id)
	if err != nil || im == nil || p.gone(im) || !p.inSight(im, filter) {
		return nil, err
	}
	fields := map[string]models.JSON{}
	for i := range p.cols[:p.visible] {
		if v := im.col(i); !isNull(v) && !p.cols[i].field.PrimaryKey {
			fields[p.cols[i].name] = v
		}
	}
	return fields, nil
}

// rowOf reads a row by its entity id; nil if there is none.
func (l *Log) rowOf(ctx context.Context, t *Tracked, id string) (*plan, *image, error) {
	p, err := l.planOf(ctx, l.pool, t)
	if err != nil {
		return nil, nil, err
	}
	keys, _, err := p.entityKey(ctx, id)
	if err != nil {
		return p, nil, ignoreBadID(err)
	}
	s := &gorm.Statement{DB: l.db, Table: t.Schema.Table, Schema: t.Schema, Clauses: map[string]clause.Clause{}, Context: ctx}
	s.WriteString("SELECT " + p.list + " FROM ")
	s.WriteQuoted(clause.Table{Name: clause.CurrentTable})
	s.WriteString(" WHERE (" + p.keys("") + ") = ")
	s.AddVar(s, keys)
	rows, err := l.pool.QueryContext(ctx, s.SQL.String(), s.Vars...)
	if err != nil {
		if strings.HasPrefix(sqlState(err), "22") { // the id is none of the column's type
			return p, nil, nil
		}
		return p, nil, fmt.Errorf("gormsync: reading %s: %w", t.Name, err)
	}
	var im *image
	r := newReader(p)
	err = each(rows, nil, []*reader{r}, func() error {
		im, err = r.take(ctx)
		return err
	})
	return p, im, err
}

func ignoreBadID(err error) error {
	if errors.Is(err, models.ErrBadID) {
		return nil
	}
	return err
}

// fieldsOf reads the fields of changes, by version.
func (f *Fields) fieldsOf(ctx context.Context, changes []Entry[models.Change]) (map[int64][]models.FieldChange, error) {
	found := make(map[int64][]models.FieldChange, len(changes))
	if len(changes) == 0 {
		return found, nil
	}
	l := f.log
	versions := []byte{'['}
	for i := range changes {
		if i > 0 {
			versions = append(versions, ',')
		}
		versions = strconv.AppendInt(versions, changes[i].Version, 10)
	}
	all, err := l.readFields(ctx, f.fieldsQuery(string(append(versions, ']'))))
	for i := range all {
		found[all[i].Version] = append(found[all[i].Version], all[i])
	}
	return found, err
}

// fieldColumns are those that readFields reads.
func (l *Log) fieldColumns() string {
	return "f.id, f.entity, f.entity_id, f.field, f.value, f.action, f.version, f.client_id, f.actor, " + l.moment("f.timestamp") + ", f.tx, f.scope"
}

func (l *Log) readFields(ctx context.Context, q *query) ([]models.FieldChange, error) {
	rows, err := l.pool.QueryContext(ctx, q.sql.String(), l.unprepared(q.args...)...)
	if err != nil {
		return nil, fmt.Errorf("gormsync: reading %s: %w", l.tables.Fields, err)
	}
	defer func() { _ = rows.Close() }()
	var found []models.FieldChange
	for rows.Next() {
		var c models.FieldChange
		err := rows.Scan(&c.ID, &c.Entity, &c.EntityID, &c.Field, &c.Value, &c.Action, &c.Version, &c.ClientID, &c.Actor, moment{&c.Timestamp}, &c.Tx, &c.Scope)
		if err != nil {
			return nil, fmt.Errorf("gormsync: reading %s: %w", l.tables.Fields, err)
		}
		found = append(found, c)
	}
	return found, rows.Err()
}

// fieldsQuery asks for the fields of versions, a JSON array. PostgreSQL is told
// how many a change can have, or on a table without statistics it would rather
// read all of it.
func (f *Fields) fieldsQuery(versions string) *query {
	l := f.log
	q := &query{dialect: l.dialect}
	columns := "SELECT " + l.fieldColumns() + " FROM "
	fields, within := l.quote(l.tables.Fields)+" f", "f.id >= CAST(v.value AS bigint) << "+bits+" AND f.id < (CAST(v.value AS bigint) + 1) << "+bits
	if l.dialect == sqlite {
		q.write(columns, "json_each(", q.arg(versions), ") v JOIN ", fields, " ON ", within, " ORDER BY f.id")
		return q
	}
	q.write(columns, "json_array_elements_text(", q.arg(versions), "::json) v CROSS JOIN LATERAL (SELECT * FROM ", fields, " WHERE ", within,
		" ORDER BY id LIMIT 1 << ", bits, ") f ORDER BY f.id")
	return q
}

var bits = strconv.Itoa(models.FieldBits)
