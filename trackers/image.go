package trackers

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/rhtmx/gormsync/models"
)

// image is one row at one moment: its columns as JSON, in one buffer.
type image struct {
	buf  []byte   // the object of the visible columns, then the values of the others
	span [][2]int // where each column's value lies in buf
	size int      // length of the object
	id   string
}

func (im *image) data() []byte     { return im.buf[:im.size:im.size] }
func (im *image) col(i int) []byte { return im.buf[im.span[i][0]:im.span[i][1]] }

// key is the values of some columns, as something to look rows up by.
func (im *image) key(cols []int) string {
	var b []byte
	for _, i := range cols {
		b = append(append(b, im.col(i)...), 0)
	}
	return string(b)
}

// gone reports whether the row is marked as deleted.
func (p *plan) gone(im *image) bool {
	for _, i := range p.soft {
		switch string(im.col(i)) {
		case "null", "0", "false", `""`:
		default:
			return true
		}
	}
	return false
}

// scopeOf is the text of the row's scope; nil for none.
func (p *plan) scopeOf(im *image) *string {
	if p.scope < 0 || isNull(im.col(p.scope)) {
		return nil
	}
	s := plain(im.col(p.scope))
	return &s
}

func isNull(v []byte) bool { return string(v) == "null" }

// plain is a JSON scalar as text: a string without its quotes, anything else as it is.
func plain(v []byte) string {
	if len(v) < 2 || v[0] != '"' {
		return string(v)
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return string(v[1 : len(v)-1])
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return string(v)
	}
	return s
}

// reader turns rows that hold a plan's columns, in the plan's order, into images.
type reader struct {
	p     *plan
	vals  []any
	extra []any         // what to scan behind the plan's columns
	model reflect.Value // scratch, for fields that must see their value
}

func newReader(p *plan) *reader { return &reader{p: p, vals: make([]any, len(p.cols))} }

// dests appends what a Scan of the plan's columns fills.
func (r *reader) dests(d []any) []any {
	for i := range r.vals {
		d = append(d, &r.vals[i])
	}
	return append(d, r.extra...)
}

// absent reports whether the scanned row has no key: the empty side of an outer join.
func (r *reader) absent() bool { return r.vals[r.p.pks[0]] == nil }

// take makes an image of the scanned values.
func (r *reader) take(ctx context.Context) (*image, error) {
	im := &image{buf: make([]byte, 0, 32*len(r.p.cols)), span: make([][2]int, len(r.p.cols))}
	im.buf = append(im.buf, '{')
	for i := range r.p.cols {
		if i == r.p.visible {
			im.close()
		}
		c := &r.p.cols[i]
		if i < r.p.visible {
			if i > 0 {
				im.buf = append(im.buf, ',')
			}
			im.buf = append(im.buf, c.key...)
		}
		start := len(im.buf)
		if err := r.encode(ctx, im, i); err != nil {
			return nil, fmt.Errorf("gormsync: reading %s.%s: %w", r.p.entity.Name, c.name, err)
		}
		im.span[i] = [2]int{start, len(im.buf)}
	}
	if r.p.visible == len(r.p.cols) {
		im.close()
	}
	parts := make([]string, len(r.p.pks))
	for i, k := range r.p.pks {
		parts[i] = plain(im.col(k))
	}
	im.id = models.EncodeID(parts...)
	return im, nil
}

func (im *image) close() {
	im.buf = append(im.buf, '}')
	im.size = len(im.buf)
}

func (r *reader) encode(ctx context.Context, im *image, i int) error {
	c, v := &r.p.cols[i], r.vals[i]
	if v == nil {
		im.buf = append(im.buf, "null"...)
		return nil
	}
	if c.raw != nil {
		n := len(im.buf)
		b, ok := c.raw(im.buf, v)
		if ok {
			im.buf = b
			return nil
		}
		im.buf = b[:n]
	}
	if !r.model.IsValid() {
		r.model = reflect.New(r.p.entity.Schema.ModelType).Elem()
	}
	r.model.SetZero() // some types add to what they hold when they scan
	n := len(im.buf)
	b, err := appendField(ctx, im.buf, c.field, r.model, v)
	if err != nil {
		// The model cannot hold what is there. That is no reason to fail the
		// application's statement, which did not ask.
		b, err = appendDriver(b[:n], v)
	}
	im.buf = b
	return err
}

// each reads rows whose columns are skipped ones, then those of the readers. It
// calls fn after each Scan, and closes the rows.
func each(rows *sql.Rows, skipped []any, readers []*reader, fn func() error) (err error) {
	defer func() {
		if closeErr := rows.Close(); err == nil {
			err = closeErr
		}
	}()
	dests := append([]any(nil), skipped...)
	for _, r := range readers {
		dests = r.dests(dests)
	}
	for rows.Next() {
		if err := rows.Scan(dests...); err != nil {
			return err
		}
		if err := fn(); err != nil {
			return err
		}
	}
	return rows.Err()
}
