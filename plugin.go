package gormsync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/handlers"
	"github.com/rhtmx/gormsync/listener"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// ErrClosed is what Start returns after Close.
var ErrClosed = handlers.ErrClosed

// Status tells how a Plugin notices changes of other processes; see its fields.
type Status = listener.Status

// The values of Status.Mode.
const (
	Off       = listener.Off       // not started, or closed
	Listening = listener.Listening // bells arrive
	Degraded  = listener.Degraded  // bells do not arrive at present; the log is polled
	Polling   = listener.Polling   // bells cannot arrive; the log is polled
)

// ErrRawSQL is what raw SQL that writes to a tracked table gets with StrictRaw.
var ErrRawSQL = trackers.ErrRawSQL

var errNotUsed = errors.New("gormsync: the plugin has no database yet; call db.Use(sync) first")

// Plugin records the changes of its entities and serves them. It is a
// gorm.Plugin. Make it with New.
type Plugin struct {
	cfg      Config
	listener atomic.Pointer[listener.Listener] // nil before db.Use

	using sync.Mutex // held by Initialize, which works with the database

	mu       sync.Mutex // held for moments
	log      *trackers.Log
	handlers *handlers.Handlers
	started  bool
	closed   bool
	stop     context.CancelFunc
	running  sync.WaitGroup
}

var _ gorm.Plugin = (*Plugin)(nil)

// New makes a plugin. It checks the configuration and does nothing else: no
// connection, no goroutine.
func New(cfg Config) (*Plugin, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Plugin{cfg: cfg.withDefaults()}, nil
}

// Name implements gorm.Plugin.
func (p *Plugin) Name() string { return "gormsync" }

// Initialize implements gorm.Plugin; db.Use calls it. It makes the log tables
// unless SkipMigrate is set, and from then on every change that goes through db
// is recorded. Plugins like dbresolver call it again for further connections to
// the same database; another database needs a plugin of its own.
func (p *Plugin) Initialize(db *gorm.DB) error {
	p.using.Lock()
	defer p.using.Unlock()
	if err := trackers.CheckDialect(db); err != nil {
		return err
	}
	ctx := context.Background()
	if err := p.prepare(ctx, db); err != nil {
		return err
	}
	if p.log == nil {
		if err := p.bind(ctx, db); err != nil {
			return err
		}
	}
	if db.Name() != p.log.Dialect() {
		return fmt.Errorf("gormsync: the plugin is on a %s database already; make another plugin for this %s", p.log.Dialect(), db.Name())
	}
	return p.log.Capture(db)
}

// prepare makes and upgrades the log tables, or sees that somebody has.
func (p *Plugin) prepare(ctx context.Context, db *gorm.DB) error {
	if !p.cfg.SkipMigrate {
		return migrate.Up(ctx, db, p.cfg.TablePrefix)
	}
	version, err := migrate.Version(ctx, db, p.cfg.TablePrefix)
	if err == nil && 0 < version && version < migrate.SchemaVersion {
		err = fmt.Errorf("gormsync: the log tables are of schema version %d, and SkipMigrate is set; run migrate.Up (or gormsync migrate up), which makes them %d", version, migrate.SchemaVersion)
	}
	return err
}

func (p *Plugin) bind(ctx context.Context, db *gorm.DB) error {
	log, err := trackers.NewLog(ctx, db, trackers.Config{
		Entities: p.cfg.Entities, Prefix: p.cfg.TablePrefix, NoWrap: p.cfg.NoWrap, StrictRaw: p.cfg.StrictRaw,
		Logger: p.cfg.Logger, Ring: p.committed,
	})
	if err != nil {
		return err
	}
	l, err := p.newListener(db)
	if err != nil {
		return err
	}
	h := handlers.New(handlers.Config{
		Log: log, Authorize: p.cfg.Authorize, AllowedOrigins: p.cfg.AllowedOrigins, Start: p.Start, Logger: p.cfg.Logger,
		Limits: p.cfg.Limits, Heartbeat: p.cfg.Heartbeat, Window: p.cfg.Window, Reauthorize: p.cfg.Reauthorize, WriteWait: p.cfg.WriteWait,
		Ring: p.cfg.Ring, Observer: p.cfg.Observer, Failed: l.Failed,
	})
	p.listener.Store(l)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log, p.handlers = log, h
	return nil
}

// newListener makes the listener; it does not start.
func (p *Plugin) newListener(db *gorm.DB) (*listener.Listener, error) {
	pool, err := db.DB()
	if err != nil {
		return nil, fmt.Errorf("gormsync: the database has no *sql.DB: %w", err)
	}
	return listener.New(listener.Config{
		DB: pool, Dialect: db.Name(), DSN: p.cfg.ListenDSN, Channel: models.TablesFor(p.cfg.TablePrefix).Channel,
		NoNotify: p.cfg.NoNotify, Poll: p.cfg.Poll, Ring: p.heard, Logger: p.cfg.Logger,
	})
}

// committed is the bell of this process: a commit wrote to the log. Those who
// follow the log have been told already.
func (p *Plugin) committed() {
	p.handlers.Ring()
	p.listener.Load().Announce()
}

// heard is the bell of other processes, or the poll.
func (p *Plugin) heard() {
	p.handlers.Ring()
	p.log.Wake()
}

// Status tells how changes of other processes are noticed, and if bells do not
// arrive, why and what to do. Before db.Use its Mode is Off. It never blocks.
func (p *Plugin) Status() Status {
	l := p.listener.Load()
	if l == nil {
		return Status{Mode: Off, Reason: errNotUsed.Error()}
	}
	return l.Status()
}

// Mount adds the routes to an Echo group, such as e.Group("/api"); what
// middleware the group has runs before them. The hub starts with the first
// connection, or with Start.
func (p *Plugin) Mount(g *echo.Group) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.handlers == nil {
		return fmt.Errorf("%w, then Mount", errNotUsed)
	}
	return p.handlers.Mount(g)
}

// Routes gives the routes on net/http, for routers other than Echo v4, which then
// need no Mount and no Config.Authorize. It returns an error before db.Use.
func (p *Plugin) Routes() ([]Route, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.handlers == nil {
		return nil, fmt.Errorf("%w, then Routes", errNotUsed)
	}
	return p.handlers.Routes(), nil
}

// startLimit is how long Start may take.
const startLimit = 5 * time.Second

// Start begins to follow the log, to listen for other processes and to tell them
// of changes; so a process that serves nobody calls it too. Mount has it called
// with the first connection. It fails within 5 s when the database cannot be
// read, and at once with ctx's error when ctx ends; see Status for whether bells
// arrive. A second call does nothing; after Close, and for those who wait when
// Close is called, it returns ErrClosed.
func (p *Plugin) Start(ctx context.Context) error {
	p.mu.Lock()
	h, closed := p.handlers, p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case h == nil:
		return fmt.Errorf("%w, then Start", errNotUsed)
	}
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := h.Start(limited); errors.Is(err, ErrClosed) {
		return ErrClosed
	} else if err != nil {
		return fmt.Errorf("gormsync: the log cannot be read, so it is not followed; is the database up, and is a connection of its pool free? %w", err)
	}
	return p.begin(ctx)
}

// begin has everything run that goes on until Close, once.
func (p *Plugin) begin(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrClosed
	case p.started:
		return nil
	}
	p.started = true
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	l := p.listener.Load()
	l.Begin()
	p.running.Go(func() { l.Run(run) })
	if p.cfg.Retention > 0 || p.cfg.MutationRetention > 0 || slices.ContainsFunc(p.cfg.Entities, func(e Entity) bool { return e.KeepLatest }) {
		p.running.Go(func() { p.sweep(run) })
	}
	return nil
}

// sweepEvery is how often the log is cleaned up.
const sweepEvery = time.Hour

// sweep cleans the log up at once, since a process may live for less than an hour,
// and then from time to time. What fails is tried again next time.
func (p *Plugin) sweep(ctx context.Context) {
	clean := func() {
		if err := p.clean(ctx); err != nil && ctx.Err() == nil {
			p.cfg.Logger.Error("gormsync: the log could not be cleaned up; it will be tried again", "error", err)
		}
	}
	clean()
	listener.Poll(ctx, sweepEvery, clean)
}

func (p *Plugin) clean(ctx context.Context) (err error) {
	if p.cfg.MutationRetention > 0 {
		_, err = p.log.ForgetMutations(ctx, p.cfg.MutationRetention)
	}
	if p.cfg.Retention > 0 {
		_, cleanupErr := p.log.Cleanup(ctx, p.cfg.Retention)
		return errors.Join(err, cleanupErr)
	}
	_, thinErr := p.log.Thin(ctx)
	return errors.Join(err, thinErr)
}

// Cleanup removes changes older than that from both logs now, and gives the
// number of changes removed; see Config.Retention. It returns an error before
// db.Use.
func (p *Plugin) Cleanup(ctx context.Context, olderThan time.Duration) (int64, error) {
	p.mu.Lock()
	log := p.log
	p.mu.Unlock()
	if log == nil {
		return 0, fmt.Errorf("%w, then Cleanup", errNotUsed)
	}
	return log.Cleanup(ctx, olderThan)
}

// Close ends all live connections, telling the clients to come back, and stops
// following the log. It waits until all is quiet, or until ctx ends and then
// returns its error. Changes go on being recorded. A second call does nothing.
//
// Call it before e.Shutdown, which does not end WebSockets.
func (p *Plugin) Close(ctx context.Context) error {
	p.mu.Lock()
	h, stop := p.handlers, p.stop
	p.closed = true
	p.mu.Unlock()
	if h == nil {
		return nil
	}
	if stop != nil {
		stop()
	}
	if err := h.Close(ctx); err != nil {
		return fmt.Errorf("gormsync: closing: %w", err)
	}
	quiet := make(chan struct{})
	go func() {
		defer close(quiet)
		p.running.Wait()
	}()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("gormsync: closing: %w", ctx.Err())
	}
}

// Disconnect ends the live connections of which any Access matches, at once, with
// the close code 4001, and gives their number. Take the right away first, so that
// whoever comes back is refused: it ends what is, and forbids nothing. It returns
// 0 before db.Use.
func (p *Plugin) Disconnect(match func(Access) bool) int {
	p.mu.Lock()
	h := p.handlers
	p.mu.Unlock()
	if h == nil {
		return 0
	}
	return h.Disconnect(match)
}

// Changes gives the change log; nil before db.Use.
func (p *Plugin) Changes() *trackers.Changes {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.log == nil {
		return nil
	}
	return p.log.Changes()
}

// Fields gives the field log; nil before db.Use.
func (p *Plugin) Fields() *trackers.Fields {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.log == nil {
		return nil
	}
	return p.log.Fields()
}
