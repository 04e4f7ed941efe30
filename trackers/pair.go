package trackers

import (
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/models"
)

// pair matches the images of before and after.
func (c *intercept) pair(p *plan, before map[string]*image, after []*image) {
	switch {
	case c.action == models.Delete:
		for _, im := range after {
			c.changes.deleted(p, im)
		}
	case c.replaces():
		c.pairByID(p, before, after)
	case c.action == models.Create:
		c.pairUpsert(p, before, after)
	case p.assigns(c.assignments(), p.pks) && len(before) == 1 && len(after) == 1:
		for _, im := range before { // keys changed, so only a row alone can be told to be the same
			c.changes.change(p, im, after[0])
		}
	case p.assigns(c.assignments(), p.pks):
		c.pairByID(p, before, after)
	default:
		for _, im := range after {
			c.changes.change(p, before[im.id], im)
		}
	}
}

// pairByID takes what has no successor of the same key for deleted.
func (c *intercept) pairByID(p *plan, before map[string]*image, after []*image) {
	kept := map[string]bool{}
	for _, im := range after {
		kept[im.id] = true
	}
	for _, im := range before {
		if !kept[im.id] {
			c.changes.change(p, im, nil)
		}
	}
	for _, im := range after {
		c.changes.change(p, before[im.id], im)
	}
}

// pairUpsert: an upsert that gives the row that it meets another key is found by
// the columns that it met it by.
func (c *intercept) pairUpsert(p *plan, before map[string]*image, after []*image) {
	by := p.pks
	if sets := c.collides(p); len(sets) == 1 && p.assigns(c.assignments(), p.pks) {
		by = p.indexes(sets[0])
	}
	met := make(map[string]*image, len(before))
	for _, im := range before {
		met[im.key(by)] = im
	}
	for _, im := range after {
		key := im.key(by)
		c.changes.change(p, met[key], im)
		met[key] = im // SQLite lets one statement meet a row twice
	}
}

// assignments are those of an UPDATE, or of an upsert.
func (c *intercept) assignments() clause.Set {
	if oc, ok := c.db.Statement.Clauses["ON CONFLICT"].Expression.(clause.OnConflict); ok {
		return oc.DoUpdates
	}
	set, _ := c.db.Statement.Clauses["SET"].Expression.(clause.Set)
	return set
}
