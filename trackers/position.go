package trackers

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/rhtmx/gormsync/models"
)

// position is where the log stands at the moment of a statement.
type position struct {
	snapshot string // pg_snapshot; empty on SQLite
	standby  bool
	newest   int64 // the highest transaction in the log
}

func (p *position) dests() []any {
	return []any{optional[string]{&p.snapshot}, optional[bool]{&p.standby}, optional[int64]{&p.newest}}
}

// positionSQL selects the columns of a position.
func (l *Log) positionSQL() string {
	changes := l.quote(l.tables.Changes)
	if l.dialect == sqlite {
		return "'', 0, (SELECT max(id) FROM " + changes + ")"
	}
	return "pg_current_snapshot()::text, pg_is_in_recovery(), (SELECT tx FROM " + changes + " ORDER BY tx DESC LIMIT 1)"
}

// after is the set of transactions that a reader has who had from and read at p.
func (p position) after(from models.TxSet) (models.TxSet, error) {
	newest := max(from.Xmax, uint64(p.newest)+1)
	if p.snapshot == "" {
		return models.TxSet{Xmax: newest}, nil
	}
	set, err := models.ParseTxSet(p.snapshot)
	if err != nil {
		return set, err
	}
	if p.standby { // a standby's snapshot does not list the open transactions
		xmin, _, _ := strings.Cut(p.snapshot, ":")
		if set.Xmax, err = strconv.ParseUint(xmin, 10, 64); err != nil {
			return set, err
		}
		set.Xip = nil
	}
	return from.Union(set.Cap(newest)), nil
}

// Accept tells whether the log can still be followed from a cursor. It returns
// models.ErrCursorExpired for the cursor of another database.
func (l *Log) Accept(c models.Cursor) error {
	if c.Epoch != l.epoch {
		return models.ErrCursorExpired
	}
	return nil
}

// Position gives the cursor of the log's present end.
func (l *Log) Position(ctx context.Context) (models.Cursor, error) {
	var p position
	err := l.pool.QueryRowContext(ctx, "SELECT "+l.positionSQL(), l.unprepared()...).Scan(p.dests()...)
	if err != nil {
		return models.Cursor{}, fmt.Errorf("gormsync: reading the end of %s: %w", l.tables.Changes, err)
	}
	set, err := p.after(models.TxSet{})
	return models.Cursor{Epoch: l.epoch, From: set}, err
}
