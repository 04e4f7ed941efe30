package gormsync

import (
	"context"
	"database/sql"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/trackers"
)

// WithActor returns a context whose changes carry the actor's name in the log:
//
//	db.WithContext(gormsync.WithActor(ctx, "alice")).Save(&todo)
func WithActor(ctx context.Context, actor string) context.Context {
	return trackers.WithActor(ctx, actor)
}

// WithClient returns a context whose changes carry the client's id in the log,
// so that the client knows its own changes when they come back.
func WithClient(ctx context.Context, clientID string) context.Context {
	return trackers.WithClient(ctx, clientID)
}

// Untracked returns a context whose changes are in no log: no client will hear
// of them.
func Untracked(ctx context.Context) context.Context { return trackers.Untracked(ctx) }

// SQLTx gives the *sql.Tx of a GORM transaction, for code that asserts that type,
// such as a job queue that takes part in the transaction. It says false outside
// a transaction.
func SQLTx(db *gorm.DB) (*sql.Tx, bool) { return trackers.SQLTx(db) }
