package migrate_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
)

// What somebody took away from tables of the present version is planned and put
// back, each alone; then there is nothing to do.
func TestUpMends(t *testing.T) {
	t.Parallel()
	damages := map[string]string{
		`DROP INDEX "_rhtmx_sync_log_row"`:                       `CREATE INDEX IF NOT EXISTS "_rhtmx_sync_log_row"`,
		`DROP TABLE "_rhtmx_sync_mutation"`:                      "CREATE TABLE",
		`DELETE FROM "_rhtmx_sync_meta" WHERE key = 'epoch'`:     "'epoch'",
		`ALTER TABLE "_rhtmx_sync_log" DROP COLUMN "scope"`:      "scope",
		`ALTER TABLE "_rhtmx_sync_log" DROP COLUMN "move"`:       "move",
		`ALTER TABLE "_rhtmx_sync_log" ALTER tx SET DEFAULT 0`:   "pg_current_xact_id",
		`ALTER TABLE "_rhtmx_field_sync_log" DROP COLUMN "tx"`:   "pg_current_xact_id",
		`ALTER TABLE "_rhtmx_sync_log" ALTER tx DROP DEFAULT`:    "pg_current_xact_id",
		`DROP INDEX "_rhtmx_sync_log_scope"`:                     `("entity", "scope", "tx", "id")`,
		`ALTER INDEX "_rhtmx_sync_log_feed" RENAME TO "another"`: "_rhtmx_sync_log_feed",
	}
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, migrate.Up(t.Context(), db, ""))
		require.NoError(t, db.Create(&models.Change{Entity: "todos", EntityID: "1", Action: models.Create}).Error)
		whole := catalog(t, db)
		for damage, want := range damages {
			if d.Dialect == "sqlite" && (strings.Contains(damage, "ALTER tx") || strings.Contains(damage, "RENAME") || strings.Contains(damage, "_scope") || strings.Contains(damage, "field")) {
				continue // PostgreSQL alone has these
			}
			require.NoError(t, db.Exec(damage).Error)
			due, err := migrate.Plan(t.Context(), db, "")
			require.NoError(t, err)
			require.NotEmpty(t, due, damage)
			require.Contains(t, strings.ReplaceAll(strings.Join(due, "; "), "(entity, scope, tx, id)", `("entity", "scope", "tx", "id")`), want)
			require.NoError(t, migrate.Up(t.Context(), db, ""))
			due, err = migrate.Plan(t.Context(), db, "")
			require.NoError(t, err)
			require.Empty(t, due, damage)
		}
		var n int64
		require.NoError(t, db.Model(&models.Change{}).Count(&n).Error)
		require.EqualValues(t, 1, n)
		if d.Dialect == "postgres" { // SQLite's keeps the order of the columns
			require.NoError(t, db.Exec("DROP INDEX another").Error)
			require.Equal(t, whole, catalog(t, db))
		}
	})
}
