package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fatih/color"
	"github.com/spf13/cobra"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/listener"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// tail says what to follow.
type tail struct {
	entities, actions, ids []string
	actor, client          string
	since                  string
	count                  int
	wide                   bool
}

func (t *tool) tailCommand() *cobra.Command {
	f := &tail{}
	c := &cobra.Command{
		Use: "tail", Short: "Follows the changes as they happen",
		Long: `Follows the changes of all entities as they happen, one a line, until it is interrupted.
When the connection breaks it says so on stderr, and goes on where it was.
As JSON each line is {"change":…,"cursor":…}; the cursor is the place after it.`,
		RunE: func(c *cobra.Command, _ []string) error { return t.tail(c.Context(), f) },
	}
	flags := c.Flags()
	flags.StringArrayVar(&f.entities, "entity", nil, "only this entity (may be repeated)")
	flags.StringArrayVar(&f.ids, "id", nil, "only the row with this entity id (may be repeated)")
	flags.StringArrayVar(&f.actions, "action", nil, "only create, update or delete (may be repeated)")
	flags.StringVar(&f.actor, "actor", "", "only changes of this actor")
	flags.StringVar(&f.client, "client", "", "only changes of this client")
	flags.StringVar(&f.since, "since", "now", "where to begin: now, start, or a cursor")
	flags.IntVar(&f.count, "count", 0, "end after so many changes (default: never)")
	flags.BoolVar(&f.wide, "wide", false, "show the data whole")
	return c
}

func (t *tool) tail(ctx context.Context, f *tail) error {
	for _, a := range f.actions {
		if !models.Action(a).Valid() {
			return usageError{fmt.Errorf("%q is no action; there are create, update and delete", a)}
		}
	}
	db, done, err := t.open()
	if err != nil {
		return err
	}
	defer done()
	if err := t.ready(ctx, db); err != nil {
		return err
	}
	log, err := trackers.NewLog(ctx, db, trackers.Config{Prefix: t.prefix})
	if err != nil {
		return err
	}
	cursor, err := f.begin(ctx, log)
	if err != nil {
		return err
	}
	bell, silence, err := bells(ctx, db, t.prefix)
	if err != nil {
		return err
	}
	defer silence()
	return t.follow(ctx, log, f, cursor, bell)
}

func (f *tail) begin(ctx context.Context, log *trackers.Log) (models.Cursor, error) {
	switch f.since {
	case "now":
		return log.Position(ctx)
	case "start":
		return models.Cursor{}, nil
	}
	cursor, _, err := models.ParseCursor(f.since)
	if err != nil {
		return cursor, usageError{fmt.Errorf("--since %q is neither now nor start nor a cursor", f.since)}
	}
	return cursor, nil
}

func (f *tail) wants(c *models.Change) bool {
	one := func(list []string, s string) bool { return len(list) == 0 || slices.Contains(list, s) }
	return one(f.entities, c.Entity) && one(f.ids, c.EntityID) && one(f.actions, string(c.Action)) &&
		(f.actor == "" || c.Actor == f.actor) && (f.client == "" || c.ClientID != nil && *c.ClientID == f.client)
}

// tailPoll is how often the log is looked at, bell or not.
const tailPoll = 500 * time.Millisecond

// bells wake the reader: those of other processes, and a poll behind them.
func bells(ctx context.Context, db *gorm.DB, prefix string) (bell chan struct{}, stop func(), err error) {
	pool, err := db.DB()
	if err != nil {
		return nil, nil, err
	}
	bell = make(chan struct{}, 1)
	l, err := listener.New(listener.Config{
		DB: pool, Dialect: db.Name(), Channel: models.TablesFor(prefix).Channel, Poll: tailPoll, Logger: slog.New(slog.DiscardHandler),
		Ring: func() {
			select {
			case bell <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { l.Run(ctx) })
	return bell, func() {
		cancel()
		running.Wait()
	}, nil
}

// show writes one change.
func (t *tool) show(c *models.Change, after models.Cursor, wide bool) error {
	if t.json {
		return json.NewEncoder(t.out).Encode(map[string]any{"change": c, "cursor": after.String()})
	}
	paint := map[models.Action]func(string, ...any) string{models.Create: color.GreenString, models.Update: color.YellowString, models.Delete: color.RedString}[c.Action]
	action := string(c.Action)
	if c.Move == models.MoveLeave {
		action = "leave"
	}
	who := c.Actor
	if c.ClientID != nil {
		who += "/" + *c.ClientID
	}
	if who == "" {
		who = "-"
	}
	data := printable(string(c.Data))
	const narrow = 100
	if runes := []rune(data); !wide && len(runes) > narrow {
		data = string(runes[:narrow]) + "…"
	}
	_, err := fmt.Fprintf(t.out, "%s %s %s %s %s %s\n", color.HiBlackString(c.CreatedAt.Local().Format(stamp)), paint("%-6s", action), color.CyanString("%s %s", printable(c.Entity), printable(c.EntityID)), color.HiBlackString("#%d", c.Version), color.MagentaString("%s", printable(who)), data)
	return err
}
