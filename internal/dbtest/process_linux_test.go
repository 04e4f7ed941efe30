package dbtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// helperVariable tells this program, run as its own child, which helper to be.
const helperVariable = "GORMSYNC_DBTEST_HELPER"

// A killed test process leaves no server, and the next run removes what it left on disk.
func TestKilledProcessLeavesNothing(t *testing.T) {
	cmd := helper("cluster")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // again, in case the test has not come to it
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	url, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
	require.NoError(t, execute(url, "SELECT 1"))
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	waitUntilGone(t, url)
	age(t, dir)
	sweep(filepath.Dir(dir))
	require.NoDirExists(t, dir)
}

func TestMainFailsForALeak(t *testing.T) {
	output, err := helper("leak").CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, 1, exit.ExitCode())
	require.Contains(t, string(output), "dbtest: found unexpected goroutines")
}

func TestDeafServerIsKilled(t *testing.T) {
	p, err := startProcess(exec.Command("sleep", "60"))
	require.NoError(t, err)
	require.True(t, p.running())
	require.EqualError(t, p.stop(syscall.SIGCONT, time.Millisecond), "the PostgreSQL server did not stop within 1ms and was killed")
	require.False(t, p.running())
	require.NoError(t, p.stop(syscall.SIGCONT, time.Millisecond))
}

func TestMissingProgramIsAnError(t *testing.T) {
	_, err := startProcess(exec.Command(filepath.Join(t.TempDir(), "postgres")))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestHelper is what the tests above run in a process of its own; by itself it does nothing.
func TestHelper(t *testing.T) {
	switch os.Getenv(helperVariable) {
	case "cluster":
		cluster, err := StartCluster(ClusterOptions{})
		require.NoError(t, err)
		fmt.Println(cluster.URL(), cluster.Dir())
		select {} // until killed
	case "leak":
		go func() { select {} }()
	}
}

func helper(name string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^TestHelper$")
	cmd.Env = append(os.Environ(), helperVariable+"="+name)
	return cmd
}

// waitUntilGone returns when nothing listens at the URL any more.
func waitUntilGone(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			require.NoError(t, ctx.Err(), "the server of a killed process still answers")
			return
		}
		require.NoError(t, conn.Close(ctx))
		<-ticker.C
	}
}
