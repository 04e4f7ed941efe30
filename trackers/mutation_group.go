package trackers

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/models"
)

// pushAttempts is how often a push is tried again when the database was busy.
const pushAttempts = 3

// group is some mutations that are done together or not at all.
type group struct {
	log     *Log
	by      Author
	all     []Mutation
	results []models.PushResult
	forced  []models.PushResult // how they end, when they cannot be done; nil before that is known
	blind   bool                // without a look at the rows
	tx      *gorm.DB
	pool    gorm.ConnPool
	now     time.Time
}

// verdict ends a group: its mutation at cannot be done.
type verdict struct {
	at     int
	result models.PushResult
	raced  bool // somebody else may have made the row just now
	blind  bool // not even the row can be looked at
}

func (v *verdict) Error() string { return string(v.result.Status) }

// pushGroup runs a group until it has results. What cannot be done is undone with
// its transaction, and another one stores the refusals.
func (l *Log) pushGroup(ctx context.Context, by Author, all []Mutation) []models.PushResult {
	by.Actor = storable(by.Actor)
	g := &group{log: l, by: by, all: all}
	for i := range all {
		if all[i].Refused != nil {
			return g.end(&verdict{at: i, result: models.PushResult{Status: models.PushRejected, Error: all[i].Refused}})
		}
	}
	for attempt := 0; ; {
		err := g.run(ctx)
		var v *verdict
		switch {
		case err == nil:
			return g.results
		case errors.As(err, &v) && v.raced && attempt == 0:
			attempt++
		case v != nil && g.forced == nil:
			g.forced, g.blind = g.end(v), v.blind
		case passes(err) && attempt < pushAttempts && pause(ctx, attempt):
			attempt++
		default:
			if ctx.Err() == nil {
				l.cfg.Logger.ErrorContext(ctx, "gormsync: a push failed", "entity", all[0].Entity, "error", err)
			}
			return g.busy()
		}
	}
}

// pause waits before another attempt, ever longer. It says false when ctx ends.
func pause(ctx context.Context, attempt int) bool {
	most := 10 * time.Millisecond << attempt
	select {
	case <-ctx.Done():
		return false
	case <-time.After(most/2 + rand.N(most)):
		return true
	}
}

// end gives the results of a group that cannot be done.
func (g *group) end(v *verdict) []models.PushResult {
	results := make([]models.PushResult, len(g.all))
	for i := range g.all {
		r := v.result
		if i != v.at {
			r = models.PushResult{Status: models.PushRejected, Error: refuse("atomic", "", "Another change of the same request could not be applied.")}
		}
		results[i] = g.named(i, r)
	}
	return results
}

func (g *group) busy() []models.PushResult {
	results := make([]models.PushResult, len(g.all))
	for i := range g.all {
		results[i] = g.named(i, models.PushResult{Status: models.PushRetry, Error: refuse("busy", "", "The database was busy; send the change again.")})
	}
	return results
}

// named completes a result with what the request called it.
func (g *group) named(i int, r models.PushResult) models.PushResult {
	r.MutationID = g.all[i].MutationID
	if r.ID == "" {
		r.ID = g.all[i].ID
	}
	return r
}

// run does the group in one transaction. On SQLite its first statement takes the
// write lock, so that nothing is read before.
func (g *group) run(ctx context.Context) (err error) {
	l := g.log
	ctx = WithClient(WithActor(ctx, g.by.Actor), g.by.Client)
	opts := &sql.TxOptions{}
	if l.dialect == postgres {
		opts.Isolation = sql.LevelReadCommitted // what another push did meanwhile has to be seen
	}
	g.tx = l.writer.Load().Session(&gorm.Session{NewDB: true, Context: ctx}).Begin(opts)
	if g.tx.Error != nil {
		return g.tx.Error
	}
	done := false
	defer func() {
		if !done { // an error, or a panic on its way up
			err = errors.Join(err, ignoreDone(g.tx.Rollback().Error))
		}
	}()
	g.pool, g.now = bare(g.tx.Statement.ConnPool), g.tx.NowFunc().UTC().Truncate(time.Microsecond)
	g.results = make([]models.PushResult, len(g.all))
	for i := range g.all {
		if err := g.safely(ctx, i); err != nil {
			return err
		}
	}
	done = true
	if err := g.tx.Commit().Error; err != nil {
		return g.uncommitted(err)
	}
	return nil
}

// safely does one mutation. A panic of the application, in a hook or a Resolve, is
// a refusal: a client whose connection it broke would send the change for ever.
func (g *group) safely(ctx context.Context, i int) (err error) {
	defer func() {
		if p := recover(); p != nil {
			g.log.cfg.Logger.ErrorContext(ctx, "gormsync: the application panicked during a push, which was undone",
				"entity", g.all[i].Entity, "panic", p, "stack", string(debug.Stack()))
			why := refuse("internal", "", "The server could not apply this change; its log says why.")
			err = &verdict{at: i, result: models.PushResult{Status: models.PushRejected, Error: why}, blind: true}
		}
	}()
	return g.one(ctx, i)
}

// uncommitted: a constraint that is checked at the end refuses the commit.
func (g *group) uncommitted(err error) error {
	if why := g.log.refusalOf(g.log.entities[g.all[0].Entity], err); why != nil && g.forced == nil {
		return &verdict{at: 0, result: models.PushResult{Status: models.PushRejected, Error: why}}
	}
	return err
}

// one does the mutation i, unless it was done before, and stores the result.
func (g *group) one(ctx context.Context, i int) error {
	l, m := g.log, &g.all[i]
	if l.dialect == sqlite {
		if err := l.lockSQLite(ctx, g.pool, l.entities[m.Entity]); err != nil {
			return err
		}
	}
	if m.MutationID != "" {
		seen, err := l.claim(ctx, g.pool, g.by, m, g.now)
		if err != nil {
			return err
		}
		if seen != nil {
			return g.again(ctx, i, seen)
		}
	}
	r, err := g.attempt(ctx, i)
	if err != nil {
		return err
	}
	g.results[i] = g.named(i, r)
	if m.MutationID == "" {
		return nil
	}
	return l.keep(ctx, g.pool, g.by, m, &g.results[i])
}

// attempt does a mutation, or refuses it as was decided before.
func (g *group) attempt(ctx context.Context, i int) (models.PushResult, error) {
	if g.blind {
		return g.forced[i], nil
	}
	w, err := g.open(ctx, &g.all[i], g.all[i].ID)
	if err != nil {
		err = g.failed(i, err)
		var v *verdict
		if errors.As(err, &v) {
			v.blind = true
		}
		return models.PushResult{}, err
	}
	if g.forced != nil {
		return w.answer(g.forced[i]), nil
	}
	r, err := w.do(ctx)
	if err != nil {
		return r, g.failed(i, err)
	}
	if !r.Status.Done() && len(g.all) > 1 { // the others must not be done either
		return r, &verdict{at: i, result: r}
	}
	return r, nil
}

// failed turns an error that is the client's own into a verdict.
func (g *group) failed(i int, err error) error {
	var v *verdict
	if errors.As(err, &v) {
		v.at = i
		return v
	}
	if why := g.log.refusalOf(g.log.entities[g.all[i].Entity], err); why != nil {
		return &verdict{at: i, result: models.PushResult{Status: models.PushRejected, Error: why}}
	}
	return err
}

// again answers a mutation that was seen before: what was done is a duplicate, what
// was refused is refused again, each with the row as it is now.
func (g *group) again(ctx context.Context, i int, seen *models.Mutation) error {
	m := &g.all[i]
	if seen.Request == "" {
		g.results[i] = g.named(i, models.PushResult{Status: models.PushRejected,
			Error: refuse("mutation_reused", "", "This mutation_id was used for another change; give every change its own.")})
		if len(g.all) == 1 || g.forced != nil {
			return nil
		}
		return &verdict{at: i, result: g.results[i]}
	}
	r := models.PushResult{ID: seen.EntityID, Status: seen.Status}
	if r.Status.Done() {
		r.Status = models.PushDuplicate
	}
	if seen.Error != nil {
		r.Error = &models.PushError{}
		if err := json.Unmarshal(seen.Error, r.Error); err != nil {
			return fmt.Errorf("gormsync: the error of a mutation in %s is damaged: %w", g.log.tables.Mutations, err)
		}
	}
	if r.ID != m.ID {
		r.ClientRef = m.ID
	}
	if seen.Version >= 0 {
		w, err := g.open(ctx, m, seen.EntityID)
		if err != nil {
			return err
		}
		r = w.answer(r)
	}
	g.results[i] = g.named(i, r)
	if !seen.Status.Done() && len(g.all) > 1 && g.forced == nil { // what was refused once spoils an atomic request again
		return &verdict{at: i, result: g.results[i]}
	}
	return nil
}
