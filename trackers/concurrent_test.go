package trackers_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// counter counts its updates, so that a gap in the log shows.
type counter struct {
	ID   int64 `gorm:"primaryKey"`
	N    int
	Note *string
}

// parent and child are tied by a foreign key.
type parent struct {
	ID       int64 `gorm:"primaryKey"`
	Name     string
	Children []child
}

type child struct {
	ID       int64 `gorm:"primaryKey"`
	ParentID int64
}

const (
	goroutines = 8
	rounds     = 120
)

var counters = []trackers.Entity{{Model: &counter{}, FieldLog: true}}

// unbroken checks that each change of a counter has the next number.
func (f fixture) unbroken(t *testing.T, want int) {
	t.Helper()
	last, updates := map[string]int{}, 0
	for _, c := range f.changeRows(t) {
		n := 0
		_, err := fmt.Sscan(text(t, object(t, c.Data)["n"]), &n)
		require.NoError(t, err)
		if c.Action == "update" {
			updates++
			require.Equal(t, last[c.EntityID]+1, n, "change %d of counter %s", c.ID, c.EntityID)
		}
		last[c.EntityID] = n
	}
	require.Equal(t, want, updates)
}

// hammer lets all goroutines update at once and gives their errors.
func hammer(fn func(g, i int) error) []error {
	var wg sync.WaitGroup
	errs := make([][]error, goroutines)
	for g := range goroutines {
		wg.Go(func() {
			for i := range rounds {
				if err := fn(g, i); err != nil {
					errs[g] = append(errs[g], err)
				}
			}
		})
	}
	wg.Wait()
	var all []error
	for _, e := range errs {
		all = append(all, e...)
	}
	return all
}

func bump(db *gorm.DB, id int64) error {
	res := db.Model(&counter{ID: id}).UpdateColumn("n", gorm.Expr("n + 1"))
	if res.Error == nil && res.RowsAffected != 1 {
		return fmt.Errorf("%d rows", res.RowsAffected)
	}
	return res.Error
}

func TestConcurrentUpdates(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]gorm.Config{"plain": {}, "SkipDefaultTransaction and PrepareStmt": {SkipDefaultTransaction: true, PrepareStmt: true}} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				f := setup(t, d, counters, &cfg)
				const rows = 5
				for range rows {
					require.NoError(t, f.db.Create(&counter{}).Error)
				}
				errs := hammer(func(g, i int) error { return bump(f.db, int64((g+i)%rows+1)) })
				require.Empty(t, errs)
				f.unbroken(t, goroutines*rounds)
			})
		})
	}
}

// Transactions that touch several rows, and statements that touch them in bulk.
func TestConcurrentTransactions(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t)
	f := setup(t, d, counters)
	for range 5 {
		require.NoError(t, f.db.Create(&counter{}).Error)
	}
	errs := hammer(func(g, i int) error {
		if i%20 != 0 {
			return nil
		}
		if i%40 == 0 {
			return f.db.Model(&counter{}).Where("id = ? AND n >= 0", g%5+1).Clauses(clause.Returning{}).UpdateColumn("n", gorm.Expr("n + 1")).Error
		}
		return f.db.Transaction(func(tx *gorm.DB) error { // always in the same order, or they wait for each other
			for id := range int64(5) {
				if err := bump(tx, id+1); err != nil {
					return err
				}
			}
			return nil
		})
	})
	require.Empty(t, errs)
	f.unbroken(t, goroutines*(rounds/40)+5*goroutines*(rounds/40))
}

// The first statement on a table must wait for another writer's turn like any other.
func TestConcurrentColdStart(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(db *gorm.DB) error{
		"create": func(db *gorm.DB) error { return db.Create(&counter{ID: 9}).Error },
		"update": func(db *gorm.DB) error { return bump(db, 1) },
		"upsert": func(db *gorm.DB) error { return db.Save(&[]counter{{ID: 1, N: 1}}).Error },
		"delete": func(db *gorm.DB) error { return db.Delete(&counter{ID: 1}).Error },
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				f := setup(t, d, append(counters, trackers.Entity{Model: &place{}}))
				f.unchecked() // the counter was there before
				require.NoError(t, f.plain.Create(&counter{ID: 1}).Error)
				tx := f.db.Begin()
				require.NoError(t, tx.Create(&place{Code: "a"}).Error) // on SQLite nobody else can write now
				done := make(chan error, 1)
				go func() { done <- first(f.db) }()
				select {
				case err := <-done: // on PostgreSQL at once
					require.NoError(t, err)
					require.NoError(t, tx.Commit().Error)
				case <-time.After(100 * time.Millisecond):
					require.NoError(t, tx.Commit().Error)
					require.NoError(t, <-done)
				}
				require.Len(t, f.take(t), 2)
			})
		})
	}
}

// waitFor returns when a connection waits for a lock.
func waitFor(t *testing.T, f fixture) {
	t.Helper()
	waiting := func() bool {
		var n int
		err := f.plain.Raw("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%counters%' AND pid <> pg_backend_pid() " +
			"AND EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = pg_stat_activity.pid AND l.relation = 'counters'::regclass)").Row().Scan(&n)
		return err == nil && n > 0
	}
	require.Eventually(t, waiting, 10*time.Second, 10*time.Millisecond)
}

// Who waits for a row's lock logs what the row became meanwhile, not what it was
// when the statement began.
func TestConcurrentWaiters(t *testing.T) {
	t.Parallel()
	upsert := func(set clause.Set) func(db *gorm.DB) error {
		return func(db *gorm.DB) error {
			return db.Clauses(clause.OnConflict{Columns: columns("id"), DoUpdates: set}).Create(&counter{ID: 1}).Error
		}
	}
	next := clause.Assignments(map[string]any{"n": gorm.Expr("counters.n + 1"), "note": nil})
	for name, c := range map[string]struct {
		first, second func(db *gorm.DB) error
		want          []string
	}{
		"update": {func(db *gorm.DB) error { return bump(db, 1) }, func(db *gorm.DB) error { return bump(db, 1) },
			[]string{`counters update 1 {"id":1,"n":1,"note":"x"} | n`, `counters update 1 {"id":1,"n":2,"note":"x"} | n`}},
		"update that finds the row no more": {func(db *gorm.DB) error { return bump(db, 1) },
			func(db *gorm.DB) error { return db.Model(&counter{}).Where("n = 0").UpdateColumn("n", 5).Error },
			[]string{`counters update 1 {"id":1,"n":1,"note":"x"} | n`}},
		"update with Returning": {func(db *gorm.DB) error { return bump(db, 1) },
			func(db *gorm.DB) error {
				return db.Model(&[]counter{}).Clauses(clause.Returning{}).Where("id = 1").UpdateColumns(map[string]any{"n": gorm.Expr("n + 1"), "note": nil}).Error
			},
			[]string{`counters update 1 {"id":1,"n":1,"note":"x"} | n`, `counters update 1 {"id":1,"n":2,"note":null} | n -note`}},
		"upsert": {func(db *gorm.DB) error { return bump(db, 1) }, upsert(next),
			[]string{`counters update 1 {"id":1,"n":1,"note":"x"} | n`, `counters update 1 {"id":1,"n":2,"note":null} | n -note`}},
		"delete": {func(db *gorm.DB) error { return bump(db, 1) }, func(db *gorm.DB) error { return db.Delete(&counter{ID: 1}).Error },
			[]string{`counters update 1 {"id":1,"n":1,"note":"x"} | n`, `counters delete 1 null | -n -note`}},
		"update of a row that goes": {func(db *gorm.DB) error { return db.Delete(&counter{ID: 1}).Error },
			func(db *gorm.DB) error { return db.Model(&counter{ID: 1}).UpdateColumn("n", 5).Error }, []string{`counters delete 1 null | -n -note`}},
		"new key": {func(db *gorm.DB) error { return bump(db, 1) }, func(db *gorm.DB) error { return db.Model(&counter{ID: 1}).UpdateColumn("id", 2).Error },
			[]string{`counters update 1 {"id":1,"n":1,"note":"x"} | n`, `counters delete 1 null | -n -note`, `counters create 2 {"id":2,"n":1,"note":"x"} | n note`}},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t, dbtest.Postgres(t), counters)
			require.NoError(t, f.db.Create(&counter{ID: 1, Note: ptr("x")}).Error)
			f.take(t)
			race(t, f, c.first, c.second)
			require.Equal(t, strings.Join(c.want, "\n"), strings.Join(f.take(t), "\n"))
		})
	}
	// The row is not there yet when the second one looks for it.
	t.Run("upsert of a row that comes", func(t *testing.T) {
		f := setup(t, dbtest.Postgres(t), counters)
		race(t, f, func(db *gorm.DB) error { return db.Create(&counter{ID: 1, Note: ptr("x")}).Error }, upsert(next))
		require.Equal(t, []string{`counters create 1 {"id":1,"n":0,"note":"x"} | n note`, `counters update 1 {"id":1,"n":1,"note":null} | n -note`}, f.take(t))
	})
}

// race does the first in a transaction that stays open until the second waits for it.
func race(t *testing.T, f fixture, first, second func(db *gorm.DB) error) {
	t.Helper()
	tx := f.db.Begin()
	require.NoError(t, first(tx))
	done := make(chan error, 1)
	go func() { done <- second(f.db) }()
	waitFor(t, f)
	require.NoError(t, tx.Commit().Error)
	require.NoError(t, <-done)
}

// An update locks its row no more than it would without gormsync: children that
// point to the row can be made meanwhile.
func TestConcurrentForeignKeys(t *testing.T) {
	t.Parallel()
	for name, update := range map[string]func(db *gorm.DB) error{
		"update": func(db *gorm.DB) error { return db.Model(&parent{ID: 1}).Update("name", "b").Error },
		"returning": func(db *gorm.DB) error {
			return db.Model(&parent{ID: 1}).Clauses(clause.Returning{}).Update("name", "b").Error
		},
		"save":   func(db *gorm.DB) error { return db.Save(&parent{ID: 1, Name: "b"}).Error },
		"upsert": func(db *gorm.DB) error { return db.Save(&[]parent{{ID: 1, Name: "b"}}).Error },
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t, dbtest.Postgres(t), []trackers.Entity{{Model: &parent{}}, {Model: &child{}}})
			require.True(t, f.plain.Migrator().HasConstraint(&parent{}, "Children"))
			require.NoError(t, f.db.Create(&parent{Name: "a"}).Error)
			tx := f.db.Begin()
			require.NoError(t, update(tx))
			require.NoError(t, f.db.Transaction(func(other *gorm.DB) error {
				require.NoError(t, other.Exec("SET LOCAL lock_timeout = '5s'").Error)
				return other.Create(&child{ParentID: 1}).Error
			}), "the child waits for its parent")
			require.NoError(t, tx.Commit().Error)
		})
	}
}
