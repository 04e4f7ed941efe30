package trackers

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// writeChunk is how many changes one statement writes to the log: enough that
// the trip does not count, few enough that its parameters stay small.
const writeChunk = 1000

// write puts a batch into both logs, in the transaction behind pool.
func (l *Log) write(ctx context.Context, pool gorm.ConnPool, b *batch, t *watchedTx) error {
	for rest := b.rows; len(rest) > 0; {
		n := min(len(rest), writeChunk)
		var err error
		if l.dialect == postgres {
			err = l.writePostgres(ctx, pool, b, rest[:n])
		} else {
			err = l.writeSQLite(ctx, pool, b, rest[:n], t)
		}
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// writePostgres writes both logs in one trip. The ids are taken here, while the
// changed rows are locked. The text is the same for any number of rows.
func (l *Log) writePostgres(ctx context.Context, pool gorm.ConnPool, b *batch, rows []logRow) error {
	n := len(rows)
	ids, actions, moves := make([]string, n), make([]string, n), make([]string, n)
	scopes, data := make([]*string, n), make([]*string, n)
	var at []int32
	var names []string
	var values []*string
	for i := range rows {
		r := &rows[i]
		ids[i], actions[i], moves[i], scopes[i], data[i] = r.id, string(r.action), string(r.move), r.scope, text(r.data)
		for _, f := range r.fields {
			at, names, values = append(at, int32(i+1)), append(names, f.name), append(values, text(f.value))
		}
	}
	args := []any{
		b.entity.Name, orNil(b.client), b.actor, b.at, b.at,
		l.array(ids), l.array(actions), l.array(moves), l.array(scopes), l.array(data),
	}
	sql := l.changesSQL()
	if len(at) > 0 {
		sql = "WITH c AS (" + sql + " RETURNING id) " + l.fieldsSQL()
		args = append(args, l.array(at), l.array(names), l.array(values))
	}
	_, err := pool.ExecContext(ctx, sql, args...)
	return err
}

// changesSQL: a subquery whose list is volatile is not flattened, so nextval
// runs once a row although the id stands twice.
func (l *Log) changesSQL() string {
	return fmt.Sprintf(`INSERT INTO %s (id, version, entity, entity_id, action, move, scope, data, client_id, actor, created_at, edited_at)
SELECT v, v, $1::text, id, action, move, scope, data, $2::text, $3::text, $4::timestamptz, $5::timestamptz FROM (
SELECT nextval(%s) AS v, u.* FROM unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::text[]) AS u(id, action, move, scope, data)) r`,
		l.quote(l.tables.Changes), literal(l.sequence))
}

func (l *Log) fieldsSQL() string {
	return fmt.Sprintf(`INSERT INTO %s (entity, entity_id, field, value, action, version, client_id, actor, timestamp, scope)
SELECT $1::text, ($6::text[])[f.n], f.field, f.value, CASE WHEN f.value IS NULL THEN 'delete' ELSE 'update' END,
 v.id, $2::text, $3::text, $5::timestamptz, ($9::text[])[f.n]
FROM unnest($11::int[], $12::text[], $13::text[]) AS f(n, field, value)
JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM c) v ON v.n = f.n ORDER BY v.id`, l.quote(l.tables.Fields))
}

// writeSQLite writes the change log, then the field log. SQLite has one writer,
// so the ids of one statement follow each other.
func (l *Log) writeSQLite(ctx context.Context, pool gorm.ConnPool, b *batch, rows []logRow, t *watchedTx) error {
	var first int64
	if t != nil {
		first = t.firstID()
	}
	res, err := pool.ExecContext(ctx, l.sqliteChanges(), orZero(first), b.entity.Name, orNil(b.client), b.actor, b.at, b.at,
		l.tables.Changes, changesJSON(rows))
	if err != nil {
		return err
	}
	last, err := res.LastInsertId()
	if err != nil {
		return err
	}
	version := last - int64(len(rows)) + 1
	if first == 0 {
		first = version
		if t != nil {
			t.setFirstID(first)
		}
	}
	fields := fieldsJSON(rows, version)
	if fields == "" {
		return nil
	}
	_, err = pool.ExecContext(ctx, l.sqliteFields(), b.entity.Name, orNil(b.client), b.actor, b.at, first, fields)
	return err
}

// sqliteChanges takes the ids from the table's own counter: AUTOINCREMENT never
// hands one out twice, also after the newest rows were pruned.
func (l *Log) sqliteChanges() string {
	return fmt.Sprintf(`INSERT INTO %s (id, version, tx, entity, client_id, actor, created_at, edited_at, entity_id, action, move, scope, data)
SELECT s.n + j.key, s.n + j.key, coalesce(?, s.n), ?, ?, ?, ?, ?,
 json_extract(j.value, '$[0]'), json_extract(j.value, '$[1]'), json_extract(j.value, '$[2]'), json_extract(j.value, '$[3]'), json_extract(j.value, '$[4]')
FROM (SELECT 1 + coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0) AS n) s, json_each(?) j ORDER BY j.key`, l.quote(l.tables.Changes))
}

func (l *Log) sqliteFields() string {
	return fmt.Sprintf(`INSERT INTO %s (entity, client_id, actor, timestamp, tx, version, entity_id, scope, field, value, action)
SELECT ?, ?, ?, ?, ?, json_extract(j.value, '$[0]'), json_extract(j.value, '$[1]'), json_extract(j.value, '$[2]'), json_extract(j.value, '$[3]'),
 json_extract(j.value, '$[4]'), iif(json_extract(j.value, '$[4]') IS NULL, 'delete', 'update')
FROM json_each(?) j ORDER BY j.key`, l.quote(l.tables.Fields))
}

func changesJSON(rows []logRow) string {
	b := []byte{'['}
	for i := range rows {
		r := &rows[i]
		b = models.AppendString(append(comma(b), '['), r.id)
		b = models.AppendString(append(b, ','), string(r.action))
		b = models.AppendString(append(b, ','), string(r.move))
		b = appendScope(append(b, ','), r.scope)
		b = append(appendText(append(b, ','), r.data), ']')
	}
	return string(append(b, ']'))
}

func fieldsJSON(rows []logRow, version int64) string {
	b := []byte{'['}
	for i := range rows {
		r := &rows[i]
		for _, f := range r.fields {
			b = fmt.Appendf(append(comma(b), '['), "%d,", version+int64(i))
			b = models.AppendString(b, r.id)
			b = appendScope(append(b, ','), r.scope)
			b = models.AppendString(append(b, ','), f.name)
			b = append(appendText(append(b, ','), f.value), ']')
		}
	}
	if len(b) == 1 {
		return ""
	}
	return string(append(b, ']'))
}

func comma(b []byte) []byte {
	if len(b) == 1 {
		return b
	}
	return append(b, ',')
}

func appendScope(b []byte, s *string) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	return models.AppendString(b, *s)
}

// appendText appends a JSON text as a JSON string.
func appendText(b, v []byte) []byte {
	if v == nil {
		return append(b, "null"...)
	}
	return models.AppendString(b, string(v))
}

func text(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func orZero(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}
