package trackers

import (
	"context"

	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/models"
)

// pairing finds out what happened to each row of a statement, from the rows
// before it and the rows after it.
type pairing struct {
	c      *intercept
	p      *plan
	before *images
	by     []int // the columns that tell which row is which
	hold   bool  // rows may take each other's keys: wait for all of them
	held   []*image

	// An upsert may wait for a row that another transaction is about to commit.
	// Such a row was not there before, and yet it was updated.
	waits   bool
	updated bool     // of the row at hand
	late    []*image // rows that came that way
}

func (c *intercept) pairing(p *plan, before *images) *pairing {
	x := &pairing{c: c, p: p, before: before, by: c.pairedBy(p)}
	x.hold = c.replaces() || (c.action == models.Update && p.assigns(c.assignments(), p.pks))
	x.waits = c.action == models.Create && c.log.dialect == postgres && !p.partitioned && len(c.collides(p)) > 0
	return x
}

// pairedBy: rows are the same when their keys are. An upsert that gives the row
// that it meets another key is known by the columns that it met it by.
func (c *intercept) pairedBy(p *plan) []int {
	if c.action == models.Create && !c.replaces() && p.assigns(c.assignments(), p.pks) {
		if sets := c.collides(p); len(sets) == 1 {
			return p.indexes(sets[0])
		}
	}
	return p.pks
}

// take takes a row after the statement.
func (x *pairing) take(im *image) error {
	switch {
	case x.c.action == models.Delete:
		return x.c.changes.deleted(x.p, im)
	case x.hold:
		x.held = append(x.held, im)
		return nil
	}
	key := im.key(x.by)
	was, err := x.before.get(key)
	if err != nil {
		return err
	}
	if was == nil && x.waits && x.updated {
		x.late = append(x.late, im)
		return nil
	}
	if err := x.c.changes.change(x.p, was, im); err != nil {
		return err
	}
	if x.before == nil || x.c.action != models.Create {
		return nil
	}
	return x.before.put(key, im) // SQLite lets one upsert meet a row twice
}

// finish settles the rows that were held back.
func (x *pairing) finish(ctx context.Context) error {
	if len(x.late) > 0 {
		return x.finishLate(ctx)
	}
	if !x.hold {
		return nil
	}
	return x.finishHeld()
}

// finishLate takes the log's newest change of a row for what the row was before:
// whoever made the row has committed, so it is there.
func (x *pairing) finishLate(ctx context.Context) error {
	ids := make([]string, len(x.late))
	for i, im := range x.late {
		ids[i] = im.id
	}
	before, err := x.c.log.newest(ctx, bare(x.c.ConnPool), x.p, ids)
	if err != nil {
		return err
	}
	for _, im := range x.late {
		if was := before[im.id]; was != nil {
			err = x.c.changes.change(x.p, was, im)
		} else {
			err = x.c.changes.overwritten(x.p, im)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// finishHeld pairs rows by their keys. What has no successor of the same key was
// deleted; deletes come first, since another row may have taken the key.
func (x *pairing) finishHeld() error {
	kept := map[string]bool{}
	for _, im := range x.held {
		kept[im.key(x.by)] = true
	}
	err := x.before.each(func(im *image) error {
		if kept[im.key(x.by)] {
			return nil
		}
		return x.c.changes.change(x.p, im, nil)
	})
	if err != nil {
		return err
	}
	for _, im := range x.held {
		was, err := x.before.get(im.key(x.by))
		if err != nil {
			return err
		}
		if err := x.c.changes.change(x.p, was, im); err != nil {
			return err
		}
	}
	return nil
}

// assignments are those of an UPDATE, or of an upsert.
func (c *intercept) assignments() clause.Set {
	if oc, ok := c.db.Statement.Clauses["ON CONFLICT"].Expression.(clause.OnConflict); ok {
		return oc.DoUpdates
	}
	set, _ := c.db.Statement.Clauses["SET"].Expression.(clause.Set)
	return set
}
