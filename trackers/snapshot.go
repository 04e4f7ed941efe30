package trackers

import (
	"context"
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/rhtmx/gormsync/models"
)

// Snapshot gives a page of a table's present rows as creates, by primary key:
// those behind after (an entity id; empty for the first), at most limit
// (DefaultPage if not positive). Its cursor is the place from which to follow
// the log once the snapshot is complete, and holds the place in the snapshot as
// Page until then. The position is taken before the first row, so that a change
// made while paging comes again from the log.
func (c *Changes) Snapshot(ctx context.Context, f Filter, cursor models.Cursor, limit int) (Page[models.Change], error) {
	l := c.log
	t := l.Entity(f.Entity)
	if t == nil {
		return Page[models.Change]{}, fmt.Errorf("gormsync: no model has the table %q; name it in Config.Entities", f.Entity)
	}
	if limit <= 0 {
		limit = DefaultPage
	}
	if cursor.Page == nil {
		var err error
		if cursor, err = l.Position(ctx); err != nil {
			return Page[models.Change]{}, err
		}
	} else if err := l.Accept(ctx, cursor); err != nil {
		return Page[models.Change]{}, err
	}
	p, images, err := l.tableRows(ctx, t, f, cursor.Page, limit+1)
	if err != nil {
		return Page[models.Change]{}, err
	}
	page := Page[models.Change]{Cursor: cursor}
	page.Cursor.Page = nil
	if len(images) > limit && !l.unpaged(p) {
		images, page.More = images[:limit], true
		page.Cursor.Page = &models.Page{After: images[limit-1].id}
	}
	images = slices.DeleteFunc(images, func(im *image) bool { return !p.inSight(im, f) })
	page.Entries, err = l.asCreates(ctx, t, images, cursor)
	return page, err
}

// asCreates makes creates of rows, each with the newest version that the row had
// at the cursor. What was logged later comes again with a higher one.
func (l *Log) asCreates(ctx context.Context, t *Tracked, images []*image, cursor models.Cursor) ([]Entry[models.Change], error) {
	ids := make([]string, len(images))
	for i, im := range images {
		ids[i] = im.id
	}
	versions, err := l.versions(ctx, t.Name, ids, cursor.From)
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	entries := make([]Entry[models.Change], len(images))
	for i, im := range images {
		v := versions[im.id]
		entries[i].Row = models.Change{
			ID: v, Entity: t.Name, EntityID: im.id, Action: models.Create, Data: models.JSON(im.data()), Version: v, CreatedAt: now,
		}
	}
	return entries, nil
}

// versions gives the newest version of each row among the transactions in set.
func (l *Log) versions(ctx context.Context, entity string, ids []string, set models.TxSet) (map[string]int64, error) {
	found := make(map[string]int64, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	q := &query{dialect: l.dialect}
	q.write("SELECT entity_id, max(id) FROM ", l.quote(l.tables.Changes), " WHERE entity = ", q.arg(entity), " AND entity_id ", q.in(ids))
	if l.dialect == sqlite {
		q.write(" AND id < ", q.arg(int64(set.Xmax)))
	} else {
		q.write(" AND tx < ", q.arg(int64(set.Xmax)), " AND tx <> ALL(", q.arg(set.Array()), "::bigint[])")
	}
	q.write(" GROUP BY entity_id")
	rows, err := l.pool.QueryContext(ctx, q.sql.String(), l.unprepared(q.args...)...)
	if err != nil {
		return nil, fmt.Errorf("gormsync: reading %s: %w", l.tables.Changes, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		var version int64
		if err := rows.Scan(&id, &version); err != nil {
			return nil, fmt.Errorf("gormsync: reading %s: %w", l.tables.Changes, err)
		}
		found[id] = version
	}
	return found, rows.Err()
}

// tableRows reads a page of a tracked table in the order of its primary key,
// without the rows that are marked as deleted.
func (l *Log) tableRows(ctx context.Context, t *Tracked, f Filter, after *models.Page, limit int) (*plan, []*image, error) {
	p, err := l.planOf(ctx, l.pool, t)
	if err != nil {
		return nil, nil, err
	}
	stmt, err := l.rowsStatement(ctx, p, f, after, limit)
	if err != nil {
		return nil, nil, err
	}
	rows, err := l.pool.QueryContext(ctx, stmt.SQL.String(), stmt.Vars...)
	if err != nil {
		l.forget(t)
		return nil, nil, fmt.Errorf("gormsync: reading %s: %w", t.Name, err)
	}
	r := newReader(p)
	var images []*image
	err = each(rows, nil, []*reader{r}, func() error {
		im, err := r.take(ctx)
		images = append(images, im)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("gormsync: reading %s: %w", t.Name, err)
	}
	return p, images, nil
}

// unpaged: SQLite keeps times as text in whatever zone the application had, so a
// key that is a time has no order to go on by. Such a table comes in one page.
func (l *Log) unpaged(p *plan) bool {
	return l.dialect == sqlite && slices.ContainsFunc(p.pks, func(k int) bool { return p.cols[k].field.IndirectFieldType == timeType })
}

func (l *Log) rowsStatement(ctx context.Context, p *plan, f Filter, after *models.Page, limit int) (*gorm.Statement, error) {
	t := p.entity
	s := &gorm.Statement{DB: l.db, Table: t.Schema.Table, Schema: t.Schema, Clauses: map[string]clause.Clause{}, Context: ctx}
	for _, c := range t.Schema.QueryClauses { // soft delete
		s.AddClause(c)
	}
	var where []clause.Expression
	if !f.All {
		where = append(where, p.inScopes(ctx, f.Scopes))
	}
	if after != nil {
		keys, err := p.keyValues(ctx, after.After)
		if err != nil {
			return nil, err
		}
		where = append(where, clause.Expr{SQL: "(" + p.keys("") + ") > ?", Vars: []any{keys}})
	}
	if len(where) > 0 {
		s.AddClause(clause.Where{Exprs: where})
	}
	s.WriteString("SELECT " + p.list + " FROM ")
	s.WriteQuoted(clause.Table{Name: clause.CurrentTable})
	if _, ok := s.Clauses["WHERE"]; ok {
		s.WriteByte(' ')
		s.Build("WHERE")
	}
	s.WriteString(" ORDER BY " + p.keys(""))
	if !l.unpaged(p) {
		s.WriteString(fmt.Sprintf(" LIMIT %d", limit))
	}
	return s, s.Error
}

// inScopes: without a scope column, or without scopes, no row is in sight. The
// database may compare more loosely than the log does; see inSight.
func (p *plan) inScopes(ctx context.Context, scopes []string) clause.Expression {
	if p.scope < 0 {
		return clause.Expr{SQL: "1 = 0"}
	}
	var values []any
	for _, s := range scopes {
		if v, text, ok := p.value(ctx, p.scope, s); ok && text == s {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return clause.Expr{SQL: "1 = 0"}
	}
	column := clause.Column{Table: clause.CurrentTable, Name: p.cols[p.scope].name}
	if p.cols[p.scope].loose {
		return clause.Expr{SQL: "CAST(? AS text) IN ?", Vars: []any{column, values}}
	}
	return clause.IN{Column: column, Values: values}
}

// inSight reports whether a row's scope is, letter by letter, one of the filter's:
// collations and padded columns must not show more in a snapshot than in the log.
func (p *plan) inSight(im *image, f Filter) bool {
	if f.All {
		return true
	}
	scope := p.scopeOf(im)
	return scope != nil && slices.Contains(f.Scopes, *scope)
}

// Canonical spells scopes as the log does: whatever form the application has them
// in, such as a UUID in capitals. What is no value of the scope column is left out.
func (l *Log) Canonical(ctx context.Context, entity string, scopes []string) ([]string, error) {
	t := l.entities[entity]
	if t == nil || t.Scope == "" || len(scopes) == 0 {
		return nil, nil
	}
	p, err := l.planOf(ctx, l.pool, t)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range scopes {
		if _, text, ok := p.value(ctx, p.scope, s); ok {
			out = append(out, text)
		}
	}
	return out, nil
}

// keyValues turns an entity id into values of the key's own types.
func (p *plan) keyValues(ctx context.Context, id string) ([]any, error) {
	parts, err := models.DecodeID(id, len(p.pks))
	if err != nil {
		return nil, err
	}
	keys := make([]any, len(parts))
	for i, k := range p.pks {
		v, _, ok := p.value(ctx, k, parts[i])
		if !ok {
			return nil, models.ErrBadID
		}
		keys[i] = v
	}
	return keys, nil
}

// value turns the text of a key or scope into a value of its column's type, and
// gives the text that the log has for it. It says false for what is no such value.
func (p *plan) value(ctx context.Context, col int, text string) (value any, canonical string, ok bool) {
	f := p.cols[col].field
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return nil, "", false // PostgreSQL has no such text
	}
	text, ok = p.cols[col].spelled(text)
	if !ok {
		return nil, "", false
	}
	v, ok := typed(f, text)
	if !ok {
		return nil, "", false
	}
	model := reflect.New(p.entity.Schema.ModelType).Elem()
	if err := setField(ctx, f, model, v); err != nil {
		return nil, "", false
	}
	encoded, err := appendGo(nil, f.ReflectValueOf(ctx, model))
	if err != nil || isNull(encoded) {
		return nil, "", false
	}
	value, _ = f.ValueOf(ctx, model)
	return value, plain(encoded), true
}

// typed turns the log's text of a value into what a driver would give for it. GORM
// would take some texts for other values, such as what is no truth value for
// false and short fractions of a second for none, and no text for a pointer to a
// number.
func typed(f *schema.Field, text string) (v any, ok bool) {
	var err error
	t := f.IndirectFieldType
	switch {
	case t == timeType:
		v, err = time.Parse(time.RFC3339Nano, text)
	case hasMethods(t), f.Serializer != nil:
		return text, true // it knows best
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		v, err = base64.StdEncoding.DecodeString(text)
	case t.Kind() == reflect.Bool:
		v, err = strconv.ParseBool(text)
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		v, err = strconv.ParseInt(text, 10, t.Bits())
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64:
		v, err = strconv.ParseUint(text, 10, t.Bits())
	case t.Kind() == reflect.Float32, t.Kind() == reflect.Float64:
		v, err = strconv.ParseFloat(text, t.Bits())
	default:
		return text, true
	}
	return v, err == nil
}
