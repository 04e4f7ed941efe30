package dbtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// program writes a program that says only its version.
func program(t *testing.T, path, version string) {
	t.Helper()
	name := filepath.Base(path)
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\necho '%s (PostgreSQL) %s'\n", name, version), 0o700)) //nolint:gosec // it is to be run
}

func TestDumpPrograms(t *testing.T) {
	server, path := t.TempDir(), t.TempDir()
	t.Setenv("PATH", path+string(filepath.ListSeparator)+"/bin")
	c := &Cluster{bin: server}
	program(t, filepath.Join(server, "postgres"), "17.2")
	_, _, err := c.DumpPrograms(t.Context())
	require.ErrorContains(t, err, "apt-get install postgresql-client-17")

	program(t, filepath.Join(path, "pg_dump"), "16.9 (Debian 16.9-1)")
	program(t, filepath.Join(path, "pg_restore"), "16.9 (Debian 16.9-1)")
	_, _, err = c.DumpPrograms(t.Context())
	require.ErrorContains(t, err, "apt-get install postgresql-client-17", "too old")

	program(t, filepath.Join(path, "pg_dump"), "18beta1")
	dump, restore, err := c.DumpPrograms(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(path, "pg_dump"), filepath.Join(path, "pg_restore")}, []string{dump, restore})

	program(t, filepath.Join(server, "pg_dump"), "17.2")
	program(t, filepath.Join(server, "pg_restore"), "17.2")
	dump, restore, err = c.DumpPrograms(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(server, "pg_dump"), filepath.Join(server, "pg_restore")}, []string{dump, restore})
}
