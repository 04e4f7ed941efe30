package migrate

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rhtmx/gormsync/models"
)

// mostVersions is the highest number that an upgrade gives out: half of those that
// there are, see models.FieldBits.
const mostVersions = 1 << (53 - models.FieldBits - 1)

// check reads the old rows before anything is changed, and names the first that
// cannot be taken over.
func (o *origin) check() error {
	for _, t := range []struct{ is, name, column string }{{o.changes, o.tables.Changes, "data"}, {o.fields, o.tables.Fields, "value"}} {
		if t.is == "" {
			continue
		}
		err := o.checkNumbers(t.name)
		if err == nil {
			err = o.checkJSON(t.name, t.column)
		}
		if err != nil {
			return fmt.Errorf("migrate: taking over the tables of rhtmx-sync: %w (nothing was changed)", err)
		}
	}
	return nil
}

func (o *origin) checkNumbers(table string) error {
	var n struct{ Rows, ID, Version int64 }
	sql := "SELECT count(*) AS rows, coalesce(max(id), 0) AS id, coalesce(max(version), 0) AS version FROM " + o.quote(table)
	if err := o.tx.Raw(sql).Scan(&n).Error; err != nil {
		return fmt.Errorf("reading %s: %w", table, err)
	}
	if highest := max(n.ID, n.Version); highest > mostVersions-n.Rows {
		return fmt.Errorf("the highest number in %s is %d, and the new ones go on behind it: beyond %d they do not fit into the integers of JSON; "+
			"lower the ids and versions of its rows first (only the order of the versions within an entity counts)", table, highest, int64(mostVersions))
	}
	return nil
}

func (o *origin) checkJSON(table, column string) (err error) {
	rows, err := o.tx.Raw(fmt.Sprintf("SELECT id, entity, entity_id, %[1]s FROM %[2]s WHERE %[1]s IS NOT NULL AND action <> 'delete' ORDER BY id", column, o.quote(table))).Rows()
	if err != nil {
		return fmt.Errorf("reading %s: %w", table, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id int64
		var entity, key string
		var text []byte
		if err := rows.Scan(&id, &entity, &key, &text); err != nil {
			return fmt.Errorf("reading %s: %w", table, err)
		}
		if !json.Valid(text) {
			return fmt.Errorf("the row with id %d of %s (%s %s) has no JSON in its column %s: %.100q; mend it or remove the row", id, table, entity, key, column, text)
		}
	}
	return rows.Err()
}
