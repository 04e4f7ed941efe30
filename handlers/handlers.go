package handlers

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rhtmx/gormsync/trackers"
)

// Config configures Handlers.
type Config struct {
	// Log is read. Required.
	Log *trackers.Log
	// Authorize decides on access. Mount requires it.
	Authorize Authorize
	// AllowedOrigins are the origins, such as https://app.example.com, whose
	// pages may connect beside those of the server's own host. Defaults to none.
	AllowedOrigins []string
	// Limits bound what clients may take of the server.
	Limits Limits
	// Heartbeat is how often a client hears from us at least, and how far the log
	// is. Proxies cut connections that are silent for 60 s. Defaults to 25 s.
	Heartbeat time.Duration
	// Window is how long changes are gathered after some were sent, so that a busy
	// log costs fewer frames; a change after a quiet time is sent at once. -1 turns
	// it off. Defaults to 5 ms.
	Window time.Duration
	// Reauthorize is how often Authorize is asked again for a live connection, at
	// the latest when its Access expires. Defaults to 5 min.
	Reauthorize time.Duration
	// WriteWait is how long a connection may take for each 16 KiB of a frame before
	// it is cut. Defaults to 10 s.
	WriteWait time.Duration
	// Ring is how many of the newest changes are held in memory, in 64 MiB at most.
	// Defaults to 8192.
	Ring int
	// Observer is told what happens, for metrics. Defaults to nobody.
	Observer Observer
	// Start is called before the first connection is served. Defaults to nothing.
	Start func(context.Context) error
	// Failed is told of each read of the log for live connections that failed.
	// Defaults to nobody.
	Failed func(error)
	// Logger takes the errors of requests. Defaults to slog.Default().
	Logger *slog.Logger
}

// maxReads is how many sessions read the log at the same time: after a restart
// all of them come at once, and the application needs the database too.
const maxReads = 4

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Start == nil {
		c.Start = func(context.Context) error { return nil }
	}
	if c.Failed == nil {
		c.Failed = func(error) {}
	}
	if c.Observer == nil {
		c.Observer = NopObserver{}
	}
	c.Heartbeat = cmp.Or(c.Heartbeat, 25*time.Second)
	c.Window = cmp.Or(c.Window, 5*time.Millisecond)
	c.Reauthorize = cmp.Or(c.Reauthorize, 5*time.Minute)
	c.WriteWait = cmp.Or(c.WriteWait, 10*time.Second)
	c.Ring = cmp.Or(c.Ring, 8192)
	return c
}

// Handlers are the HTTP side of one Log.
type Handlers struct {
	cfg      Config
	log      *trackers.Log
	changes  *trackers.Changes
	fields   *trackers.Fields
	logger   *slog.Logger
	observer Observer
	hub      *hub // of the changes
	fieldHub *hub // of the fields; runs when somebody follows them
	socket   *socket
	streams  sync.WaitGroup // of server-sent events
	counter  counter
	pushes   pushLimit

	revoked atomic.Uint64 // how often Disconnect was called
	livesMu sync.Mutex
	lives   map[*live]struct{}

	mu       sync.Mutex
	running  map[*hub]bool
	attempts map[*hub]*attempt
	ctx      context.Context // of the hubs
	stop     context.CancelFunc
	hubs     sync.WaitGroup
	closed   bool
}

// ErrClosed is what Start returns after Close.
var ErrClosed = errors.New("gormsync: closed")

// New makes the handlers. It does no I/O.
func New(cfg Config) *Handlers {
	cfg = cfg.withDefaults()
	h := &Handlers{
		cfg: cfg, log: cfg.Log, changes: cfg.Log.Changes(), fields: cfg.Log.Fields(), logger: cfg.Logger, observer: cfg.Observer,
		counter: counter{limits: cfg.Limits.withDefaults()}, lives: map[*live]struct{}{}, running: map[*hub]bool{}, attempts: map[*hub]*attempt{},
	}
	h.ctx, h.stop = context.WithCancel(context.Background())
	opts := hubOptions{
		ring: cfg.Ring, window: cfg.Window, heartbeat: cfg.Heartbeat, reads: make(chan struct{}, maxReads), observer: cfg.Observer, logger: cfg.Logger,
		failed: cfg.Failed,
	}
	h.hub = newHub(cfg.Log, changeSource{h.changes}, opts)
	h.fieldHub = newHub(cfg.Log, fieldSource{h.fields}, opts)
	h.socket = newSocket(h)
	return h
}

// Ring makes the hubs look for new changes. It never blocks.
func (h *Handlers) Ring() {
	h.hub.bellRung()
	h.fieldHub.bellRung()
}

// Close ends all connections, telling the clients to come back, and the hubs. New
// connections are refused from then on. It waits until all is quiet or ctx ends,
// and then gives ctx's error; within a few seconds it cuts the connections of
// clients that do not read.
func (h *Handlers) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.socket.end()
		h.each(func(l *live) { l.fail(closeRestart) })
		h.hub.stop()
		h.fieldHub.stop()
		h.stop()
		h.socket.open.Wait()
		h.socket.shards.end()
		h.streams.Wait()
		h.hubs.Wait()
		h.hub.background.Wait()
		h.fieldHub.background.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Disconnect ends the live connections of which any Access matches, at once, with
// the close code 4001, and gives their number. Take the right away first, so that
// whoever comes back is refused.
func (h *Handlers) Disconnect(match func(Access) bool) int {
	h.revoked.Add(1)
	n := 0
	h.each(func(l *live) {
		l.accessMu.Lock()
		hit := false
		for _, a := range l.access {
			hit = hit || match(a)
		}
		l.accessMu.Unlock()
		if hit {
			n++
			l.fail(closeExpired)
		}
	})
	return n
}

// each calls fn with every live connection.
func (h *Handlers) each(fn func(*live)) {
	h.livesMu.Lock()
	all := make([]*live, 0, len(h.lives))
	for l := range h.lives {
		all = append(all, l)
	}
	h.livesMu.Unlock()
	for _, l := range all {
		fn(l)
	}
}

// has reports whether an entity has the hub's log.
func (h *hub) has(entity string) bool {
	t := h.log.Entity(entity)
	return t != nil && (t.FieldLog || h.source.noun() != "field_change")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (h *Handlers) entityNames() []string { return sortedKeys(h.log.Entities()) }
