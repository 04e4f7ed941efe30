package handlers_test

import (
	"os"
	"testing"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(killedServerURL); url != "" { // this process is a server of TestPushSurvivesKills
		serveUntilKilled(url)
		return
	}
	dbtest.Main(m)
}
