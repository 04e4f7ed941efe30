package migrate_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
)

// TestUpgrade: tables of each earlier version become those of the present one, and
// keep their rows and their epoch.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	for v := 1; v < migrate.SchemaVersion; v++ {
		t.Run(fmt.Sprint("from version ", v), func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				db := d.Open(t)
				script, err := os.ReadFile(fmt.Sprintf("testdata/v%d_%s.sql", v, d.Dialect))
				require.NoError(t, err)
				require.NoError(t, db.Exec(string(script), pgxSimple(db)...).Error)
				got, err := migrate.Version(t.Context(), db, "")
				require.NoError(t, err)
				require.Equal(t, v, got)
				require.NoError(t, db.Exec(`INSERT INTO _rhtmx_sync_log (entity, entity_id, action, version, created_at, edited_at) VALUES ('todos', '1', 'delete', 1, '2026-01-02 03:04:05+00:00', '2026-01-02 03:04:05+00:00')`).Error)
				if v >= 2 {
					require.NoError(t, db.Exec(`INSERT INTO _rhtmx_sync_mutation (actor, client_id, mutation_id, request, entity, status, created_at) VALUES ('a', 'c', 'm', 'r', 'todos', 'conflict', '2026-01-02 03:04:05+00:00')`).Error)
				}
				before := contents(t, db)

				require.NoError(t, migrate.Up(t.Context(), db, ""))
				got, err = migrate.Version(t.Context(), db, "")
				require.NoError(t, err)
				require.Equal(t, migrate.SchemaVersion, got)
				after := contents(t, db)
				tables := models.TablesFor("")
				require.Equal(t, before[tables.Changes], after[tables.Changes])
				require.Equal(t, "THEEPOCHOFVERSIONONE", epoch(t, db, tables))
				if v >= 2 {
					var kept models.Mutation
					require.NoError(t, db.Table(tables.Mutations).Take(&kept).Error)
					require.Equal(t, []any{"m", models.PushConflict, models.JSON(nil)}, []any{kept.MutationID, kept.Status, kept.Conflicts})
				}
				fresh := dbtestLike(t, d).Open(t)
				require.NoError(t, migrate.Up(t.Context(), fresh, ""))
				require.Equal(t, catalog(t, fresh), catalog(t, db))
			})
		})
	}
}
