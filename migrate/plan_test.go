package migrate_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
)

// TestPlan: to run what Plan shows does what Up does, and to plan does nothing.
func TestPlan(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*testing.T, *gorm.DB){
		"empty database": func(*testing.T, *gorm.DB) {},
		"rhtmx-sync": func(t *testing.T, db *gorm.DB) {
			t.Helper()
			makeOrigin(t, db)
			random := rand.New(rand.NewPCG(1, 2))
			fillOrigin(t, db, "_rhtmx_sync_log", originLog(random, false)[:100])
			fillOrigin(t, db, "_rhtmx_field_sync_log", originLog(random, true)[:100])
		},
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				db := d.Open(t)
				begin(t, db)
				var before []string
				if name != "empty database" {
					before = catalog(t, db)
				}
				plan, err := migrate.Plan(t.Context(), db, "")
				require.NoError(t, err)
				require.NotEmpty(t, plan)
				if before != nil {
					require.Equal(t, before, catalog(t, db), "Plan changed something")
				}
				again, err := migrate.Plan(t.Context(), db, "")
				require.NoError(t, err)
				require.Len(t, again, len(plan))

				require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
					for _, sql := range plan {
						require.False(t, strings.HasSuffix(sql, ";"))
						require.NoError(t, tx.Exec(sql, pgxSimple(db)...).Error, sql)
					}
					return nil
				}))
				other := dbtestLike(t, d).Open(t)
				begin(t, other)
				require.NoError(t, migrate.Up(t.Context(), other, ""))
				require.Equal(t, catalog(t, other), catalog(t, db))
				got, want := contents(t, db), contents(t, other)
				meta := models.TablesFor("").Meta
				require.Len(t, got[meta], len(want[meta]))
				delete(got, meta) // the epochs differ
				delete(want, meta)
				require.Equal(t, want, got)
				none, err := migrate.Plan(t.Context(), db, "")
				require.NoError(t, err)
				require.Empty(t, none)
			})
		})
	}
}
