package dbtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFirstFolderWithBothPrograms(t *testing.T) {
	none, one, both, later := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	addPrograms(t, one, "postgres")
	addPrograms(t, both, "initdb", "postgres")
	addPrograms(t, later, "initdb", "postgres")
	bin, err := firstWithServer([]string{none, one, both, later})
	require.NoError(t, err)
	require.Equal(t, both, bin)
}

// One sentence with the remedies, and never a skipped test.
func TestNoServerAnywhere(t *testing.T) {
	_, err := firstWithServer([]string{t.TempDir()})
	require.EqualError(t, err, "no PostgreSQL to test on: install it (apt-get install postgresql), or run make setup")
}

func TestVariableWinsOverPath(t *testing.T) {
	named, onPath := t.TempDir(), t.TempDir()
	addPrograms(t, named, "initdb", "postgres")
	addPrograms(t, onPath, "initdb", "postgres")
	t.Setenv(binVariable, "")
	t.Setenv("PATH", onPath)
	bin, err := findBin()
	require.NoError(t, err)
	require.Equal(t, onPath, bin)
	t.Setenv(binVariable, named)
	bin, err = findBin()
	require.NoError(t, err)
	require.Equal(t, named, bin)
}

func TestNPMFolderIsInTheRepository(t *testing.T) {
	bins := npmBins()
	require.Len(t, bins, 1)
	require.FileExists(t, filepath.Join(bins[0], "..", "..", "..", "..", "..", "..", "go.mod"))
}

func TestServerURLMustBePostgres(t *testing.T) {
	require.NoError(t, checkServerURL("postgres://someone@localhost/test"))
	require.EqualError(t, checkServerURL("mysql://localhost"),
		`GORMSYNC_TEST_DATABASE_URL must begin with postgres://, it begins with "mysql:"`)
	require.ErrorContains(t, checkServerURL("postgres://%zz"), "is no URL")
}

func TestSearchPathKeepsTheRestOfTheURL(t *testing.T) {
	require.Equal(t, "postgres://someone:secret@localhost:5433/test?search_path=mine&sslmode=disable",
		withSearchPath("postgres://someone:secret@localhost:5433/test?sslmode=disable", "mine"))
}

// addPrograms makes empty programs. Nobody runs them.
func addPrograms(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o700))
	}
}
