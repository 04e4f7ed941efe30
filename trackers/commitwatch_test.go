package trackers_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

// writer makes rows that differ from all others.
type writer struct {
	t  *testing.T
	db *gorm.DB
	n  int
}

func (w *writer) create(db *gorm.DB) error {
	w.n++
	return db.Create(&place{Code: fmt.Sprintf("p%d", w.n)}).Error
}

// commit is a way to write, with the bells that it rings and the changes that it logs.
type commit struct {
	do             func(w *writer)
	rings, changes int
}

var commits = map[string]commit{
	"default transaction": {func(w *writer) { require.NoError(w.t, w.create(w.db)) }, 1, 1},
	"two rows": {func(w *writer) {
		require.NoError(w.t, w.db.Create(&[]place{{Code: "two-a"}, {Code: "two-b"}}).Error)
	}, 1, 2},
	"failed": {func(w *writer) {
		require.Error(w.t, w.db.Create(&[]place{{Code: "dup"}, {Code: "dup"}}).Error)
	}, 0, 0},
	"no row": {func(w *writer) { require.NoError(w.t, w.db.Delete(&place{Code: "none"}).Error) }, 0, 0},
	"nothing new": {func(w *writer) {
		require.NoError(w.t, w.db.Model(&place{Code: "there"}).Update("name", "").Error)
	}, 0, 0},
	"another table": {func(w *writer) { require.NoError(w.t, w.db.Create(&price{}).Error) }, 0, 0},
	"another table, tx": {func(w *writer) {
		require.NoError(w.t, w.db.Transaction(func(tx *gorm.DB) error { return tx.Create(&price{}).Error }))
	}, 0, 0},
	"SkipDefaultTransaction": {func(w *writer) {
		require.NoError(w.t, w.create(w.db.Session(&gorm.Session{SkipDefaultTransaction: true})))
	}, 1, 1},
	"SkipDefaultTransaction failed": {func(w *writer) {
		require.Error(w.t, w.db.Session(&gorm.Session{SkipDefaultTransaction: true}).Create(&[]place{{Code: "dup"}, {Code: "dup"}}).Error)
	}, 0, 0},
	"Transaction": {func(w *writer) {
		require.NoError(w.t, w.db.Transaction(func(tx *gorm.DB) error {
			require.NoError(w.t, w.create(tx))
			return w.create(tx)
		}))
	}, 1, 2},
	"Transaction rolled back": {func(w *writer) {
		require.ErrorIs(w.t, w.db.Transaction(func(tx *gorm.DB) error {
			require.NoError(w.t, w.create(tx))
			return errStop
		}), errStop)
	}, 0, 0},
	"panic": {func(w *writer) {
		require.Panics(w.t, func() {
			_ = w.db.Transaction(func(tx *gorm.DB) error {
				require.NoError(w.t, w.create(tx))
				panic("stop")
			})
		})
	}, 0, 0},
	"nested, an inner one rolled back": {func(w *writer) {
		require.NoError(w.t, w.db.Transaction(func(tx *gorm.DB) error {
			require.NoError(w.t, w.create(tx))
			require.ErrorIs(w.t, tx.Transaction(func(tx *gorm.DB) error {
				require.NoError(w.t, w.create(tx))
				return errStop
			}), errStop)
			return tx.Transaction(w.create)
		}))
	}, 1, 2},
	"only an inner one wrote": {func(w *writer) {
		require.NoError(w.t, w.db.Transaction(func(tx *gorm.DB) error { return tx.Transaction(w.create) }))
	}, 1, 1},
	"only an inner one wrote and was rolled back": {func(w *writer) {
		require.NoError(w.t, w.db.Transaction(func(tx *gorm.DB) error {
			require.Error(w.t, tx.Transaction(func(tx *gorm.DB) error {
				require.NoError(w.t, w.create(tx))
				return errStop
			}))
			return nil
		}))
	}, 0, 0},
	"Begin, Commit, Rollback": {func(w *writer) {
		tx := w.db.Begin()
		require.NoError(w.t, w.create(tx))
		require.NoError(w.t, tx.Commit().Error)
		require.ErrorIs(w.t, tx.Rollback().Error, sql.ErrTxDone)
	}, 1, 1},
	"Commit twice": {func(w *writer) {
		tx := w.db.Begin()
		require.NoError(w.t, w.create(tx))
		require.NoError(w.t, tx.Commit().Error)
		require.ErrorIs(w.t, tx.Commit().Error, sql.ErrTxDone)
	}, 1, 1},
	"Begin, Rollback": {func(w *writer) {
		tx := w.db.Begin()
		require.NoError(w.t, w.create(tx))
		require.NoError(w.t, tx.Rollback().Error)
	}, 0, 0},
	"SavePoint, RollbackTo": {func(w *writer) {
		tx := w.db.Begin()
		require.NoError(w.t, w.create(tx))
		for _, name := range []string{"a", "b"} {
			require.NoError(w.t, tx.SavePoint(name).Error)
			require.NoError(w.t, w.create(tx))
		}
		require.NoError(w.t, tx.RollbackTo("b").Error)
		require.NoError(w.t, tx.RollbackTo("a").Error)
		require.NoError(w.t, w.create(tx))
		require.NoError(w.t, tx.Exec("RELEASE SAVEPOINT a").Error)
		require.NoError(w.t, tx.Commit().Error)
	}, 1, 2},
	"all rolled back to a savepoint": {func(w *writer) {
		tx := w.db.Begin()
		require.NoError(w.t, tx.SavePoint("a").Error)
		require.NoError(w.t, w.create(tx))
		require.NoError(w.t, tx.RollbackTo("a").Error)
		require.NoError(w.t, tx.Commit().Error)
	}, 0, 0},
	"raw savepoints": {func(w *writer) {
		tx := w.db.Begin()
		require.NoError(w.t, tx.Exec(`savepoint "x";`).Error)
		require.NoError(w.t, w.create(tx))
		require.NoError(w.t, tx.Exec(` rollback to savepoint "x" ; `).Error)
		require.NoError(w.t, tx.Commit().Error)
	}, 0, 0},
	"a savepoint of the same name": {func(w *writer) {
		tx := w.db.Begin()
		require.NoError(w.t, tx.SavePoint("a").Error)
		require.NoError(w.t, w.create(tx))
		require.NoError(w.t, tx.SavePoint("a").Error)
		require.NoError(w.t, w.create(tx))
		require.NoError(w.t, tx.RollbackTo("a").Error)
		require.NoError(w.t, tx.Commit().Error)
	}, 1, 1},
	"cancelled": {func(w *writer) {
		ctx, cancel := context.WithCancel(w.t.Context())
		tx := w.db.WithContext(ctx).Begin()
		require.NoError(w.t, w.create(tx))
		cancel()
		require.Error(w.t, tx.Commit().Error)
	}, 0, 0},
	"Session(PrepareStmt)": {func(w *writer) {
		require.NoError(w.t, w.create(w.db.WithContext(w.t.Context()).Session(&gorm.Session{PrepareStmt: true})))
	}, 1, 1},
	"Session(PrepareStmt).Transaction": {func(w *writer) {
		require.NoError(w.t, w.db.Session(&gorm.Session{PrepareStmt: true}).Transaction(func(tx *gorm.DB) error {
			require.NoError(w.t, w.create(tx))
			require.Error(w.t, tx.Transaction(func(tx *gorm.DB) error {
				require.NoError(w.t, w.create(tx))
				return errStop
			}))
			return tx.Transaction(w.create)
		}))
	}, 1, 2},
	"PrepareStmt inside a transaction": {func(w *writer) {
		require.NoError(w.t, w.db.Transaction(func(tx *gorm.DB) error { return w.create(tx.Session(&gorm.Session{PrepareStmt: true})) }))
	}, 1, 1},
	"Connection": {func(w *writer) {
		require.NoError(w.t, w.db.Connection(w.create))
	}, 1, 1},
	"raw SQL": {func(w *writer) {
		require.NoError(w.t, w.db.Exec("UPDATE prices SET amount = 1").Error)
	}, 0, 0},
	"a read": {func(w *writer) {
		require.NoError(w.t, w.db.Transaction(func(tx *gorm.DB) error { return tx.Find(&[]place{}).Error }))
	}, 0, 0},
	"from a hook": {func(w *writer) {
		w.n++
		h := &hooks{writes: map[string]string{"AfterCreate": fmt.Sprintf("p%d", w.n)}}
		require.NoError(w.t, with(w.db, h).Create(&visit{Name: "x"}).Error)
	}, 1, 2},
}

// Bells ring for commits that wrote to the log, once for each, and for nothing
// else: not before the commit and never for what is rolled back.
func TestCommitWatch(t *testing.T) {
	t.Parallel()
	eachMode(t, func(m mode) {
		t, d, cfg := m.t, m.d, m.cfg
		f := newWatched(t, d, cfg)
		w := &writer{db: f.db}
		for _, name := range slices.Sorted(maps.Keys(commits)) {
			c := commits[name]
			if name == "from a hook" && cfg.SkipDefaultTransaction {
				c.rings = 2 // the row and what its hook writes are two transactions
			}
			rings := f.rings.Load()
			t.Run(name, func(t *testing.T) {
				w.t = t
				c.do(w)
				require.EqualValues(t, c.rings, f.rings.Load()-rings, "bells")
				require.Len(t, f.take(t), c.changes, "changes")
			})
		}
	})
}

func newWatched(t *testing.T, d *dbtest.DB, cfg gorm.Config) fixture {
	t.Helper()
	f := setup(t, d, visits, &cfg)
	require.NoError(t, f.plain.AutoMigrate(&price{}))
	require.NoError(t, f.db.Create(&place{Code: "there"}).Error)
	f.take(t)
	return f
}

// With one connection gormsync needs no second one: it would wait for ever.
func TestCommitWatchOneConnection(t *testing.T) {
	t.Parallel()
	eachMode(t, func(m mode) {
		t, d, cfg := m.t, m.d, m.cfg
		f := newWatched(t, d, cfg)
		pool, err := f.db.DB()
		require.NoError(t, err)
		pool.SetMaxOpenConns(1)
		w := &writer{db: f.db}
		for _, name := range slices.Sorted(maps.Keys(commits)) {
			c := commits[name]
			t.Run(name, func(t *testing.T) {
				w.t = t
				c.do(w)
				require.Len(t, f.take(t), c.changes)
			})
		}
		require.NoError(t, f.db.Create(anItem()).Error)
	})
}

func anItem() *visit { return &visit{Name: "last"} }

// Inside a transaction nothing rings yet.
func TestCommitWatchNotBefore(t *testing.T) {
	t.Parallel()
	eachMode(t, func(m mode) {
		t, d, cfg := m.t, m.d, m.cfg
		f := newWatched(t, d, cfg)
		rings := f.rings.Load()
		tx := f.db.Begin()
		for _, code := range []string{"a", "b"} {
			require.NoError(t, tx.Transaction(func(tx *gorm.DB) error { return tx.Create(&place{Code: code}).Error }))
			require.Equal(t, rings, f.rings.Load())
		}
		require.NoError(t, tx.Commit().Error)
		require.Equal(t, rings+1, f.rings.Load())
	})
}
