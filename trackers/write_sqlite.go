package trackers

import (
	"context"
	"strconv"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// writeSQLite writes the change log, then the field log. SQLite has one writer,
// and the application's statement came first, so nobody else moves the counter.
func (l *Log) writeSQLite(ctx context.Context, pool gorm.ConnPool, b *batch, rows []logRow, t *watchedTx) error {
	sql, args := l.sqliteChanges(b, rows, t)
	res, err := pool.ExecContext(ctx, sql, args...)
	if err != nil {
		return err
	}
	last, err := res.LastInsertId()
	if err != nil {
		return err
	}
	version := last - int64(len(rows)) + 1
	tx := version
	if t != nil {
		tx = t.began(version)
	}
	for len(rows) > 0 {
		n, fields := 0, 0
		for n < len(rows) && (n == 0 || fields+len(rows[n].fields) <= 2*writeChunk) {
			fields += len(rows[n].fields)
			n++
		}
		if fields > 0 {
			sql, args := l.sqliteFields(b, rows[:n], version, tx)
			if _, err := pool.ExecContext(ctx, sql, args...); err != nil {
				return err
			}
		}
		version += int64(n)
		rows = rows[n:]
	}
	return nil
}

// sqliteChanges takes the ids from the table's own counter: AUTOINCREMENT never
// hands one out twice, also after the newest rows were pruned. What is the same
// for all rows is bound once.
func (l *Log) sqliteChanges(b *batch, rows []logRow, t *watchedTx) (string, []any) {
	sql := make([]byte, 0, 400+40*len(rows))
	sql = append(sql, "INSERT INTO "...)
	sql = append(sql, l.quote(l.tables.Changes)...)
	sql = append(sql, ` (id, version, tx, entity, client_id, actor, created_at, edited_at, mutation_id, entity_id, action, move, scope, data)
SELECT s.n + column1, s.n + column1, coalesce(?1, s.n + 1), ?2, ?3, ?4, ?5, ?6, ?7, column2, column3, column4, column5, column6
FROM (SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?8), 0) AS n) s, (VALUES `...)
	args := make([]any, 0, 8+3*len(rows))
	args = append(args, t.firstID(), b.entity.Name, orNil(b.client), b.actor, b.at, b.edited, b.mutation, l.tables.Changes)
	for i := range rows {
		r := &rows[i]
		if i > 0 {
			sql = append(sql, ',')
		}
		sql = strconv.AppendInt(append(sql, '('), int64(i+1), 10)
		sql, args = bindValue(sql, args, r.id)
		sql = append(sql, ",'"+r.action+"','"+models.Action(r.move)+"'"...)
		sql, args = bindText(sql, args, r.scope)
		sql, args = bindText(sql, args, text(r.data))
		sql = append(sql, ')')
	}
	return string(append(sql, ')')), args
}

func (l *Log) sqliteFields(b *batch, rows []logRow, version, tx int64) (string, []any) {
	sql := make([]byte, 0, 300+60*len(rows))
	sql = append(sql, "INSERT INTO "...)
	sql = append(sql, l.quote(l.tables.Fields)...)
	sql = append(sql, ` (id, version, tx, entity, client_id, actor, timestamp, entity_id, scope, field, value, action)
SELECT column1, column1 >> `...)
	sql = strconv.AppendInt(sql, models.FieldBits, 10)
	sql = append(sql, `, ?1, ?2, ?3, ?4, ?5, column2, column3, column4, column5, iif(column5 IS NULL, 'delete', 'update') FROM (VALUES `...)
	args := make([]any, 0, 5+8*len(rows))
	args = append(args, tx, b.entity.Name, orNil(b.client), b.actor, b.edited)
	for i := range rows {
		r := &rows[i]
		for j, f := range r.fields {
			if len(args) > 5 {
				sql = append(sql, ',')
			}
			sql = strconv.AppendInt(append(sql, '('), (version+int64(i))<<models.FieldBits|int64(j), 10)
			sql, args = bindValue(sql, args, r.id)
			sql, args = bindText(sql, args, r.scope)
			sql, args = bindValue(sql, args, f.name)
			sql, args = bindText(sql, args, text(f.value))
			sql = append(sql, ')')
		}
	}
	return string(append(sql, ')')), args
}

// bindValue takes the next number after the ones bound so far. It is not written
// out: SQLite keeps numbers that are in a list, and searches it for each.
func bindValue(sql []byte, args []any, v string) ([]byte, []any) {
	return append(sql, ",?"...), append(args, v)
}

func bindText(sql []byte, args []any, v *string) ([]byte, []any) {
	if v == nil {
		return append(sql, ",NULL"...), args
	}
	return bindValue(sql, args, *v)
}
