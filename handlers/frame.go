package handlers

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"math"
	"strconv"
	"sync"

	"github.com/rhtmx/gormsync/models"
)

const (
	// maxFrame is the size at which a frame of several changes is closed.
	maxFrame = 32 << 10
	// minGzip is the size from which a frame is worth compressing.
	minGzip = 512
)

// form is how a session wants its changes.
type form struct {
	noun   string // change or field_change
	batch  bool   // whole transactions in a frame
	events bool   // server-sent events
	gzip   bool   // binary frames of gzip
}

// sharedFrame is a frame as all sessions of a view and a form get it.
type sharedFrame struct {
	view  *view
	form  form
	first uint64
	frame frame
}

// frame is one message for a connection.
type frame struct {
	bytes  []byte
	binary bool
	wire   []byte // with the head that a WebSocket's frame has; nil for server-sent events
}

const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10

	final = 0x80 // no fragment follows
)

// newFrame makes a frame of a WebSocket, whole for all who get it.
func newFrame(body []byte, binary bool) frame {
	op := byte(opText)
	if binary {
		op = opBinary
	}
	wire := wireOf(op, body)
	return frame{bytes: wire[len(wire)-len(body):], binary: binary, wire: wire}
}

// wireOf puts the head of RFC 6455 before the body of a frame that a server sends.
func wireOf(op byte, body []byte) []byte {
	const long, longest = 126, 127
	wire := append(make([]byte, 0, len(body)+10), final|op)
	switch n := len(body); {
	case n < long:
		wire = append(wire, byte(n))
	case n <= math.MaxUint16:
		wire = binary.BigEndian.AppendUint16(append(wire, long), uint16(n))
	default:
		wire = binary.BigEndian.AppendUint64(append(wire, longest), uint64(n))
	}
	return append(wire, body...)
}

// cut gives how many of the entries make the next frame, and whether their
// transaction goes on behind it. A leave has a frame of its own. whole says that
// the transaction of the last entry ends with it, for this client.
func (f form) cut(entries []*entry, whole bool) (n int, more bool) {
	switch {
	case f.events:
		return len(fitting(entries)), false
	case !f.batch:
		return 1, false
	}
	size, border := 0, 0
	for n < len(entries) {
		e := entries[n]
		if n > 0 && (size+len(e.json) > maxFrame || e.leaves()) {
			break
		}
		size += len(e.json)
		n++
		if n == len(entries) && whole || n < len(entries) && entries[n].last != e.last {
			border = n
		}
		if e.leaves() {
			break
		}
	}
	if border > 0 {
		return border, false
	}
	return n, true
}

// fitting are the entries that fit into one frame, at least one.
func fitting(entries []*entry) []*entry {
	size := 0
	for i, e := range entries {
		if size += len(e.json); i > 0 && size > maxFrame {
			return entries[:i]
		}
	}
	return entries
}

// encode makes the frame of some entries; cursor completes a place for the client.
func (f form) encode(entries []*entry, more bool, cursor func(models.Cursor) models.Cursor) frame {
	last := entries[len(entries)-1]
	var b []byte
	switch {
	case f.events:
		for _, e := range entries {
			b = appendEvent(b, "sync", e.json, cursor(e.cursor).String())
		}
		return frame{bytes: b}
	case !f.batch:
		b = append(append(append(b, `{"type":"`...), f.noun...), `","change":`...)
		b = append(b, last.json...)
	case last.leaves():
		b = models.AppendString(append(b, `{"type":"leave","entity":`...), last.entity)
		b = models.AppendString(append(b, `,"entity_id":`...), last.id)
		b = strconv.AppendInt(append(b, `,"version":`...), last.version, 10)
	default:
		b = append(append(append(b, `{"type":"`...), f.noun...), `s","changes":[`...)
		for i, e := range entries {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, e.json...)
		}
		b = append(b, ']')
	}
	if more {
		b = append(b, `,"more":true}`...)
	} else {
		b = models.AppendString(append(b, `,"cursor":`...), cursor(last.cursor).String())
		b = append(b, '}')
	}
	return f.compressed(b)
}

var gzips = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// compressed makes a frame of a message.
func (f form) compressed(b []byte) frame {
	if !f.gzip || len(b) < minGzip {
		return newFrame(b, false)
	}
	z, ok := gzips.Get().(*gzip.Writer)
	if !ok {
		return newFrame(b, false)
	}
	defer gzips.Put(z)
	var out bytes.Buffer
	z.Reset(&out)
	if _, err := z.Write(b); err != nil || z.Close() != nil { // a buffer takes everything
		return newFrame(b, false)
	}
	return newFrame(out.Bytes(), true)
}

// appendEvent appends one server-sent event; data has no line breaks, as all our JSON.
func appendEvent(b []byte, name string, data []byte, id string) []byte {
	b = append(append(append(b, "event: "...), name...), '\n')
	if id != "" {
		b = append(append(append(b, "id: "...), id...), '\n')
	}
	b = append(append(append(b, "data: "...), data...), '\n')
	return append(b, '\n')
}

// message is a frame that is no change, in whatever form the session has.
func (f form) message(name string, body []byte, cursor string) frame {
	if !f.events {
		return newFrame(body, false)
	}
	return frame{bytes: appendEvent(nil, name, body, cursor)}
}
