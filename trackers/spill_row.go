package trackers

import (
	"encoding/binary"

	"github.com/rhtmx/gormsync/models"
)

// encode and decode are for the records of one run of one program only.

func (r *logRow) encode() []byte {
	b := appendBytesField(nil, []byte(r.id), true)
	b = appendBytesField(b, []byte(r.action), true)
	b = appendBytesField(b, []byte(r.move), true)
	if r.scope == nil {
		b = appendBytesField(b, nil, false)
	} else {
		b = appendBytesField(b, []byte(*r.scope), true)
	}
	b = appendBytesField(b, r.data, r.data != nil)
	for _, f := range r.fields {
		b = appendBytesField(b, []byte(f.name), true)
		b = appendBytesField(b, f.value, f.value != nil)
	}
	return b
}

func decodeRow(b []byte) logRow {
	var r logRow
	var v []byte
	v, b = takeBytesField(b)
	r.id = string(v)
	v, b = takeBytesField(b)
	r.action = models.Action(v)
	v, b = takeBytesField(b)
	r.move = models.Move(v)
	if v, b = takeBytesField(b); v != nil {
		scope := string(v)
		r.scope = &scope
	}
	r.data, b = takeBytesField(b)
	for len(b) > 0 {
		var f logField
		v, b = takeBytesField(b)
		f.name = string(v)
		f.value, b = takeBytesField(b)
		r.fields = append(r.fields, f)
	}
	return r
}

func (im *image) encode() []byte {
	b := appendBytesField(nil, []byte(im.id), true)
	b = binary.AppendUvarint(b, uint64(im.size))
	for _, span := range im.span {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(span[0])), uint64(span[1]))
	}
	return append(b, im.buf...)
}

func (p *plan) decodeImage(b []byte) *image {
	im := &image{span: make([][2]int, len(p.cols))}
	number := func() int {
		v, n := binary.Uvarint(b)
		b = b[n:]
		return int(v)
	}
	var id []byte
	id, b = takeBytesField(b)
	im.id, im.size = string(id), number()
	for i := range im.span {
		im.span[i] = [2]int{number(), number()}
	}
	im.buf = b
	return im
}

// images keeps the rows before a statement by a key: in memory, and beyond
// spillBytes in a file.
type images struct {
	plan  *plan
	near  map[string]*image
	far   map[string]int64
	bytes int
	file  *spill
}

func newImages(p *plan) *images { return &images{plan: p, near: map[string]*image{}} }

func (s *images) put(key string, im *image) error {
	if s.bytes > spillBytes && s.file == nil {
		s.file = newSpill()
	}
	if s.file == nil {
		s.near[key] = im
		s.bytes += len(im.buf)
		return nil
	}
	at, err := s.file.add(im.encode())
	if err != nil {
		return err
	}
	if s.far == nil {
		s.far = map[string]int64{}
	}
	s.far[key] = at
	return nil
}

// get gives the row of a key; nil if there is none.
func (s *images) get(key string) (*image, error) {
	if s == nil {
		return nil, nil
	}
	if im := s.near[key]; im != nil {
		return im, nil
	}
	at, ok := s.far[key]
	if !ok {
		return nil, nil
	}
	b, err := s.file.get(at)
	if err != nil {
		return nil, err
	}
	return s.plan.decodeImage(b), nil
}

// each calls fn with every row, in no order.
func (s *images) each(fn func(*image) error) error {
	if s == nil {
		return nil
	}
	for _, im := range s.near {
		if err := fn(im); err != nil {
			return err
		}
	}
	if s.file == nil {
		return nil
	}
	return s.file.each(func(b []byte) error { return fn(s.plan.decodeImage(b)) })
}

func (s *images) remove() error {
	if s == nil {
		return nil
	}
	return s.file.remove()
}
