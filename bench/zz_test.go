package bench

import (
	"testing"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

func BenchmarkBulkSQLite(b *testing.B) {
	db, _ := openItems(b, dbtest.SQLite(b), true)
	items := make([]*Item, 1000)
	for j := range items {
		items[j] = item()
	}
	db.CreateInBatches(items, 500)
	b.ResetTimer()
	for range b.N {
		db.Model(&Item{}).Where("id <= 1000").Update("count", counter())
	}
}
