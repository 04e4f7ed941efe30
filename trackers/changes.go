package trackers

import (
	"context"
	"fmt"

	"github.com/lib/pq"

	"github.com/rhtmx/gormsync/models"
)

// maxColumns bounds the fields of one change: no PostgreSQL table has more.
const maxColumns = 1600

// Changes reads the change log.
type Changes struct {
	journal[models.Change]
}

// Fields reads the field log.
type Fields struct {
	journal[models.FieldChange]
}

// Changes gives the reader of the change log.
func (l *Log) Changes() *Changes {
	return &Changes{journal[models.Change]{
		log: l, table: l.tables.Changes, version: "id",
		columns: []string{"id", "entity", "entity_id", "action", "data", "version", "client_id", "actor", "mutation_id", "created_at", "tx", "scope", "move"},
		dests: func(c *models.Change) []any {
			return []any{
				optional[int64]{&c.ID}, optional[string]{&c.Entity}, optional[string]{&c.EntityID}, optional[models.Action]{&c.Action},
				&c.Data, optional[int64]{&c.Version}, &c.ClientID, optional[string]{&c.Actor}, optional[string]{&c.MutationID},
				moment{&c.CreatedAt}, optional[int64]{&c.Tx}, &c.Scope, optional[models.Move]{&c.Move},
			}
		},
		place: func(c *models.Change) (id, version, tx int64) { return c.ID, c.ID, c.Tx },
	}}
}

// Fields gives the reader of the field log.
func (l *Log) Fields() *Fields {
	return &Fields{journal[models.FieldChange]{
		log: l, table: l.tables.Fields, version: "version", atLeast: maxColumns,
		columns: []string{"id", "entity", "entity_id", "field", "value", "action", "version", "client_id", "actor", "timestamp", "tx", "scope"},
		dests: func(c *models.FieldChange) []any {
			return []any{
				optional[int64]{&c.ID}, optional[string]{&c.Entity}, optional[string]{&c.EntityID}, optional[string]{&c.Field},
				&c.Value, optional[models.Action]{&c.Action}, optional[int64]{&c.Version}, &c.ClientID, optional[string]{&c.Actor},
				moment{&c.Timestamp}, optional[int64]{&c.Tx}, &c.Scope,
			}
		},
		place: func(c *models.FieldChange) (id, version, tx int64) { return c.ID, c.Version, c.Tx },
	}}
}

// Since gives the changes of one entity after a cursor, whatever their scope:
// whole transactions together, at most limit (DefaultPage if not positive). The
// zero cursor means from the log's beginning. It returns
// models.ErrCursorExpired for the cursor of another database.
func (c *Changes) Since(ctx context.Context, entity string, cursor models.Cursor, limit int) (Page[models.Change], error) {
	if c.log.Entity(entity) == nil {
		return Page[models.Change]{}, fmt.Errorf("gormsync: no model has the table %q; name it in Config.Entities", entity)
	}
	page, err := c.Read(ctx, []Filter{{Entity: entity, All: true}}, c.fromStart(cursor), limit)
	return page, err
}

// Read gives the changes after a cursor that the filters let through.
func (c *Changes) Read(ctx context.Context, filters []Filter, cursor models.Cursor, limit int) (Page[models.Change], error) {
	page, err := c.read(ctx, filters, c.fromStart(cursor), limit)
	if err == nil && len(filters) > 0 {
		page.Entries = Resolve(page.Entries, filters)
	}
	return page, err
}

// Since gives the field changes of one entity after a cursor, as Changes.Since does.
func (f *Fields) Since(ctx context.Context, entity string, cursor models.Cursor, limit int) (Page[models.FieldChange], error) {
	if t := f.log.Entity(entity); t == nil || !t.FieldLog {
		return Page[models.FieldChange]{}, fmt.Errorf("gormsync: the entity %q has no field log; set FieldLog in Config.Entities", entity)
	}
	return f.read(ctx, []Filter{{Entity: entity, All: true}}, f.fromStart(cursor), limit)
}

// Read gives the field changes after a cursor that the filters let through.
func (f *Fields) Read(ctx context.Context, filters []Filter, cursor models.Cursor, limit int) (Page[models.FieldChange], error) {
	return f.read(ctx, filters, f.fromStart(cursor), limit)
}

// fromStart gives the zero cursor this log's epoch.
func (j *journal[T]) fromStart(c models.Cursor) models.Cursor {
	if c.IsZero() {
		c.Epoch = j.log.epoch
	}
	return c
}

// Resolve settles moves between scopes for one reader. Whoever sees both scopes
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
		if seen {
			drop[at] = true
			delete(left, k)
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
