package migrate_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
)

// A server of the version before takes pushes while the tables are upgraded: the
// upgrade waits for it, and neither of them fails.
func TestUpAmidPushes(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t)
	db := d.Open(t)
	script, err := os.ReadFile(fmt.Sprintf("testdata/v%d_%s.sql", migrate.SchemaVersion-1, d.Dialect))
	require.NoError(t, err)
	require.NoError(t, db.Exec(string(script), pgxSimple(db)...).Error)
	require.NoError(t, db.Exec("ALTER TABLE _rhtmx_sync_log DROP COLUMN move").Error) // so that the log is to be changed first

	push := d.Open(t).Begin()
	require.NoError(t, push.Exec(`INSERT INTO _rhtmx_sync_mutation (actor, client_id, mutation_id, request, entity, status, created_at) VALUES ('a', 'c', 'm', 'r', 'todos', 'applied', now())`).Error)
	upgraded := make(chan error, 1)
	go func() { upgraded <- migrate.Up(t.Context(), db, "") }()
	require.Eventually(t, func() bool {
		var waiting int64
		return db.Raw("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '_rhtmx_sync_mutation'::regclass").Scan(&waiting).Error == nil && waiting == 1
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, push.Exec(`INSERT INTO _rhtmx_sync_log (entity, entity_id, action, version, created_at, edited_at) VALUES ('todos', '1', 'delete', 1, now(), now())`).Error)
	require.NoError(t, push.Commit().Error)
	require.NoError(t, <-upgraded)
	plan, err := migrate.Plan(t.Context(), db, "")
	require.NoError(t, err)
	require.Empty(t, plan)
}
