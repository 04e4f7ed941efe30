package trackers

import (
	"context"

	"gorm.io/gorm"
)

// writeChunk is how many changes one statement writes to the log: enough that
// the trip does not count, few enough that its parameters stay small.
const writeChunk = 1000

// write puts a batch into both logs, in the transaction behind pool.
func (l *Log) write(ctx context.Context, pool gorm.ConnPool, b *batch, t *watchedTx) error {
	for rest := b.rows; len(rest) > 0; {
		n := min(len(rest), writeChunk)
		var err error
		if l.dialect == postgres {
			err = l.writePostgres(ctx, pool, b, rest[:n])
		} else {
			err = l.writeSQLite(ctx, pool, b, rest[:n], t)
		}
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
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
