package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// TestTailGoesOn: tail outlives ended sessions and a restart of the server, says so,
// and leaves nothing out.
func TestTailGoesOn(t *testing.T) {
	cluster, err := dbtest.StartCluster(dbtest.ClusterOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Remove()) })
	db, err := gormsync.Open(cluster.URL())
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	require.NoError(t, db.AutoMigrate(&Todo{}))
	sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}})
	require.NoError(t, err)
	require.NoError(t, db.Use(sync))

	ctx, cancel := context.WithCancel(t.Context())
	out, said := &lineWriter{lines: make(chan string, 10)}, &lineWriter{lines: make(chan string, 100)}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"tail", "--database", cluster.URL() + "&application_name=tail", "--since", "start"}, out, said)
	}()
	create := func(id string) {
		t.Helper()
		require.NoError(t, db.WithContext(trackers.WithActor(t.Context(), "a")).Create(&Todo{ID: id}).Error)
		require.Contains(t, <-out.lines, "create todos "+id)
	}
	create("1")
	for _, id := range []string{"a", "b", "c"} {
		require.NoError(t, db.Exec("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'tail'").Error)
		create(id)
	}
	for len(said.lines) > 0 {
		<-said.lines
	}
	require.NoError(t, cluster.Stop("immediate"))
	for line := range said.lines {
		if strings.Contains(line, "trying again until it does") {
			break
		}
	}
	require.NoError(t, cluster.Start())
	require.Eventually(t, func() bool { return db.Exec("SELECT 1").Error == nil }, 20*time.Second, 20*time.Millisecond)
	create("2")
	require.Contains(t, <-said.lines, "answers again")
	cancel()
	require.Zero(t, <-ended)
}

// What will not pass by itself ends tail.
func TestTailEnds(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db, log := tracked(t, d)
		position, err := log.Position(t.Context())
		require.NoError(t, err)
		require.NoError(t, db.Exec("UPDATE _rhtmx_sync_meta SET value = 'another' WHERE key = 'epoch'").Error)
		code, _, stderr := call(t, "tail", "--database", d.URL, "--since", position.String())
		require.Equal(t, exitFailed, code)
		require.Contains(t, stderr, "expired")
		require.NoError(t, db.Exec("DROP TABLE _rhtmx_field_sync_log").Error)
		require.NoError(t, db.Exec("DROP TABLE _rhtmx_sync_log").Error)
		code, _, stderr = call(t, "tail", "--database", d.URL)
		require.Equal(t, exitFailed, code)
		require.Contains(t, stderr, "_rhtmx_sync_log")
	})
}
