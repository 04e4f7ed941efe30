package dbtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// startTimeout covers recovery after a crash on a busy machine.
	startTimeout = time.Minute
	// readyInterval is how often the server is asked whether it is ready; it says so in a file only.
	readyInterval = 10 * time.Millisecond
	// tailSize is how much of the log an error carries.
	tailSize = 4096
)

var errPortTaken = errors.New("another program took the port")

// start starts the server and waits until it accepts connections. The caller holds c.mu.
func (c *Cluster) start() error {
	if c.server.running() {
		return nil
	}
	log, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("cannot open the log of the PostgreSQL server: %w", err)
	}
	defer func() { _ = log.Close() }() // the server has its own handle
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("cannot read the log of the PostgreSQL server: %w", err)
	}
	if c.server, err = startProcess(c.command(log)); err != nil {
		return fmt.Errorf("cannot run PostgreSQL: %w", err)
	}
	if err := c.waitReady(); err != nil {
		err = errors.Join(err, c.server.stop(os.Kill, stopTimeout))
		return describeFailure(err, log, begin)
	}
	return nil
}

func (c *Cluster) command(log *os.File) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, "postgres"), "-D", c.data(), "-p", strconv.Itoa(c.port))
	cmd.Dir = c.folder.path
	cmd.Env = environment()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = c.owner.attributes()
	dieWithParent(cmd.SysProcAttr)
	return cmd
}

// waitReady returns when the server takes connections, or has exited. It reads what the server writes down about
// itself; a connection to the port might reach the server of someone else.
func (c *Cluster) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	ticker := time.NewTicker(readyInterval)
	defer ticker.Stop()
	for !c.ready() {
		select {
		case <-ticker.C:
		case <-c.server.done:
			return fmt.Errorf("the PostgreSQL server exited instead of starting (%w)", c.server.exit())
		case <-ctx.Done():
			return fmt.Errorf("the PostgreSQL server was not ready within %s", startTimeout)
		}
	}
	return nil
}

// ready reads postmaster.pid: the first line is the process, the eighth its state. A file without our process is left
// over from a crash.
func (c *Cluster) ready() bool {
	content, err := os.ReadFile(filepath.Join(c.data(), "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(content), "\n")
	return len(lines) >= 8 &&
		strings.TrimSpace(lines[0]) == strconv.Itoa(c.server.cmd.Process.Pid) &&
		strings.TrimSpace(lines[7]) == "ready"
}

// describeFailure adds what the server has logged since begin.
func describeFailure(err error, log *os.File, begin int64) error {
	said := tail(log, begin)
	if strings.Contains(said, "could not create any TCP/IP sockets") {
		err = fmt.Errorf("%w: %w", errPortTaken, err)
	}
	return fmt.Errorf("%w; its log ends:\n%s", err, said)
}

// tail is the end of the log, but nothing from before begin. A log that cannot be read is described, not an error:
// there is a worse one to report.
func tail(log *os.File, begin int64) string {
	info, err := log.Stat()
	if err != nil {
		return err.Error()
	}
	from := max(begin, info.Size()-tailSize)
	text, err := io.ReadAll(io.NewSectionReader(log, from, info.Size()-from))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}
