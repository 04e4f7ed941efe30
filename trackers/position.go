package trackers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rhtmx/gormsync/models"
)

// position is where the log stands at the moment of a statement.
type position struct {
	snapshot string // pg_snapshot; empty on SQLite
	standby  bool
	newest   int64  // the highest transaction in the log
	server   string // tells servers and log tables apart cheaply; empty on SQLite
	epoch    string // the random text in meta
	horizon  string // the highest transaction that was pruned; empty for none
	visible  string // on a standby: the log's transactions from xmin on
}

// positionColumns is how many columns positionSQL selects.
const positionColumns = 7

// read takes a position from the scanned values of its columns.
func (p *position) read(v []any) error {
	return errors.Join(
		into(&p.snapshot, v[0]), into(&p.standby, v[1]), into(&p.newest, v[2]),
		into(&p.server, v[3]), into(&p.epoch, v[4]), into(&p.horizon, v[5]), into(&p.visible, v[6]),
	)
}

// positionSQL selects a position, as one row.
func (l *Log) positionSQL() string {
	changes, meta := l.quote(l.tables.Changes), l.quote(l.tables.Meta)
	fact := func(key string) string { return ", (SELECT value FROM " + meta + " WHERE key = " + literal(key) + ")" }
	facts := fact(models.MetaEpoch) + fact(models.MetaHorizon)
	if l.dialect == sqlite {
		return "SELECT '', 0, (SELECT max(id) FROM " + changes + "), ''" + facts + ", ''"
	}
	// OFFSET 0 keeps PostgreSQL from asking all this again for each row that it is
	// joined to.
	return "SELECT pg_current_snapshot()::text, pg_is_in_recovery(), (SELECT tx FROM " + changes + " ORDER BY tx DESC LIMIT 1), " + l.serverSQL() + facts +
		", CASE WHEN pg_is_in_recovery() THEN (SELECT string_agg(DISTINCT tx::text, ',') FROM " + changes +
		" WHERE tx >= pg_snapshot_xmin(pg_current_snapshot())::text::bigint) END OFFSET 0"
}

// after is the set of transactions that a reader has who had from and read at p.
func (p *position) after(from models.TxSet) (models.TxSet, error) {
	newest := max(from.Xmax, uint64(p.newest)+1)
	if p.snapshot == "" {
		return models.TxSet{Xmax: newest}, nil
	}
	set, err := models.ParseTxSet(p.snapshot)
	if err != nil {
		return set, err
	}
	if p.standby {
		if set, err = p.onStandby(); err != nil {
			return set, err
		}
	}
	return from.Union(set.Cap(newest)), nil
}

// onStandby makes the set of a standby, whose snapshot does not list the open
// transactions. The log itself tells which are visible; what is not among them has
// no row there yet, so to leave it open loses nothing. When that would be very
// many numbers, everything from xmin on comes again.
func (p *position) onStandby() (models.TxSet, error) {
	text, _, _ := strings.Cut(p.snapshot, ":")
	xmin, err := strconv.ParseUint(text, 10, 64)
	if err != nil || p.visible == "" {
		return models.TxSet{Xmax: xmin}, err
	}
	var seen []uint64
	for text := range strings.SplitSeq(p.visible, ",") {
		tx, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return models.TxSet{}, err
		}
		seen = append(seen, tx)
	}
	slices.Sort(seen)
	set := models.TxSet{Xmax: seen[len(seen)-1] + 1}
	const most = 10_000
	if set.Xmax-xmin-uint64(len(seen)) > most {
		return models.TxSet{Xmax: xmin}, nil
	}
	for tx := xmin; tx < set.Xmax; tx++ {
		if _, ok := slices.BinarySearch(seen, tx); !ok {
			set.Xip = append(set.Xip, tx)
		}
	}
	return set, nil
}

// pruned is the highest transaction that was pruned; 0 for none.
func (p *position) pruned() (uint64, error) {
	if p.horizon == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(p.horizon, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("gormsync: the horizon %q in meta is no number", p.horizon)
	}
	return n, nil
}

// accept tells whether the log, as it stood at p, could be followed from c. It
// gives the log's epoch.
func (l *Log) accept(ctx context.Context, p *position, c models.Cursor) (uint32, error) {
	epoch, err := l.epochOf(ctx, p)
	if err != nil || c.IsZero() {
		return epoch, err
	}
	pruned, err := p.pruned()
	switch {
	case err != nil:
		return epoch, err
	case c.Epoch != epoch:
		return epoch, models.ErrCursorExpired
	case lacks(c, pruned):
		return epoch, models.ErrCursorExpired
	case l.dialect == sqlite && c.From.Xmax > uint64(p.newest)+1:
		// The log has lost its end: somebody put an older file in its place. When it
		// has grown again the cursors of before would look good, so they all end now.
		return epoch, l.renewEpoch(ctx)
	}
	return epoch, nil
}

// lacks: a reader lacks something that was pruned, unless it has every transaction
// up to there, or has been reading from nothing since.
func lacks(c models.Cursor, pruned uint64) bool {
	if c.From.Xmax == 0 && c.Batch != nil {
		return pruned > c.Batch.Floor
	}
	return pruned > 0 && (pruned >= c.From.Xmax || (len(c.From.Xip) > 0 && c.From.Xip[0] <= pruned))
}

// Position gives the cursor of the log's present end.
func (l *Log) Position(ctx context.Context) (models.Cursor, error) {
	p, err := l.position(ctx)
	if err != nil {
		return models.Cursor{}, err
	}
	epoch, err := l.epochOf(ctx, p)
	if err != nil {
		return models.Cursor{}, err
	}
	set, err := p.after(models.TxSet{})
	return models.Cursor{Epoch: epoch, From: set}, err
}

// Accept tells whether the log can still be followed from a cursor. It returns
// models.ErrCursorExpired for the cursor of another database, or one from before
// the horizon.
func (l *Log) Accept(ctx context.Context, c models.Cursor) error {
	p, err := l.position(ctx)
	if err == nil {
		_, err = l.accept(ctx, p, c)
	}
	return err
}

func (l *Log) position(ctx context.Context) (*position, error) {
	p := &position{}
	vals, dests := anys(positionColumns)
	err := l.pool.QueryRowContext(ctx, l.positionSQL(), l.unprepared()...).Scan(dests...)
	if err == nil {
		err = p.read(vals)
	}
	if err != nil {
		return nil, fmt.Errorf("gormsync: reading the end of %s (run migrate.Up before gormsync is registered): %w", l.tables.Changes, err)
	}
	return p, nil
}
