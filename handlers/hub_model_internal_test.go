package handlers

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// TestHubModel: whatever the speed of a client, what it follows, in which form, and
// however often it breaks off and comes back with the last cursor it got, its stream
// is the log filtered: every change once, none missed, the rows' changes in their
// order, transactions whole for who asked for that, and what a pull would say of
// each. The ring is so short that clients fall off it all the time.
func TestHubModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat with -hub.seed=%d", seed)
		}
	})
	for round := range *modelRounds {
		dbtest.Each(t, func(t *testing.T, d *dbtest.DB) { hubModel(t, d, seed+uint64(round)) })
	}
}

func hubModel(t *testing.T, d *dbtest.DB, seed uint64) {
	t.Helper()
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	counts := &countingObserver{}
	w := newWorld(t, d, hubOptions{ring: 32, window: time.Millisecond, heartbeat: 200 * time.Millisecond, observer: counts})
	w.load(t, 2, 20, random)
	stop := make(chan struct{})
	var clients []*modelClient
	var running sync.WaitGroup
	for n := range 16 {
		c := newModelClient(t, w, random(1000+uint64(n)))
		clients = append(clients, c)
		running.Go(func() { c.live(t, stop) })
	}
	w.load(t, 4, 50, random)
	close(stop)
	done := make(chan struct{})
	go func() {
		defer close(done)
		running.Wait()
	}()
	within(t, 60*time.Second, "the clients' end", done)
	var got, again int
	for _, c := range clients {
		c.judge(t)
		got += len(c.got)
		again += c.reconnects
	}
	require.Positive(t, got)
	require.Positive(t, counts.fell.Load(), "nobody fell off the ring")
	t.Logf("%d changes to %d clients, %d reconnects, %d fell behind, %d pages of the log, %d frames", got, len(clients), again, counts.fell.Load(), counts.pages.Load(), counts.frames.Load())
}

// modelClient follows a hub at its own pace.
type modelClient struct {
	w       *world
	hub     *hub
	r       *rand.Rand
	form    form
	filters []trackers.Filter
	every   time.Duration // how long it takes over a frame at most
	each    bool          // it keeps a cursor for each entity
	plain   bool          // and takes every cursor for all of them
	asks    bool          // it is handed frames when it asks for them, as a shard does

	begin      map[string]string // the first cursors
	cursors    map[string]string
	got        []wireChange
	seen       map[string]bool // lines since the last connect, and before
	reconnects int
	half       []wireChange // of a transaction that goes on
}

func newModelClient(t *testing.T, w *world, r *rand.Rand) *modelClient {
	t.Helper()
	c := &modelClient{w: w, hub: w.hub, r: r, begin: map[string]string{}, cursors: map[string]string{}, seen: map[string]bool{}}
	noun := "change"
	if r.IntN(4) == 0 {
		c.hub, noun = w.fields, "field_change"
	}
	c.form = form{noun: noun, batch: r.IntN(2) == 0, gzip: r.IntN(3) == 0}
	if r.IntN(5) == 0 && noun == "change" {
		c.form = form{noun: noun, events: true}
	}
	c.every = []time.Duration{0, 0, time.Millisecond, 20 * time.Millisecond}[r.IntN(4)]
	if n := r.IntN(5); n > 0 {
		f := trackers.Filter{Entity: tasks, All: n == 4}
		if n < 4 {
			f.Scopes = slices.Clone(teams[:n])
		}
		c.filters = append(c.filters, f)
	}
	if len(c.filters) == 0 || r.IntN(2) == 0 {
		c.filters = append([]trackers.Filter{{Entity: items, All: true}}, c.filters...)
	}
	c.each = len(c.filters) > 1 && r.IntN(2) == 0
	c.plain, c.asks = r.IntN(2) == 0, r.IntN(2) == 0
	for _, f := range c.filters { // where it begins: at the end of the log, some earlier than others
		at, err := w.log.Position(t.Context())
		require.NoError(t, err)
		at.Covers = coversOf(c.filters)
		c.begin[f.Entity] = at.String()
		if c.each {
			w.load(t, 1, 3, func(uint64) *rand.Rand { return r })
		}
	}
	if !c.each {
		for _, f := range c.filters {
			c.begin[f.Entity] = c.begin[c.filters[0].Entity]
		}
	}
	for entity, text := range c.begin {
		c.cursors[entity] = text
	}
	return c
}

// live connects again and again, and at last stays until it has everything.
func (c *modelClient) live(t *testing.T, stop <-chan struct{}) {
	t.Helper()
	for {
		select {
		case <-stop:
			c.connect(t, -1)
			return
		default:
		}
		c.connect(t, 1+c.r.IntN(60))
		c.reconnects++
	}
}

// connect takes some frames, or with -1 all there are to come.
func (c *modelClient) connect(t *testing.T, frames int) {
	t.Helper()
	wire := make(chan frame, 1)
	s := &session{hub: c.hub, form: c.form, write: func(f frame) { wire <- f }, fail: func(why closeCode) { t.Errorf("closed with %v", why) }}
	defer s.close()
	sent := s.sent
	if c.asks {
		sent = s.asked(wire)
	}
	c.half = nil
	r := request{filters: c.filters, form: c.form}
	for _, f := range c.filters {
		if err := r.place(f, c.cursors[f.Entity]); err != nil {
			t.Errorf("the cursor %q: %v", c.cursors[f.Entity], err)
			return
		}
	}
	if len(r.reset) > 0 {
		t.Errorf("reset of %v with %v", r.reset, c.cursors)
		return
	}
	s.subscribe(r)
	patience := time.NewTimer(20 * time.Second)
	defer patience.Stop()
	quiet := 0
	for frames != 0 {
		select {
		case f := <-wire:
			for _, m := range parseFrame(t, f, c.form.events) {
				c.take(t, m)
				if m.Type == "heartbeat" {
					quiet++
				}
			}
			if c.every > 0 && frames > 0 {
				<-time.After(time.Duration(c.r.Int64N(int64(c.every))))
			}
			sent()
			frames--
		case <-time.After(200 * time.Millisecond): // a quiet client
			frames = max(frames-20, min(frames, 0))
		case <-patience.C:
			t.Errorf("a client waits for ever; it has %d changes", len(c.got))
			return
		}
		if frames < 0 && quiet >= 2 { // the heartbeat says that there is nothing more
			return
		}
	}
}

// asked has the session's frames asked for; the func it gives tells that one was taken.
func (s *session) asked(wire chan<- frame) (sent func()) {
	ask := func() {
		if f, ok := s.next(); ok {
			wire <- f
		}
	}
	s.ready = func() { go ask() }
	return ask
}

// take does what a browser does: changes with the cursor behind them, whole
// transactions, and a heartbeat's cursor when it is between those.
func (c *modelClient) take(t *testing.T, m wireFrame) {
	t.Helper()
	var changes []wireChange
	switch m.Type {
	case "change", "field_change":
		changes = []wireChange{*m.Change}
	case "changes", "field_changes":
		changes = m.Changes
	case "leave":
		changes = []wireChange{{Entity: m.Entity, EntityID: m.EntityID, Version: m.Version, Action: "delete"}}
	case "subscribed", "heartbeat":
	case "reset":
		t.Errorf("a reset of %v", m.Entities)
	}
	c.half = append(c.half, changes...)
	if m.More {
		return
	}
	if m.Type == "heartbeat" {
		if len(c.half) > 0 {
			t.Errorf("a heartbeat amid a transaction")
		}
		c.move(m.Cursor, c.filters)
		return
	}
	c.got = append(c.got, c.half...)
	if len(c.half) == 0 {
		return
	}
	var named []trackers.Filter
	for _, f := range c.filters {
		if slices.ContainsFunc(c.half, func(w wireChange) bool { return w.Entity == f.Entity }) {
			named = append(named, f)
		}
	}
	c.half = nil
	c.move(m.Cursor, named)
}

// move does as the browser client: while entities stand at different places, a
// cursor speaks for those only that it came with.
func (c *modelClient) move(cursor string, filters []trackers.Filter) {
	together := map[string]bool{}
	for _, text := range c.cursors {
		together[text] = true
	}
	if len(together) == 1 || c.plain {
		filters = c.filters
	}
	for _, f := range filters {
		c.cursors[f.Entity] = cursor
	}
}

// judge compares the stream with what pulls say.
func (c *modelClient) judge(t *testing.T) {
	t.Helper()
	want := map[string]int{}
	count := func(filters []trackers.Filter, begin string) {
		for _, w := range c.w.expected(t, c.hub, filters, position(t, begin)) {
			want[w.line()]++
		}
	}
	if c.each {
		for _, f := range c.filters {
			count([]trackers.Filter{f}, c.begin[f.Entity])
		}
	} else {
		count(c.filters, c.begin[c.filters[0].Entity])
	}
	name := fmt.Sprintf("%+v %+v each=%t plain=%t asks=%t", c.form, c.filters, c.each, c.plain, c.asks)
	got := map[string]int{}
	last := map[string]int64{}
	for _, g := range c.got {
		line := g.line()
		if got[line]++; got[line] > 1 && (c.each || c.form.noun == "field_change") {
			continue // allowed after a reconnect: one cursor cannot tell of several places
		}
		row := g.Entity + "/" + g.EntityID + "/" + g.Field
		require.LessOrEqual(t, last[row], g.Version, "%s: the changes of %s are out of order", name, row)
		last[row] = g.Version
	}
	for line, n := range want {
		require.Equal(t, 1, n, line)
		if c.each || c.form.noun == "field_change" {
			require.Positive(t, got[line], "%s: missed %s", name, line)
			continue
		}
		require.Equal(t, 1, got[line], "%s: %s came %d times", name, line, got[line])
	}
	if c.each && c.plain { // taken for all, the cursor of the first is a place before the others began
		count(c.filters, c.begin[c.filters[0].Entity])
	}
	require.Empty(t, extra(got, want), "%s: changes that no pull gives", name)
}

func extra(got, want map[string]int) (lines []string) {
	for line := range got {
		if want[line] == 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

func position(t *testing.T, text string) models.Cursor {
	t.Helper()
	c, _, err := models.ParseCursor(text)
	require.NoError(t, err)
	return c.Position()
}
