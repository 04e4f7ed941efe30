package migrate

import (
	"fmt"

	"github.com/rhtmx/gormsync/models"
)

// sqlite and postgres are GORM's names of the dialects.
const (
	sqlite   = "sqlite"
	postgres = "postgres"
)

// beyond lists what AutoMigrate cannot say: the indexes, whose names depend on
// the prefix, and PostgreSQL's default for the transaction column. The field log
// needs no index: its rows are found by the change they belong to. Every
// statement may run again.
func beyond(dialect string, t models.Tables) []string {
	if dialect == sqlite {
		// A SQLite index holds the row id, which is the log id, at its end; and
		// the feed reads from an id onwards, which needs no index.
		return []string{
			index(t.Changes, "row", "entity, entity_id", ""),
			index(t.Mutations, "age", "created_at", ""),
		}
	}
	return []string{
		txDefault(t.Changes),
		txDefault(t.Fields),
		index(t.Changes, "feed", "entity, tx, id", ""),
		index(t.Changes, "scope", "entity, scope, tx, id", "scope IS NOT NULL"),
		index(t.Changes, "tx", "tx, id", ""),
		index(t.Changes, "row", "entity, entity_id, id", ""),
		index(t.Mutations, "age", "created_at", ""),
	}
}

// txDefault lets writers that are not gormsync leave the column out.
func txDefault(table string) string {
	return fmt.Sprintf(`ALTER TABLE %q ALTER COLUMN tx SET DEFAULT (pg_current_xact_id()::text::bigint)`, table)
}

func index(table, name, columns, where string) string {
	sql := fmt.Sprintf(`CREATE INDEX IF NOT EXISTS %q ON %q (%s)`, table+"_"+name, table, columns)
	if where != "" {
		sql += " WHERE " + where
	}
	return sql
}
