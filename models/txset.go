package models

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// TxSet is the set of transactions whose changes a reader has: all below Xmax
// but those in Xip. It is PostgreSQL's pg_snapshot without xmin, an idea that
// PgQ (Skype's queue, 2007) first used to read a table as a feed. On SQLite,
// where transactions are numbered by their first log row and commit in that
// order, Xip is always empty.
type TxSet struct {
	Xmax uint64
	Xip  []uint64 // ascending, each < Xmax
}

// ParseTxSet reads the text form of a pg_snapshot, "xmin:xmax:xip,…".
func ParseTxSet(s string) (TxSet, error) {
	parts := strings.SplitN(s, ":", 3)
	if len(parts) != 3 {
		return TxSet{}, fmt.Errorf("models: %q is not a pg_snapshot", s)
	}
	xmax, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return TxSet{}, fmt.Errorf("models: %q is not a pg_snapshot: %w", s, err)
	}
	set := TxSet{Xmax: xmax}
	for x := range strings.SplitSeq(parts[2], ",") {
		if x == "" {
			continue
		}
		v, err := strconv.ParseUint(x, 10, 64)
		if err != nil {
			return TxSet{}, fmt.Errorf("models: %q is not a pg_snapshot: %w", s, err)
		}
		set.Xip = append(set.Xip, v)
	}
	return set, nil
}

// Has reports whether the set holds transaction tx.
func (s TxSet) Has(tx uint64) bool {
	if tx >= s.Xmax {
		return false
	}
	_, open := slices.BinarySearch(s.Xip, tx)
	return !open
}

// Cap lowers Xmax to x. A reader caps what it saw by the newest visible change:
// beyond that lie only transactions of which nothing was read, and after a
// crash PostgreSQL may hand out their numbers again.
func (s TxSet) Cap(x uint64) TxSet {
	if x >= s.Xmax {
		return s
	}
	i, _ := slices.BinarySearch(s.Xip, x)
	return TxSet{Xmax: x, Xip: s.Xip[:i:i]}
}

// Union is the set of the transactions that s or o has.
func (s TxSet) Union(o TxSet) TxSet {
	if s.Xmax < o.Xmax {
		s, o = o, s
	}
	out := TxSet{Xmax: s.Xmax}
	for _, x := range s.Xip {
		if !o.Has(x) {
			out.Xip = append(out.Xip, x)
		}
	}
	return out
}

// Array is Xip as a literal for a PostgreSQL bigint[], good for every driver.
func (s TxSet) Array() string {
	b := []byte{'{'}
	for i, x := range s.Xip {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, x, 10)
	}
	return string(append(b, '}'))
}

// append encodes Xmax, the length of Xip, and the gaps downwards from Xmax.
func (s TxSet) append(b []byte) []byte {
	b = binary.AppendUvarint(b, s.Xmax)
	b = binary.AppendUvarint(b, uint64(len(s.Xip)))
	above := s.Xmax
	for _, x := range slices.Backward(s.Xip) {
		b = binary.AppendUvarint(b, above-x-1)
		above = x
	}
	return b
}
