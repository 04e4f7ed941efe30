package trackers

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// writePostgres writes both logs in one trip. The ids are taken here, while the
// changed rows are locked. The text is the same for any number of rows.
func (l *Log) writePostgres(ctx context.Context, pool gorm.ConnPool, b *batch, rows []logRow) error {
	n := len(rows)
	ids, actions, moves := make([]string, n), make([]string, n), make([]string, n)
	scopes, data, fields := make([]*string, n), make([]*string, n), make([]*string, n)
	sql := l.changesSQL
	for i := range rows {
		r := &rows[i]
		ids[i], actions[i], moves[i], scopes[i], data[i] = r.id, string(r.action), string(r.move), r.scope, text(r.data)
		if len(r.fields) > 0 {
			fields[i] = text(fieldsJSON(r.fields))
			sql = l.bothSQL
		}
	}
	_, err := pool.ExecContext(ctx, sql, b.entity.Name, orNil(b.client), b.actor, b.at,
		l.array(ids), l.array(actions), l.array(moves), l.array(scopes), l.array(data), l.array(fields), b.edited, b.mutation)
	return err
}

// prepareSQL makes the texts of writePostgres. The ids come from a CTE, which is
// read once although two INSERTs use it. The fields of a change travel as one
// JSON object, because PostgreSQL opens that in one go: to find them in arrays by
// number it would walk the arrays again for each.
func (l *Log) prepareSQL() {
	const rows = `WITH r AS (SELECT nextval(%s) AS v, u.* FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[])
 AS u(entity_id, action, move, scope, data, fields))`
	const changes = `INSERT INTO %s (id, version, entity, entity_id, action, move, scope, data, client_id, actor, created_at, edited_at, mutation_id)
 SELECT v, v, $1::text, entity_id, action, move, scope, data, $2::text, $3::text, $4::timestamptz, $11::timestamptz, $12::text FROM r`
	const fields = `INSERT INTO %s (id, entity, entity_id, field, value, action, version, client_id, actor, timestamp, scope)
 SELECT (r.v << %d) + f.n - 1, $1::text, r.entity_id, f.key, nullif(f.value::text, 'null'),
 CASE f.value::text WHEN 'null' THEN 'delete' ELSE 'update' END, r.v, $2::text, $3::text, $11::timestamptz, r.scope
 FROM r CROSS JOIN LATERAL json_each(r.fields::json) WITH ORDINALITY AS f(key, value, n)`
	with := fmt.Sprintf(rows, literal(l.sequence))
	insert := fmt.Sprintf(changes, l.quote(l.tables.Changes))
	l.changesSQL = with + " " + insert
	l.bothSQL = with + ", c AS (" + insert + ") " + fmt.Sprintf(fields, l.quote(l.tables.Fields), models.FieldBits)
}

func fieldsJSON(fields []logField) []byte {
	b := make([]byte, 0, 64*len(fields))
	for i, f := range fields {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		b = append(models.AppendString(append(b, sep), f.name), ':')
		if f.value == nil {
			b = append(b, "null"...)
		} else {
			b = append(b, f.value...)
		}
	}
	return append(b, '}')
}
