package handlers

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// maxPages is how many bytes of changes are held for sessions that read the log.
const maxPages = 32 << 20

// logPage is a page of the log as sessions read it that fell behind the ring.
type logPage struct {
	ready   chan struct{} // closed when it is read
	err     error
	entries atomic.Pointer[[]*entry] // nil once it was evicted
	next    models.Cursor
	more    bool
	rejoin  uint64 // the ring from here on has what the page does not
	bytes   int
}

// pageCache reads pages of the log, each once for all who ask for it, and holds so
// many of them. Sessions hold a page but not its entries: when it is evicted they
// read again, so slow ones cost time, not memory.
type pageCache struct {
	hub   *hub
	mu    sync.Mutex
	pages map[string]*list.Element // of *cachedPage
	order *list.List               // the latest first
	bytes int
}

type cachedPage struct {
	key     string
	page    *logPage
	counted bool // in bytes
}

func newPageCache(h *hub) *pageCache {
	return &pageCache{hub: h, pages: map[string]*list.Element{}, order: list.New()}
}

func pageKey(sp *span) string {
	return fmt.Sprint(coversOf(sp.filters), sp.from.Position().String())
}

// get gives the page behind a span's place. It waits for whoever reads it.
func (c *pageCache) get(ctx context.Context, sp *span) (*logPage, error) {
	key := pageKey(sp)
	p, mine := c.enter(key)
	if mine {
		c.load(p, key, sp)
	}
	select {
	case <-p.ready:
		return p, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// enter finds a page, or makes one that the caller has to load.
func (c *pageCache) enter(key string) (p *logPage, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.pages[key]; el != nil {
		if cached := el.Value.(*cachedPage); c.hub.joins(cached.page) {
			c.order.MoveToFront(el)
			return cached.page, false
		}
		c.remove(el)
	}
	p = &logPage{ready: make(chan struct{})}
	c.pages[key] = c.order.PushFront(&cachedPage{key: key, page: p})
	return p, true
}

// joins: the last page of the log leads to a place in the ring, unless the ring
// has gone on. Then it has to be read anew.
func (h *hub) joins(p *logPage) bool {
	select {
	case <-p.ready:
		return p.err == nil && p.entries.Load() != nil && (p.more || p.rejoin >= h.ring.tail())
	default:
		return true // it is being read now
	}
}

// load reads the page, also when the session that asked first has gone: others wait.
func (c *pageCache) load(p *logPage, key string, sp *span) {
	defer close(p.ready)
	c.hub.opts.reads <- struct{}{}
	defer func() { <-c.hub.opts.reads }()
	p.rejoin = c.hub.ring.now.Load().head
	if len(sp.filters) == 0 { // would let everything through
		p.err = errNothing
		return
	}
	read, err := c.hub.source.read(c.hub.reading, sp.filters, sp.from, trackers.DefaultPage)
	p.err, p.next, p.more = err, read.next, read.more
	if err != nil {
		read.entries = nil
	}
	p.entries.Store(&read.entries)
	for _, e := range read.entries {
		p.bytes += len(e.json) + 256
	}
	c.hub.opts.observer.CaughtUp(len(read.entries))
	c.keep(p, key)
}

// keep counts a page that was read and lets the oldest go for it.
func (c *pageCache) keep(p *logPage, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.pages[key]
	if el == nil || el.Value.(*cachedPage).page != p {
		return // purged meanwhile
	}
	for old := c.order.Back(); c.bytes+p.bytes > maxPages && old != el; old = c.order.Back() {
		c.remove(old)
	}
	c.bytes += p.bytes
	el.Value.(*cachedPage).counted = true
}

// remove takes a page out. c.mu is held.
func (c *pageCache) remove(el *list.Element) {
	cached := c.order.Remove(el).(*cachedPage)
	delete(c.pages, cached.key)
	if cached.counted { // otherwise somebody is about to read it
		c.bytes -= cached.page.bytes
		cached.page.entries.Store(nil)
	}
}

// purge forgets all pages: they are of another log.
func (c *pageCache) purge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for el := c.order.Back(); el != nil; el = c.order.Back() {
		c.remove(el)
	}
}
