package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// fanoutEnv makes this test binary the clients of a fan-out instead: they have a
// process of their own, so that the server's use of the processor can be told apart.
const fanoutEnv = "GORMSYNC_FANOUT_CLIENTS"

// fanoutOrder is what the clients are to do.
type fanoutOrder struct {
	Address   string // host:port
	Path      string // with %d for the number of the connection, modulo Paths
	Paths     int
	Clients   int
	Subscribe string // the first message; empty for none
	Expect    int    // deliveries in all
}

// fanoutResult is what came of it.
type fanoutResult struct {
	Deliveries, Frames int
	Doubled            int // came to a connection again, or out of order
	P50, P99           time.Duration
	Problem            string
}

// The payload of a delivery holds the time when it was sent.
const (
	stampBegin = "@@"
	stampLen   = 19 // of the nanoseconds since 1970
)

func stamp() string { return stampBegin + strconv.FormatInt(time.Now().UnixNano(), 10) }

// fanoutClients runs in the process of the clients: orders come in by stdin. It
// says "ready" when all are connected, and then what came.
func fanoutClients() error {
	var order fanoutOrder
	if err := json.NewDecoder(os.Stdin).Decode(&order); err != nil {
		return err
	}
	f := &fanout{order: order, done: make(chan struct{})}
	conns := make([]*bufio.Reader, order.Clients)
	next := make(chan int)
	var dialing sync.WaitGroup
	failed := make(chan error, 1)
	for range 32 {
		dialing.Go(func() {
			for i := range next {
				var err error
				if conns[i], err = f.dial(i); err != nil {
					select {
					case failed <- fmt.Errorf("client %d: %w", i, err):
					default:
					}
				}
			}
		})
	}
	for i := range conns {
		next <- i
	}
	close(next)
	dialing.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	f.begun = time.Now() // what was sent before may still be on its way
	for _, in := range conns {
		go f.read(in)
	}
	if _, err := fmt.Fprintln(os.Stdout, "ready"); err != nil {
		return err
	}
	select {
	case <-f.done:
	case <-time.After(60 * time.Second):
		f.problem = "not all came within 60 s"
	}
	return json.NewEncoder(os.Stdout).Encode(f.result())
}

type fanout struct {
	order   fanoutOrder
	mu      sync.Mutex
	lags    []time.Duration
	frames  int
	doubled int
	problem string
	begun   time.Time
	done    chan struct{}
}

// dial makes a WebSocket by hand and subscribes.
func (f *fanout) dial(i int) (*bufio.Reader, error) {
	conn, err := net.Dial("tcp", f.order.Address)
	if err != nil {
		return nil, err
	}
	path := f.order.Path
	if strings.Contains(path, "%d") {
		path = fmt.Sprintf(path, i%f.order.Paths)
	}
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, f.order.Address)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 2048)
	for first := true; ; first = false {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if first && !strings.Contains(line, "101") {
			return nil, errors.New(line)
		}
		if line == "\r\n" {
			break
		}
	}
	if f.order.Subscribe == "" {
		return in, nil
	}
	message := append([]byte{0x81, 0x80 | byte(len(f.order.Subscribe)), 0, 0, 0, 0}, f.order.Subscribe...) // masked with nothing
	if _, err := conn.Write(message); err != nil {
		return nil, err
	}
	body, err := wsFrame(in, nil)
	if err == nil && !bytes.Contains(body, []byte(`"subscribed"`)) {
		err = fmt.Errorf("%s", body)
	}
	return in, err
}

// wsFrame reads one frame of a server.
func wsFrame(in *bufio.Reader, buf []byte) ([]byte, error) {
	var head [10]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return nil, err
	}
	n := uint64(head[1] & 127)
	more := 0
	switch n {
	case 126:
		more = 2
	case 127:
		more = 8
	}
	if more > 0 {
		if _, err := io.ReadFull(in, head[2:2+more]); err != nil {
			return nil, err
		}
		n = 0
		for _, b := range head[2 : 2+more] {
			n = n<<8 | uint64(b)
		}
	}
	if uint64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	_, err := io.ReadFull(in, buf[:n])
	return buf[:n], err
}

func (f *fanout) read(in *bufio.Reader) {
	var buf []byte
	var last int64
	for {
		body, err := wsFrame(in, buf)
		if err != nil {
			return
		}
		buf = body[:0]
		now := time.Now()
		var lags []time.Duration
		doubled := 0
		for {
			_, rest, found := bytes.Cut(body, []byte(stampBegin))
			if !found || len(rest) < stampLen {
				break
			}
			sent, err := strconv.ParseInt(string(rest[:stampLen]), 10, 64)
			if err != nil {
				break
			}
			body = rest[stampLen:]
			if sent < f.begun.UnixNano() {
				continue
			}
			if sent <= last {
				doubled++
			}
			last = sent
			lags = append(lags, now.Sub(time.Unix(0, sent)))
		}
		if len(lags) == 0 {
			continue
		}
		f.mu.Lock()
		was := len(f.lags)
		f.frames++
		f.doubled += doubled
		f.lags = append(f.lags, lags...)
		if was < f.order.Expect && len(f.lags) >= f.order.Expect {
			close(f.done)
		}
		f.mu.Unlock()
	}
}

func (f *fanout) result() fanoutResult {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := fanoutResult{Deliveries: len(f.lags), Frames: f.frames, Doubled: f.doubled, Problem: f.problem}
	slices.Sort(f.lags)
	if n := len(f.lags); n > 0 {
		r.P50, r.P99 = f.lags[n/2], f.lags[n*99/100]
	}
	return r
}
