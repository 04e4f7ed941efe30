package trackers

import (
	"cmp"
	"context"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/models"
)

// postgres18 is the first PostgreSQL whose RETURNING knows the old row.
const postgres18 = 180000

// exec runs a statement of which GORM wants no rows, collects its changes and
// gives the number of rows it affected.
func (c *intercept) exec(ctx context.Context, p *plan, query string, args []any) (count int64, err error) {
	if c.action == models.Update && c.oneTrip(p) {
		return c.execOneTrip(ctx, p)
	}
	t, err := c.extend(ctx, p, query+" RETURNING ", args)
	if err != nil {
		return 0, err
	}
	return t.count, nil
}

// query runs a statement of which GORM wants rows.
func (c *intercept) query(ctx context.Context, p *plan, query string, args []any) (*tape, error) {
	return c.extend(ctx, p, query+",", args)
}

// extend completes a statement that ends in RETURNING with our columns. An error
// of the statement reaches the application as the driver made it.
func (c *intercept) extend(ctx context.Context, p *plan, query string, args []any) (*tape, error) {
	if c.log.server >= postgres18 && c.action != models.Delete {
		return c.extendOldNew(ctx, p, query, args)
	}
	before, err := c.before(ctx, p)
	if err != nil {
		return nil, cmp.Or(err, before.remove())
	}
	t, err := c.extendAfter(ctx, p, query, args, before)
	return t, cmp.Or(err, before.remove())
}

func (c *intercept) extendAfter(ctx context.Context, p *plan, query string, args []any, before *images) (*tape, error) {
	t, r, pair := &tape{}, newReader(p), c.pairing(p, before)
	query += p.returning(c.db.Statement)
	if pair.waits {
		r.extra, query = []any{&pair.updated}, query+", xmax <> 0"
	}
	rows, err := c.ConnPool.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	err = t.record(rows, []*reader{r}, func() error {
		im, err := r.take(ctx)
		if err != nil {
			return err
		}
		return pair.take(im)
	})
	if err == nil {
		err = pair.finish(ctx)
	}
	return t, err
}

// extendOldNew asks PostgreSQL 18 for the old row and the new one.
func (c *intercept) extendOldNew(ctx context.Context, p *plan, query string, args []any) (*tape, error) {
	rows, err := c.ConnPool.QueryContext(ctx, query+p.prefixed("old.")+","+p.prefixed("new."), args...)
	if err != nil {
		return nil, err
	}
	t, ro, rn := &tape{}, newReader(p), newReader(p)
	if !p.assigns(c.assignments(), p.pks) {
		return t, t.record(rows, []*reader{ro, rn}, func() error { return takePair(ctx, ro, rn, c.changes.change) })
	}
	// Keys move between rows: what one row leaves another may take.
	before := newImages(p)
	pair := c.pairing(p, before)
	pair.hold = true
	err = t.record(rows, []*reader{ro, rn}, func() error {
		return takePair(ctx, ro, rn, func(_ *plan, was, is *image) error {
			if was != nil {
				if err := before.put(was.key(pair.by), was); err != nil {
					return err
				}
			}
			pair.held = append(pair.held, is)
			return nil
		})
	})
	if err == nil {
		err = pair.finish(ctx)
	}
	return t, cmp.Or(err, before.remove())
}

func takePair(ctx context.Context, ro, rn *reader, pair func(p *plan, before, after *image) error) error {
	var before *image
	if !ro.absent() {
		var err error
		if before, err = ro.take(ctx); err != nil {
			return err
		}
	}
	after, err := rn.take(ctx)
	if err != nil {
		return err
	}
	return pair(rn.p, before, after)
}

// oneTrip reports whether an UPDATE can read the old rows, change them and read
// the new ones in one statement of PostgreSQL before 18.
func (c *intercept) oneTrip(p *plan) bool {
	return c.log.dialect == postgres && c.log.server < postgres18 &&
		!hasFrom(c.db.Statement) && !p.assigns(c.assignments(), p.pks)
}

// execOneTrip locks and reads the rows first, in a CTE. The IN is essential:
// with the plain WHERE in both, the UPDATE runs ahead and rows that it changed
// are skipped by the lock. FOR NO KEY UPDATE does not block children's inserts.
func (c *intercept) execOneTrip(ctx context.Context, p *plan) (int64, error) {
	stmt := c.db.Statement
	s := c.derived()
	c.writeSelect(s, p.list)
	s.WriteString(" FOR NO KEY UPDATE), u AS (")
	s.Build("UPDATE", "SET")
	s.WriteString(" WHERE (" + p.keys("") + ") IN (SELECT " + p.keys("") + " FROM o) RETURNING " + p.list + ")")
	s.WriteString(" SELECT " + p.prefixed("o.") + "," + p.prefixed("u.") + " FROM o JOIN u ON ")
	s.WriteString("(" + p.keys("o.") + ") = (" + p.keys("u.") + ")")
	if stmt.Error != nil {
		return 0, stmt.Error
	}
	rows, err := c.ConnPool.QueryContext(ctx, "WITH o AS MATERIALIZED ("+s.SQL.String(), s.Vars...)
	if err != nil {
		return 0, err
	}
	ro, ru := newReader(p), newReader(p)
	var count int64
	err = each(rows, nil, []*reader{ro, ru}, func() error {
		count++
		return takePair(ctx, ro, ru, c.changes.change)
	})
	return count, err
}

// before reads the rows that the statement is going to change.
func (c *intercept) before(ctx context.Context, p *plan) (*images, error) {
	s := c.derived()
	switch c.action {
	case models.Create:
		if !c.collision(s, p) {
			return nil, nil
		}
	case models.Update:
		list := p.list
		if hasFrom(c.db.Statement) {
			list = p.returning(c.db.Statement)
		}
		c.writeSelect(s, list)
	default:
		return nil, nil // a deleted row comes back from RETURNING as it was
	}
	return c.readBefore(ctx, p, s)
}

func (c *intercept) readBefore(ctx context.Context, p *plan, s *gorm.Statement) (*images, error) {
	if c.db.Error != nil {
		return nil, c.db.Error
	}
	if c.log.dialect == postgres {
		s.WriteString(" FOR NO KEY UPDATE OF ")
		s.WriteQuoted(c.db.Statement.Table)
	} else if err := c.log.lockSQLite(ctx, c.ConnPool, c.entity); err != nil {
		return nil, err
	}
	rows, err := bare(c.ConnPool).QueryContext(ctx, s.SQL.String(), s.Vars...)
	if err != nil {
		return nil, err
	}
	r, found, by := newReader(p), newImages(p), c.pairedBy(p)
	err = each(rows, nil, []*reader{r}, func() error {
		im, err := r.take(ctx)
		if err != nil {
			return err
		}
		return found.put(im.key(by), im)
	})
	return found, err
}

// lockSQLite takes SQLite's write lock before the first read of a transaction:
// one that reads first fails at once with "database is locked" when it turns to
// writing and another has written meanwhile.
func (l *Log) lockSQLite(ctx context.Context, pool gorm.ConnPool, t *Tracked) error {
	if tx := watchedTxOf(pool); tx != nil && tx.hasWritten() {
		return nil
	}
	_, err := bare(pool).ExecContext(ctx, "DELETE FROM "+l.quote(t.Schema.Table)+" WHERE 0")
	return err
}

// derived makes a statement with the same table and conditions.
func (c *intercept) derived() *gorm.Statement {
	stmt := c.db.Statement
	return &gorm.Statement{
		DB: c.db, TableExpr: stmt.TableExpr, Table: stmt.Table, Model: stmt.Model, Unscoped: stmt.Unscoped,
		Schema: stmt.Schema, Context: stmt.Context, ConnPool: c.ConnPool, Clauses: stmt.Clauses,
		ReflectValue: stmt.ReflectValue, Dest: stmt.Dest,
	}
}

// writeSelect writes a SELECT of the rows that the statement's WHERE finds.
func (c *intercept) writeSelect(s *gorm.Statement, list string) {
	s.WriteString("SELECT " + list + " FROM ")
	s.WriteQuoted(clause.Table{Name: clause.CurrentTable})
	if hasFrom(s) {
		from := s.Clauses["FROM"].Expression.(clause.From)
		for _, t := range from.Tables {
			s.WriteByte(',')
			s.WriteQuoted(t)
		}
		for _, j := range from.Joins {
			s.WriteByte(' ')
			j.Build(s)
		}
	}
	if _, ok := s.Clauses["WHERE"]; ok {
		s.WriteByte(' ')
		s.Build("WHERE")
	}
}
