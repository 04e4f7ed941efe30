package migrate

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
)

// progressEvery is how many rows pass between two reports of progress.
const progressEvery = 10_000

// checksum is of rows in any order: the sum of their hashes. The other sums only
// tell where two sides differ.
type checksum struct {
	table   *copyTable
	rows    int64
	hi, lo  uint64
	hash    hash.Hash
	size    [8]byte
	seed    maphash.Seed
	columns []uint64 // of each column's values
	parts   []uint64 // of the rows by their keys
}

// checksumParts is into how many parts the rows are cut by their keys, so that a
// row that differs is found among few.
const checksumParts = 4096

func newChecksum(t *copyTable, seed maphash.Seed) *checksum {
	return &checksum{table: t, hash: sha256.New(), seed: seed, columns: make([]uint64, len(t.columns)), parts: make([]uint64, checksumParts)}
}

func (c *checksum) add(values []*string) {
	c.hash.Reset()
	for i, v := range values {
		text := spelling(c.table.columns[i].kind, v)
		binary.BigEndian.PutUint64(c.size[:], uint64(len(text)))
		c.hash.Write(c.size[:])
		c.hash.Write([]byte(text))
		c.columns[i] += maphash.String(c.seed, text)
	}
	sum := c.hash.Sum(nil)
	hi := binary.BigEndian.Uint64(sum)
	c.hi += hi
	c.lo += binary.BigEndian.Uint64(sum[8:])
	c.parts[part(c.table, c.seed, values)] += hi
	c.rows++
}

// spelling is the text of a value that both sides share, NULL told from all others.
func spelling(kind string, v *string) string {
	if v == nil {
		return "-"
	}
	return "+" + canonical(kind, *v)
}

// part tells to which part a row belongs.
func part(t *copyTable, seed maphash.Seed, values []*string) int {
	var sum uint64
	for i, c := range t.columns {
		if c.key {
			sum = 31*sum + maphash.String(seed, spelling(c.kind, values[i]))
		}
	}
	return int(sum % checksumParts)
}

func (c *checksum) String() string { return fmt.Sprintf("%016x%016x", c.hi, c.lo) }

// check compares both sides of a table.
func (w *copyWork) check(ctx context.Context, t *copyTable) (CopiedTable, error) {
	want, err := w.sourceSum(ctx, t)
	if err != nil {
		return CopiedTable{}, err
	}
	got, err := w.targetSum(ctx, t)
	if err != nil {
		return CopiedTable{}, err
	}
	if want.rows != got.rows || want.String() != got.String() {
		return CopiedTable{}, w.difference(ctx, want, got)
	}
	return CopiedTable{Table: t.name, Rows: got.rows, Checksum: got.String()}, nil
}

func (w *copyWork) sourceSum(ctx context.Context, t *copyTable) (*checksum, error) {
	sum := newChecksum(t, w.seed)
	return sum, w.eachSource(ctx, t, func(values []*string) {
		sum.add(values)
		w.checked(t, sum.rows/2)
	})
}

func (w *copyWork) eachSource(ctx context.Context, t *copyTable, fn func([]*string)) (err error) {
	r, err := w.rows(ctx, t, -1<<63, -1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	for {
		_, values, ok := r.scan()
		if !ok {
			return r.err
		}
		fn(values)
	}
}

// checked tells of progress: each side is half of the work.
func (w *copyWork) checked(t *copyTable, done int64) {
	if done%progressEvery == 0 || done == t.rows {
		w.Progress(CopyProgress{"check", t.name, min(done, t.rows), t.rows})
	}
}

func (w *copyWork) targetSum(ctx context.Context, t *copyTable) (*checksum, error) {
	sum := newChecksum(t, w.seed)
	return sum, w.eachTarget(ctx, t, func(values []*string) {
		sum.add(values)
		w.checked(t, (t.rows+sum.rows)/2)
	})
}

// eachTarget reads the table as COPY gives it, a line at a time.
func (w *copyWork) eachTarget(ctx context.Context, t *copyTable, fn func([]*string)) error {
	in, out := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		_, err := w.conn.PgConn().CopyTo(ctx, out, "COPY (SELECT "+t.targetColumns()+" FROM "+t.target+") TO STDOUT")
		sent <- errors.Join(err, out.CloseWithError(err))
	}()
	err := eachLine(in, len(t.columns), fn)
	return errors.Join(err, in.CloseWithError(err), <-sent)
}

func eachLine(in io.Reader, columns int, fn func([]*string)) error {
	lines := bufio.NewReaderSize(in, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		fields := bytes.Split(line[:len(line)-1], []byte{'\t'})
		if len(fields) != columns {
			return fmt.Errorf("COPY gave %d values for %d columns", len(fields), columns)
		}
		values := make([]*string, columns)
		for i, f := range fields {
			values[i] = parseCopy(f)
		}
		fn(values)
	}
}
