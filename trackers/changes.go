package trackers

import (
	"context"
	"fmt"

	"github.com/lib/pq"

	"github.com/rhtmx/gormsync/models"
)

// Changes reads the change log.
type Changes struct{ feed }

// Changes gives the reader of the change log.
func (l *Log) Changes() *Changes { return &Changes{feed{log: l}} }

// Since gives the changes of one entity after a cursor, whatever their scope:
// whole transactions together, at most limit (DefaultPage if not positive). The
// zero cursor means from the log's beginning. It returns
// models.ErrCursorExpired for the cursor of another database.
func (c *Changes) Since(ctx context.Context, entity string, cursor models.Cursor, limit int) (Page[models.Change], error) {
	if c.log.Entity(entity) == nil {
		return Page[models.Change]{}, fmt.Errorf("gormsync: no model has the table %q; name it in Config.Entities", entity)
	}
	return c.Read(ctx, []Filter{{Entity: entity, All: true}}, cursor, limit)
}

// Read gives the changes after a cursor that the filters let through.
func (c *Changes) Read(ctx context.Context, filters []Filter, cursor models.Cursor, limit int) (Page[models.Change], error) {
	return c.read(ctx, filters, cursor, limit)
}

// Resolve settles moves between scopes for one reader of the hub's entries, as
// Read does for its own. Whoever sees both scopes
// skips the leave and sees an update; whoever sees one of them sees the row go,
// or come as new. The entries are those of whole transactions, as read.
func Resolve(entries []Entry[models.Change], filters []Filter) []Entry[models.Change] {
	all := map[string]bool{}
	for _, f := range filters {
		all[f.Entity] = f.All
	}
	type key struct {
		last       int64
		entity, id string
	}
	left := map[key]int{} // the leave of a row, by its place in out
	drop := map[int]bool{}
	for i := range entries {
		e := &entries[i]
		k := key{e.Last, e.Row.Entity, e.Row.EntityID}
		at, seen := left[k]
		delete(left, k)
		if seen = seen && e.Row.Move == models.MoveEnter; seen {
			drop[at] = true
		}
		switch {
		case e.Row.Move == models.MoveLeave && all[e.Row.Entity]:
			drop[i] = true
		case e.Row.Move == models.MoveLeave:
			left[k] = i
		case e.Row.Move == models.MoveEnter && !seen && !all[e.Row.Entity]:
			e.Row.Action = models.Create
		}
	}
	if len(drop) == 0 {
		return entries
	}
	out := entries[:0]
	for i := range entries {
		if !drop[i] {
			out = append(out, entries[i])
		}
	}
	return out
}

// textArray is a literal for a PostgreSQL text[], good for every driver.
func textArray(texts []string) string {
	v, err := pq.StringArray(texts).Value()
	if s, ok := v.(string); ok && err == nil {
		return s
	}
	return "{}"
}
