package trackers_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
)

// feedLoad is an application that writes: many writers on the same few rows.
type feedLoad struct {
	f        fixture
	random   func(uint64) *rand.Rand
	hot      int           // rows of each entity that all writers fight for
	shortest time.Duration // of a long transaction
	longest  time.Duration
	rest     time.Duration // after a long transaction
	postgres bool
	super    bool // may have deadlocks found sooner

	stop     chan struct{}
	running  sync.WaitGroup
	finish   sync.WaitGroup
	failed   chan error
	prepared chan string

	commits, aborts, errors, locked, savepoints, back, long, twoPhase, twoPhaseBack atomic.Int64
	slowest                                                                         atomic.Int64 // the longest transaction, in nanoseconds
}

func newFeedLoad(t *testing.T, f fixture, random func(uint64) *rand.Rand) *feedLoad {
	t.Helper()
	l := &feedLoad{
		f: f, random: random, hot: 30, shortest: 500 * time.Millisecond, longest: max(time.Second, min(5*time.Second, *tortureFor/3)), postgres: f.log.Dialect() == "postgres",
		stop: make(chan struct{}), failed: make(chan error, 100),
	}
	if !l.postgres { // nobody else writes meanwhile
		l.shortest, l.longest, l.rest = l.shortest/5, l.longest/5, l.longest
	}
	if l.postgres {
		var most int
		require.NoError(t, f.plain.Raw("SELECT current_setting('is_superuser')::bool").Scan(&l.super).Error)
		require.NoError(t, f.plain.Raw("SELECT current_setting('max_prepared_transactions')::int").Scan(&most).Error)
		l.prepared = make(chan string, min(most/2, 8)) // none where the server allows none
		t.Cleanup(func() { l.forget(t) })
	}
	return l
}

// forget ends the prepared transactions that a failed test left.
func (l *feedLoad) forget(t *testing.T) {
	t.Helper()
	var left []string
	err := l.f.plain.Raw("SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND gid LIKE ?", l.gid("%")).Scan(&left).Error
	require.NoError(t, err)
	for _, gid := range left {
		require.NoError(t, l.f.plain.Exec("ROLLBACK PREPARED '"+gid+"'").Error)
	}
}

// gid is unlike those of other tests on the same server.
func (l *feedLoad) gid(name any) string { return fmt.Sprintf("feed-%p-%v", l, name) }

// start starts writers of short transactions, and some of long ones on rows of
// their own.
func (l *feedLoad) start(short, long int) {
	for w := range short + long {
		rnd := l.random(uint64(w))
		l.running.Go(func() { l.write(rnd, w, w >= short) })
	}
	if l.prepared != nil {
		l.finish.Go(func() { l.decide(l.random(1000)) })
	}
}

// end stops the writers and waits until no transaction of theirs is open.
func (l *feedLoad) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.running.Wait()
	if l.prepared != nil {
		close(l.prepared)
	}
	l.finish.Wait()
	close(l.failed)
	for err := range l.failed {
		require.NoError(t, err)
	}
}

func (l *feedLoad) took(d time.Duration) {
	for most := l.slowest.Load(); int64(d) > most && !l.slowest.CompareAndSwap(most, int64(d)); {
		most = l.slowest.Load()
	}
}

func (l *feedLoad) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// think is a pause that ends with the load.
func (l *feedLoad) think(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.stop:
	}
}

func (l *feedLoad) jitter(rnd *rand.Rand) {
	if rnd.IntN(4) == 0 {
		l.think(time.Duration(rnd.IntN(2000)) * time.Microsecond)
	}
}

var errAbort = errors.New("abort")

func (l *feedLoad) write(rnd *rand.Rand, w int, long bool) {
	first := 1
	if long {
		first = 1000 + 100*w
	}
	for n := 0; !l.stopped(); n++ {
		begun := time.Now()
		err := l.transaction(rnd, fmt.Sprintf("%d-%d", w, n), first, long)
		l.took(time.Since(begun))
		switch {
		case err == nil:
			l.commits.Add(1)
		case errors.Is(err, errAbort):
			l.aborts.Add(1)
		case feedTolerable(err):
			l.errors.Add(1)
			if !feedTaken(err) {
				l.locked.Add(1)
			}
		default:
			l.failed <- err
			return
		}
		if long {
			l.think(l.rest)
		}
	}
}

// feedTolerable: deadlocks, a full house on SQLite, and keys that are taken.
func feedTolerable(err error) bool {
	return feedDeadlock(err) || feedTaken(err) || strings.Contains(err.Error(), "database is locked")
}

func feedTaken(err error) bool {
	var pg *pgconn.PgError
	return (errors.As(err, &pg) && pg.Code == "23505") || strings.Contains(err.Error(), "UNIQUE constraint failed")
}

func feedDeadlock(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "40P01"
}

func (l *feedLoad) transaction(rnd *rand.Rand, name string, first int, long bool) error {
	tx := l.f.db.Begin()
	if tx.Error != nil {
		return tx.Error
	}
	defer tx.Rollback() // of what is not committed
	if l.super {
		if err := tx.Exec("SET LOCAL deadlock_timeout = '20ms'").Error; err != nil {
			return err
		}
	}
	if l.postgres && rnd.IntN(3) == 0 { // the number long before the first change
		if err := tx.Exec("SELECT pg_current_xact_id()").Error; err != nil {
			return err
		}
		l.jitter(rnd)
	}
	for range 1 + rnd.IntN(4) {
		if err := l.step(tx, rnd, first); err != nil {
			return err
		}
		l.jitter(rnd)
	}
	if long {
		l.long.Add(1)
		l.think(rand.N(l.longest-l.shortest+1) + l.shortest)
		if err := l.op(tx, rnd, 1); err != nil {
			return err
		}
	}
	switch {
	case rnd.IntN(10) == 0:
		return errAbort
	case l.prepared != nil && rnd.IntN(12) == 0 && len(l.prepared) < cap(l.prepared)/2:
		l.twoPhase.Add(1)
		if err := tx.Exec("PREPARE TRANSACTION '" + l.gid(name) + "'").Error; err != nil {
			return err
		}
		l.prepared <- name
		return nil
	}
	return tx.Commit().Error
}

// step is an operation, one in three in savepoints, of which half are rolled back.
func (l *feedLoad) step(tx *gorm.DB, rnd *rand.Rand, first int) error {
	if rnd.IntN(3) > 0 {
		return l.op(tx, rnd, first)
	}
	return l.savepoint(tx, rnd, func(tx *gorm.DB) error {
		if err := l.op(tx, rnd, first); err != nil || rnd.IntN(3) > 0 {
			return err
		}
		return l.savepoint(tx, rnd, func(tx *gorm.DB) error { return l.op(tx, rnd, first) })
	})
}

func (l *feedLoad) savepoint(tx *gorm.DB, rnd *rand.Rand, fn func(*gorm.DB) error) error {
	l.savepoints.Add(1)
	err := tx.Transaction(func(tx *gorm.DB) error {
		if err := fn(tx); err != nil || rnd.IntN(2) == 0 {
			return err
		}
		return errAbort
	})
	if err == nil || feedDeadlock(err) {
		return err
	}
	l.back.Add(1)
	if errors.Is(err, errAbort) || feedTolerable(err) {
		return nil
	}
	return err
}

// op changes a row, or a few, of the hot ones from first on.
func (l *feedLoad) op(tx *gorm.DB, rnd *rand.Rand, first int) error {
	id := int64(first + rnd.IntN(l.hot))
	code := fmt.Sprintf("t%d", id)
	more := gorm.Expr("n + 1")
	item := rnd.IntN(2) == 0
	switch r := rnd.IntN(20); {
	case r < 6 && item:
		return feedUpsertItem(tx, id)
	case r < 6:
		return feedUpsertTask(tx, code, feedTeam(rnd))
	case r < 13 && item:
		return tx.Model(&feedItem{ID: id}).Update("n", more).Error
	case r < 13:
		return tx.Model(&feedTask{Code: code}).Updates(map[string]any{"n": more, "team": feedTeam(rnd)}).Error
	case r < 14 && item: // many rows in one statement
		return tx.Model(&feedItem{}).Where("id BETWEEN ? AND ?", id, id+9).Update("n", more).Error
	case r < 14:
		return tx.Model(&feedTask{}).Where("code LIKE ?", code+"%").Update("n", more).Error
	case r < 16 && item:
		return tx.Delete(&feedItem{ID: id}).Error
	case r < 16:
		return tx.Delete(&feedTask{Code: code}).Error
	case r < 18: // twice the same
		if err := feedUpsertItem(tx, id); err != nil {
			return err
		}
		return tx.Model(&feedItem{ID: id}).Update("n", more).Error
	case item: // fails if the row is there
		return tx.Create(&feedItem{ID: id, N: 1}).Error
	default:
		return tx.Create(&feedTask{Code: code, N: 1, Team: feedTeam(rnd)}).Error
	}
}

// decide is the other half of the two-phase commits: some time later, one in five
// is rolled back.
func (l *feedLoad) decide(rnd *rand.Rand) {
	for name := range l.prepared {
		feedPause(time.Duration(rnd.IntN(60)) * time.Millisecond)
		verb := "COMMIT"
		if rnd.IntN(5) == 0 {
			verb = "ROLLBACK"
			l.twoPhaseBack.Add(1)
		}
		if err := l.f.plain.Exec(verb + " PREPARED '" + l.gid(name) + "'").Error; err != nil {
			l.failed <- err
		}
	}
}

func (l *feedLoad) String() string {
	return fmt.Sprintf("%d commits, %d aborts, %d errors (%d not for a key that was taken), %d savepoints (%d rolled back), %d long, %d in two phases (%d rolled back)",
		l.commits.Load(), l.aborts.Load(), l.errors.Load(), l.locked.Load(), l.savepoints.Load(), l.back.Load(), l.long.Load(), l.twoPhase.Load(), l.twoPhaseBack.Load())
}
