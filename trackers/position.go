package trackers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rhtmx/gormsync/models"
)

// position is where the log stands at the moment of a statement. A database gives
// it as one JSON object: many columns would cost the rows that are read with it.
type position struct {
	Snapshot string `json:"snapshot"` // pg_snapshot; empty on SQLite
	Standby  bool   `json:"standby"`
	Newest   int64  `json:"newest"`  // the highest transaction in the log
	Server   string `json:"server"`  // tells servers and log tables apart cheaply; empty on SQLite
	Epoch    string `json:"epoch"`   // the random text in meta
	Horizon  string `json:"horizon"` // the highest transaction that was pruned; empty for none
	Visible  string `json:"visible"` // on a standby: the log's transactions from xmin on
}

// Scan implements sql.Scanner.
func (p *position) Scan(src any) error {
	var text string
	if err := into(&text, src); err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), p)
}

// positionSQL selects a position, as one row of one column named at.
func (l *Log) positionSQL() string {
	changes, meta := l.quote(l.tables.Changes), l.quote(l.tables.Meta)
	fact := func(name, key string) string {
		return "'" + name + "', (SELECT value FROM " + meta + " WHERE key = " + literal(key) + ")"
	}
	facts := fact("epoch", models.MetaEpoch) + ", " + fact("horizon", models.MetaHorizon)
	if l.dialect == sqlite {
		return "SELECT json_object('newest', (SELECT max(id) FROM " + changes + "), " + facts + ") AS at"
	}
	// OFFSET 0 keeps PostgreSQL from asking all this again for each row that it is
	// joined to.
	return "SELECT json_build_object('snapshot', pg_current_snapshot()::text, 'standby', pg_is_in_recovery(), 'newest', (SELECT tx FROM " + changes +
		" ORDER BY tx DESC LIMIT 1), 'server', " + l.serverSQL() + ", " + facts +
		", 'visible', CASE WHEN pg_is_in_recovery() THEN (SELECT string_agg(DISTINCT tx::text, ',') FROM " + changes +
		" WHERE tx >= pg_snapshot_xmin(pg_current_snapshot())::text::bigint) END)::text AS at OFFSET 0"
}

// after is the set of transactions that a reader has who had from and read at p.
func (p *position) after(from models.TxSet) (models.TxSet, error) {
	newest := max(from.Xmax, uint64(p.Newest)+1)
	if p.Snapshot == "" {
		return models.TxSet{Xmax: newest}, nil
	}
	set, err := models.ParseTxSet(p.Snapshot)
	if err != nil {
		return set, err
	}
	if p.Standby {
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
	text, _, _ := strings.Cut(p.Snapshot, ":")
	xmin, err := strconv.ParseUint(text, 10, 64)
	if err != nil || p.Visible == "" {
		return models.TxSet{Xmax: xmin}, err
	}
	var seen []uint64
	for text := range strings.SplitSeq(p.Visible, ",") {
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
	if p.Horizon == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(p.Horizon, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("gormsync: the horizon %q in meta is no number", p.Horizon)
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
	case l.dialect == sqlite && c.From.Xmax > uint64(p.Newest)+1:
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
	if err := l.pool.QueryRowContext(ctx, l.positionSQL(), l.unprepared()...).Scan(p); err != nil {
		return nil, fmt.Errorf("gormsync: reading the end of %s (run migrate.Up before gormsync is registered): %w", l.tables.Changes, err)
	}
	return p, nil
}
