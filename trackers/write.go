package trackers

import (
	"context"

	"gorm.io/gorm"
)

// writeChunk and writeBytes are how many changes one statement writes to the log
// at most, and about how many bytes of them: enough that the trip does not count,
// few enough that its parameters stay small.
const (
	writeChunk = 1000
	writeBytes = 1 << 20
)

// write puts a batch into both logs, in the transaction behind pool.
func (l *Log) write(ctx context.Context, pool gorm.ConnPool, b *batch, t *watchedTx) error {
	return b.chunks(func(rows []logRow) error {
		if l.dialect == postgres {
			return l.writePostgres(ctx, pool, b, rows)
		}
		return l.writeSQLite(ctx, pool, b, rows, t)
	})
}

func text(b []byte) *string {
	if b == nil {
		return nil
	}
	s := string(b)
	return &s
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}
