package trackers

import (
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
}

func (c *intercept) pairing(p *plan, before *images) *pairing {
	x := &pairing{c: c, p: p, before: before, by: c.pairedBy(p)}
	x.hold = c.replaces() || (c.action == models.Update && p.assigns(c.assignments(), p.pks))
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
	if err := x.c.changes.change(x.p, was, im); err != nil {
		return err
	}
	if x.before == nil || x.c.action != models.Create {
		return nil
	}
	return x.before.put(key, im) // SQLite lets one upsert meet a row twice
}

// finish settles the rows that were held. What has no successor of the same key
// was deleted; deletes come first, since another row may have taken the key.
func (x *pairing) finish() error {
	if !x.hold {
		return nil
	}
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
