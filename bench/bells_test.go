package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
)

// serveVariable has this program serve the database it names, as a process of its
// own, until its input ends.
const serveVariable = "GORMSYNC_BENCH_SERVE"

func serve(url string) error {
	db, err := gormsync.Open(url, &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return err
	}
	sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Item{}}}, Authorize: gormsync.UnsafeAllowAll})
	if err != nil {
		return err
	}
	if err := db.Use(sync); err != nil {
		return err
	}
	e := echo.New()
	if err := sync.Mount(e.Group("/api")); err != nil {
		return err
	}
	server := httptest.NewServer(e)
	fmt.Println(server.URL)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// process serves the database from another process, and gives its address.
func process(b *testing.B, url string) string {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveVariable+"="+url)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(b, err)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	b.Cleanup(func() {
		require.NoError(b, in.Close())
		require.NoError(b, cmd.Wait())
	})
	address, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(b, err)
	return strings.TrimSpace(address)
}

// BenchmarkBells shows how long a change takes from its commit to a WebSocket of
// the same server, and of servers in other processes.
func BenchmarkBells(b *testing.B) {
	for b.Loop() {
		out := newTable("Bells: from the commit of one change to a WebSocket")
		out.row("database", "server", "p50", "p99", "changes")
		for _, d := range []struct {
			name, url string
			others    int
		}{
			{"PostgreSQL", dbtest.Postgres(b).URL, 2},
			{"SQLite", dbtest.SQLite(b).URL, 1},
		} {
			bellRows(b, out, d.name, d.url, d.others)
		}
		out.print(b)
	}
}

func bellRows(b *testing.B, out *table, name, url string, others int) {
	b.Helper()
	db, _ := openItems(b, url, false)
	plugin := use(b, db, gormsync.Config{Authorize: gormsync.UnsafeAllowAll})
	e := echo.New()
	require.NoError(b, plugin.Mount(e.Group("/api")))
	own := httptest.NewServer(e)
	defer own.Close()
	servers := []string{"the same"}
	sockets := []<-chan arrival{subscribe(b, own.URL)}
	for i := range others {
		servers = append(servers, fmt.Sprintf("another process %d", i+1))
		sockets = append(sockets, subscribe(b, process(b, url)))
	}
	delays := make([][]time.Duration, len(sockets))
	n := 10 * *rounds
	for i := range n + 20 {
		it := item()
		require.NoError(b, db.Create(it).Error)
		committed := time.Now()
		for s, socket := range sockets {
			got := <-socket
			require.Equal(b, fmt.Sprint(it.ID), got.id)
			if i >= 20 { // until then the others may not listen yet
				delays[s] = append(delays[s], max(0, got.at.Sub(committed)))
			}
		}
		<-time.After(15 * time.Millisecond) // single changes, not a stream of them
	}
	for i, d := range delays {
		slices.Sort(d)
		out.row(name, servers[i], d[len(d)/2].Round(10*time.Microsecond), d[len(d)*99/100].Round(10*time.Microsecond), len(d))
	}
}

// arrival is a change that came to a socket.
type arrival struct {
	id string
	at time.Time
}

func subscribe(b *testing.B, address string) <-chan arrival {
	b.Helper()
	conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(address, "http")+"/api/sync/ws", nil)
	require.NoError(b, err)
	require.NoError(b, res.Body.Close())
	require.NoError(b, conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"subscribe","entities":["items"]}`)))
	_, _, err = conn.ReadMessage() // subscribed
	require.NoError(b, err)
	arrivals := make(chan arrival, 1000)
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			_, text, err := conn.ReadMessage()
			if err != nil {
				return
			}
			at := time.Now()
			var f struct {
				Type   string
				Change struct {
					EntityID string `json:"entity_id"`
				}
			}
			if json.Unmarshal(text, &f) == nil && f.Type == "change" {
				arrivals <- arrival{f.Change.EntityID, at}
			}
		}
	})
	b.Cleanup(func() {
		_ = conn.Close()
		reading.Wait()
	})
	return arrivals
}

func use(b *testing.B, db *gorm.DB, cfg gormsync.Config) *gormsync.Plugin {
	b.Helper()
	cfg.Entities = []gormsync.Entity{{Model: &Item{}, FieldLog: true}}
	plugin, err := gormsync.New(cfg)
	require.NoError(b, err)
	require.NoError(b, db.Use(plugin))
	require.NoError(b, plugin.Start(b.Context()))
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(b, plugin.Close(ctx))
	})
	return plugin
}

// BenchmarkWriters shows what bells cost concurrent writers: their commits per
// second with the log alone, with the bells of gormsync, and with the trigger as
// well. Each has a database of its own, since bells wake all listeners of one.
func BenchmarkWriters(b *testing.B) {
	for b.Loop() {
		var dbs []*gorm.DB
		for i, cfg := range []gormsync.Config{{NoNotify: true}, {}, {}} {
			db, _ := openItems(b, newDatabase(b), false)
			plugin := use(b, db, cfg)
			if !cfg.NoNotify {
				listening(b, plugin)
			}
			if i == 2 {
				require.NoError(b, migrate.UpNotify(b.Context(), db, ""))
			}
			dbs = append(dbs, db)
		}
		out := newTable("Writers, PostgreSQL " + version(b, dbs[0]) + ": commits/s of one create each, both logs")
		out.row("writers", "no bells", "bells", "ratio", "bells and trigger", "ratio")
		for _, writers := range []int{1, 8, 32} {
			variants := make([]variant, len(dbs))
			for i, db := range dbs {
				variants[i] = func(n int) error { return concurrently(db, writers, n) }
				require.NoError(b, variants[i](writers)) // connections
			}
			m := compare(b, 40+10*writers, variants...)
			rate := func(i int) int { return int(float64(time.Second) / float64(m[i])) }
			out.row(writers, rate(0), rate(1), ratio(m[0], m[1]), rate(2), ratio(m[0], m[2]))
		}
		out.print(b)
	}
}

func concurrently(db *gorm.DB, writers, n int) error {
	var all sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(n))
	errs := make(chan error, writers)
	for range writers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := db.Create(item()).Error; err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	return <-errs
}

func listening(b *testing.B, plugin *gormsync.Plugin) {
	b.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for plugin.Status().Mode != gormsync.Listening {
		require.True(b, time.Now().Before(deadline), "%+v", plugin.Status())
		<-time.After(5 * time.Millisecond)
	}
}

// newDatabase makes a database on the server of these measurements.
func newDatabase(b *testing.B) string {
	b.Helper()
	server := os.Getenv("GORMSYNC_TEST_DATABASE_URL")
	name := fmt.Sprintf("bench_%d", counter())
	conn, err := pgx.Connect(b.Context(), server)
	require.NoError(b, err)
	_, err = conn.Exec(b.Context(), "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	require.NoError(b, err)
	require.NoError(b, conn.Close(b.Context()))
	return strings.Replace(server, "/postgres?", "/"+name+"?", 1)
}
