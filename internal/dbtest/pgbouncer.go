package dbtest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// PgBouncer runs a PgBouncer in front of a PostgreSQL server until the test ends, and gives the URL of the same database
// through it. The mode is "session" or "transaction". The test fails at once if there is no PgBouncer.
func PgBouncer(t testing.TB, server, mode string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/pgbouncer")
	}
	if err != nil {
		t.Fatal("no PgBouncer to test with: install it (apt-get install pgbouncer), or run make setup")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pgbouncer.ini")
	if err := os.WriteFile(file, fmt.Appendf(nil, `[databases]
* = host=%s port=%s user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = 10
max_client_conn = 100
ignore_startup_parameters = extra_float_digits,search_path
`, u.Hostname(), u.Port(), u.User.Username(), port, mode), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-q", file}
	if os.Geteuid() == 0 { // it refuses to be root
		args = []string{"-q", "-u", "nobody", file}
	}
	cmd := exec.Command(program, args...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it was told to end
		if t.Failed() {
			t.Log(said.String())
		}
	})
	u.Host = fmt.Sprintf("127.0.0.1:%d", port)
	awaitPort(t, u.Host)
	return u.String()
}

func awaitPort(t testing.TB, address string) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for range 1000 {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return
		}
		<-look.C
	}
	t.Fatalf("nothing listens on %s", address)
}
