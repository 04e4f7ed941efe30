package handlers_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(killedServerURL); url != "" { // this process is a server of TestPushSurvivesKills
		serveUntilKilled(url)
		return
	}
	// GORM's cache of prepared statements has a goroutine that nothing can end.
	dbtest.Main(m, goleak.IgnoreTopFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
}
