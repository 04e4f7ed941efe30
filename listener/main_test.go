package listener_test

import (
	"testing"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
