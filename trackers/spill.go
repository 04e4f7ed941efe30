package trackers

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// spillBytes is how much of one statement's changes stays in memory. What is more
// goes to a temporary file, so that an UPDATE of a whole table costs disk and not
// memory.
var spillBytes = 8 << 20

// spill is a temporary file of records.
type spill struct {
	file *os.File
	out  *bufio.Writer
	size int64
}

// newSpill gives nil where no file can be made: then the changes stay in memory,
// which is better than to fail the application's statement.
func newSpill() *spill {
	f, err := os.CreateTemp("", "gormsync-*")
	if err != nil {
		return nil
	}
	return &spill{file: f, out: bufio.NewWriterSize(f, 1<<16)}
}

// add writes a record and gives its place.
func (s *spill) add(record []byte) (at int64, err error) {
	at = s.size
	head := binary.AppendUvarint(nil, uint64(len(record)))
	_, err = s.out.Write(head)
	if err == nil {
		_, err = s.out.Write(record)
	}
	s.size += int64(len(head) + len(record))
	return at, err
}

// get reads the record at a place.
func (s *spill) get(at int64) ([]byte, error) {
	if s.out.Buffered() > 0 {
		if err := s.out.Flush(); err != nil {
			return nil, err
		}
	}
	r := bufio.NewReader(io.NewSectionReader(s.file, at, s.size-at))
	return readRecord(r)
}

// each reads all records in their order.
func (s *spill) each(fn func(record []byte) error) error {
	if err := s.out.Flush(); err != nil {
		return err
	}
	r := bufio.NewReaderSize(io.NewSectionReader(s.file, 0, s.size), 1<<16)
	for {
		record, err := readRecord(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = fn(record)
		}
		if err != nil {
			return err
		}
	}
}

func readRecord(r *bufio.Reader) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	record := make([]byte, n)
	if _, err := io.ReadFull(r, record); err != nil {
		return nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return record, nil
}

// remove deletes the file.
func (s *spill) remove() error {
	if s == nil {
		return nil
	}
	return errors.Join(s.file.Close(), os.Remove(s.file.Name()))
}

// appendBytesField appends a text that may be absent.
func appendBytesField(b, v []byte, present bool) []byte {
	if !present {
		return binary.AppendUvarint(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(v))+1), v...)
}

// takeBytesField takes one off; nil for an absent one.
func takeBytesField(b []byte) (v, rest []byte) {
	n, size := binary.Uvarint(b)
	b = b[size:]
	if n == 0 {
		return nil, b
	}
	return b[: n-1 : n-1], b[n-1:]
}
