package handlers

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

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
	// Start is called before the first connection is served. Defaults to nothing.
	Start func(context.Context) error
	// Logger takes the errors of requests. Defaults to slog.Default().
	Logger *slog.Logger
}

// Handlers are the HTTP side of one Log.
type Handlers struct {
	cfg     Config
	log     *trackers.Log
	changes *trackers.Changes
	fields  *trackers.Fields
	logger  *slog.Logger
	hub     *hub
	socket  *socket
	pushes  pushLimit

	mu      sync.Mutex
	stop    context.CancelFunc
	stopped chan struct{}
}

// ErrClosed is what Start returns after Close.
var ErrClosed = errors.New("gormsync: closed")

// New makes the handlers. It does no I/O.
func New(cfg Config) *Handlers {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Start == nil {
		cfg.Start = func(context.Context) error { return nil }
	}
	h := &Handlers{cfg: cfg, log: cfg.Log, changes: cfg.Log.Changes(), fields: cfg.Log.Fields(), logger: cfg.Logger}
	h.hub = newHub(cfg.Log, cfg.Logger)
	h.socket = newSocket(h)
	return h
}

// Ring makes the hub look for new changes. It never blocks.
func (h *Handlers) Ring() { h.hub.ring() }

// Start begins to publish. It fails fast when the log cannot be read; a second
// call does nothing.
func (h *Handlers) Start(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stop != nil {
		return nil
	}
	if err := h.hub.begin(ctx); err != nil {
		return err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan struct{})
	h.stop, h.stopped = stop, stopped
	go func() {
		defer close(stopped)
		h.hub.run(run)
	}()
	h.hub.ring()
	return nil
}

// Close ends all connections, telling the clients to come back, and the hub. It
// waits until all is quiet or ctx ends, and then gives ctx's error.
func (h *Handlers) Close(ctx context.Context) error {
	h.mu.Lock()
	stop, stopped := h.stop, h.stopped
	h.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.socket.close()
		if stop != nil {
			stop()
			<-stopped
		}
		h.hub.background.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Handlers) entityNames() []string {
	var names []string
	for name := range h.log.Entities() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
