package dbtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// initTimeout is ample: initdb takes a second or two.
	initTimeout = 2 * time.Minute
	// startAttempts is how many ports are tried: another program may take one between the choice and the start.
	startAttempts = 5
)

// create makes the data directory and starts its server for the first time.
func (c *Cluster) create(options ClusterOptions) error {
	if err := c.makeReachable(); err != nil {
		return err
	}
	if err := c.initialize(); err != nil {
		return err
	}
	if err := c.configure(options); err != nil {
		return fmt.Errorf("cannot write postgresql.conf: %w", err)
	}
	return c.startOnFreePort()
}

// makeReachable finds programs that the account can run. Links are followed, as they may lie where it cannot look. And
// what is in a closed folder is copied next to the data: root's home is closed, and with it a checkout's node_modules.
func (c *Cluster) makeReachable() error {
	if c.owner == nil {
		return nil
	}
	program, err := filepath.EvalSymlinks(filepath.Join(c.bin, "postgres"))
	if err != nil {
		return fmt.Errorf("cannot find the postgres program: %w", err)
	}
	c.bin = filepath.Dir(program)
	if reachable(program) {
		return nil
	}
	copied := filepath.Join(c.folder.path, "server")
	if err := os.CopyFS(copied, os.DirFS(filepath.Dir(c.bin))); err != nil {
		return fmt.Errorf("cannot copy PostgreSQL to where an unprivileged user can run it: %w", err)
	}
	c.bin = filepath.Join(copied, filepath.Base(c.bin))
	return c.owner.ownAll(copied)
}

// initialize makes the data directory. Any local program may connect, as any user: the cluster is a test's.
func (c *Cluster) initialize() error {
	ctx, cancel := context.WithTimeout(context.Background(), initTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "initdb"), "-D", c.data(), "-U", "postgres",
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	cmd.Dir = c.folder.path // the user may not be allowed into ours
	cmd.Env = environment()
	cmd.SysProcAttr = c.owner.attributes()
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s failed: %w; it said:\n%s", cmd.Path, err, output)
	}
	return nil
}

// configure appends to postgresql.conf, where the last line for a name wins.
func (c *Cluster) configure(options ClusterOptions) error {
	f, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n" + configuration(options))
	return errors.Join(err, f.Close())
}

// configuration is the text for postgresql.conf, in a stable order.
func configuration(options ClusterOptions) string {
	settings := map[string]string{
		"listen_addresses":          "127.0.0.1",
		"unix_socket_directories":   "", // a socket's path must be short, a temporary folder's may be long
		"max_connections":           "300",
		"max_prepared_transactions": "20",
		"shared_buffers":            "32MB", // several clusters run side by side
	}
	if !options.Durable {
		maps.Copy(settings, map[string]string{"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})
	}
	maps.Copy(settings, options.Settings)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s = '%s'\n", name, strings.ReplaceAll(settings[name], "'", "''"))
	}
	return text.String()
}

func (c *Cluster) startOnFreePort() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for range startAttempts {
		if c.port, err = freePort(); err != nil {
			return err
		}
		if err = c.start(); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return err
}

// freePort picks a port below those that systems give to outgoing connections: one of these might hold it when the
// server starts again.
func freePort() (int, error) {
	const first, last, attempts = 20000, 32000, 100
	for range attempts {
		port := first + rand.N(last-first)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free port on 127.0.0.1 in %d attempts between %d and %d", attempts, first, last)
}
