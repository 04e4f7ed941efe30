package handlers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

var pushMutations = flag.Int("push.mutations", 60, "mutations of each of the 8 clients in the load test of pushes")

var loadEntities = []gormsync.Entity{
	{Model: &Task{}, FieldLog: true, Writable: true},
	{Model: &NumberedTask{}, Writable: true},
}

// pusher is a client that pushes: it loses answers, sends things twice, and follows
// the log by cursor from whichever server it meets.
type pusher struct {
	name   string
	server func() string // the URL of one that may be there
	rand   *rand.Rand
	http   *http.Client

	mu      sync.Mutex
	done    map[string]models.PushResult // the first answer to each mutation
	deletes map[string]bool              // the mutations that are deletes
	wrong   []string                     // later answers that do not fit the first

	cursor map[string]string
	rows   map[string]map[string]models.Change // by entity and id
}

func newPusher(n int, server func() string) *pusher {
	return &pusher{
		name: fmt.Sprintf("c%d", n), server: server, rand: rand.New(rand.NewPCG(uint64(n), 7)),
		http: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}},
		done: map[string]models.PushResult{}, deletes: map[string]bool{}, cursor: map[string]string{}, rows: map[string]map[string]models.Change{"tasks": {}, "numbered_tasks": {}},
	}
}

type wireChange struct {
	Entity     string         `json:"entity"`
	ID         string         `json:"id"`
	Action     models.Action  `json:"action"`
	Data       map[string]any `json:"data"`
	Base       *int64         `json:"client_version,omitempty"`
	MutationID string         `json:"mutation_id"`
	Timestamp  time.Time      `json:"timestamp"`
}

// mutation makes up one change. Its id is in it, so that every change that is
// applied changes something.
func (p *pusher) mutation(n int) wireChange {
	c := wireChange{Entity: "tasks", ID: fmt.Sprint("t", p.rand.IntN(20)), Action: models.Update, MutationID: fmt.Sprintf("%s-%d", p.name, n),
		Timestamp: time.Now().Add(-time.Duration(p.rand.IntN(2000)) * time.Millisecond)}
	c.Data = map[string]any{"title": c.MutationID}
	switch k := p.rand.IntN(10); {
	case k < 3:
		c.Entity, c.ID, c.Action = "numbered_tasks", "new", models.Create
	case k < 5:
		c.Action = models.Create
	case k < 6:
		c.Action, c.Data = models.Delete, nil
		p.deletes[c.MutationID] = true
	case k < 8:
		if held, ok := p.rows["tasks"][c.ID]; ok {
			c.Base = &held.Version
		}
	}
	return c
}

// run pushes until there are as many mutations, or ctx ends.
func (p *pusher) run(ctx context.Context, mutations int) {
	for n := 0; n < mutations && ctx.Err() == nil; {
		var batch []wireChange
		for range min(1+p.rand.IntN(5), mutations-n) {
			batch = append(batch, p.mutation(n))
			n++
		}
		p.settle(ctx, batch)
		if p.rand.IntN(4) == 0 {
			p.follow(ctx)
		}
	}
}

// settle sends a batch until every change has an answer that is final.
func (p *pusher) settle(ctx context.Context, batch []wireChange) {
	for len(batch) > 0 && ctx.Err() == nil {
		lost := p.rand.IntN(5) == 0
		if p.rand.IntN(8) == 0 { // two tabs send the same queue
			var both sync.WaitGroup
			both.Go(func() { p.send(ctx, batch, lost) })
			both.Go(func() { p.send(ctx, batch, lost) })
			both.Wait()
		} else {
			p.send(ctx, batch, lost)
		}
		var left []wireChange
		p.mu.Lock()
		for _, c := range batch {
			if _, ok := p.done[c.MutationID]; !ok {
				left = append(left, c)
			}
		}
		p.mu.Unlock()
		if len(left) == len(batch) && !lost { // nobody there
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
		batch = left
	}
}

// send posts a batch. A lost answer is one that the client never sees.
func (p *pusher) send(ctx context.Context, batch []wireChange, lost bool) {
	body, err := json.Marshal(map[string]any{"client_id": p.name, "changes": batch})
	if err != nil {
		panic(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.server()+"/api/sync", bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	var got models.PushResponse
	if code := p.read(req, &got); code != http.StatusOK || lost {
		if code != http.StatusOK && code != 0 {
			p.complain("a push was answered with %d", code)
		}
		return
	}
	for _, r := range got.Results {
		p.answered(r)
	}
}

// read gives the status of an answer; 0 for none.
func (p *pusher) read(req *http.Request, into any) int {
	res, err := p.http.Do(req)
	if err != nil {
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil || json.Unmarshal(text, into) != nil {
		return 0
	}
	return res.StatusCode
}

func (p *pusher) complain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong = append(p.wrong, fmt.Sprintf(format, args...))
}

// answered remembers the first answer, and that later ones say the same.
func (p *pusher) answered(r models.PushResult) {
	if r.Status == models.PushRetry {
		return
	}
	p.mu.Lock()
	first, again := p.done[r.MutationID]
	if !again {
		p.done[r.MutationID] = r
	}
	p.mu.Unlock()
	if again && (first.Status.Done() != r.Status.Done() || first.ID != r.ID || (!first.Status.Done() && first.Status != r.Status)) {
		p.complain("%s was %s %s and then %s %s", r.MutationID, first.ID, first.Status, r.ID, r.Status)
	}
}

// follow pulls what happened since the last time, from any server. It says false
// when there was no answer.
func (p *pusher) follow(ctx context.Context) bool {
	for entity, rows := range p.rows {
		for more := true; more; {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.server()+"/api/sync/"+entity+"?limit=500&since="+p.cursor[entity], http.NoBody)
			if err != nil {
				panic(err)
			}
			var page struct {
				Cursor  string
				HasMore bool `json:"has_more"`
				Changes []models.Change
			}
			if code := p.read(req, &page); code != http.StatusOK {
				if code != 0 {
					p.complain("a pull was answered with %d", code)
				}
				return false
			}
			for _, c := range page.Changes {
				if held, ok := rows[c.EntityID]; !ok || c.Version >= held.Version {
					rows[c.EntityID] = c
				}
			}
			p.cursor[entity], more = page.Cursor, page.HasMore
		}
	}
	return true
}

// end checks what the client knows against the database: each mutation was made
// once or not at all, as it was told, and the client has the table's state.
func (p *pusher) end(t *testing.T, db *gorm.DB, log *trackers.Log) {
	t.Helper()
	p.http.CloseIdleConnections()
	require.Empty(t, p.wrong)
	var changes []models.Change
	require.NoError(t, db.Where("client_id = ?", p.name).Find(&changes).Error)
	made := map[string][]models.Change{}
	for _, c := range changes {
		made[c.MutationID] = append(made[c.MutationID], c)
	}
	for id, r := range p.done {
		n := len(made[id])
		switch {
		case !r.Status.Done():
			require.Zero(t, n, "%s was refused: %+v", id, r)
		case !p.deletes[id] || n > 0: // to delete what is gone is no change
			require.Equal(t, 1, n, "%s was applied: %+v", id, r)
		}
	}
	for id, all := range made {
		require.Len(t, all, 1, "%s was made more than once", id)
	}
	for entity, rows := range p.rows {
		want := map[string]string{}
		page, err := log.Changes().Snapshot(t.Context(), trackers.Filter{Entity: entity, All: true}, models.Cursor{}, 1<<20)
		require.NoError(t, err)
		for _, e := range page.Entries {
			want[e.Row.EntityID] = string(e.Row.Data)
		}
		got := map[string]string{}
		for id, c := range rows {
			if c.Action != models.Delete {
				got[id] = string(c.Data)
			}
		}
		require.Equal(t, want, got, "%s has other %s than the table", p.name, entity)
	}
}

// Many clients, unreliable as they are: each mutation is made exactly once, and in
// the end everybody has the same.
func TestPushUnderLoad(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		servers := []server{open(t, d, nil, loadEntities...)}
		if d.Dialect == "postgres" {
			servers = append(servers, open(t, d, nil, loadEntities...))
		}
		var all sync.WaitGroup
		pushers := make([]*pusher, 8)
		begun := time.Now()
		for i := range pushers {
			pushers[i] = newPusher(i, func() string { return servers[rand.IntN(len(servers))].url })
			all.Go(func() { pushers[i].run(t.Context(), *pushMutations) })
		}
		all.Wait()
		took, applied := time.Since(begun), 0
		for _, p := range pushers {
			require.True(t, p.follow(t.Context()))
			require.Len(t, p.done, *pushMutations)
			p.end(t, servers[0].db, servers[0].log)
			for _, r := range p.done {
				if r.Status.Done() {
					applied++
				}
			}
		}
		t.Logf("%d mutations of %d clients in %v, %d applied", len(pushers)**pushMutations, len(pushers), took, applied)
	})
}
