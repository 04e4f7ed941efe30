package gormsync

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rhtmx/gormsync/handlers"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// Entity says which model is tracked and how.
type Entity = trackers.Entity

// Access is what one client may do with one entity.
type Access = handlers.Access

// Route is one route on net/http; see Plugin.Routes.
type Route = handlers.Route

// Client is who stands behind a request to a Route.
type Client = handlers.Client

// Limits bound what clients may take of the server.
type Limits = handlers.Limits

// Observer is told what delivery does, for metrics.
type Observer = handlers.Observer

// Config configures a Plugin. Its zero value lacks only Entities.
type Config struct {
	// Entities are the models to track. Required.
	Entities []Entity
	// Authorize decides what the client of a request may do with an entity. Mount
	// requires it. It is asked on every pull, push and subscription, also for
	// names that are no entity. An *echo.HTTPError is answered with its own
	// status, any other error with 500. Defaults to nil.
	Authorize func(c echo.Context, entity string) (Access, error)
	// AllowedOrigins are the origins, such as https://app.example.com, whose
	// pages may open a WebSocket beside those of the server's own host. Defaults
	// to none.
	AllowedOrigins []string
	// TablePrefix begins the names of the log tables: up to 30 letters, digits and
	// underscores. Defaults to "_rhtmx_".
	TablePrefix string
	// SkipMigrate leaves the log tables to migrate.Up, which then must have run
	// before db.Use. Defaults to false: db.Use makes and upgrades them.
	SkipMigrate bool
	// NoWrap leaves the ConnPool of the *gorm.DB as it is, for code that asserts
	// its type. Commits are then seen by the poll only. Defaults to false.
	NoWrap bool
	// StrictRaw makes raw SQL (db.Exec, db.Raw) that writes to a tracked table an
	// error that wraps ErrRawSQL. Defaults to false: a warning, once for each
	// place in the code.
	StrictRaw bool
	// Poll is how often the log is looked at for changes that nobody announced,
	// such as those of a process that died between its commit and its bell; every
	// 0.5 s while bells of other processes do not arrive but should. -1 turns it
	// off. Defaults to 2 s, with NoNotify to 0.5 s.
	Poll time.Duration
	// ListenDSN is where this process listens for the bells of others on
	// PostgreSQL, and sends its own, in any form that GORM's driver takes. It must
	// lead to the database of the plugin, directly or through a session pooler: a
	// transaction pooler does not hand bells over. Defaults to where the pool of
	// the *gorm.DB leads.
	ListenDSN string
	// NoNotify neither listens for bells of other processes nor sends any; the
	// poll finds their changes. Defaults to false.
	NoNotify bool
	// Retention is how long changes stay in the log. A client that was away for
	// longer takes a new snapshot. The newest change of a row that still exists
	// stays for ever. -1 keeps everything. Defaults to 7 days.
	Retention time.Duration
	// MutationRetention is how long the answers to pushed changes are remembered. A
	// client that sends a change once more after that time makes it once more. -1
	// keeps them for ever. Defaults to 90 days.
	MutationRetention time.Duration
	// Limits bound what clients may take of the server, each with its own default.
	Limits Limits
	// Heartbeat is how often a live client hears from the server at least, and how
	// far the log is. Proxies cut connections that are silent for 60 s. Defaults
	// to 25 s.
	Heartbeat time.Duration
	// Window is how long changes are gathered after some were sent, so that a busy
	// log costs fewer messages; a change after a quiet time is sent at once. -1
	// turns it off. Defaults to 5 ms.
	Window time.Duration
	// Reauthorize is how often Authorize is asked again for a live connection, and
	// at the latest when its Access expires: the application's middleware and then
	// Authorize see a GET request with the headers with which it connected.
	// Defaults to 5 min.
	Reauthorize time.Duration
	// WriteWait is how long a live connection may take for each 16 KiB of a message
	// before it is cut. Defaults to 10 s.
	WriteWait time.Duration
	// Ring is how many of the newest changes are held in memory for live clients;
	// those who are further behind read the log. Of large rows it holds fewer: what it
	// has takes 64 MiB at most. Defaults to 8192.
	Ring int
	// Observer is told what delivery does; package metrics has one for Prometheus. Defaults to
	// nobody.
	Observer Observer
	// Logger takes the warnings and the errors that no caller sees. Defaults to
	// slog.Default().
	Logger *slog.Logger
}

// UnsafeAllowAll is an Authorize that lets everybody see and change everything.
// INSECURE: for demonstrations and tests only.
func UnsafeAllowAll(c echo.Context, entity string) (Access, error) {
	return handlers.UnsafeAllowAll(c, entity)
}

const (
	defaultPoll              = 2 * time.Second
	defaultRetention         = 7 * 24 * time.Hour
	defaultMutationRetention = 90 * 24 * time.Hour
	pollWithoutBells         = 500 * time.Millisecond
)

func (c Config) withDefaults() Config {
	if c.Poll == 0 {
		c.Poll = defaultPoll
		if c.NoNotify {
			c.Poll = pollWithoutBells
		}
	}
	if c.Retention == 0 {
		c.Retention = defaultRetention
	}
	if c.MutationRetention == 0 {
		c.MutationRetention = defaultMutationRetention
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func (c Config) validate() error {
	if len(c.Entities) == 0 {
		return errors.New("gormsync: Config.Entities is empty, so nothing would be tracked; name your models, such as {Model: &Todo{}}")
	}
	if c.Poll < 0 && c.Poll != -1 {
		return fmt.Errorf("gormsync: Config.Poll is %v; give a positive duration, or -1 to turn it off", c.Poll)
	}
	if c.Retention < 0 && c.Retention != -1 {
		return fmt.Errorf("gormsync: Config.Retention is %v; give a positive duration, or -1 to keep everything", c.Retention)
	}
	if c.MutationRetention < 0 && c.MutationRetention != -1 {
		return fmt.Errorf("gormsync: Config.MutationRetention is %v; give a positive duration, or -1 to keep everything", c.MutationRetention)
	}
	for name, d := range map[string]time.Duration{"Heartbeat": c.Heartbeat, "Reauthorize": c.Reauthorize, "WriteWait": c.WriteWait} {
		if d < 0 {
			return fmt.Errorf("gormsync: Config.%s is %v; give a positive duration", name, d)
		}
	}
	if c.Window < 0 && c.Window != -1 {
		return fmt.Errorf("gormsync: Config.Window is %v; give a positive duration, or -1 to turn it off", c.Window)
	}
	if c.Ring < 0 {
		return fmt.Errorf("gormsync: Config.Ring is %d; give a positive number of changes", c.Ring)
	}
	if err := models.CheckPrefix(c.TablePrefix); err != nil {
		return fmt.Errorf("gormsync: Config.TablePrefix: %w", err)
	}
	var errs []error
	for _, e := range c.Entities {
		errs = append(errs, trackers.CheckModel(e.Model))
	}
	return errors.Join(errs...)
}
