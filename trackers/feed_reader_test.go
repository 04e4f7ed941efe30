package trackers_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// feedReader follows the log and keeps book of all that it was given.
type feedReader struct {
	name    string
	log     *trackers.Log
	filters []trackers.Filter // none: what the hub reads
	limit   int
	poll    time.Duration
	// known: the rows and the start are from a snapshot, so the first changes may
	// be ones that the rows have already.
	known bool
	// again: changes may come more than once.
	again bool

	start, cursor models.Cursor
	pages         int
	seen          map[int64]int    // version -> how often
	rows          map[string]int64 // the counters by row
	versions      map[string]int64 // the newest version by row
	chained       map[string]bool  // rows that had a change from the log
	spans         map[int64]*feedSpan
	longest       int // the longest text of a cursor
	faults        []string
}

// feedSpan is where a transaction was in sight.
type feedSpan struct{ first, last int }

func newFeedReader(name string, log *trackers.Log, filters []trackers.Filter, limit int) *feedReader {
	return &feedReader{
		name: name, log: log, filters: filters, limit: limit,
		seen: map[int64]int{}, rows: map[string]int64{}, versions: map[string]int64{}, chained: map[string]bool{}, spans: map[int64]*feedSpan{},
	}
}

func (r *feedReader) fault(format string, args ...any) {
	if len(r.faults) < 10 {
		r.faults = append(r.faults, r.name+": "+fmt.Sprintf(format, args...))
	}
}

// run reads until stop is closed.
func (r *feedReader) run(ctx context.Context, stop <-chan struct{}) error {
	for {
		more, err := r.read(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		wait := r.poll
		if more {
			wait = 0
		}
		select {
		case <-stop:
			return nil
		case <-time.After(wait):
		}
	}
}

func (r *feedReader) drain(ctx context.Context) error {
	for {
		more, err := r.read(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// read takes one page.
func (r *feedReader) read(ctx context.Context) (more bool, err error) {
	page, err := r.log.Changes().Read(ctx, r.filters, r.cursor, r.limit)
	if err != nil {
		return false, err
	}
	r.pages++
	if len(page.Entries) > r.limit {
		r.fault("a page of %d has %d changes", r.limit, len(page.Entries))
	}
	for i := range page.Entries {
		e := &page.Entries[i]
		if i > 0 && (page.Entries[i-1].Last > e.Last || (page.Entries[i-1].Last == e.Last && page.Entries[i-1].Version >= e.Version)) {
			r.fault("page %d is not in order at %d", r.pages, e.Version)
		}
		r.take(&e.Row)
	}
	text := page.Cursor.String()
	r.longest = max(r.longest, len(text))
	r.cursor, _, err = models.ParseCursor(text)
	return page.More, err
}

// take applies one change.
func (r *feedReader) take(c *models.Change) {
	r.seen[c.Version]++
	if s := r.spans[c.Tx]; s == nil {
		r.spans[c.Tx] = &feedSpan{r.pages, r.pages}
	} else {
		s.last = r.pages
	}
	if r.again && r.seen[c.Version] > 1 {
		return
	}
	key := feedKey(c.Entity, c.EntityID)
	before := r.versions[key]
	if r.known && c.Version <= before { // the snapshot had it: the clients' rule
		return
	}
	if c.Version <= before {
		r.fault("%s: version %d after %d", key, c.Version, before)
	}
	r.versions[key] = c.Version
	if len(r.filters) == 0 && c.Move == models.MoveLeave {
		return // the hub's reader knows that the change follows
	}
	r.fold(key, c)
}

// fold checks that a change fits the row before it. The first one after a snapshot
// may be older than the row itself, and brings that back for a while.
func (r *feedReader) fold(key string, c *models.Change) {
	old, had := r.rows[key]
	chained := !r.known || r.chained[key]
	r.chained[key] = true
	if c.Action == models.Delete {
		if !had && chained {
			r.fault("%s: deleted by %d, but not there", key, c.Version)
		}
		delete(r.rows, key)
		return
	}
	n, err := feedN(c)
	if err != nil {
		r.fault("%s: version %d: %v", key, c.Version, err)
		return
	}
	r.rows[key] = n
	var fits bool
	switch {
	case !chained:
		fits = true
	case c.Action == models.Create:
		fits = !had && (n == 1 || r.partial())
	default:
		fits = had && (n == old+1 || (n > old && r.partial()))
	}
	if !fits {
		r.fault("%s: %s %d with n=%d after n=%d (there: %v)", key, c.Action, c.Version, n, old, had)
	}
}

// partial: rows come and go with their scope.
func (r *feedReader) partial() bool {
	return slices.ContainsFunc(r.filters, func(f trackers.Filter) bool { return !f.All })
}

// feedVisible gives the versions that a reader with these filters is to get: of a
// move it gets the leave only if the row did not enter its sight again at once.
func feedVisible(all []models.Change, filters []trackers.Filter) map[int64]bool {
	type row struct {
		tx  int64
		key string
	}
	visible, next := map[int64]bool{}, map[row]models.Move{}
	for i := range slices.Backward(all) {
		c := &all[i]
		if len(filters) > 0 && !slices.ContainsFunc(filters, func(f trackers.Filter) bool { return f.Sees(c) }) {
			continue
		}
		at := row{c.Tx, feedKey(c.Entity, c.EntityID)}
		visible[c.Version] = len(filters) == 0 || c.Move != models.MoveLeave || (next[at] != models.MoveEnter && !seesAll(filters, c.Entity))
		next[at] = c.Move
	}
	return visible
}

func seesAll(filters []trackers.Filter, entity string) bool {
	return slices.ContainsFunc(filters, func(f trackers.Filter) bool { return f.Entity == entity && f.All })
}

// check compares what the reader had with the log and the tables as they are.
func (r *feedReader) check(t testing.TB, all []models.Change, table map[string]int64) {
	t.Helper()
	sizes := map[int64]int{}
	lost, doubled, foreign := []int64{}, []int64{}, []int64{}
	visible := feedVisible(all, r.filters)
	for i := range all {
		c := &all[i]
		had := r.start.From.Has(uint64(c.Tx))
		switch {
		case !visible[c.Version]:
		case r.seen[c.Version] == 0 && !had:
			lost = append(lost, c.Version)
		case r.again:
		case r.seen[c.Version] > 1, r.seen[c.Version] > 0 && had:
			doubled = append(doubled, c.Version)
		}
		if visible[c.Version] {
			sizes[c.Tx]++
		}
	}
	for v := range r.seen {
		if !visible[v] {
			foreign = append(foreign, v)
		}
	}
	require.Empty(t, r.faults, r.name)
	require.Empty(t, lost, "%s: lost", r.name)
	require.Empty(t, doubled, "%s: doubled", r.name)
	require.Empty(t, foreign, "%s: not its own, or never committed", r.name)
	for tx, s := range r.spans {
		require.True(t, r.again || s.first == s.last || sizes[tx] > r.limit,
			"%s: transaction %d of %d changes is on pages %d to %d of %d", r.name, tx, sizes[tx], s.first, s.last, r.limit)
	}
	require.Equal(t, table, r.rows, "%s: the fold and the table", r.name)
}
