package trackers

import (
	"bytes"
	"slices"
	"time"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// batch is what one statement changed.
type batch struct {
	entity        *Tracked
	at            time.Time
	edited        time.Time // at, or when the client made its edit
	actor, client string
	mutation      string // the client's name for the change; empty for none
	pushed        *pushed

	count int      // how many rows there are
	rows  []logRow // the last of them
	bytes int      // about what rows takes
	file  *spill   // those before; nil if rows are all
}

// logRow is one row for the change log, with its rows for the field log.
type logRow struct {
	id     string
	action models.Action
	move   models.Move
	scope  *string
	data   []byte // nil for a delete
	fields []logField
}

// logField is one row for the field log.
type logField struct {
	name  string
	value []byte // nil for a delete
}

func newBatch(db *gorm.DB, e *Tracked) *batch {
	ctx := db.Statement.Context
	b := &batch{entity: e, at: db.NowFunc().UTC().Truncate(time.Microsecond), actor: actorOf(ctx), client: clientOf(ctx), pushed: pushedOf(ctx)}
	b.edited = b.at
	if p := b.pushed; p != nil {
		b.mutation = p.id
		if at := p.edited.UTC().Truncate(time.Microsecond); !p.edited.IsZero() && at.Before(b.at) {
			b.edited = at
		}
	}
	return b
}

// claimed reports whether a client's edit stands for a field of a row, also when
// the value stays the same: an older edit that arrives later must lose.
func (b *batch) claimed(id, field string) bool {
	p := b.pushed
	return p != nil && p.entity == b.entity.Name && p.row == id && slices.Contains(p.fields, field)
}

// add adds a row. When there are many they go to a file.
func (b *batch) add(r logRow) error {
	b.count++
	b.rows = append(b.rows, r)
	if b.bytes += r.size(); b.bytes < spillBytes {
		return nil
	}
	if b.file == nil {
		b.file = newSpill()
	}
	if b.file == nil {
		return nil
	}
	for i := range b.rows {
		if _, err := b.file.add(b.rows[i].encode()); err != nil {
			return err
		}
	}
	b.rows, b.bytes = nil, 0
	return nil
}

// size is about what a row takes as parameters.
func (r *logRow) size() int { return len(r.data) + 100*(1+len(r.fields)) }

// chunks gives the rows in their order, in portions for one statement each.
func (b *batch) chunks(fn func([]logRow) error) error {
	var part []logRow
	size := 0
	add := func(r logRow) error {
		if len(part) == writeChunk || (len(part) > 0 && size+r.size() > writeBytes) {
			if err := fn(part); err != nil {
				return err
			}
			part, size = part[:0], 0
		}
		part, size = append(part, r), size+r.size()
		return nil
	}
	if b.file != nil {
		if err := b.file.each(func(record []byte) error { return add(decodeRow(record)) }); err != nil {
			return err
		}
	}
	for i := range b.rows {
		if err := add(b.rows[i]); err != nil {
			return err
		}
	}
	return fn(part)
}

// change adds what happened to one row; before is nil for a row that was not
// there, after for one that is no more. A row marked as deleted counts as not there.
func (b *batch) change(p *plan, before, after *image) error {
	alive := func(im *image) bool { return im != nil && !p.gone(im) }
	switch was, is := alive(before), alive(after); {
	case was && is && before.id != after.id:
		if err := b.deleted(p, before); err != nil {
			return err
		}
		return b.created(p, after)
	case was && is:
		return b.updated(p, before, after)
	case is:
		return b.created(p, after)
	case was:
		return b.deleted(p, before)
	}
	return nil
}

func (b *batch) created(p *plan, im *image) error {
	return b.add(logRow{id: im.id, action: models.Create, scope: p.scopeOf(im), data: im.data(), fields: b.allFields(p, im)})
}

func (b *batch) deleted(p *plan, im *image) error {
	return b.add(logRow{id: im.id, action: models.Delete, scope: p.scopeOf(im), fields: b.noFields(p, im)})
}

func (b *batch) updated(p *plan, before, after *image) error {
	if bytes.Equal(before.buf, after.buf) && b.pushed == nil {
		return nil
	}
	from, to := p.scopeOf(before), p.scopeOf(after)
	if !sameScope(from, to) {
		return b.moved(p, before, after, from, to)
	}
	row := logRow{id: after.id, action: models.Update, scope: to, data: after.data()}
	changed := false // hidden columns do not count
	for i := range p.cols[:p.visible] {
		if bytes.Equal(before.col(i), after.col(i)) && !b.claimed(after.id, p.cols[i].name) {
			continue
		}
		changed = true
		if p.entity.FieldLog {
			row.fields = append(row.fields, fieldOf(p, after, i))
		}
	}
	if !changed {
		return nil
	}
	return b.add(row)
}

// overwritten is an update of a row that nobody knows: all its fields may be new.
func (b *batch) overwritten(p *plan, im *image) error {
	row := logRow{id: im.id, action: models.Update, scope: p.scopeOf(im), data: im.data()}
	if p.entity.FieldLog {
		for i := range p.cols[:p.visible] {
			if !p.cols[i].field.PrimaryKey {
				row.fields = append(row.fields, fieldOf(p, im, i))
			}
		}
	}
	return b.add(row)
}

// moved writes a leave under the old scope and the change under the new one.
func (b *batch) moved(p *plan, before, after *image, from, to *string) error {
	err := b.add(logRow{id: before.id, action: models.Delete, move: models.MoveLeave, scope: from, fields: b.noFields(p, before)})
	if err != nil {
		return err
	}
	return b.add(logRow{id: after.id, action: models.Update, move: models.MoveEnter, scope: to, data: after.data(), fields: b.allFields(p, after)})
}

func sameScope(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// allFields: every field that holds something. The key is left out: it is in the
// entity id, and the original field client would key the row anew by it.
func (b *batch) allFields(p *plan, im *image) []logField {
	if !p.entity.FieldLog {
		return nil
	}
	fields := make([]logField, 0, p.visible)
	for i := range p.cols[:p.visible] {
		if !p.cols[i].field.PrimaryKey && !isNull(im.col(i)) {
			fields = append(fields, fieldOf(p, im, i))
		}
	}
	return fields
}

// noFields: every field that held something goes. The mark of a soft delete was
// not there while the row was.
func (b *batch) noFields(p *plan, im *image) []logField {
	fields := b.allFields(p, im)
	for i := range fields {
		fields[i].value = nil
	}
	return slices.DeleteFunc(fields, func(f logField) bool { return slices.Contains(p.soft, p.byName[f.name]) })
}

func fieldOf(p *plan, im *image, i int) logField {
	f := logField{name: p.cols[i].name}
	if v := im.col(i); !isNull(v) {
		f.value = v
	}
	return f
}
