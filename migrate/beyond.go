package migrate

import (
	"fmt"
	"strings"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// sqlite and postgres are GORM's names of the dialects.
const (
	sqlite   = "sqlite"
	postgres = "postgres"
)

// beyond lists what AutoMigrate cannot say: the indexes, whose names depend on
// the prefix, and PostgreSQL's default for the transaction column. The field log
// needs no index: its rows are found by the change they belong to.
func beyond(dialect string, t models.Tables) []addition {
	if dialect == sqlite {
		// A SQLite index holds the row id, which is the log id, at its end; and
		// the feed reads from an id onwards, which needs no index.
		return []addition{
			index(dialect, t.Changes, "row", "entity, entity_id", ""),
			index(dialect, t.Mutations, "age", "created_at", ""),
		}
	}
	return []addition{
		txDefault(t.Changes),
		txDefault(t.Fields),
		index(dialect, t.Changes, "feed", "entity, tx, id", ""),
		index(dialect, t.Changes, "scope", "entity, scope, tx, id", "scope IS NOT NULL"),
		index(dialect, t.Changes, "tx", "tx, id", ""),
		index(dialect, t.Changes, "row", "entity, entity_id, id", ""),
		index(dialect, t.Mutations, "age", "created_at", ""),
	}
}

// addition is one statement, and the condition that tells whether it was run before.
type addition struct{ sql, there string }

// missing gives the statements that are to be run. A table that is only planned
// has nothing of it.
func missing(tx *gorm.DB, t models.Tables) (statements []string, err error) {
	all := beyond(tx.Name(), t)
	queries := make([]string, len(all))
	for i, a := range all {
		queries[i] = fmt.Sprintf("SELECT %d AS n WHERE NOT %s", i, a.there)
	}
	var places []int
	if err := tx.Raw(strings.Join(queries, " UNION ALL ") + " ORDER BY n").Scan(&places).Error; err != nil {
		return nil, fmt.Errorf("migrate: looking at the indexes of %s: %w", t.Changes, err)
	}
	for _, i := range places {
		statements = append(statements, all[i].sql)
	}
	return statements, nil
}

// txDefault lets writers that are not gormsync leave the column out.
func txDefault(table string) addition {
	return addition{
		fmt.Sprintf(`ALTER TABLE %q ALTER COLUMN tx SET DEFAULT (pg_current_xact_id()::text::bigint)`, table),
		"EXISTS (SELECT 1 FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attname = 'tx' AND a.attrelid = to_regclass(" +
			literal(quoted(table)) + ") AND pg_get_expr(d.adbin, d.adrelid) LIKE '%pg_current_xact_id%')",
	}
}

func index(dialect, table, name, columns, where string) addition {
	a := addition{
		fmt.Sprintf(`CREATE INDEX IF NOT EXISTS %q ON %q (%s)`, table+"_"+name, table, columns),
		"EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(" + literal(quoted(table+"_"+name)) + ") AND indrelid = to_regclass(" + literal(quoted(table)) + "))",
	}
	if dialect == sqlite {
		a.there = "EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = " + literal(table+"_"+name) + " AND tbl_name = " + literal(table) + ")"
	}
	if where != "" {
		a.sql += " WHERE " + where
	}
	return a
}
