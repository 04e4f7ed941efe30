package handlers_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

var (
	stalledReaders = flag.Int("stalled.readers", 1000, "how many clients read beside the one that does not, in TestStalledReader")
	kills          = flag.Int("reconnect.kills", 100, "how often TestKilledAndReconnected cuts the connection")
)

// TestStalledReader: one client that does not read costs the others nothing and
// the server next to no memory. When it reads again it gets everything, on the same
// connection, and so does one that follows by server-sent events.
func TestStalledReader(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		const changes = 60
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) {
			c.Ring, c.WriteWait, c.Limits.Connections = 32, time.Minute, -1
		})
		title := strings.Repeat("x", 4000)
		stalled := a.dial(t, "/sync/ws", nil)
		stalled.subscribe("")
		require.NoError(t, stalled.UnderlyingConn().(*net.TCPConn).SetReadBuffer(8<<10)) // the kernel must not read for it
		stream := a.stream(t, "", nil)
		before := heap()
		var running sync.WaitGroup
		var complete atomic.Int64
		for range *stalledReaders {
			s := a.dial(t, "/sync/ws", nil)
			s.subscribe(`,"batch":true`)
			running.Go(func() {
				if err := countTo(s.Conn, changes); err != nil {
					t.Errorf("one who reads: %v", err)
					return
				}
				complete.Add(1)
			})
		}
		idle := heap()
		for i := range changes {
			a.save(t, Todo{ID: fmt.Sprint(i), Title: title})
		}
		running.Wait()
		require.EqualValues(t, *stalledReaders, complete.Load())
		after := heap()
		require.Less(t, after-idle, 24, "MiB more")
		t.Logf("heap: %d MiB before, %d with %d clients, %d after %d changes of 4 kB with two that do not read", before, idle, *stalledReaders, after, changes)

		require.NoError(t, stalled.UnderlyingConn().(*net.TCPConn).SetReadBuffer(1<<20))
		for i := range changes { // after long silence TCP asks ever more rarely whether there is room again
			require.Equal(t, []string{"create " + fmt.Sprint(i)}, stalled.nextWithin(time.Minute).rows())
		}
		for i := range changes {
			require.Equal(t, []string{"create " + fmt.Sprint(i)}, stream.next().rows())
		}
	})
}

// countTo reads until so many changes came, each once and in order.
func countTo(conn *websocket.Conn, changes int) error {
	for n := 0; n < changes; {
		if err := conn.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
			return err
		}
		_, body, err := conn.ReadMessage()
		if err != nil {
			return fmt.Errorf("after %d changes: %w", n, err)
		}
		for { // a thousand clients of this process have no time for more of JSON
			_, rest, found := bytes.Cut(body, []byte(`"entity_id":"`))
			if !found {
				break
			}
			id, _, _ := bytes.Cut(rest, []byte{'"'})
			if string(id) != fmt.Sprint(n) {
				return fmt.Errorf("%s came instead of %d", id, n)
			}
			body = rest
			n++
		}
	}
	return nil
}

// A client that does not read for longer than WriteWait is cut, and goes on from
// its cursor.
func TestStalledReaderIsCut(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Ring, c.WriteWait = 64, time.Second })
		s := a.dial(t, "/sync/ws", nil)
		cursor := s.subscribe("").Cursor
		const changes = 150
		for i := range changes {
			a.save(t, Todo{ID: fmt.Sprint(i), Title: strings.Repeat("x", 20_000)})
		}
		<-time.After(1500 * time.Millisecond)
		n, cuts := 0, 0
		for n < changes {
			require.NoError(t, s.SetReadDeadline(time.Now().Add(20*time.Second)))
			_, body, err := s.ReadMessage()
			if err != nil { // on a busy machine more than once
				cuts++
				s = a.dial(t, "/sync/ws", nil)
				s.subscribe(fmt.Sprintf(`,"since":%q`, cursor))
				continue
			}
			var m message
			require.NoError(t, json.Unmarshal(body, &m))
			require.Equal(t, fmt.Sprint(n), m.Change.EntityID)
			cursor = m.Cursor
			n++
		}
		require.Positive(t, cuts)
	})
}

// TestKilledAndReconnected: a client is cut off at random while writers go on, and
// comes back with the last cursor it got. Nothing is lost, nothing doubled.
func TestKilledAndReconnected(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Ring = 128 })
		stop := make(chan struct{})
		var writers sync.WaitGroup
		var written [4]int
		for w := range written {
			writers.Go(func() {
				pace := time.NewTicker(2 * time.Millisecond)
				defer pace.Stop()
				for n := 0; ; n++ {
					select {
					case <-stop:
						written[w] = n
						return
					case <-pace.C:
					}
					if err := a.db.Create(&[]Todo{{ID: fmt.Sprintf("%d-%d-a", w, n)}, {ID: fmt.Sprintf("%d-%d-b", w, n)}}).Error; err != nil {
						t.Errorf("writing: %v", err)
						return
					}
				}
			})
		}
		k := killed{app: a, seen: map[string]int{}}
		s := a.dial(t, "/sync/ws", nil)
		k.cursor = s.subscribe("").Cursor
		require.NoError(t, s.Close())
		for range *kills {
			k.connect(t, 1+rand.IntN(10))
		}
		close(stop)
		writers.Wait()
		a.save(t, Todo{ID: "end"})
		for k.seen["end"] == 0 {
			k.connect(t, 1000)
		}
		total := 0
		for id, n := range k.seen {
			require.Equal(t, 1, n, id)
			total++
		}
		page := a.pull(t, k.begin)
		require.Len(t, k.seen, len(page))
		for _, id := range page {
			require.Equal(t, 1, k.seen[id], id)
		}
		t.Logf("%d changes over %d connections", total, *kills)
	})
}

// killed is a client that is cut off.
type killed struct {
	app           *app
	begin, cursor string
	seen          map[string]int
}

func (k *killed) connect(t *testing.T, frames int) {
	t.Helper()
	if k.begin == "" {
		k.begin = k.cursor
	}
	s := k.app.dial(t, "/sync/ws", nil)
	batch := rand.IntN(2) == 0
	s.subscribe(fmt.Sprintf(`,"since":%q,"batch":%t`, k.cursor, batch))
	var half []row
	for range frames {
		m := s.next()
		half = append(half, m.Changes...)
		if m.Type == "change" {
			half = append(half, m.Change)
		}
		if m.More {
			continue
		}
		for _, c := range half {
			k.seen[c.EntityID]++
		}
		half = nil
		if m.Cursor != "" {
			k.cursor = m.Cursor
		}
		if k.seen["end"] > 0 {
			break
		}
	}
	require.NoError(t, s.UnderlyingConn().Close()) // without a word
}
