package dbtest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// DumpPrograms gives the paths of a pg_dump and a pg_restore for a cluster: those beside its server, or those on PATH
// if they are no older than the server, as pg_dump demands. The error says how to get them.
func (c *Cluster) DumpPrograms(ctx context.Context) (dump, restore string, err error) {
	server, err := majorVersion(ctx, filepath.Join(c.bin, "postgres"))
	if err != nil {
		return "", "", err
	}
	for _, prefix := range []string{c.bin + string(filepath.Separator), ""} {
		dump, dumpErr := exec.LookPath(prefix + "pg_dump")
		restore, restoreErr := exec.LookPath(prefix + "pg_restore")
		if dumpErr != nil || restoreErr != nil {
			continue
		}
		if version, err := majorVersion(ctx, dump); err == nil && version >= server {
			return dump, restore, nil
		}
	}
	return "", "", fmt.Errorf("no pg_dump and pg_restore for PostgreSQL %d in %s or on PATH: install them (apt-get install postgresql-client-%d), or run make setup", server, c.bin, server)
}

// majorVersion asks one of PostgreSQL's programs, which say "pg_dump (PostgreSQL) 15.18 (Debian …)".
func majorVersion(ctx context.Context, program string) (int, error) {
	output, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("cannot ask %s for its version: %w", program, err)
	}
	_, version, _ := strings.Cut(string(output), "(PostgreSQL) ")
	digits := strings.IndexFunc(version+" ", func(r rune) bool { return r < '0' || r > '9' })
	major, err := strconv.Atoi(version[:digits])
	if err != nil {
		return 0, fmt.Errorf("%s says %q, which is no version", program, output)
	}
	return major, nil
}
