package bench

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

// operation is one kind of write, done n times.
type operation struct {
	name string
	n    int
	run  func(db *gorm.DB, n int) error
}

func operations() []operation {
	return []operation{
		{"create 1", 20, func(db *gorm.DB, n int) error {
			return times(n, func(int) error { return db.Create(item()).Error })
		}},
		{"save 1", 20, func(db *gorm.DB, n int) error {
			return times(n, func(i int) error {
				it := item()
				it.ID, it.Count = 1, counter()
				return db.Save(it).Error
			})
		}},
		{"update 1 field", 20, func(db *gorm.DB, n int) error {
			return times(n, func(i int) error { return db.Model(&Item{ID: 2}).Update("count", counter()).Error })
		}},
		{"delete 1", 20, func(db *gorm.DB, n int) error {
			return times(n, func(i int) error {
				res := db.Where("id = (SELECT max(id) FROM items)").Delete(&Item{})
				return res.Error
			})
		}},
		{"create 100", 2, func(db *gorm.DB, n int) error {
			return times(n, func(int) error {
				items := make([]*Item, 100)
				for i := range items {
					items[i] = item()
				}
				return db.Create(items).Error
			})
		}},
		{"update 1000", 1, func(db *gorm.DB, n int) error {
			return times(n, func(int) error {
				return db.Model(&Item{}).Where("id <= 1000").Update("count", counter()).Error
			})
		}},
		{"tx of 10 creates", 4, func(db *gorm.DB, n int) error {
			return times(n, func(int) error {
				return db.Transaction(func(tx *gorm.DB) error {
					return times(10, func(int) error { return tx.Create(item()).Error })
				})
			})
		}},
	}
}

var count int

func counter() int { count++; return count }

func times(n int, fn func(i int) error) error {
	for i := range n {
		if err := fn(i); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkCapture shows what tracking costs a write.
func BenchmarkCapture(b *testing.B) {
	for b.Loop() {
		captureTable(b, "SQLite", dbtest.SQLite(b).URL, dbtest.SQLite(b).URL)
		plain, tracked := dbtest.Postgres(b).URL, dbtest.Postgres(b).URL
		captureTable(b, "PostgreSQL", plain, tracked)
		captureTable(b, fmt.Sprintf("PostgreSQL with a network of %v", *rtt), delayed(b, plain, *rtt), delayed(b, tracked, *rtt))
	}
}

func captureTable(b *testing.B, name, plain, tracked string) {
	b.Helper()
	dbs, counts := make([]*gorm.DB, 2), make([]*atomic.Int64, 2)
	dbs[0], counts[0] = openItems(b, plain, false)
	dbs[1], counts[1] = openItems(b, tracked, true)
	for _, db := range dbs {
		items := make([]*Item, 3000)
		for j := range items {
			items[j] = item()
		}
		require.NoError(b, db.CreateInBatches(items, 500).Error)
	}
	out := newTable("Capture, " + name + " " + version(b, dbs[0]) + ": one write, untracked and tracked (both logs)")
	out.row("operation", "untracked", "tracked", "ratio", "statements", "tracked")
	for _, op := range operations() {
		var statements [2]int64
		for i, db := range dbs {
			before := counts[i].Load()
			require.NoError(b, op.run(db, 1))
			statements[i] = counts[i].Load() - before
		}
		m := compare(b, op.n,
			func(n int) error { return op.run(dbs[0], n) },
			func(n int) error { return op.run(dbs[1], n) })
		out.row(op.name, m[0].Round(100), m[1].Round(100), ratio(m[1], m[0]), statements[0], statements[1])
	}
	out.print(b)
}

func version(b *testing.B, db *gorm.DB) string {
	b.Helper()
	query := "SELECT sqlite_version()"
	if db.Name() == "postgres" {
		query = "SHOW server_version"
	}
	var v string
	require.NoError(b, db.Raw(query).Scan(&v).Error)
	return strings.Fields(v)[0]
}
