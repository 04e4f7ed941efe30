package handlers

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

var (
	modelSeed   = flag.Uint64("hub.seed", 0, "seed of TestHubModel; 0 takes one by chance")
	modelRounds = flag.Int("hub.rounds", 1, "how often TestHubModel runs, on each dialect")
)

// task has scopes, item a field log. N counts a row's changes.
type task struct {
	ID   string `gorm:"primaryKey"`
	N    int
	Team string
}

type item struct {
	ID   string `gorm:"primaryKey"`
	N    int
	Note string
}

const (
	tasks = "tasks"
	items = "items"
)

var teams = []string{"red", "blue", "green"}

// world is a database with a log, and a hub of each kind that follows it.
type world struct {
	db     *gorm.DB
	log    *trackers.Log
	hub    *hub
	fields *hub
}

func newWorld(t *testing.T, d *dbtest.DB, opts hubOptions) *world {
	t.Helper()
	w := &world{db: d.Open(t)}
	require.NoError(t, w.db.AutoMigrate(&task{}, &item{}))
	require.NoError(t, migrate.Up(t.Context(), w.db, ""))
	var err error
	w.log, err = trackers.NewLog(t.Context(), w.db, trackers.Config{
		Entities: []trackers.Entity{{Model: &task{}, Scope: "team", FieldLog: true}, {Model: &item{}, FieldLog: true}},
		Ring:     func() { w.hub.bellRung(); w.fields.bellRung() },
	})
	require.NoError(t, err)
	opts.reads, opts.logger = make(chan struct{}, maxReads), slog.New(slog.DiscardHandler)
	if opts.observer == nil {
		opts.observer = NopObserver{}
	}
	w.hub = newHub(w.log, changeSource{w.log.Changes()}, opts)
	w.fields = newHub(w.log, fieldSource{w.log.Fields()}, opts)
	require.NoError(t, w.log.Capture(w.db))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, h := range []*hub{w.hub, w.fields} {
		require.NoError(t, h.begin(t.Context()))
		running.Go(func() { h.run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		w.hub.stop()
		w.fields.stop()
		running.Wait()
		w.hub.background.Wait()
		w.fields.background.Wait()
	})
	return w
}

// load is an application: transactions of all sizes, moves between teams, rollbacks.
func (w *world) load(t *testing.T, writers, transactions int, random func(uint64) *rand.Rand) {
	t.Helper()
	var running sync.WaitGroup
	for n := range writers {
		r := random(uint64(n))
		running.Go(func() {
			for range transactions {
				for { // until no other writer is in the way
					err := w.db.Transaction(func(tx *gorm.DB) error { return transaction(tx, r) })
					if err == nil || strings.Contains(err.Error(), "rolled back on purpose") {
						break
					}
					if !strings.Contains(err.Error(), "deadlock") && !strings.Contains(err.Error(), "locked") && !strings.Contains(err.Error(), "duplicate") && !strings.Contains(err.Error(), "UNIQUE") {
						t.Errorf("a transaction failed: %v", err)
						return
					}
				}
			}
		})
	}
	running.Wait()
}

func transaction(tx *gorm.DB, r *rand.Rand) error {
	n := 1 + r.IntN(4)
	if r.IntN(40) == 0 {
		n = 60 + r.IntN(60) // longer than the ring of the test
	}
	for range n {
		id := fmt.Sprint(r.IntN(30))
		var err error
		switch r.IntN(10) {
		case 0, 1:
			err = tx.Save(&item{ID: id, N: r.IntN(1000), Note: strings.Repeat("x", r.IntN(300))}).Error
		case 2:
			err = tx.Delete(&item{ID: id}).Error
		case 3:
			err = tx.Delete(&task{ID: id}).Error
		case 4, 5:
			err = tx.Model(&task{ID: id}).Update("team", teams[r.IntN(len(teams))]).Error
		default:
			err = tx.Save(&task{ID: id, N: r.IntN(1000), Team: teams[r.IntN(len(teams))]}).Error
		}
		if err != nil {
			return err
		}
	}
	if r.IntN(10) == 0 {
		return fmt.Errorf("rolled back on purpose")
	}
	return nil
}

// wireFrame is what a client understands of any frame.
type wireFrame struct {
	Type     string
	Change   *wireChange
	Changes  []wireChange
	Cursor   string
	More     bool
	Entity   string
	EntityID string `json:"entity_id"`
	Version  int64
	Entities []string
}

type wireChange struct {
	Entity   string
	EntityID string `json:"entity_id"`
	Field    string
	Action   string
	Version  int64
}

func (c wireChange) line() string {
	return fmt.Sprint(c.Version, " ", c.Action, " ", c.Entity, "/", c.EntityID, " ", c.Field)
}

// parseFrame reads a frame in any form; server-sent events become several.
func parseFrame(t *testing.T, f frame, events bool) []wireFrame {
	t.Helper()
	body := f.bytes
	if f.binary {
		var err error
		body, err = inflate(body, 10<<20)
		require.NoError(t, err)
	}
	if !events {
		var w wireFrame
		require.NoError(t, json.Unmarshal(body, &w), "%s", body)
		return []wireFrame{w}
	}
	var out []wireFrame
	for block := range strings.SplitSeq(strings.TrimSuffix(string(body), "\n\n"), "\n\n") {
		var name, id, data string
		for line := range strings.SplitSeq(block, "\n") {
			key, value, _ := strings.Cut(line, ": ")
			switch key {
			case "event":
				name = value
			case "id":
				id = value
			case "data":
				data = value
			}
		}
		if name != "sync" {
			var w wireFrame
			require.NoError(t, json.Unmarshal([]byte(data), &w), "%s", block)
			w.Cursor = id
			out = append(out, w)
			continue
		}
		var c wireChange
		require.NoError(t, json.Unmarshal([]byte(data), &c), "%s", block)
		out = append(out, wireFrame{Type: "change", Change: &c, Cursor: id})
	}
	return out
}

// expected is what a pull gives behind a cursor: lines by which a client's stream is judged.
func (w *world) expected(t *testing.T, h *hub, filters []trackers.Filter, from models.Cursor) []wireChange {
	t.Helper()
	var out []wireChange
	for {
		p, err := h.source.read(t.Context(), filters, from, 0)
		require.NoError(t, err)
		for _, e := range p.entries {
			var c wireChange
			require.NoError(t, json.Unmarshal(e.json, &c))
			out = append(out, c)
		}
		if from = p.next; !p.more {
			return out
		}
	}
}

func within(t *testing.T, d time.Duration, what string, done <-chan struct{}) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		t.Fatalf("%s took longer than %v", what, d)
	}
}
