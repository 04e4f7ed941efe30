package handlers_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

var pushKills = flag.Int("push.kills", 5, "how often the server is killed under the load of pushes")

// killedServerURL names the database to a server process.
const killedServerURL = "GORMSYNC_TEST_PUSH_SERVER"

// serveUntilKilled is the server process: it prints its address and serves.
func serveUntilKilled(url string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	db, err := gormsync.Open(url)
	fail(err)
	plugin, err := gormsync.New(gormsync.Config{Entities: loadEntities, Authorize: gormsync.UnsafeAllowAll, Poll: -1, Retention: -1, MutationRetention: -1})
	fail(err)
	fail(db.Use(plugin))
	e := echo.New()
	fail(plugin.Mount(e.Group("/api")))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	fail(err)
	fmt.Println("http://" + listener.Addr().String())
	fail(http.Serve(listener, e)) //nolint:gosec // the test kills it
}

// mortal is a server that is killed and started again.
type mortal struct {
	t    *testing.T
	db   *dbtest.DB
	url  atomic.Pointer[string]
	proc *exec.Cmd
	died chan error
}

// start starts the process and waits for its address.
func (m *mortal) start() {
	m.t.Helper()
	self, err := os.Executable()
	require.NoError(m.t, err)
	m.proc = exec.Command(self)
	m.proc.Env = append(os.Environ(), killedServerURL+"="+m.db.URL)
	m.proc.Stderr = os.Stderr
	out, err := m.proc.StdoutPipe()
	require.NoError(m.t, err)
	require.NoError(m.t, m.proc.Start())
	address, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(m.t, err, "the server said nothing")
	address = strings.TrimSpace(address)
	m.url.Store(&address)
	m.died = make(chan error, 1)
	go func(p *exec.Cmd, died chan error) { died <- p.Wait() }(m.proc, m.died)
}

// kill kills the process, as kill -9 does, and waits for its end.
func (m *mortal) kill() {
	m.t.Helper()
	require.NoError(m.t, m.proc.Process.Kill())
	require.Error(m.t, <-m.died)
}

// What was acknowledged before the server died is there when it is back, once.
func TestPushSurvivesKills(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, loadEntities...) // makes the tables, and reads them in the end
		m := &mortal{t: t, db: d}
		m.start()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var all sync.WaitGroup
		pushers := make([]*pusher, 8)
		for i := range pushers {
			pushers[i] = newPusher(i, func() string { return *m.url.Load() })
			all.Go(func() { pushers[i].run(ctx, 1<<30) })
		}
		answers := func() (n int) {
			for _, p := range pushers {
				p.mu.Lock()
				n += len(p.done)
				p.mu.Unlock()
			}
			return n
		}
		for range *pushKills {
			before := answers()
			require.Eventually(t, func() bool { return answers() > before }, 30*time.Second, 5*time.Millisecond, "the server does nothing")
			<-time.After(100*time.Millisecond + rand.N(300*time.Millisecond))
			m.kill()
			m.start()
		}
		stop()
		all.Wait()
		for _, p := range pushers {
			require.True(t, p.follow(t.Context()))
			p.end(t, s.db, s.log)
		}
		m.kill()
		t.Logf("%d mutations answered, %d kills", answers(), *pushKills)
	})
}
