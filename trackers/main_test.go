package trackers_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

// GORM's cache of prepared statements has a goroutine that nothing can end.
func TestMain(m *testing.M) {
	dbtest.Main(m, goleak.IgnoreTopFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
}
