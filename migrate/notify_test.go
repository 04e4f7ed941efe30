package migrate_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
)

func TestNotifyTrigger(t *testing.T) {
	for _, prefix := range []string{"", "Odd_"} {
		d := dbtest.Postgres(t)
		db, tables := d.Open(t), models.TablesFor(prefix)
		require.NoError(t, migrate.Up(t.Context(), db, prefix))
		conn, err := pgx.Connect(t.Context(), d.URL)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		_, err = conn.Exec(t.Context(), "LISTEN "+pgx.Identifier{tables.Channel}.Sanitize())
		require.NoError(t, err)
		bells := func() (n int) {
			rows := []models.Change{{Entity: "todos", EntityID: "1", Action: models.Create}, {Entity: "todos", EntityID: "2", Action: models.Create}}
			require.NoError(t, db.Table(tables.Changes).Create(&rows).Error)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			for {
				got, err := conn.WaitForNotification(ctx)
				if err != nil {
					return n
				}
				require.Empty(t, got.Payload)
				n++
			}
		}
		require.Zero(t, bells(), "the trigger is there though nobody asked for it")
		require.NoError(t, migrate.UpNotify(t.Context(), db, prefix))
		require.NoError(t, migrate.UpNotify(t.Context(), db, prefix))
		require.Equal(t, 1, bells())
		require.NoError(t, migrate.DownNotify(t.Context(), db, prefix))
		require.NoError(t, migrate.DownNotify(t.Context(), db, prefix))
		require.Zero(t, bells())
		require.NoError(t, migrate.UpNotify(t.Context(), db, prefix))
		require.NoError(t, migrate.Down(t.Context(), db, prefix))
		var left int64
		require.NoError(t, db.Raw("SELECT count(*) FROM pg_proc WHERE proname LIKE '%notify_sync_change' AND pronamespace = current_schema()::regnamespace").Scan(&left).Error)
		require.Zero(t, left)
	}
}

func TestNotifyTriggerIsNotForSQLite(t *testing.T) {
	db := dbtest.SQLite(t).Open(t)
	require.ErrorContains(t, migrate.UpNotify(t.Context(), db, ""), "NOTIFY is PostgreSQL's")
	require.ErrorContains(t, migrate.DownNotify(t.Context(), db, ""), "NOTIFY is PostgreSQL's")
}

// What is missing is said with what to do about it.
func TestNotifyTriggerSaysWhatIsMissing(t *testing.T) {
	db := dbtest.Postgres(t).Open(t)
	require.ErrorContains(t, migrate.UpNotify(t.Context(), db, ""), "run migrate.Up with the same prefix first")
	require.NoError(t, migrate.Up(t.Context(), db, ""))
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1) // whose role is another one from now on
	require.NoError(t, db.Exec(`DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO pg_monitor', current_schema()); END $$`).Error)
	require.NoError(t, db.Exec("SET ROLE pg_monitor").Error)
	err = migrate.UpNotify(t.Context(), db, "")
	require.ErrorContains(t, err, "permission denied")
	require.ErrorContains(t, err, "as the owner of _rhtmx_sync_log")
}
