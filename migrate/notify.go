package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// notifyTrigger is the trigger's name, as in rhtmx-sync.
const notifyTrigger = "notify_sync_change"

// UpNotify has PostgreSQL itself ring after every commit that wrote to the change
// log, for writers that are not gormsync: psql, other services. Without it their
// changes are found by polling. It needs the log tables, see Up, and may run again.
//
// It has a price: a transaction that notifies holds a lock of the whole cluster
// while it commits, so that with many writers commits go one by one.
func UpNotify(ctx context.Context, db *gorm.DB, prefix string) error {
	tables, err := onPostgres(db, prefix)
	if err != nil {
		return err
	}
	return notify(ctx, db, tables, func(function string) []string {
		return []string{
			"CREATE OR REPLACE FUNCTION " + function + "() RETURNS trigger LANGUAGE plpgsql AS " +
				literal("BEGIN PERFORM pg_notify("+literal(tables.Channel)+", ''); RETURN NULL; END"),
			fmt.Sprintf("DROP TRIGGER IF EXISTS %s ON %q", notifyTrigger, tables.Changes),
			fmt.Sprintf("CREATE TRIGGER %s AFTER INSERT ON %q FOR EACH STATEMENT EXECUTE FUNCTION %s()", notifyTrigger, tables.Changes, function),
		}
	})
}

// DownNotify removes what UpNotify made. It may run again, but not without the log
// tables: Down removes them and this with them.
func DownNotify(ctx context.Context, db *gorm.DB, prefix string) error {
	tables, err := onPostgres(db, prefix)
	if err != nil {
		return err
	}
	return notify(ctx, db, tables, func(function string) []string {
		return []string{
			fmt.Sprintf("DROP TRIGGER IF EXISTS %s ON %q", notifyTrigger, tables.Changes),
			"DROP FUNCTION IF EXISTS " + function + "()",
		}
	})
}

func onPostgres(db *gorm.DB, prefix string) (models.Tables, error) {
	if db.Name() != "postgres" {
		return models.Tables{}, errors.New("migrate: NOTIFY is PostgreSQL's; on SQLite every process sees the file change")
	}
	return tablesFor(prefix)
}

func notify(ctx context.Context, db *gorm.DB, tables models.Tables, steps func(function string) []string) error {
	return locked(ctx, db, tables, func(tx *gorm.DB) error {
		for _, sql := range steps(notifyFunction(tables)) {
			if err := tx.Exec(sql).Error; err != nil {
				return fmt.Errorf("migrate: the trigger that rings could not be changed; run migrate.Up with the same prefix first, and this as the owner of %s with the right to CREATE in its schema: %s: %w", tables.Changes, sql, err)
			}
		}
		return nil
	})
}

// notifyFunction is the function's name, quoted: one for each prefix.
func notifyFunction(tables models.Tables) string {
	return fmt.Sprintf("%q", tables.Channel+"_"+notifyTrigger)
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
