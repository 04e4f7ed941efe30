package handlers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// tape is a session whose connection takes everything at once.
type tape struct {
	*session
	t      *testing.T
	mu     sync.Mutex
	frames []wireFrame
	more   chan struct{}
}

func newTape(t *testing.T, h *hub, f form) *tape {
	t.Helper()
	p := &tape{t: t, more: make(chan struct{}, 1)}
	p.session = &session{hub: h, form: f, fail: func(why closeCode) { t.Errorf("closed with %v", why) }}
	p.write = func(f frame) {
		p.mu.Lock()
		p.frames = append(p.frames, parseFrame(t, f, p.form.events)...)
		p.mu.Unlock()
		select {
		case p.more <- struct{}{}:
		default:
		}
		go p.sent()
	}
	t.Cleanup(p.close)
	return p
}

// until gives the frames up to the one of a type.
func (p *tape) until(kind string) []wireFrame {
	p.t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for {
		p.mu.Lock()
		for i, f := range p.frames {
			if f.Type == kind {
				head := p.frames[:i+1]
				p.frames = p.frames[i+1:]
				p.mu.Unlock()
				return head
			}
		}
		p.mu.Unlock()
		select {
		case <-p.more:
		case <-limit.C:
			p.t.Fatalf("no frame of the type %s came; %d others did", kind, len(p.frames))
		}
	}
}

func allItems() []trackers.Filter { return []trackers.Filter{{Entity: items, All: true}} }

func (w *world) save(t *testing.T, ids ...string) {
	t.Helper()
	require.NoError(t, w.db.Transaction(func(tx *gorm.DB) error {
		for _, id := range ids {
			if err := tx.Save(&item{ID: id}).Error; err != nil {
				return err
			}
		}
		return nil
	}))
}

func (w *world) cursor(t *testing.T) models.Cursor {
	t.Helper()
	c, err := w.log.Position(t.Context())
	require.NoError(t, err)
	return c
}

// Clients that come back after a restart of the server find what they missed in
// memory: the hub begins with the tail of the log.
func TestReconnectsAfterRestartReadNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newWorld(t, d, hubOptions{ring: 64, window: -1, heartbeat: time.Hour})
		for i := range 100 {
			w.save(t, fmt.Sprint(i))
		}
		from := w.cursor(t)
		w.save(t, "a", "b")
		w.save(t, "c")
		counts := &countingObserver{}
		fresh := newHub(w.log, w.hub.source, hubOptions{ring: 64, observer: counts, reads: make(chan struct{}, 1)})
		require.NoError(t, fresh.begin(t.Context()))
		require.Less(t, counts.reads.Load(), int64(5))
		p := newTape(t, fresh, form{noun: "change", batch: true})
		p.subscribe(request{filters: allItems(), spans: []span{{filters: allItems(), from: from}}, form: p.form})
		frames := p.until("changes")
		require.Len(t, frames[len(frames)-1].Changes, 3)
		require.Zero(t, counts.pages.Load(), "pages of the log")
		from.From.Xmax = max(from.From.Xmax, 60) - 50 // one from too long ago reads the log
		old := newTape(t, fresh, p.form)
		old.subscribe(request{filters: allItems(), spans: []span{{filters: allItems(), from: from}}, form: p.form})
		old.until("changes")
		require.Positive(t, counts.pages.Load())
		fresh.stop()
		fresh.background.Wait()
	})
}

// All who fell off the ring at the same place share the pages that are read.
func TestCatchUpPagesAreShared(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		counts := &countingObserver{}
		w := newWorld(t, d, hubOptions{ring: 32, window: -1, heartbeat: time.Hour, observer: counts})
		from := w.cursor(t)
		for i := range 100 {
			w.save(t, fmt.Sprint(i), fmt.Sprint("x", i))
		}
		var tapes []*tape
		for range 50 {
			p := newTape(t, w.hub, form{noun: "change", batch: true})
			p.subscribe(request{filters: allItems(), spans: []span{{filters: allItems(), from: from}}, form: p.form})
			tapes = append(tapes, p)
		}
		for _, p := range tapes {
			for n := 0; n < 200; {
				frames := p.until("changes")
				n += len(frames[len(frames)-1].Changes)
			}
		}
		require.Less(t, counts.pages.Load(), int64(10), "pages read for 50 clients")
	})
}

// The pages that are held for slow clients have a bound; an evicted one is read again.
func TestPageCacheIsBounded(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newWorld(t, d, hubOptions{ring: 32, window: -1, heartbeat: time.Hour})
		var places []models.Cursor
		for i := range 40 {
			places = append(places, w.cursor(t))
			require.NoError(t, w.db.Save(&item{ID: fmt.Sprint(i), Note: strings.Repeat("x", 100_000)}).Error)
		}
		cache := w.hub.pages
		var held []*logPage
		for _, from := range places {
			p, err := cache.get(t.Context(), &span{filters: allItems(), from: from})
			require.NoError(t, err)
			held = append(held, p)
		}
		cache.mu.Lock()
		bytes := cache.bytes
		cache.mu.Unlock()
		require.LessOrEqual(t, bytes, maxPages)
		evicted := 0
		for _, p := range held {
			if p.entries.Load() == nil {
				evicted++
			}
		}
		require.Positive(t, evicted)
		again, err := cache.get(t.Context(), &span{filters: allItems(), from: places[0]})
		require.NoError(t, err)
		require.Len(t, *again.entries.Load(), len(places))
	})
}

// Another database behind the same address: every client is told to begin anew,
// and goes on live.
func TestAnotherDatabaseResetsEverybody(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newWorld(t, d, hubOptions{ring: 32, window: -1, heartbeat: time.Hour})
		p := newTape(t, w.hub, form{noun: "change", batch: true})
		p.subscribe(request{filters: allItems(), form: p.form})
		p.until("subscribed")
		raw := w.db.Session(&gorm.Session{NewDB: true})
		require.NoError(t, raw.Model(&models.Meta{}).Where("key = ?", models.MetaEpoch).Update("value", "another").Error)
		w.hub.bellRung()
		reset := p.until("reset")
		require.Equal(t, []string{items}, reset[len(reset)-1].Entities)
		w.save(t, "new")
		frames := p.until("changes")
		require.Equal(t, "new", frames[len(frames)-1].Changes[0].EntityID)
		after := w.cursor(t)
		require.Equal(t, position(t, frames[len(frames)-1].Cursor), after.Position())
	})
}

// flaky is a log that cannot be read for some time.
type flaky struct {
	source
	failures atomic.Int32
}

func (f *flaky) read(ctx context.Context, filters []trackers.Filter, from models.Cursor, limit int) (page, error) {
	if f.failures.Add(-1) >= 0 {
		return page{}, errors.New("the database is away")
	}
	return f.source.read(ctx, filters, from, limit)
}

// A read of the log that fails is tried again although no other bell rings.
func TestHubReadsAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newWorld(t, d, hubOptions{ring: 32, window: -1, heartbeat: time.Hour})
		log := &flaky{source: w.hub.source}
		h := newHub(w.log, log, w.hub.opts)
		require.NoError(t, h.begin(t.Context()))
		p := newTape(t, h, form{noun: "change", batch: true})
		p.subscribe(request{filters: allItems(), form: p.form})
		w.save(t, "a")
		log.failures.Store(2)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { h.run(ctx) })
		h.bellRung()
		frames := p.until("changes")
		require.Equal(t, "a", frames[len(frames)-1].Changes[0].EntityID)
		cancel()
		running.Wait()
		h.stop()
		h.background.Wait()
	})
}

// Of large rows the ring holds fewer than it has slots for, and always the newest.
func TestRingIsBoundedInBytes(t *testing.T) {
	r := newRing(8)
	r.most = 10_000
	put := func(n, size int) {
		p := &page{}
		for i := range uint64(n) {
			p.entries = append(p.entries, &entry{tx: r.next + i + 1, json: make([]byte, size)})
		}
		r.append(p, func(*entry) {})
	}
	held := func() (n int) {
		for idx := r.tail(); idx < r.next; idx++ {
			require.NotNil(t, r.at(idx))
			n++
		}
		return n
	}
	put(20, 10)
	require.Equal(t, 8, held())
	put(1, 3_000)
	require.Equal(t, 7, held())
	require.Nil(t, r.at(r.tail()-1))
	require.Equal(t, r.tail(), r.dropped.Load(), "the transaction of what went last")
	put(1, 30_000)
	require.Equal(t, 1, held())
	put(3, 10)
	require.Equal(t, 3, held())
	r.begin(models.Cursor{})
	require.Zero(t, held())
	require.Zero(t, r.bytes)
}
