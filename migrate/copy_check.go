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
	"io"
)

// progressEvery is how many rows pass between two reports of progress.
const progressEvery = 10_000

// checksum is of rows in any order: the sum of their hashes.
type checksum struct {
	table  *copyTable
	rows   int64
	hi, lo uint64
	hash   hash.Hash
	size   [8]byte
}

func (c *checksum) add(values []*string) {
	c.hash.Reset()
	for i, v := range values {
		text := "-"
		if v != nil {
			text = "+" + canonical(c.table.columns[i].kind, *v)
		}
		binary.BigEndian.PutUint64(c.size[:], uint64(len(text)))
		c.hash.Write(c.size[:])
		c.hash.Write([]byte(text))
	}
	sum := c.hash.Sum(nil)
	c.hi += binary.BigEndian.Uint64(sum)
	c.lo += binary.BigEndian.Uint64(sum[8:])
	c.rows++
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
	switch {
	case want.rows != got.rows:
		return CopiedTable{}, fmt.Errorf("the source has %d rows and the target %d; somebody wrote to one of them meanwhile: %s", want.rows, got.rows, w.again())
	case want.String() != got.String():
		return CopiedTable{}, fmt.Errorf("the %d rows differ between source and target: somebody wrote to one of them meanwhile, or a column of the target keeps less, such as numeric(10,2); %s", want.rows, w.again())
	}
	return CopiedTable{Table: t.name, Rows: got.rows, Checksum: got.String()}, nil
}

func (w *copyWork) sourceSum(ctx context.Context, t *copyTable) (_ *checksum, err error) {
	r, err := w.rows(ctx, t, -1<<63, -1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	sum := &checksum{table: t, hash: sha256.New()}
	for {
		_, values, ok := r.scan()
		if !ok {
			return sum, r.err
		}
		sum.add(values)
		w.checked(t, sum.rows/2)
	}
}

// checked tells of progress: each side is half of the work.
func (w *copyWork) checked(t *copyTable, done int64) {
	if done%progressEvery == 0 || done == t.rows {
		w.Progress(CopyProgress{"check", t.name, min(done, t.rows), t.rows})
	}
}

// targetSum reads the table as COPY gives it, a line at a time.
func (w *copyWork) targetSum(ctx context.Context, t *copyTable) (*checksum, error) {
	in, out := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		_, err := w.conn.PgConn().CopyTo(ctx, out, "COPY (SELECT "+t.targetColumns()+" FROM "+t.target+") TO STDOUT")
		sent <- errors.Join(err, out.CloseWithError(err))
	}()
	sum := &checksum{table: t, hash: sha256.New()}
	err := w.sumLines(sum, in)
	return sum, errors.Join(err, in.CloseWithError(err), <-sent)
}

func (w *copyWork) sumLines(sum *checksum, in io.Reader) error {
	lines := bufio.NewReaderSize(in, 1<<20)
	values := make([]*string, len(sum.table.columns))
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		fields := bytes.Split(line[:len(line)-1], []byte{'\t'})
		if len(fields) != len(values) {
			return fmt.Errorf("COPY gave %d values for %d columns", len(fields), len(values))
		}
		for i, f := range fields {
			values[i] = parseCopy(f)
		}
		sum.add(values)
		w.checked(sum.table, (sum.table.rows+sum.rows)/2)
	}
}
