package trackers_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// feedEvents runs a Follow in the background; the events come through the channel,
// and how it ended through the other.
type feedEvents struct {
	events chan trackers.Event[models.Change]
	ended  chan error
	cancel context.CancelFunc
}

func newFeedEvents(t *testing.T, log *trackers.Log, c models.Cursor, entities ...string) *feedEvents {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	e := &feedEvents{events: make(chan trackers.Event[models.Change]), ended: make(chan error, 1), cancel: cancel}
	go func() {
		defer close(e.ended)
		for event, err := range log.Changes().Follow(ctx, c, entities...) {
			if err != nil {
				e.ended <- err
				return
			}
			select {
			case e.events <- event:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range e.ended {
		}
	})
	return e
}

// next waits for an event.
func (e *feedEvents) next(t *testing.T, within time.Duration) trackers.Event[models.Change] {
	t.Helper()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case event := <-e.events:
		return event
	case err := <-e.ended:
		require.FailNow(t, "the sequence has ended", "%v", err)
	case <-timer.C:
		require.FailNow(t, "no event", "within %v", within)
	}
	return trackers.Event[models.Change]{}
}

// none: nothing comes for a while.
func (e *feedEvents) none(t *testing.T, during time.Duration) {
	t.Helper()
	timer := time.NewTimer(during)
	defer timer.Stop()
	select {
	case event := <-e.events:
		require.FailNow(t, "an event", "%+v", event.Row)
	case err := <-e.ended:
		require.FailNow(t, "the sequence has ended", "%v", err)
	case <-timer.C:
	}
}

// TestFollow: changes come soon after their commit, not before, and never after
// the context has ended.
func TestFollow(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedSetup(t, d, 10)
		require.NoError(t, f.db.Create(&feedItem{ID: 1, N: 1}).Error)
		all := newFeedEvents(t, f.log, models.Cursor{})
		tasks := newFeedEvents(t, f.log, models.Cursor{}, feedTasks)
		require.Equal(t, "1", all.next(t, time.Second).Row.EntityID, "what was there before")

		for range 3 { // the bell is heard every time
			begun := time.Now()
			require.NoError(t, feedUpsertItem(f.db, 2))
			require.Equal(t, "2", all.next(t, time.Second).Row.EntityID)
			require.Less(t, time.Since(begun), 1900*time.Millisecond, "the bell did not ring: this was the poll")
		}
		tx := f.db.Begin()
		require.NoError(t, tx.Create(&feedTask{Code: "a", N: 1, Team: "red"}).Error)
		require.NoError(t, tx.Create(&feedTask{Code: "b", N: 1}).Error)
		tasks.none(t, 100*time.Millisecond)
		require.NoError(t, tx.Commit().Error)
		for _, code := range []string{"a", "b"} {
			require.Equal(t, code, tasks.next(t, time.Second).Row.EntityID)
			require.Equal(t, code, all.next(t, time.Second).Row.EntityID)
		}
		require.ErrorIs(t, f.db.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Create(&feedTask{Code: "never"}).Error)
			return errStop
		}), errStop)
		all.none(t, 50*time.Millisecond)

		other, err := trackers.NewLog(t.Context(), f.plain, trackers.Config{Entities: feedEntities()}) // another process
		require.NoError(t, err)
		require.NoError(t, other.Capture(f.plain))
		require.NoError(t, f.plain.Create(&feedTask{Code: "poll", N: 1}).Error)
		require.Equal(t, "poll", tasks.next(t, 4*time.Second).Row.EntityID)
		require.Equal(t, "poll", all.next(t, 4*time.Second).Row.EntityID)

		all.cancel()
		select {
		case err, open := <-all.ended:
			require.False(t, open, "%v", err)
		case <-time.After(time.Second):
			require.FailNow(t, "Follow goes on after its context has ended")
		}
		require.NoError(t, feedUpsertTask(f.db, "a", "red"))
		require.Equal(t, "a", tasks.next(t, time.Second).Row.EntityID, "the others go on")
	})
}

// TestFollowEnds: an ended context, a broken loop, an unknown entity and a foreign
// cursor end the sequence.
func TestFollowEnds(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedSetup(t, d, 10)
		for i := range int64(3) {
			require.NoError(t, feedUpsertItem(f.db, i+1))
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for e, err := range f.log.Changes().Follow(ended, models.Cursor{}) {
			require.Fail(t, "an event after the context has ended", "%v %v", e, err)
		}
		n := 0
		for _, err := range f.log.Changes().Follow(t.Context(), models.Cursor{}) {
			require.NoError(t, err)
			if n++; n == 2 {
				break
			}
		}
		require.Equal(t, 2, n)
		n = 0
		for _, err := range f.log.Changes().Follow(t.Context(), models.Cursor{}, "nothing") {
			require.ErrorContains(t, err, "nothing")
			n++
		}
		for _, err := range f.log.Fields().Follow(t.Context(), models.Cursor{Epoch: 1, From: models.TxSet{Xmax: 1}}, feedItems) {
			require.ErrorIs(t, err, models.ErrCursorExpired)
			n++
		}
		require.Equal(t, 2, n, "one error each")
	})
}

// feedTake gets so many events of a sequence, in one call of Follow.
func feedTake[T any](t *testing.T, events iter.Seq2[trackers.Event[T], error], n int) []trackers.Event[T] {
	t.Helper()
	var got []trackers.Event[T]
	for e, err := range events {
		require.NoError(t, err)
		if got = append(got, e); len(got) == n {
			break
		}
	}
	return got
}

// TestFollowResumes: each event has the cursor behind it, inside a transaction too.
func TestFollowResumes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedSetup(t, d, 10)
		feedFill(t, f.db, feedRandom(t)(1), 12)
		for _, entities := range [][]string{nil, {feedItems}, {feedTasks, feedItems}, {feedItems, feedTasks}} {
			filters := feedAll(entities...)
			if entities == nil {
				filters = feedAll(feedItems, feedTasks)
			}
			want, _ := feedVersions(t, f.log, filters, models.Cursor{}, 1000)
			whole := feedTake(t, f.log.Changes().Follow(t.Context(), models.Cursor{}, entities...), len(want))
			c, got := models.Cursor{}, []int64{}
			for i, e := range whole {
				one := feedTake(t, f.log.Changes().Follow(t.Context(), c, entities...), 1)
				require.Equal(t, e.Row.Version, one[0].Row.Version, "event %d of %v", i, entities)
				c = feedText(t, one[0].Cursor)
				got = append(got, e.Row.Version)
			}
			require.Equal(t, want, got)
		}
		page, err := f.log.Fields().Since(t.Context(), feedItems, models.Cursor{}, 1000)
		require.NoError(t, err)
		whole := feedTake(t, f.log.Fields().Follow(t.Context(), models.Cursor{}, feedItems), len(page.Entries))
		for i, e := range whole[:len(whole)-1] {
			require.Equal(t, page.Entries[i].Row.ID, e.Row.ID)
			rest := feedTake(t, f.log.Fields().Follow(t.Context(), feedText(t, e.Cursor), feedItems), 1)
			require.LessOrEqual(t, rest[0].Row.ID, whole[i+1].Row.ID, "fields are lost behind %d", i)
			require.Greater(t, rest[0].Row.Version, e.Row.Version-1, "changes come again behind %d", i)
		}
	})
}

// TestHistory pages through the changes of a row, newest first.
func TestHistory(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedSetup(t, d, 10)
		feedFill(t, f.db, feedRandom(t)(1), 40)
		changes := f.log.Changes()
		for _, entity := range []string{feedItems, feedTasks} {
			rows, newest := map[string][]int64{}, int64(0)
			for _, c := range feedChanges(t, f.plain) {
				if c.Entity == entity {
					rows[c.EntityID] = append([]int64{c.Version}, rows[c.EntityID]...)
					newest = c.Version
				}
			}
			require.NotEmpty(t, rows)
			latest, err := changes.LatestVersion(t.Context(), entity)
			require.NoError(t, err)
			require.Equal(t, newest, latest)
			for id, want := range rows {
				for _, limit := range []int{0, 1, 2, 1000} {
					got, before := []int64{}, int64(0)
					for more := true; more; {
						page, err := changes.History(t.Context(), entity, id, before, limit)
						require.NoError(t, err)
						for _, c := range page {
							require.Equal(t, feedKey(entity, id), feedKey(c.Entity, c.EntityID))
							got, before = append(got, c.Version), c.Version
						}
						more = limit > 0 && len(page) == limit
					}
					require.Equal(t, want, got, "%s %s in pages of %d", entity, id, limit)
				}
			}
			none, err := changes.History(t.Context(), entity, "no such row", 0, 0)
			require.NoError(t, err)
			require.Empty(t, none)
		}
		_, err := changes.History(t.Context(), "nothing", "1", 0, 0)
		require.ErrorContains(t, err, "nothing")
		_, err = changes.LatestVersion(t.Context(), "nothing")
		require.ErrorContains(t, err, "nothing")
	})
}

// TestLatestVersionEmpty: a log without changes.
func TestLatestVersionEmpty(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedSetup(t, d, 5)
		v, err := f.log.Changes().LatestVersion(t.Context(), feedItems)
		require.NoError(t, err)
		require.Zero(t, v)
		ends := map[string]models.Cursor{}
		for name, filters := range feedSets() {
			page, err := f.log.Changes().Read(t.Context(), filters, models.Cursor{}, 10)
			require.NoError(t, err)
			require.Empty(t, page.Entries, name)
			require.False(t, page.More)
			ends[name] = feedText(t, page.Cursor)
			require.False(t, ends[name].IsZero(), "the end of an empty log is a place")
		}
		ends["position"], err = f.log.Position(t.Context())
		require.NoError(t, err)
		require.NoError(t, feedUpsertTask(f.db, "x", "red"))
		for name, c := range ends {
			got, _ := feedVersions(t, f.log, nil, c, 10)
			require.Len(t, got, 1, name)
		}
	})
}
