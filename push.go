package gormsync

import (
	"context"
	"fmt"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// Strategy settles a field that a client and somebody else both changed; see
// Entity.Strategy.
type Strategy = models.Strategy

// Conflict is what a function of Entity.Resolve settles.
type Conflict = models.Conflict

// The strategies; see models.Strategy.
const (
	LastWriteWins = models.LastWriteWins
	ServerWins    = models.ServerWins
	ClientWins    = models.ClientWins
	KeepBoth      = models.KeepBoth
)

// ErrStale is what a change gets that WithBase bound to a version, when somebody
// changed the row since.
var ErrStale = trackers.ErrStale

// VersionOf gives the newest version of the model's row; 0 if it was never logged.
// Only the primary key of the model is read. Ask before you read the row:
//
//	note := Note{ID: id}
//	version, err := gormsync.VersionOf(db, &note)
//	…
//	err = db.First(&note).Error
//	…
//	err = db.WithContext(gormsync.WithBase(ctx, &note, version)).Save(&note).Error
//	if errors.Is(err, gormsync.ErrStale) { // somebody else changed it meanwhile
//
// It returns an error when db does not use a Plugin or the model is not tracked.
func VersionOf(db *gorm.DB, model any) (int64, error) {
	p, ok := db.Plugins[(&Plugin{}).Name()].(*Plugin)
	if !ok {
		return 0, fmt.Errorf("%w, then VersionOf", errNotUsed)
	}
	p.mu.Lock()
	log := p.log
	p.mu.Unlock()
	return log.VersionOf(db, model)
}

// WithBase returns a context whose changes of the model's row are made only if
// version still is the row's newest; otherwise they fail with ErrStale, and the
// transaction cannot be committed. A row that went is stale as well. It may be used
// again for other rows, and for the same row with another version; changes of rows
// that were not named are not bound. Changes that are Untracked are bound too.
func WithBase(ctx context.Context, model any, version int64) context.Context {
	return trackers.WithBase(ctx, model, version)
}
