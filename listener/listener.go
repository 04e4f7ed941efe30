package listener

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Config configures a Listener.
type Config struct {
	// DB is the application's pool. Required.
	DB *sql.DB
	// Dialect is "postgres" or "sqlite". Required.
	Dialect string
	// DSN is where to LISTEN and NOTIFY on PostgreSQL, in any form that pgx
	// takes. It must lead to the database of DB. Defaults to where the
	// connections of DB lead, which only pgx tells.
	DSN string
	// Channel is PostgreSQL's name for the bell, at most 63 bytes. Required there.
	Channel string
	// NoNotify neither sends nor hears bells of other processes: the poll alone
	// finds their changes. Defaults to false.
	NoNotify bool
	// Poll is how often Ring is called though no bell was heard, about; every 0.5 s
	// if that is more often and bells do not arrive, unless NoNotify is set. Not
	// positive: never.
	Poll time.Duration
	// Ring is called at every bell, by one goroutine at a time. Required.
	Ring func()
	// Logger is told when bells cease to arrive and when they are back. Defaults
	// to slog.Default().
	Logger *slog.Logger
}

// Listener hears the bells of other processes and rings theirs. Make it with New.
type Listener struct {
	cfg    Config
	parsed *pgx.ConnConfig // of cfg.DSN; nil: ask the pool
	id     string          // what our own bells carry

	bells   chan struct{} // somebody is to look
	commits chan struct{} // others are to be told
	changed chan struct{} // the mode is another

	plain atomic.Bool // parameters of a connection were refused

	mu     sync.Mutex
	status Status
	told   string               // the state that was logged last; empty: all is well
	toldAt map[string]time.Time // when a state was logged last
	good   target               // where LISTEN worked last
}

// maxChannel is how many bytes of a name PostgreSQL keeps.
const maxChannel = 63

// New makes a listener. It reads the DSN and does nothing else: no connection, no
// goroutine.
func New(cfg Config) (*Listener, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	l := &Listener{
		cfg: cfg, id: rand.Text(),
		bells: make(chan struct{}, 1), commits: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		status: Status{Mode: Off, Since: time.Now(), Reason: "not started"}, toldAt: map[string]time.Time{},
	}
	switch {
	case cfg.Dialect == sqlite && cfg.DSN != "":
		return nil, errors.New("gormsync: Config.ListenDSN is for PostgreSQL, and this database is SQLite; leave it empty")
	case cfg.Dialect == sqlite:
		return l, nil
	case len(cfg.Channel) > maxChannel:
		return nil, fmt.Errorf("gormsync: the channel %q has more than %d bytes; choose a shorter Config.TablePrefix", cfg.Channel, maxChannel)
	case cfg.DSN == "":
		return l, nil
	}
	parsed, err := pgx.ParseConfig(cfg.DSN)
	if err != nil { // pgx leaves the password out of it
		return nil, fmt.Errorf("gormsync: Config.ListenDSN: %w", err)
	}
	if err := usable(parsed); err != nil {
		return nil, fmt.Errorf("gormsync: Config.ListenDSN: %w", err)
	}
	l.parsed = parsed
	return l, nil
}

const sqlite = "sqlite"

// Begin sets the mode that holds until Run knows more. Run calls it too; call it
// before if Run is called in a goroutine and Status may be asked at once.
func (l *Listener) Begin() {
	switch {
	case l.Status().Mode != Off:
	case l.cfg.NoNotify:
		l.set(Polling, "Config.NoNotify is set", nil)
	default:
		l.set(Degraded, "not connected yet", nil)
	}
}

// Run listens, polls and announces until ctx ends. When it returns, nothing of it
// runs any more. It is meant to be called once.
func (l *Listener) Run(ctx context.Context) {
	l.Begin()
	var all sync.WaitGroup
	all.Go(func() { l.ringer(ctx) })
	if l.cfg.Poll > 0 {
		all.Go(func() { l.poll(ctx) })
	}
	switch {
	case l.cfg.NoNotify:
	case l.cfg.Dialect == sqlite:
		all.Go(func() { l.watch(ctx) })
	default:
		all.Go(func() { l.listen(ctx) })
		all.Go(func() { l.announce(ctx) })
	}
	all.Wait()
	l.set(Off, "closed", nil)
}

// Announce tells the other processes, soon, that the log has grown. It never
// blocks. On SQLite they see the file change without being told.
func (l *Listener) Announce() { signal(l.commits) }

// ring has Ring called soon.
func (l *Listener) ring() { signal(l.bells) }

// ringer calls Ring. It is apart from whoever hears the bells, because they must
// never wait: a listening connection that is not read holds up PostgreSQL's queue.
func (l *Listener) ringer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.bells:
			l.cfg.Ring()
		}
	}
}

// signal fills a channel of one place.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is full, and who reads it has yet to look
	}
}

// pause waits; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
