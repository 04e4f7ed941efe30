package migrate_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func epoch(t *testing.T, db *gorm.DB, tables models.Tables) string {
	t.Helper()
	var m models.Meta
	require.NoError(t, db.Table(tables.Meta).Where("key = ?", models.MetaEpoch).Take(&m).Error)
	return m.Value
}

func TestUpAndDown(t *testing.T) {
	for _, prefix := range []string{"", "Odd_"} {
		dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
			db, tables := d.Open(t), models.TablesFor(prefix)
			v, err := migrate.Version(t.Context(), db, prefix)
			require.NoError(t, err)
			require.Zero(t, v)
			require.NoError(t, migrate.Up(t.Context(), db, prefix))
			first := epoch(t, db, tables)
			require.NoError(t, migrate.Up(t.Context(), db, prefix))
			require.Equal(t, first, epoch(t, db, tables), "the second Up changed the epoch")
			v, err = migrate.Version(t.Context(), db, prefix)
			require.NoError(t, err)
			require.Equal(t, migrate.SchemaVersion, v)

			require.NoError(t, db.Table(tables.Changes).Create(&models.Change{Entity: "todos", EntityID: "1", Action: models.Create}).Error)
			require.NoError(t, migrate.Down(t.Context(), db, prefix))
			require.NoError(t, migrate.Down(t.Context(), db, prefix))
			for _, table := range []string{tables.Changes, tables.Fields, tables.Meta, tables.Mutations} {
				require.False(t, db.Migrator().HasTable(table), table)
			}
			require.NoError(t, migrate.Up(t.Context(), db, prefix))
			require.NotEqual(t, first, epoch(t, db, tables), "the cursors of the removed log are still good")
		})
	}
}

// Each pool has connections of its own, as each process would.
func TestUpFromManyAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		var all sync.WaitGroup
		begin := make(chan struct{})
		errs := make(chan error, 8)
		for range 8 {
			db := d.Open(t)
			all.Go(func() {
				<-begin
				errs <- migrate.Up(context.Background(), db, "")
			})
		}
		close(begin)
		all.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		var facts int64
		require.NoError(t, d.Open(t).Table(models.TablesFor("").Meta).Count(&facts).Error)
		require.EqualValues(t, 2, facts)
	})
}

func TestUpRefusesLaterVersions(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, migrate.Up(t.Context(), db, ""))
		set := func(v string) {
			require.NoError(t, db.Save(&models.Meta{Key: models.MetaSchema, Value: v}).Error)
		}
		set("99")
		require.ErrorContains(t, migrate.Up(t.Context(), db, ""), "use a newer gormsync")
		set("one")
		require.ErrorContains(t, migrate.Up(t.Context(), db, ""), "which is no number")
	})
}

// Version 1 had no mutations. Its log stays, and its cursors stay good.
func TestUpFromVersion1(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db, tables := d.Open(t), models.TablesFor("")
		require.NoError(t, migrate.Up(t.Context(), db, ""))
		first := epoch(t, db, tables)
		require.NoError(t, db.Create(&models.Change{Entity: "todos", EntityID: "1", Action: models.Create}).Error)
		require.NoError(t, db.Migrator().DropTable(tables.Mutations))
		require.NoError(t, db.Save(&models.Meta{Key: models.MetaSchema, Value: "1"}).Error)

		require.NoError(t, migrate.Up(t.Context(), db, ""))
		require.True(t, db.Migrator().HasTable(tables.Mutations))
		require.Equal(t, first, epoch(t, db, tables))
		v, err := migrate.Version(t.Context(), db, "")
		require.NoError(t, err)
		require.Equal(t, migrate.SchemaVersion, v)
		var changes int64
		require.NoError(t, db.Model(&models.Change{}).Count(&changes).Error)
		require.EqualValues(t, 1, changes)
	})
}

// The rule for prefixes is that of gormsync.New, before anything is done.
func TestPrefixesAreChecked(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		for _, prefix := range []string{"Odd-'", "app.", "1_", "a_prefix_of_more_than_30_characters_"} {
			_, err := migrate.Version(t.Context(), db, prefix)
			all := []error{err, migrate.Up(t.Context(), db, prefix), migrate.Down(t.Context(), db, prefix)}
			if d.Dialect == "postgres" {
				all = append(all, migrate.UpNotify(t.Context(), db, prefix), migrate.DownNotify(t.Context(), db, prefix))
			}
			for _, err := range all {
				require.ErrorContains(t, err, "the table prefix is")
				require.ErrorContains(t, err, "use up to 30 letters")
			}
		}
	})
}
