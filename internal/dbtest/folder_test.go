package dbtest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestReachable(t *testing.T) {
	require.True(t, reachable(string(filepath.Separator)))
	dir := filepath.Join(t.TempDir(), "closed")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.False(t, reachable(dir))
	require.False(t, reachable(filepath.Join(dir, "missing")))
}

// A checkout in root's home has its npm packages where the user of the server may not look. The copy in a closed
// folder is such a place; where the server runs as ourselves, there is nothing to copy and the cluster must start too.
func TestProgramsInAClosedFolder(t *testing.T) {
	program, err := findBin()
	require.NoError(t, err)
	program, err = filepath.EvalSymlinks(filepath.Join(program, "postgres"))
	require.NoError(t, err)
	closed := filepath.Join(t.TempDir(), "closed")
	require.NoError(t, os.Mkdir(closed, 0o700))
	require.NoError(t, os.CopyFS(filepath.Join(closed, "native"), os.DirFS(filepath.Dir(filepath.Dir(program)))))
	cluster, err := StartCluster(ClusterOptions{Bin: filepath.Join(closed, "native", "bin")})
	require.NoError(t, err)
	require.NoError(t, execute(cluster.URL(), "SELECT 1"))
	require.NoError(t, cluster.Remove())
}

func TestSweepSparesFoldersInUse(t *testing.T) {
	base := t.TempDir()
	t.Setenv("TMPDIR", base)
	used, err := newFolder(nil)
	require.NoError(t, err)
	age(t, used.path)
	dead, young, foreign := filepath.Join(base, folderPrefix+"dead"), filepath.Join(base, folderPrefix+"young"), filepath.Join(base, "other")
	for _, dir := range []string{dead, young, foreign} {
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, lockName), nil, 0o600))
	}
	age(t, dead)
	age(t, foreign)
	sweep(base)
	require.NoDirExists(t, dead)
	for _, dir := range []string{used.path, young, foreign} {
		require.DirExists(t, dir)
	}
	require.NoError(t, used.remove())
	require.NoDirExists(t, used.path)
}

// age makes a folder's lock old enough to be swept.
func age(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-2 * sweepAge)
	require.NoError(t, os.Chtimes(filepath.Join(dir, lockName), old, old))
}
