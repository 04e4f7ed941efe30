package dbtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

func TestDurableClusterSurvivesACrash(t *testing.T) {
	cluster := startCluster(t, dbtest.ClusterOptions{Durable: true})
	url := cluster.URL()
	query(t, url, "CREATE TABLE kept (id int)")
	for _, mode := range []string{"immediate", "fast"} {
		query(t, url, "INSERT INTO kept VALUES (1)")
		require.NoError(t, cluster.Stop(mode))
		_, err := pgx.Connect(context.Background(), url)
		require.Error(t, err, "the server still answers after Stop(%q)", mode)
		require.NoError(t, cluster.Start())
		require.Equal(t, url, cluster.URL())
	}
	require.Equal(t, int64(2), count(t, url, "SELECT count(*) FROM kept"))
}

func TestClusterSettings(t *testing.T) {
	cluster := startCluster(t, dbtest.ClusterOptions{
		Settings: map[string]string{"max_connections": "17", "cluster_name": "it's a test"},
	})
	require.Equal(t, "17", query(t, cluster.URL(), "SHOW max_connections"))
	require.Equal(t, "it's a test", query(t, cluster.URL(), "SHOW cluster_name"))
	require.Equal(t, "off", query(t, cluster.URL(), "SHOW fsync"))
	require.Equal(t, "127.0.0.1", query(t, cluster.URL(), "SHOW listen_addresses"))
}

func TestClusterCallsMayBeRepeated(t *testing.T) {
	cluster := startCluster(t, dbtest.ClusterOptions{})
	require.NoError(t, cluster.Start())
	require.ErrorContains(t, cluster.Stop("gently"), "use fast or immediate")
	require.NoError(t, cluster.Stop("fast"))
	require.NoError(t, cluster.Stop("fast"))
	require.NoError(t, cluster.Remove())
	require.NoError(t, cluster.Remove())
	require.NoDirExists(t, cluster.Dir())
	require.Error(t, cluster.Start())
}

func TestClusterThatCannotStartSaysWhy(t *testing.T) {
	_, err := dbtest.StartCluster(dbtest.ClusterOptions{Settings: map[string]string{"shared_buffers": "plenty"}})
	require.ErrorContains(t, err, "exited instead of starting")
	require.ErrorContains(t, err, `invalid value for parameter "shared_buffers"`, "the end of the server's log is missing")
}

func TestClusterNeedsPrograms(t *testing.T) {
	empty := t.TempDir()
	_, err := dbtest.StartCluster(dbtest.ClusterOptions{Bin: empty})
	require.ErrorContains(t, err, "has no initdb and postgres")
	t.Setenv("GORMSYNC_TEST_PG_BIN", empty)
	_, err = dbtest.StartCluster(dbtest.ClusterOptions{})
	require.ErrorContains(t, err, "GORMSYNC_TEST_PG_BIN is "+empty)
}

func startCluster(t *testing.T, options dbtest.ClusterOptions) *dbtest.Cluster {
	t.Helper()
	cluster, err := dbtest.StartCluster(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Remove()) })
	return cluster
}

// query runs SQL through pgx alone and answers with the text of its first value, if there is one.
func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(context.Background())) }()
	results, err := conn.PgConn().Exec(context.Background(), sql).ReadAll()
	require.NoError(t, err)
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return ""
	}
	return string(results[0].Rows[0][0])
}
