package trackers_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// refuse makes a log table refuse what has the word bad in a column.
func refuse(t *testing.T, f fixture, table, column string) {
	t.Helper()
	sql := []string{"CREATE TRIGGER refuse BEFORE INSERT ON " + table + " WHEN NEW." + column + " LIKE '%bad%' BEGIN SELECT RAISE(ABORT, 'the log says no'); END"}
	if f.log.Dialect() == "postgres" {
		sql = []string{
			"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the log says no'; END $$",
			"CREATE TRIGGER refuse BEFORE INSERT ON " + table + " FOR EACH ROW WHEN (NEW." + column + " LIKE '%bad%') EXECUTE FUNCTION refuse()",
		}
	}
	for _, s := range sql {
		require.NoError(t, f.plain.Exec(s).Error)
	}
}

// failures are the ways in which a log write can fail: the change log, the field log.
var failures = map[string]struct{ table, column string }{
	"change log": {"_rhtmx_sync_log", "entity_id"},
	"field log":  {"_rhtmx_field_sync_log", "value"},
}

// failure is one of them, in a subtest.
type failure struct {
	t *testing.T
	f fixture
}

func eachFailure(t *testing.T, fn func(failure)) {
	t.Helper()
	for name, where := range failures {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(m mode) {
				t, d, cfg := m.t, m.d, m.cfg
				f := setup(t, d, itemsAndPlaces, &cfg)
				refuse(t, f, where.table, where.column)
				fn(failure{t, f})
				require.NoError(t, f.db.Create(&place{Code: "after", Name: "after"}).Error, "the connection is good again")
			})
		})
	}
}

// bad is a row that neither log takes.
func bad() *place { return &place{Code: "bad", Name: "bad"} }

func requireRefused(t *testing.T, err error) {
	t.Helper()
	require.ErrorContains(t, err, "places")
	require.ErrorContains(t, err, "_rhtmx_")
	require.ErrorContains(t, err, "the log says no")
}

func codes(t *testing.T, db *gorm.DB) []string {
	t.Helper()
	var list []string
	require.NoError(t, db.Model(&place{}).Order("code").Pluck("code", &list).Error)
	return list
}

// A change that cannot be logged is not made.
func TestCaptureLogFails(t *testing.T) {
	t.Parallel()
	eachFailure(t, func(c failure) {
		t, f := c.t, c.f
		require.NoError(t, f.db.Create(&place{Code: "a"}).Error)
		f.take(t)
		rings := f.rings.Load()
		requireRefused(t, f.db.Create(bad()).Error)
		requireRefused(t, f.db.Create(&[]place{{Code: "b"}, *bad(), {Code: "c"}}).Error)
		requireRefused(t, f.db.Save(bad()).Error)
		requireRefused(t, f.db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&[]place{{Code: "a", Name: "x"}, *bad()}).Error)
		requireRefused(t, f.db.Model(&place{Code: "a"}).Updates(map[string]any{"code": "bad", "name": "bad"}).Error)
		requireRefused(t, f.db.Session(&gorm.Session{SkipDefaultTransaction: true}).Create(bad()).Error)
		requireRefused(t, f.db.Session(&gorm.Session{PrepareStmt: true}).Create(bad()).Error)
		require.Equal(t, []string{"a"}, codes(t, f.plain))
		require.Empty(t, f.take(t))
		require.Equal(t, rings, f.rings.Load())
	})
}

// Nor can a transaction that ignores the error be committed: SQLite, unlike
// PostgreSQL, would keep the change without its log.
func TestCaptureLogFailsInTransaction(t *testing.T) {
	t.Parallel()
	eachFailure(t, func(c failure) {
		t, f := c.t, c.f
		tx := f.db.Begin()
		require.NoError(t, tx.Create(&place{Code: "a"}).Error)
		requireRefused(t, tx.Session(&gorm.Session{}).Create(bad()).Error)
		require.Error(t, tx.Commit().Error)
		require.Empty(t, codes(t, f.plain))

		require.Error(t, f.db.Transaction(func(tx *gorm.DB) error {
			tx.Create(bad())
			return nil
		}))
		require.Error(t, f.db.Transaction(func(tx *gorm.DB) error {
			tx.SavePoint("kept")
			tx.Create(bad())
			tx.Exec("RELEASE SAVEPOINT kept") // the failure stays in the transaction
			return nil
		}))
		require.Error(t, f.db.Transaction(func(tx *gorm.DB) error {
			tx.Create(bad())
			tx.SavePoint("late")
			tx.RollbackTo("late")
			return nil
		}))
		require.Empty(t, codes(t, f.plain))
		require.Empty(t, f.take(t))
		require.Zero(t, f.rings.Load())
	})
}

// What is rolled back to a savepoint before the failure may be committed.
func TestCaptureLogFailsInSavepoint(t *testing.T) {
	t.Parallel()
	eachFailure(t, func(c failure) {
		t, f := c.t, c.f
		tx := f.db.Begin()
		require.NoError(t, tx.Create(&place{Code: "a"}).Error)
		require.NoError(t, tx.SavePoint("one").Error)
		requireRefused(t, tx.Session(&gorm.Session{}).Create(bad()).Error)
		require.NoError(t, tx.RollbackTo("one").Error)
		require.NoError(t, tx.Create(&place{Code: "b"}).Error)
		require.NoError(t, tx.Exec("SAVEPOINT two").Error)
		requireRefused(t, tx.Session(&gorm.Session{}).Create(bad()).Error)
		require.NoError(t, tx.Exec("ROLLBACK TO two").Error)
		require.NoError(t, tx.Commit().Error)

		require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error {
			requireRefused(t, tx.Transaction(func(tx *gorm.DB) error { return tx.Create(bad()).Error }))
			return tx.Create(&place{Code: "c"}).Error
		}))
		require.Equal(t, []string{"a", "b", "c"}, codes(t, f.plain))
		require.Equal(t, []string{placeLine("a"), placeLine("b"), placeLine("c")}, f.take(t))
		require.EqualValues(t, 2, f.rings.Load())
	})
}

// Without the log tables nothing can be changed any more.
func TestCaptureLogGone(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"_rhtmx_sync_log", "_rhtmx_field_sync_log"} {
		t.Run(table, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				f := setup(t, d, []trackers.Entity{{Model: &place{}, FieldLog: true}})
				f.unchecked()
				require.NoError(t, f.db.Create(&place{Code: "a"}).Error)
				require.NoError(t, f.plain.Exec("DROP TABLE "+table).Error)
				for _, err := range []error{
					f.db.Create(&place{Code: "b"}).Error, f.db.Model(&place{Code: "a"}).Update("name", "x").Error, f.db.Delete(&place{Code: "a"}).Error,
				} {
					require.ErrorContains(t, err, "places")
					require.ErrorContains(t, err, "_rhtmx_sync_log")
				}
				require.Equal(t, []string{"a"}, codes(t, f.plain))
			})
		})
	}
}
