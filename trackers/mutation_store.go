package trackers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// request is a hash of what a mutation asks for. The base and the time are left
// out: a client that starts anew may send the same edit with others.
func (m *Mutation) request() (string, error) {
	text, err := json.Marshal([]any{m.Entity, m.ID, m.Action, m.Data}) // keys in order
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// claim takes a mutation's id for this transaction. When it is taken already it
// gives what is known of it; another transaction that is working on it is waited for.
func (l *Log) claim(ctx context.Context, pool gorm.ConnPool, by Author, m *Mutation, now time.Time) (*models.Mutation, error) {
	request, err := m.request()
	if err != nil {
		return nil, err
	}
	table := l.quote(l.tables.Mutations)
	q := &query{dialect: l.dialect}
	q.write("INSERT INTO ", table, " (actor, client_id, mutation_id, request, entity, created_at) VALUES (", q.arg(by.Actor), ", ", q.arg(by.Client), ", ",
		q.arg(m.MutationID), ", ", q.arg(request), ", ", q.arg(storable(m.Entity)), ", ", q.arg(now), ") ON CONFLICT DO NOTHING")
	res, err := pool.ExecContext(ctx, q.sql.String(), q.args...)
	if err != nil {
		return nil, fmt.Errorf("gormsync: writing %s: %w", l.tables.Mutations, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return nil, err
	}
	q = &query{dialect: l.dialect}
	q.write("SELECT request, entity, entity_id, status, version, error, conflicts FROM ", table, " WHERE actor = ", q.arg(by.Actor), " AND client_id = ", q.arg(by.Client), " AND mutation_id = ", q.arg(m.MutationID))
	var seen models.Mutation
	err = pool.QueryRowContext(ctx, q.sql.String(), l.unprepared(q.args...)...).
		Scan(&seen.Request, &seen.Entity, &seen.EntityID, &seen.Status, &seen.Version, &seen.Error, &seen.Conflicts)
	if err != nil {
		return nil, fmt.Errorf("gormsync: reading %s: %w", l.tables.Mutations, err)
	}
	if seen.Request != request {
		seen.Request = ""
	}
	return &seen, nil
}

// keep stores how a mutation ended; against is, of each conflict, the version of the
// row that it was with; nil for no conflicts.
func (l *Log) keep(ctx context.Context, pool gorm.ConnPool, by Author, m *Mutation, r *models.PushResult, against []int64) error {
	var failure models.JSON
	if r.Error != nil {
		text, err := json.Marshal(r.Error)
		if err != nil {
			return err
		}
		failure = text
	}
	conflicts, err := lostOf(r.Conflicts, against)
	if err != nil {
		return err
	}
	version := int64(-1) // the row could not be looked at
	if r.Version != nil {
		version = *r.Version
	}
	q := &query{dialect: l.dialect}
	q.write("UPDATE ", l.quote(l.tables.Mutations), " SET entity_id = ", q.arg(storable(r.ID)), ", status = ", q.arg(string(r.Status)), ", version = ", q.arg(version), ", error = ", q.arg(failure), ", conflicts = ", q.arg(conflicts),
		" WHERE actor = ", q.arg(by.Actor), " AND client_id = ", q.arg(by.Client), " AND mutation_id = ", q.arg(m.MutationID))
	if _, err := pool.ExecContext(ctx, q.sql.String(), q.args...); err != nil {
		return fmt.Errorf("gormsync: writing %s: %w", l.tables.Mutations, err)
	}
	return nil
}

// ForgetMutations removes what is known of mutations older than that, and gives
// their number. A client that sends one of them once more changes the row again.
func (l *Log) ForgetMutations(ctx context.Context, olderThan time.Duration) (removed int64, err error) {
	const step = 500 // rows a statement: others write in between
	key, table := "ctid", l.quote(l.tables.Mutations)
	if l.dialect == sqlite {
		key = "rowid"
	}
	before := time.Now().Add(-olderThan).UTC()
	for {
		q := &query{dialect: l.dialect}
		q.write("DELETE FROM ", table, " WHERE ", key, " IN (SELECT ", key, " FROM ", table, " WHERE created_at < ", q.arg(before), fmt.Sprintf(" LIMIT %d)", step))
		res, err := l.pool.ExecContext(ctx, q.sql.String(), l.unprepared(q.args...)...)
		if err != nil {
			return removed, fmt.Errorf("gormsync: cleaning up %s: %w", l.tables.Mutations, err)
		}
		n, err := res.RowsAffected()
		if removed += n; err != nil || n < step {
			return removed, err
		}
		select {
		case <-ctx.Done():
			return removed, ctx.Err()
		case <-time.After(sweepPause):
		}
	}
}
