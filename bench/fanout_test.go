package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/olahol/melody"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

var fanoutRounds = flag.Int("fanout.rounds", 3, "how often each fan-out is measured")

// Post is what is sent around.
type Post struct {
	ID   int64 `gorm:"primaryKey"`
	Text string
	Team string
}

// A hub sends one payload to everybody, or to those of one team.
type hub interface {
	serve() http.Handler
	send(payload, team string) error
	close()
}

// fanoutCase is one row of the table before it is measured.
type fanoutCase struct {
	title     string
	clients   int
	changes   int
	every     time.Duration // between two changes
	teams     int           // 0: everybody gets everything
	perChange bool          // the processor time is told for each change
	atOnce    bool          // gormsync writes all changes by one call
}

func (c *fanoutCase) deliveries() int {
	if c.teams > 0 {
		return c.changes * c.clients / c.teams
	}
	return c.changes * c.clients
}

// fanoutSample is one measurement.
type fanoutSample struct {
	cpu, wall time.Duration
	rss       int // bytes for each connection
	fanoutResult
}

// BenchmarkFanout sends changes to many WebSockets: by a bare write for each, by
// melody's Broadcast, and as gormsync does after db.Create. The clients are another
// process; the processor time is the server's, less what gormsync's writes to the
// database take without a client.
func BenchmarkFanout(b *testing.B) {
	for b.Loop() {
		for _, c := range []fanoutCase{
			{title: "100 sockets, 10,000 deliveries/s", clients: 100, changes: 200, every: 10 * time.Millisecond},
			{title: "1000 sockets, 10,000 deliveries/s", clients: 1000, changes: 30, every: 100 * time.Millisecond},
			{title: "5000 sockets, 10,000 deliveries/s", clients: 5000, changes: 8, every: 500 * time.Millisecond},
			{title: "1000 sockets, a burst of 200 changes", clients: 1000, changes: 200},
			{title: "1000 sockets, a burst of 200 changes, by one db.Create", clients: 1000, changes: 200, atOnce: true},
			{title: "5000 sockets in 1000 teams, 5 get each change", clients: 5000, changes: 300, every: 5 * time.Millisecond, teams: 1000, perChange: true},
		} {
			fanoutTable(b, &c)
		}
	}
}

func fanoutTable(b *testing.B, c *fanoutCase) {
	b.Helper()
	kinds := []struct {
		name string
		open func(*testing.B) hub
	}{{"bare write()", newBareHub}, {"melody Broadcast", newMelodyHub}, {"gormsync", newSyncHub}}
	samples := make([][]fanoutSample, len(kinds))
	for range *fanoutRounds {
		for i, k := range kinds {
			samples[i] = append(samples[i], measureFanout(b, c, k.open(b), k.name == "gormsync"))
		}
	}
	out := newTable(fmt.Sprintf("Fan-out: %s (medians of %d)", c.title, *fanoutRounds))
	unit, n := "delivery", c.deliveries()
	if c.perChange {
		unit, n = "change", c.changes
	}
	out.row("", "CPU/"+unit, "against bare", "deliveries/s", "frames/delivery", "p50", "p99", "RSS/socket", "lost")
	var bare time.Duration
	for i, k := range kinds {
		s := samples[i]
		cpu := middle(s, func(s fanoutSample) time.Duration { return s.cpu }) / time.Duration(n)
		if i == 0 {
			bare = cpu
		}
		wall := middle(s, func(s fanoutSample) time.Duration { return s.wall })
		rss := middle(s, func(s fanoutSample) time.Duration { return time.Duration(s.rss) })
		got := middle(s, func(s fanoutSample) time.Duration { return time.Duration(s.Deliveries) })
		frames := middle(s, func(s fanoutSample) time.Duration { return time.Duration(s.Frames) })
		out.row(k.name, cpu, ratio(cpu, bare), int(float64(got)/wall.Seconds()), fmt.Sprintf("%.3f", float64(frames)/float64(max(got, 1))),
			middle(s, func(s fanoutSample) time.Duration { return s.P50 }).Round(10*time.Microsecond),
			middle(s, func(s fanoutSample) time.Duration { return s.P99 }).Round(10*time.Microsecond),
			fmt.Sprintf("%.1f KiB", float64(rss)/1024), c.deliveries()-int(got))
	}
	out.print(b)
}

func middle(samples []fanoutSample, value func(fanoutSample) time.Duration) time.Duration {
	values := make([]time.Duration, len(samples))
	for i, s := range samples {
		values[i] = value(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// measureFanout connects the clients, sends, and waits until they have everything.
func measureFanout(b *testing.B, c *fanoutCase, h hub, subscribe bool) (s fanoutSample) {
	b.Helper()
	server := httptest.NewServer(h.serve())
	defer server.Close()
	defer h.close()
	alone := time.Duration(0)
	if subscribe {
		alone = sendAll(b, c, h)
	}
	before := rss(b)
	order := fanoutOrder{Address: server.Listener.Addr().String(), Path: "/api/sync/ws", Clients: c.clients, Expect: c.deliveries()}
	if c.teams > 0 {
		order.Path, order.Paths = "/api/sync/ws?team=%d", c.teams
	}
	if subscribe {
		order.Subscribe = `{"type":"subscribe","batch":true}`
	}
	clients := startClients(b, &order)
	s.rss = (rss(b) - before) / c.clients
	cpu, begun := processor(b), time.Now()
	sendAll(b, c, h)
	s.fanoutResult = clients.result(b)
	require.Zero(b, s.Doubled)
	if subscribe {
		require.Empty(b, s.Problem)
	}
	s.wall, s.cpu = time.Since(begun), max(processor(b)-cpu-alone, 0)
	return s
}

func sendAll(b *testing.B, c *fanoutCase, h hub) time.Duration {
	b.Helper()
	cpu := processor(b)
	if bulk, ok := h.(*syncHub); ok && c.atOnce {
		require.NoError(b, bulk.sendAtOnce(c.changes))
		return processor(b) - cpu
	}
	tick := time.NewTicker(max(c.every, time.Nanosecond))
	defer tick.Stop()
	for i := range c.changes {
		team := ""
		if c.teams > 0 {
			team = fmt.Sprint(i * 7 % c.teams)
		}
		if c.every > 0 {
			<-tick.C
		}
		require.NoError(b, h.send(stamp()+strings.Repeat("x", 200), team))
	}
	return processor(b) - cpu
}

// processor is the processor time that this process has used.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rss is the memory of this process, in bytes.
func rss(b *testing.B) int {
	b.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	require.NoError(b, err)
	var size, resident int
	_, err = fmt.Sscan(string(text), &size, &resident)
	require.NoError(b, err)
	return resident * os.Getpagesize()
}

// clientProcess is the process of the clients.
type clientProcess struct {
	cmd *exec.Cmd
	out *bufio.Reader
}

func startClients(b *testing.B, order *fanoutOrder) *clientProcess {
	b.Helper()
	p := &clientProcess{cmd: exec.CommandContext(b.Context(), os.Args[0])}
	p.cmd.Env = append(os.Environ(), fanoutEnv+"=1")
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	require.NoError(b, err)
	out, err := p.cmd.StdoutPipe()
	require.NoError(b, err)
	p.out = bufio.NewReader(out)
	require.NoError(b, p.cmd.Start())
	require.NoError(b, json.NewEncoder(in).Encode(order))
	line, err := p.out.ReadString('\n')
	require.NoError(b, err)
	require.Equal(b, "ready\n", line)
	return p
}

func (p *clientProcess) result(b *testing.B) (r fanoutResult) {
	b.Helper()
	require.NoError(b, json.NewDecoder(p.out).Decode(&r))
	require.NoError(b, p.cmd.Wait())
	return r
}

// bareHub writes to each socket in turn, the frame made once.
type bareHub struct {
	mu    sync.Mutex
	conns map[string][]net.Conn
	all   []net.Conn
}

func newBareHub(*testing.B) hub { return &bareHub{conns: map[string][]net.Conn{}} }

func (h *bareHub) serve() http.Handler {
	up := websocket.Upgrader{ReadBufferSize: 256, WriteBufferSize: 256}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		team := r.URL.Query().Get("team")
		h.conns[team] = append(h.conns[team], ws.NetConn())
		h.all = append(h.all, ws.NetConn())
	})
}

func (h *bareHub) send(payload, team string) error {
	frame := append([]byte{0x81, 126, byte(len(payload) >> 8), byte(len(payload))}, payload...)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns[team] {
		if _, err := c.Write(frame); err != nil {
			return err
		}
	}
	return nil
}

func (h *bareHub) close() {
	for _, c := range h.all {
		_ = c.Close()
	}
}

// melodyHub is melody as its documentation uses it.
type melodyHub struct{ m *melody.Melody }

func newMelodyHub(*testing.B) hub { return &melodyHub{melody.New()} }

func (h *melodyHub) serve() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = h.m.HandleRequestWithKeys(w, r, map[string]any{"team": r.URL.Query().Get("team")})
	})
}

func (h *melodyHub) send(payload, team string) error {
	if team == "" {
		return h.m.Broadcast([]byte(payload))
	}
	return h.m.BroadcastFilter([]byte(payload), func(s *melody.Session) bool { return s.MustGet("team") == team })
}

func (h *melodyHub) close() { _ = h.m.Close() }

// syncHub writes to a database, and gormsync does the rest.
type syncHub struct {
	b    *testing.B
	db   *gorm.DB
	sync *gormsync.Plugin
	echo *echo.Echo
}

func newSyncHub(b *testing.B) hub {
	b.Helper()
	db, err := gormsync.Open(dbtest.SQLite(b).URL, &gorm.Config{Logger: logger.Discard})
	require.NoError(b, err)
	require.NoError(b, db.AutoMigrate(&Post{}))
	sync, err := gormsync.New(gormsync.Config{
		Entities: []gormsync.Entity{{Model: &Post{}, Scope: "team"}}, Limits: gormsync.Limits{Connections: -1},
		Authorize: func(c echo.Context, _ string) (gormsync.Access, error) {
			team := c.QueryParam("team")
			return gormsync.Access{Read: true, AllScopes: team == "", Scopes: []string{team}}, nil
		},
	})
	require.NoError(b, err)
	require.NoError(b, db.Use(sync))
	h := &syncHub{b, db, sync, echo.New()}
	require.NoError(b, sync.Mount(h.echo.Group("/api")))
	require.NoError(b, sync.Start(b.Context()))
	return h
}

func (h *syncHub) serve() http.Handler { return h.echo }

// sendAtOnce writes all in one statement, as an import does.
func (h *syncHub) sendAtOnce(changes int) error {
	posts := make([]Post, changes)
	for i := range posts {
		posts[i].Text = stamp() + strings.Repeat("x", 200)
	}
	return h.db.Create(&posts).Error
}

func (h *syncHub) send(payload, team string) error {
	return h.db.Create(&Post{Text: payload, Team: team}).Error
}

func (h *syncHub) close() {
	pool, err := h.db.DB()
	require.NoError(h.b, errors.Join(h.sync.Close(h.b.Context()), err))
	require.NoError(h.b, pool.Close())
}
