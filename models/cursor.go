package models

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"hash/fnv"
	"slices"
)

const (
	cursorFormat = 1
	// maxXip bounds what a cursor may hold: far above max_connections of any server.
	maxXip = 20000
	// maxCovers bounds the entities of one cursor.
	maxCovers = 1000
)

// Cursor is a place in the feed. Its text form is opaque to clients.
type Cursor struct {
	// Epoch tells the database that gave the cursor out; another one refuses it.
	Epoch uint32
	// From are the transactions that the reader has whole.
	From TxSet
	// Batch is where the reader stands inside a read that was split into pages;
	// nil between reads.
	Batch *Batch
	// Page is where the reader stands inside a snapshot; nil when it has all of it.
	Page *Page
	// Covers are the entities that the cursor has followed, and under which scopes.
	Covers []Cover
}

// Batch is a place inside one read of the log: the changes of the transactions
// in To but not in From, ordered by (last version of the transaction, version).
type Batch struct {
	To TxSet
	// Of tells which log was read and through which filters: the order depends on
	// what else of a transaction is in sight.
	Of      uint32
	AfterTx int64 // last version of the transaction that was read last
	AfterID int64 // version that was read last
	// Floor is the log's horizon when a read from nothing began, which no place in
	// From can tell.
	Floor uint64
}

// Page is a place inside a snapshot: the last row read, by its entity id.
type Page struct{ After string }

// Cover is an entity that a cursor has followed.
type Cover struct {
	Entity uint32 // hash of the entity's name
	Scopes uint32 // hash of the scopes it was read under
}

// CoverOf makes the cover of an entity read under scopes; all stands for every scope.
// The generation tells before from after a change of what the entity shows.
func CoverOf(entity string, generation uint32, all bool, scopes []string) Cover {
	h := fnv.New32a()
	if generation > 0 {
		h.Write(binary.BigEndian.AppendUint32(nil, generation))
	}
	if all {
		h.Write([]byte{1})
	} else {
		for _, s := range slices.Compact(slices.Sorted(slices.Values(scopes))) {
			h.Write(binary.AppendUvarint(nil, uint64(len(s))))
			h.Write([]byte(s))
		}
	}
	e := fnv.New32a()
	e.Write([]byte(entity))
	return Cover{Entity: e.Sum32(), Scopes: h.Sum32()}
}

// HasCover reports whether the cursor followed that entity under those scopes.
func (c Cursor) HasCover(v Cover) bool { return slices.Contains(c.Covers, v) }

// Position is c without Page and Covers: the place in the log alone.
func (c Cursor) Position() Cursor { return Cursor{Epoch: c.Epoch, From: c.From, Batch: c.Batch} }

// IsZero reports whether c is the cursor 'from nothing'.
func (c Cursor) IsZero() bool { return c.Epoch == 0 && c.From.Xmax == 0 && c.Batch == nil }

// String encodes c for the wire: the letter c, then base64url without padding.
func (c Cursor) String() string { return c.encode('c') }

// Version encodes the same place for the original clients, which know a
// position as the top-level version of an answer: the letter v instead of c.
func (c Cursor) Version() string { return c.encode('v') }

const (
	flagBatch = 1 << iota
	flagPage
)

func (c Cursor) encode(letter byte) string {
	b := make([]byte, 0, 64)
	b = append(b, cursorFormat, c.flags())
	b = binary.BigEndian.AppendUint32(b, c.Epoch)
	b = c.From.append(b)
	if c.Batch != nil {
		b = c.Batch.To.append(b)
		b = binary.BigEndian.AppendUint32(b, c.Batch.Of)
		b = binary.AppendUvarint(b, uint64(c.Batch.AfterTx))
		b = binary.AppendUvarint(b, uint64(c.Batch.AfterID))
		b = binary.AppendUvarint(b, c.Batch.Floor)
	}
	if c.Page != nil {
		b = binary.AppendUvarint(b, uint64(len(c.Page.After)))
		b = append(b, c.Page.After...)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Covers)))
	for _, v := range c.Covers {
		b = binary.BigEndian.AppendUint32(b, v.Entity)
		b = binary.BigEndian.AppendUint32(b, v.Scopes)
	}
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	out := make([]byte, 1, 1+base64.RawURLEncoding.EncodedLen(len(b)))
	out[0] = letter
	return string(base64.RawURLEncoding.AppendEncode(out, b))
}

func (c Cursor) flags() (f byte) {
	if c.Batch != nil {
		f |= flagBatch
	}
	if c.Page != nil {
		f |= flagPage
	}
	return f
}

// ParseCursor decodes the text of String or Version; isVersion tells which. The
// texts "" and "0" are the zero Cursor. Anything else is ErrBadCursor.
func ParseCursor(s string) (c Cursor, isVersion bool, err error) {
	if s == "" || s == "0" {
		return Cursor{}, false, nil
	}
	if s[0] != 'c' && s[0] != 'v' {
		return Cursor{}, false, ErrBadCursor
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s[1:])
	if err != nil || len(b) < 10 {
		return Cursor{}, false, ErrBadCursor
	}
	body, sum := b[:len(b)-4], b[len(b)-4:]
	if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(sum) || body[0] != cursorFormat {
		return Cursor{}, false, ErrBadCursor
	}
	r := cursorReader{b: body[2:]}
	c = r.cursor(body[1])
	// One place has one text: whatever decodes but would not be written so is forged.
	if r.bad || len(r.b) > 0 || !bytes.Equal([]byte(c.encode(s[0])), []byte(s)) {
		return Cursor{}, false, ErrBadCursor
	}
	return c, s[0] == 'v', nil
}

// cursorReader takes a cursor's bytes apart; bad is set once and stays.
type cursorReader struct {
	b   []byte
	bad bool
}

func (r *cursorReader) cursor(flags byte) (c Cursor) {
	c.Epoch = r.uint32()
	c.From = r.txSet()
	if flags&flagBatch != 0 {
		c.Batch = &Batch{To: r.txSet(), Of: r.uint32(), AfterTx: int64(r.uvarint()), AfterID: int64(r.uvarint()), Floor: r.uvarint()}
		r.bad = r.bad || c.Batch.AfterTx < 0 || c.Batch.AfterID < 0
	}
	if flags&flagPage != 0 {
		c.Page = &Page{After: string(r.take(r.uvarint()))}
	}
	n := r.uvarint()
	if n > maxCovers {
		r.bad = true
	}
	for ; n > 0 && !r.bad; n-- {
		c.Covers = append(c.Covers, Cover{Entity: r.uint32(), Scopes: r.uint32()})
	}
	return c
}

func (r *cursorReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *cursorReader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *cursorReader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *cursorReader) txSet() TxSet {
	s := TxSet{Xmax: r.uvarint()}
	n := r.uvarint()
	// PostgreSQL's xid8 and SQLite's row ids both end at 2^63.
	if n > maxXip || s.Xmax > 1<<63-1 {
		r.bad = true
	}
	if n == 0 || r.bad {
		return s
	}
	s.Xip = make([]uint64, n)
	above := s.Xmax
	for i := int(n) - 1; i >= 0; i-- {
		gap := r.uvarint()
		if gap >= above {
			r.bad = true
			return TxSet{}
		}
		above -= gap + 1
		s.Xip[i] = above
	}
	return s
}
