package handlers_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// starter is start or startTLS.
type starter func(*testing.T, *dbtest.DB, func(*gormsync.Config, *echo.Echo)) *app

// eachTransport tests both ways of writing: directly, and by melody for TLS.
func eachTransport(t *testing.T, fn func(*testing.T, *dbtest.DB, starter)) {
	t.Helper()
	t.Run("tcp", func(t *testing.T) { dbtest.Each(t, func(t *testing.T, d *dbtest.DB) { fn(t, d, start) }) })
	t.Run("tls", func(t *testing.T) { dbtest.Each(t, func(t *testing.T, d *dbtest.DB) { fn(t, d, startTLS) }) })
}

// Answers to pings come between the frames of changes, of all sizes, and never amid
// one, also while those fill the socket time and again; of pings that come while it
// is full only the last one has to be answered.
func TestFramesAreWhole(t *testing.T) {
	eachTransport(t, func(t *testing.T, d *dbtest.DB, start starter) {
		t.Helper()
		const changes, pings = 100, 200
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Limits.MessageRate, c.WriteWait = -1, time.Minute })
		s := a.dial(t, "/sync/ws", nil)
		s.subscribe("")
		pongs := make(chan string, pings)
		s.SetPongHandler(func(data string) error {
			pongs <- data
			return nil
		})
		pinged := make(chan struct{})
		go func() {
			defer close(pinged)
			for i := range pings {
				if s.WriteControl(websocket.PingMessage, fmt.Append(nil, i), time.Now().Add(10*time.Second)) != nil {
					return // the test has failed already
				}
				<-time.After(time.Millisecond)
			}
		}()
		go func() {
			for i := range changes {
				if err := a.db.Save(&Todo{ID: fmt.Sprint(i), Title: strings.Repeat("x", 1+i%3*40_000)}).Error; err != nil {
					t.Errorf("saving: %v", err)
				}
			}
		}()
		for i := range changes {
			m := s.next()
			require.Equal(t, fmt.Sprint(i), m.Change.EntityID)
			if i%10 == 0 {
				<-time.After(20 * time.Millisecond)
			}
		}
		<-pinged
		for range 2 { // behind all others, and behind what was left to the first one's writer
			s.send(`{"type":"ping"}`)
			require.Equal(t, "pong", s.next().Type)
		}
		close(pongs)
		last := -1
		for data := range pongs {
			i, err := strconv.Atoi(data)
			require.NoError(t, err)
			require.Greater(t, i, last)
			last = i
		}
		require.Equal(t, pings-1, last)
	})
}

// A client that does not read gets everything once it does, whatever writes.
func TestStalledThenReads(t *testing.T) {
	eachTransport(t, func(t *testing.T, d *dbtest.DB, start starter) {
		t.Helper()
		const changes = 150
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Ring, c.WriteWait = 64, time.Minute })
		s := a.dial(t, "/sync/ws", nil)
		s.subscribe("")
		for i := range changes {
			a.save(t, Todo{ID: fmt.Sprint(i), Title: strings.Repeat("x", 20_000)})
		}
		for i := range changes {
			require.Equal(t, fmt.Sprint(i), s.nextWithin(time.Minute).Change.EntityID)
		}
	})
}

// Every close code comes through, whatever writes.
func TestCloseCodes(t *testing.T) {
	eachTransport(t, func(t *testing.T, d *dbtest.DB, start starter) {
		t.Helper()
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.Limits.MessageRate = 200 })
		a.users.set("alice", team("red"))
		dial := func() ws {
			s := a.dial(t, "/sync/ws?token=alice", nil)
			s.subscribe("")
			return s
		}
		s := dial()
		s.send(strings.Repeat("x", 1<<20))
		require.Equal(t, 1009, s.code())
		s = dial()
		s.send(`{"type":"ping` + "\xff" + `"}`)
		require.Equal(t, 1007, s.code())
		require.Equal(t, 4029, floodOver(dial(), func(s ws) error { return s.WriteMessage(websocket.PongMessage, nil) }))
		require.Equal(t, 4029, floodOver(dial(), emptyFragments()))
		s = dial()
		require.Positive(t, a.sync.Disconnect(func(x gormsync.Access) bool { return x.Actor == "alice" }))
		require.Equal(t, 4001, s.code())
		s = dial()
		require.NoError(t, a.sync.Close(t.Context()))
		require.Equal(t, 1012, s.code())
	})
}

// reader is a client's connection that takes its time over each read, and keeps
// what it read.
type reader struct {
	net.Conn
	pause time.Duration
	read  *bytes.Buffer
}

func (r *reader) Read(p []byte) (int, error) {
	<-time.After(r.pause)
	n, err := r.Conn.Read(p[:min(len(p), 8<<10)])
	r.read.Write(p[:n])
	return n, err
}

// readBy has the application's clients read in that way.
func (a *app) readBy(t *testing.T, pause time.Duration) *bytes.Buffer {
	t.Helper()
	r := &reader{pause: pause, read: &bytes.Buffer{}}
	a.dialer.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		r.Conn = conn
		return r, conn.(*net.TCPConn).SetReadBuffer(32 << 10)
	}
	return r.read
}

// A client that reads slowly, but reads, gets a row for which the time of a message
// would not do.
func TestSlowReaderGetsLargeRow(t *testing.T) {
	eachTransport(t, func(t *testing.T, d *dbtest.DB, start starter) {
		t.Helper()
		const size, wait = 3 << 19, time.Second
		a := start(t, d, func(c *gormsync.Config, _ *echo.Echo) { c.WriteWait = wait })
		read := a.readBy(t, 10*time.Millisecond)
		s := a.dial(t, "/sync/ws", nil)
		s.subscribe("")
		a.save(t, Todo{ID: "large", Title: strings.Repeat("x", size)})
		began := time.Now()
		require.Equal(t, "large", s.nextWithin(time.Minute).Change.EntityID)
		require.Greater(t, read.Len(), size)
		require.Greater(t, time.Since(began), wait, "it was not slow")
	})
}

// Nothing comes behind the frame that closes a connection, however much is due.
func TestNothingFollowsClose(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		read := a.readBy(t, 0)
		for round := range 20 {
			read.Reset()
			s := a.dial(t, "/sync/ws", nil)
			s.subscribe("")
			done := make(chan error)
			go func() {
				var rows []Todo
				for i := range 100 {
					rows = append(rows, Todo{ID: fmt.Sprint(i), Title: fmt.Sprint(round, strings.Repeat("x", i*100))})
				}
				done <- a.db.Save(&rows).Error
			}()
			s.next()
			require.NoError(t, s.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second)))
			for {
				if _, _, err := s.ReadMessage(); err != nil {
					break
				}
			}
			_, _ = io.Copy(io.Discard, s.NetConn()) // what came behind the close, until the server hangs up
			require.NoError(t, <-done)
			require.Equal(t, byte(0x88), lastFrame(t, read.Bytes()))
		}
	})
}

// lastFrame gives the first byte of the last of the frames behind a handshake.
func lastFrame(t *testing.T, read []byte) (first byte) {
	t.Helper()
	_, rest, ok := bytes.Cut(read, []byte("\r\n\r\n"))
	require.True(t, ok)
	for len(rest) > 0 {
		first = rest[0]
		head, n := 2, int(rest[1])
		switch n {
		case 126:
			head, n = 4, int(binary.BigEndian.Uint16(rest[2:]))
		case 127:
			head, n = 10, int(binary.BigEndian.Uint64(rest[2:]))
		}
		require.LessOrEqual(t, head+n, len(rest))
		rest = rest[head+n:]
	}
	return first
}

// floodOver sends until the server has had enough.
func floodOver(s ws, send func(ws) error) int {
	go func() {
		for send(s) == nil {
		}
	}()
	return s.code()
}

// emptyFragments begins a message and goes on with nothing, for ever.
func emptyFragments() func(ws) error {
	next := []byte{0x01, 0x81, 0, 0, 0, 0, '{'} // text, not final, masked
	return func(s ws) error {
		_, err := s.NetConn().Write(next)
		next = []byte(strings.Repeat("\x00\x80\x00\x00\x00\x00", 100))
		return err
	}
}
