package trackers

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/rhtmx/gormsync/models"
)

// changeList writes the columns that a changeRow reads, for the rows of an alias of
// the change log: with whether the reader knew the row before, and the last version
// of the transaction. With SQLite what a column costs is the way out of it, so it
// gives all but the data in one.
func (l *Log) changeList(row, known, last string) string {
	list := strings.ReplaceAll("?entity, ?entity_id, ?action, ?client_id, ?actor, ?mutation_id, ?scope, ?move, ?tx, ", "?", row+".") +
		l.moment(row+".created_at") + ", " + known + ", " + last
	if l.dialect == sqlite {
		return "json_array(" + row + ".id, " + list + "), " + row + ".data"
	}
	return row + ".id, " + row + ".data, " + list
}

func (l *Log) changeColumns() int {
	if l.dialect == sqlite {
		return 2
	}
	return 14
}

// changeRow scans what changeList selects.
type changeRow struct {
	vals, dests []any
	packed      bool
}

func (l *Log) changeRow() *changeRow {
	vals, dests := anys(l.changeColumns())
	return &changeRow{vals: vals, dests: dests, packed: l.dialect == sqlite}
}

// position takes the position, if it is what was scanned.
func (r *changeRow) position() (at *position, err error) {
	if r.vals[0] != nil {
		return nil, nil
	}
	at = &position{}
	return at, at.Scan(r.vals[1])
}

// take gives what was scanned.
func (r *changeRow) take(e *Entry[models.Change]) (known bool, err error) {
	c, v := &e.Row, r.vals
	if r.packed {
		known, err = r.unpack(e)
	} else {
		err = errors.Join(
			into(&c.ID, v[0]), into(&c.Entity, v[2]), into(&c.EntityID, v[3]), into((*string)(&c.Action), v[4]),
			intoPointer(&c.ClientID, v[5]), into(&c.Actor, v[6]), into(&c.MutationID, v[7]), intoPointer(&c.Scope, v[8]), into((*string)(&c.Move), v[9]),
			into(&c.Tx, v[10]), moment{&c.CreatedAt}.Scan(v[11]), into(&known, v[12]), into(&e.Last, v[13]),
		)
	}
	c.Version, e.Version, e.Tx = c.ID, c.ID, uint64(c.Tx)
	return known, errors.Join(err, c.Data.Scan(v[1]))
}

func (r *changeRow) unpack(e *Entry[models.Change]) (known bool, err error) {
	var text string
	if err := into(&text, r.vals[0]); err != nil {
		return false, err
	}
	c, p := &e.Row, packedRow{rest: text}
	c.ID, c.Entity, c.EntityID, c.Action = p.int(), p.text(), p.text(), models.Action(p.text())
	c.ClientID, c.Actor, c.MutationID, c.Scope, c.Move = p.pointer(), p.text(), p.text(), p.pointer(), models.Move(p.text())
	c.Tx = p.int()
	at := p.text()
	known, e.Last = p.int() != 0, p.int()
	if p.err == nil {
		p.err = moment{&c.CreatedAt}.Scan(at)
	}
	return known, p.err
}

// packedRow takes apart the JSON array that SQLite makes of a row. It remembers the
// first error.
type packedRow struct {
	rest string // from the bracket or comma before the next value
	err  error
}

// next gives the next value as text; NULL is no text.
func (p *packedRow) next() (text string, null bool) {
	if len(p.rest) < 2 {
		p.err = errors.Join(p.err, errors.New("a row of the log is no JSON array"))
		return "", true
	}
	s := p.rest[1:]
	if s[0] == '"' {
		return p.quoted(s), false
	}
	end := strings.IndexByte(s, ',')
	if end < 0 {
		end = len(s) - 1 // the closing bracket
	}
	p.rest = s[end:]
	return s[:end], s[:end] == "null"
}

func (p *packedRow) quoted(s string) (text string) {
	end := 1 + strings.IndexByte(s[1:], '"')
	if bar := strings.IndexByte(s[:end+1], '\\'); bar < 0 && end > 0 {
		p.rest = s[end+1:]
		return s[1:end]
	}
	d := json.NewDecoder(strings.NewReader(s))
	p.err = errors.Join(p.err, d.Decode(&text))
	p.rest = s[d.InputOffset():]
	return text
}

func (p *packedRow) text() string {
	text, null := p.next()
	if null {
		return ""
	}
	return text
}

func (p *packedRow) pointer() *string {
	text, null := p.next()
	if null {
		return nil
	}
	return &text
}

func (p *packedRow) int() int64 {
	text, null := p.next()
	if null {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.err = errors.Join(p.err, err)
	}
	return n
}

// run sends a query of the feed and reads its position and its entries, which are
// at most limit.
func (r feed) run(ctx context.Context, q *query, limit int) (at *position, entries []Entry[models.Change], err error) {
	rows, err := r.log.pool.QueryContext(ctx, q.sql.String(), r.log.unprepared(q.args...)...)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if closeErr := rows.Close(); err == nil {
			err = closeErr
		}
	}()
	row := r.log.changeRow()
	for rows.Next() {
		if err := rows.Scan(row.dests...); err != nil {
			return nil, nil, err
		}
		if here, err := row.position(); here != nil || err != nil {
			if at = here; err != nil {
				return nil, nil, err
			}
			continue
		}
		if len(entries) == cap(entries) { // they are large: grow seldom, and not beyond what may come
			entries = slices.Grow(entries, min(max(64, 3*len(entries)), limit-len(entries)))
		}
		entries = append(entries, Entry[models.Change]{})
		e := &entries[len(entries)-1]
		known, err := row.take(e)
		if err != nil {
			return nil, nil, err
		}
		if e.Row.Move == models.MoveEnter && !known {
			e.Row.Action = models.Create
		}
	}
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	if at == nil {
		return nil, nil, errors.New("the database did not say where the log stands")
	}
	return at, entries, nil
}
