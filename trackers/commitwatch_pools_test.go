package trackers_test

import (
	"database/sql"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// What the watch cannot see is logged all the same; the poll finds it.
func TestCommitWatchUnseen(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := newWatched(t, d, gorm.Config{})
		require.NoError(t, f.db.Connection(func(c *gorm.DB) error {
			return c.Transaction(func(tx *gorm.DB) error { return tx.Create(&place{Code: "a"}).Error })
		}))
		require.Equal(t, []string{placeLine("a")}, f.take(t))

		pool, err := f.db.DB()
		require.NoError(t, err)
		foreign, err := pool.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		own := f.db.Session(&gorm.Session{NewDB: true, Context: t.Context()})
		own.Statement.ConnPool = foreign
		require.NoError(t, own.Create(&place{Code: "b"}).Error)
		require.NoError(t, own.Model(&place{Code: "b"}).Update("name", "B").Error)
		require.NoError(t, foreign.Commit())
		require.Equal(t, []string{placeLine("b"), `places update b {"code":"b","name":"B"} | name`}, f.take(t))

		foreign, err = pool.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		own.Statement.ConnPool = foreign
		require.NoError(t, own.Create(&place{Code: "c"}).Error)
		require.NoError(t, foreign.Rollback())
		require.Empty(t, f.take(t))
	})
}

// Handles that were made before gormsync came are recorded as well.
func TestCommitWatchOldHandles(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, db.AutoMigrate(&place{}))
		session, withContext := db.Session(&gorm.Session{}), db.WithContext(t.Context())
		prepared := db.Session(&gorm.Session{PrepareStmt: true})
		f := attach(t, d, db, trackers.Config{Entities: []trackers.Entity{{Model: &place{}, FieldLog: true}}})
		for i, old := range []*gorm.DB{session, withContext, prepared} {
			code := fmt.Sprint(i)
			require.NoError(t, old.Create(&place{Code: code}).Error)
			require.NoError(t, old.Transaction(func(tx *gorm.DB) error { return tx.Delete(&place{Code: code}).Error }))
			require.Equal(t, []string{placeLine(code), "places delete " + code + " null | -name"}, f.take(t))
		}
	})
}

// Code that asks for a *sql.DB or a *sql.Tx gets it.
func TestCommitWatchAssertions(t *testing.T) {
	t.Parallel()
	eachMode(t, func(m mode) {
		t, d, cfg := m.t, m.d, m.cfg
		f := newWatched(t, d, cfg)
		pool, err := f.db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.PingContext(t.Context()))
		_, ok := trackers.SQLTx(f.db)
		require.False(t, ok, "outside a transaction")
		require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error {
			inside, err := tx.DB()
			require.NoError(t, err)
			require.Same(t, pool, inside)
			raw, ok := trackers.SQLTx(tx)
			require.True(t, ok)
			_, err = raw.ExecContext(t.Context(), "INSERT INTO prices (label) VALUES ('raw')")
			require.NoError(t, err)
			_, ok = trackers.SQLTx(tx.Session(&gorm.Session{PrepareStmt: true}))
			require.True(t, ok)
			_, ok = tx.Statement.ConnPool.(gorm.TxCommitter)
			require.True(t, ok)
			return tx.AutoMigrate(&item{})
		}))
		var n int64
		require.NoError(t, f.db.Model(&price{}).Where("label = 'raw'").Count(&n).Error)
		require.EqualValues(t, 1, n)
		types, err := f.db.Migrator().ColumnTypes(&place{})
		require.NoError(t, err)
		require.Len(t, types, 2)
		rows, err := f.db.Model(&place{}).Rows()
		require.NoError(t, err)
		require.True(t, rows.Next())
		require.NoError(t, rows.Close())
		require.NoError(t, rows.Err())
	})
}

// NoWrap leaves the ConnPool alone: no bells, but the log is written.
func TestCommitWatchNoWrap(t *testing.T) {
	t.Parallel()
	eachMode(t, func(m mode) {
		t, d, cfg := m.t, m.d, m.cfg
		db := d.Open(t, &cfg)
		require.NoError(t, db.AutoMigrate(&place{}))
		f := attach(t, d, db, trackers.Config{Entities: []trackers.Entity{{Model: &place{}, FieldLog: true}}, NoWrap: true})
		if prepared, ok := db.ConnPool.(*gorm.PreparedStmtDB); ok {
			require.IsType(t, &sql.DB{}, prepared.ConnPool)
		} else {
			require.IsType(t, &sql.DB{}, db.ConnPool)
		}
		require.NoError(t, db.Create(&place{Code: "a"}).Error)
		require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
			raw, ok := trackers.SQLTx(tx)
			require.True(t, ok)
			require.NotNil(t, raw)
			require.Error(t, tx.Transaction(func(tx *gorm.DB) error {
				require.NoError(t, tx.Create(&place{Code: "b"}).Error)
				return errStop
			}))
			require.NoError(t, tx.Model(&place{Code: "a"}).Update("name", "A").Error)
			return tx.Create(&place{Code: "c"}).Error
		}))
		require.NoError(t, db.Session(&gorm.Session{SkipDefaultTransaction: true}).Delete(&place{Code: "c"}).Error)
		require.Equal(t, []string{placeLine("a"), `places update a {"code":"a","name":"A"} | name`, placeLine("c"), "places delete c null | -name"}, f.take(t))
		require.Zero(t, f.rings.Load())
	})
}
