package trackers

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
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
	forced  []models.PushResult   // how they end, when they cannot be done; nil before that is known
	begun   bool                  // the database took its first statement
	blind   bool                  // without a look at the rows
	against map[*Mutation][]int64 // of each conflict of a mutation the version of the row that it was with
	tx      *gorm.DB
	pool    gorm.ConnPool
	now     time.Time
}

// verdict ends a group: its mutation at cannot be done.
type verdict struct {
	at     int // atAll for what is about the group as a whole
	result models.PushResult
	tries  int   // how often the next attempt may do better
	blind  bool  // not even the row can be looked at
	cause  error // what the client is not told; nil for nothing
}

const atAll = -1

func (v *verdict) Error() string { return string(v.result.Status) }

// pushGroup runs a group until it has results. What cannot be done is undone with
// its transaction, and another one stores the refusals. It says false if the database
// did not let it begin: somebody else has the lock of a SQLite file, or there is no
// connection.
func (l *Log) pushGroup(ctx context.Context, by Author, all []Mutation) (results []models.PushResult, begun bool) {
	by.Actor = storable(by.Actor)
	g := &group{log: l, by: by, all: all, against: map[*Mutation][]int64{}}
	if v := g.refused(); v != nil {
		if g.forced = g.end(v); by.Unknown || !slices.ContainsFunc(all, func(m Mutation) bool { return m.lasting() }) {
			return g.forced, true
		}
	}
	for attempt := 0; ; attempt++ {
		err := g.run(ctx)
		if err == nil {
			return g.results, true
		}
		var v *verdict
		tries := 0
		if errors.As(err, &v) {
			tries = v.tries
		} else if fateOf(err) != final {
			tries = pushAttempts
		}
		switch {
		case ctx.Err() != nil:
			return g.busy(), false
		case attempt < tries && pause(ctx, attempt):
		case v != nil && g.forced == nil:
			g.settle(ctx, v)
			attempt = -1
		case v != nil && !g.blind:
			g.blind, attempt = true, -1
		default: // what cannot be stored is no answer
			l.cfg.Logger.ErrorContext(ctx, "gormsync: a push failed", "entity", all[0].Entity, "error", err)
			return g.busy(), g.begun || fateOf(err) == final
		}
	}
}

// refused finds a mutation that is not allowed at all.
func (g *group) refused() *verdict {
	for i := range g.all {
		if why := g.all[i].Refused; why != nil {
			return &verdict{at: i, result: models.PushResult{Status: models.PushRejected, Error: why}}
		}
	}
	return nil
}

// settle makes a verdict the end of the group, which then is to be stored. What the
// client is not told the application hears.
func (g *group) settle(ctx context.Context, v *verdict) {
	m, why := &g.all[max(v.at, 0)], v.result.Error
	if v.cause != nil && v.at != atAll {
		g.log.nameField(ctx, m, why, v.cause)
	}
	if v.cause != nil && (why.Code == "internal" || strings.HasPrefix(sqlState(v.cause), "54")) {
		g.log.cfg.Logger.ErrorContext(ctx, "gormsync: a pushed change was refused because of an error", "entity", m.Entity, "id", m.ID, "error", v.cause)
	}
	g.forced, g.blind = g.end(v), v.blind
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
		if i != v.at && v.at != atAll {
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
	asked := g.all[i].ID
	if r.ID == "" {
		r.ID = asked
	}
	if r.ID != asked {
		r.ClientRef = asked
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
	g.begun = l.dialect == postgres // SQLite gives its lock to the first statement that writes
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
			err = &verdict{at: i, result: models.PushResult{Status: models.PushRejected, Error: refuse("internal", "", broken)}}
		}
	}()
	return g.one(ctx, i)
}

// uncommitted: a constraint that is checked at the end refuses the commit.
func (g *group) uncommitted(err error) error {
	if g.forced != nil {
		return err
	}
	v := g.verdictOn(&g.all[0], err, 0)
	if v != nil && len(g.all) > 1 { // nobody says which of them it was
		v.at, v.result.Error.Field = atAll, ""
		v.result.Error.Message = "The changes of this request cannot be made together. " + v.result.Error.Message
	}
	if v == nil {
		return err
	}
	return v
}

// one does the mutation i, unless it was done before, and stores the result.
func (g *group) one(ctx context.Context, i int) error {
	l, m := g.log, &g.all[i]
	if t := l.entities[m.Entity]; t != nil && l.dialect == sqlite {
		if err := l.lockSQLite(ctx, g.pool, t); err != nil {
			return err
		}
		g.begun = true
	}
	if m.lasting() {
		seen, err := l.claim(ctx, g.pool, g.by, m, g.now)
		if err != nil {
			return err
		}
		g.begun = true
		if seen != nil {
			return g.again(ctx, i, seen)
		}
	}
	r, err := g.attempt(ctx, i)
	if err != nil {
		return err
	}
	g.results[i] = g.named(i, r)
	if !m.lasting() {
		return nil
	}
	return l.keep(ctx, g.pool, g.by, m, &g.results[i], g.against[m])
}

// attempt does a mutation, or refuses it as was decided before.
func (g *group) attempt(ctx context.Context, i int) (models.PushResult, error) {
	if g.blind || !g.all[i].allowed() {
		return g.forced[i], nil
	}
	w, err := g.open(ctx, &g.all[i], g.all[i].ID)
	if err != nil {
		return models.PushResult{}, g.unseen(i, err)
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

// unseen is the error of a look at the row.
func (g *group) unseen(i int, err error) error {
	err = g.failed(i, err)
	var v *verdict
	if errors.As(err, &v) {
		v.blind = true
	}
	return err
}

// failed turns an error that is the client's own into a verdict.
func (g *group) failed(i int, err error) error {
	var v *verdict
	if errors.As(err, &v) {
		v.at = i
		return v
	}
	if v = g.verdictOn(&g.all[i], err, 0); v == nil {
		return err
	}
	v.at = i
	return v
}

// verdictOn makes an error the end of a mutation; nil when the next attempt may do
// better. It is tried again so often first, or more often where nobody can tell.
func (g *group) verdictOn(m *Mutation, err error, tries int) *verdict {
	why := refusalOf(g.log.entities[m.Entity], err)
	if why == nil {
		return nil
	}
	own := *why // a hook may have given one that is not ours
	why = &own
	if why.Message == unique && !m.Filter.All {
		why.Message = neutral
	}
	if fateOf(err) == unclear {
		tries = pushAttempts
	}
	return &verdict{result: models.PushResult{Status: models.PushRejected, Error: why}, tries: tries, cause: err}
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
	if seen.Version >= 0 && !g.blind && m.Filter.Entity == m.Entity { // else nothing of the entity is the client's to see
		w, err := g.open(ctx, m, seen.EntityID)
		if err != nil {
			return g.unseen(i, err)
		}
		if r, err = w.answerAgain(ctx, r, seen.Conflicts); err != nil {
			return g.unseen(i, err)
		}
	}
	g.results[i] = g.named(i, r)
	if !seen.Status.Done() && len(g.all) > 1 && g.forced == nil { // what was refused once spoils an atomic request again
		return &verdict{at: i, result: g.results[i]}
	}
	return nil
}
