package migrate

import (
	"context"
	"fmt"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/models"
)

// origin moves the rows of tables that rhtmx-sync made into tables of ours. The
// old tables are put aside under other names, and dropped at the end of the same
// transaction.
//
// There versions were counted for each entity and each log, and may be doubled.
// Here a version is the id of a change. So all rows are numbered anew: those of an
// entity in the order of their versions, the rest by time, and all of them above
// every number that a client of rhtmx-sync may still hold. The field log stood
// alone there, so each of its rows gets a change of its own: an update, without
// data, since nobody knows the whole row at that time.
type origin struct {
	tx     *gorm.DB
	tables models.Tables
	// changes and fields are where the rows are now; empty if rhtmx-sync did not
	// make that table.
	changes, fields string
	// What the catalog says before anything is changed: Plan runs nothing.
	aside, grants, dead []string
}

// functions are those that rhtmx-sync's triggers call.
var functions = []string{"notify_sync_change", "notify_field_sync_change"}

// findOrigin looks for tables of rhtmx-sync: they have no column for the transaction.
// It reads the catalog alone.
func findOrigin(tx *gorm.DB, tables models.Tables) (*origin, error) {
	o := &origin{tx: tx, tables: tables}
	for _, t := range []struct {
		name string
		is   *string
	}{{tables.Changes, &o.changes}, {tables.Fields, &o.fields}} {
		columns, err := columnsOf(tx, t.name)
		if err != nil {
			return nil, err
		}
		if columns["version"] && !columns["tx"] && !columns["actor"] { // ours has both, were one dropped
			*t.is = t.name + "_old"
			if err := o.lookAt(t.name, *t.is); err != nil {
				return nil, err
			}
		}
	}
	return o, o.lookForFunctions()
}

// FromRhtmxSync tells whether the log tables are those of rhtmx-sync, which Up takes
// over.
func FromRhtmxSync(ctx context.Context, db *gorm.DB, prefix string) (bool, error) {
	tables, err := tablesFor(prefix)
	if err != nil {
		return false, err
	}
	o, err := findOrigin(db.Session(&gorm.Session{NewDB: true, Context: ctx}), tables)
	return err == nil && o.found(), err
}

func (o *origin) found() bool { return o.changes != "" || o.fields != "" }

// columnsOf gives the columns of a table; none if there is no such table.
func columnsOf(tx *gorm.DB, table string) (map[string]bool, error) {
	query := "SELECT name FROM pragma_table_info(?)"
	if tx.Name() != sqlite {
		query = "SELECT attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ? AND a.attnum > 0 AND NOT a.attisdropped"
	}
	var names []string
	if err := tx.Raw(query, table).Scan(&names).Error; err != nil {
		return nil, fmt.Errorf("migrate: looking at the table %s: %w", table, err)
	}
	columns := make(map[string]bool, len(names))
	for _, n := range names {
		columns[n] = true
	}
	return columns, nil
}

// lookAt finds out how to put a table aside. On PostgreSQL its indexes and its
// sequence get other names too, so that the new ones have the names that they
// always have, and whoever had rights on it gets them on the new one.
func (o *origin) lookAt(table, aside string) error {
	o.aside = append(o.aside, fmt.Sprintf("ALTER TABLE %s RENAME TO %s", o.quote(table), o.quote(aside)))
	if o.tx.Name() == sqlite {
		return nil
	}
	var names []string
	err := o.tx.Raw(`SELECT format('ALTER %s %I RENAME TO %I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'INDEX' END, c.relname, 'old_' || c.relname)
FROM pg_class c WHERE c.oid = ANY (SELECT indexrelid FROM pg_index WHERE indrelid = to_regclass(?) UNION SELECT pg_get_serial_sequence(?, 'id')::regclass) ORDER BY 1`,
		o.quote(table), o.quote(table)).Scan(&names).Error
	if err != nil {
		return fmt.Errorf("migrate: looking at the indexes of %s: %w", table, err)
	}
	o.aside = append(o.aside, names...)
	var grants []string
	err = o.tx.Raw(`SELECT format('GRANT %s ON %I TO %s', a.privilege_type, c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a WHERE c.oid = to_regclass(?) AND a.grantee <> c.relowner
UNION ALL SELECT format('GRANT %s ON SEQUENCE %I TO %s', a.privilege_type, c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a WHERE c.oid = pg_get_serial_sequence(?, 'id')::regclass AND a.grantee <> c.relowner AND ? ORDER BY 1`,
		o.quote(table), o.quote(table), table == o.tables.Changes).Scan(&grants).Error // our field log has no sequence
	if err != nil {
		return fmt.Errorf("migrate: looking at the rights on %s: %w", table, err)
	}
	o.grants = append(o.grants, grants...)
	return nil
}

// lookForFunctions finds rhtmx-sync's trigger functions that no other table uses.
func (o *origin) lookForFunctions() error {
	if o.tx.Name() == sqlite || !o.found() {
		return nil
	}
	err := o.tx.Raw(`SELECT format('DROP FUNCTION %I()', p.proname) FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace AND p.proname IN ? AND p.pronargs = 0
AND NOT EXISTS (SELECT 1 FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE t.tgfoid = p.oid AND c.relname NOT IN ?) ORDER BY 1`,
		functions, []string{o.tables.Changes, o.tables.Fields}).Scan(&o.dead).Error
	if err != nil {
		return fmt.Errorf("migrate: looking for the functions of rhtmx-sync: %w", err)
	}
	return nil
}

// putAside gives the old tables other names.
func (o *origin) putAside() error { return o.exec(o.aside) }

// move fills the new tables and removes the old ones.
func (o *origin) move() error {
	steps := o.numbering()
	if o.changes != "" {
		steps = append(steps, o.moveChanges())
	}
	if o.fields != "" {
		steps = append(steps, o.moveFieldsChanges(), o.moveFields())
	}
	steps = append(steps, "DROP TABLE "+o.numbers())
	if o.tx.Name() != sqlite {
		steps = append(steps, fmt.Sprintf("SELECT setval(pg_get_serial_sequence('%s', 'id'), greatest(max(id), 1), count(*) > 0) FROM %[1]s", o.quote(o.tables.Changes)))
		steps = append(steps, o.grants...)
	}
	for _, table := range []string{o.changes, o.fields} {
		if table != "" {
			steps = append(steps, "DROP TABLE "+o.quote(table))
		}
	}
	if err := o.exec(append(steps, o.dead...)); err != nil {
		return fmt.Errorf("%w (nothing was changed)", err)
	}
	return nil
}

// numbers is the name of the table that holds the new number of every old row.
func (o *origin) numbers() string { return o.quote(o.tables.Changes + "_numbers") }

// numbering numbers all rows. The rows of an entity have places among the ids;
// they take them in the order of their versions. The latest time up to a place is
// in the order of places, so it can sort both logs into one.
func (o *origin) numbering() []string {
	const places = `SELECT '%[1]s' AS log, v.id AS old, p.id AS place, p.at FROM
 (SELECT id, entity, row_number() OVER (PARTITION BY entity ORDER BY version, id) AS n FROM %[2]s) v JOIN
 (SELECT id, entity, row_number() OVER (PARTITION BY entity ORDER BY id) AS n, max(%[3]s) OVER (ORDER BY id) AS at FROM %[2]s) p
 ON p.entity = v.entity AND p.n = v.n`
	const highest = "SELECT max(id) AS h FROM %[1]s UNION ALL SELECT max(version) FROM %[1]s"
	var rows, above []string
	if o.changes != "" {
		rows = append(rows, fmt.Sprintf(places, "changes", o.quote(o.changes), o.time("created_at")))
		above = append(above, fmt.Sprintf(highest, o.quote(o.changes)))
	}
	if o.fields != "" {
		rows = append(rows, fmt.Sprintf(places, "fields", o.quote(o.fields), o.time("timestamp")))
		above = append(above, fmt.Sprintf(highest, o.quote(o.fields)))
	}
	return []string{fmt.Sprintf(`CREATE TABLE %s AS SELECT log, old, (SELECT coalesce(max(h), 0) FROM (%s) x) + row_number() OVER (ORDER BY at, log, place) AS id FROM (%s) r`,
		o.numbers(), strings.Join(above, " UNION ALL "), strings.Join(rows, " UNION ALL "))}
}

// transaction: on SQLite each row is one of its own; on PostgreSQL all are of
// number 0, which no transaction has, and so come before all others.
func (o *origin) transaction() string {
	if o.tx.Name() == sqlite {
		return "n.id"
	}
	return "0"
}

// An action that is none of the three was an update to rhtmx-sync.
func (o *origin) moveChanges() string {
	return fmt.Sprintf(`INSERT INTO %s (id, entity, entity_id, action, data, version, client_id, actor, mutation_id, created_at, edited_at, tx, move)
SELECT n.id, o.entity, o.entity_id, CASE WHEN o.action IN ('create', 'delete') THEN o.action ELSE 'update' END,
 CASE WHEN o.action = 'delete' THEN NULL ELSE %s END, n.id, o.client_id, '', '', %s, %[3]s, %s, '' FROM %s o JOIN %s n ON n.log = 'changes' AND n.old = o.id ORDER BY n.id`,
		o.quote(o.tables.Changes), o.json("o.data"), o.time("o.created_at"), o.transaction(), o.quote(o.changes), o.numbers())
}

func (o *origin) moveFieldsChanges() string {
	return fmt.Sprintf(`INSERT INTO %s (id, entity, entity_id, action, data, version, client_id, actor, mutation_id, created_at, edited_at, tx, move)
SELECT n.id, o.entity, o.entity_id, 'update', NULL, n.id, o.client_id, '', '', %s, %[2]s, %s, '' FROM %s o JOIN %s n ON n.log = 'fields' AND n.old = o.id ORDER BY n.id`,
		o.quote(o.tables.Changes), o.time("o.timestamp"), o.transaction(), o.quote(o.fields), o.numbers())
}

// A field that is NULL was deleted, as in the log of ours.
func (o *origin) moveFields() string {
	return fmt.Sprintf(`INSERT INTO %s (id, entity, entity_id, field, value, action, version, client_id, actor, timestamp, tx)
SELECT n.id << %d, f.entity, f.entity_id, f.field, f.json, CASE WHEN f.json IS NULL THEN 'delete' ELSE 'update' END, n.id, f.client_id, '', %s, %s
FROM (SELECT o.*, CASE WHEN o.action = 'delete' OR %s THEN NULL ELSE %s END AS json FROM %s o) f JOIN %s n ON n.log = 'fields' AND n.old = f.id ORDER BY n.id`,
		o.quote(o.tables.Fields), models.FieldBits, o.time("f.timestamp"), o.transaction(), o.isNull("o.value"), o.json("o.value"), o.quote(o.fields), o.numbers())
}

// isNull tells of a column with JSON whether it is JSON's null, however spelled.
func (o *origin) isNull(column string) string {
	if o.tx.Name() == sqlite {
		return "json_type(" + column + ") = 'null'"
	}
	return "json_typeof(" + column + "::json) = 'null'"
}

// json is the text of a column, which must be JSON: anything else fails.
func (o *origin) json(column string) string {
	if o.tx.Name() == sqlite {
		return fmt.Sprintf("CASE WHEN json_valid(%[1]s) THEN %[1]s ELSE json(%[1]s) END", column)
	}
	return column + "::json::text"
}

// time is a column of rhtmx-sync, which kept UTC without saying so. SQLite gets
// the form in which Go's driver writes times, as it is compared as text.
func (o *origin) time(column string) string {
	if o.tx.Name() != sqlite {
		return column + " AT TIME ZONE 'UTC'"
	}
	zoned := fmt.Sprintf("length(%[1]s) > 19 AND substr(%[1]s, -6, 1) IN ('+', '-')", column)
	zone := fmt.Sprintf("CASE WHEN %s THEN substr(%s, -6) ELSE '' END", zoned, column)
	fraction := fmt.Sprintf("rtrim(substr(%[1]s, 20, length(%[1]s) - 19 - length(%[2]s)), 'Z')", column, zone)
	return fmt.Sprintf("coalesce(strftime('%%Y-%%m-%%d %%H:%%M:%%S', substr(%[1]s, 1, 19) || %[2]s) || %[3]s || '+00:00', '1970-01-01 00:00:00+00:00')", column, zone, fraction)
}

func (o *origin) exec(steps []string) error {
	for _, sql := range steps {
		if err := o.tx.Exec(sql).Error; err != nil {
			return fmt.Errorf("migrate: taking over the tables of rhtmx-sync: %s: %w", sql, err)
		}
	}
	return nil
}

func (o *origin) quote(name string) string {
	s := &gorm.Statement{DB: o.tx}
	return s.Quote(clause.Table{Name: name})
}
