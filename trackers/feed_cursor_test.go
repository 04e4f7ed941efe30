package trackers_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

var feedLimits = []int{1, 3, 7, 1000}

// feedFill commits transactions of one to six changes of both entities.
func feedFill(t testing.TB, db *gorm.DB, rnd *rand.Rand, transactions int) {
	t.Helper()
	for range transactions {
		require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
			for range 1 + rnd.IntN(6) {
				if err := feedChange(tx, rnd, 8); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

// feedChange makes a change that always succeeds, of one of the first rows.
func feedChange(tx *gorm.DB, rnd *rand.Rand, rows int) error {
	id := 1 + int64(rnd.IntN(rows)) // GORM takes 0 for no key
	code := fmt.Sprintf("t%d", id)
	more := gorm.Expr("n + 1")
	switch rnd.IntN(8) {
	case 0, 1:
		return feedUpsertItem(tx, id)
	case 2, 3:
		return feedUpsertTask(tx, code, feedTeam(rnd))
	case 4:
		return tx.Model(&feedItem{ID: id}).Update("n", more).Error
	case 5:
		return tx.Model(&feedTask{Code: code}).Updates(map[string]any{"n": more, "team": feedTeam(rnd)}).Error
	case 6:
		return tx.Delete(&feedItem{ID: id}).Error
	default:
		return tx.Delete(&feedTask{Code: code}).Error
	}
}

func feedTeam(rnd *rand.Rand) string { return []string{"red", "green", "blue"}[rnd.IntN(3)] }

// feedSets are the ways to read: the hub's, each entity alone, both, some scopes.
func feedSets() map[string][]trackers.Filter {
	return map[string][]trackers.Filter{
		"all":   nil,
		"items": feedAll(feedItems),
		"tasks": feedAll(feedTasks),
		"both":  feedAll(feedItems, feedTasks),
		"teams": {{Entity: feedTasks, Scopes: []string{"red", "blue"}}},
	}
}

// TestFeedFromNothing: from the zero cursor everything comes once, whatever the page.
func TestFeedFromNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedSetup(t, d, 10)
		feedFill(t, f.db, feedRandom(t)(1), 15)
		for name, filters := range feedSets() {
			want, _ := feedVersions(t, f.log, filters, models.Cursor{}, 100000)
			require.Equal(t, want, feedOf(t, f, want, filters))
			for _, limit := range feedLimits {
				got, end := feedVersions(t, f.log, filters, models.Cursor{}, limit)
				require.Equal(t, want, got, "%s, pages of %d", name, limit)
				again, same := feedVersions(t, f.log, filters, end, limit)
				require.Empty(t, again)
				require.Equal(t, end.String(), same.String(), "an idle feed keeps its cursor")
			}
		}
	})
}

// TestFeedCursorAcrossEntities: a place in the hub's read is one in each entity.
func TestFeedCursorAcrossEntities(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedSetup(t, d, 10)
		rnd := feedRandom(t)(1)
		feedFill(t, f.db, rnd, 5)
		_, start := feedVersions(t, f.log, nil, models.Cursor{}, 1000)
		feedFill(t, f.db, rnd, 8)
		all, _ := feedVersions(t, f.log, nil, start, 100000)
		for _, limit := range []int{1, 4} {
			place, had := start, 0
			for more := true; more; {
				page, err := f.log.Changes().Read(t.Context(), nil, place, limit)
				require.NoError(t, err)
				place, more = feedText(t, page.Cursor), page.More
				had += len(page.Entries)
				for name, filters := range feedSets() {
					got, _ := feedVersions(t, f.log, filters, place, limit)
					require.Equal(t, feedOf(t, f, all[had:], filters), got, "%s after %d changes in pages of %d", name, had, limit)
				}
			}
			require.Len(t, all, had)
		}
	})
}

// feedOf keeps those of the versions that the filters let through.
func feedOf(t testing.TB, f fixture, versions []int64, filters []trackers.Filter) []int64 {
	t.Helper()
	visible, kept := feedVisible(feedChanges(t, f.plain), filters), []int64{}
	for _, v := range versions {
		if visible[v] {
			kept = append(kept, v)
		}
	}
	return kept
}

// TestFeedCursorOfAnotherEntity: a cursor of one entity's read goes on in the
// other without a gap. What it has of the batch may come again.
func TestFeedCursorOfAnotherEntity(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedSetup(t, d, 10)
		feedFill(t, f.db, feedRandom(t)(1), 20)
		want, _ := feedVersions(t, f.log, feedAll(feedTasks), models.Cursor{}, 100000)
		items, end := feedVersions(t, f.log, feedAll(feedItems), models.Cursor{}, 100000)
		for limit := 1; limit < len(items); limit += 3 {
			page, err := f.log.Changes().Since(t.Context(), feedItems, models.Cursor{}, limit)
			require.NoError(t, err)
			got, _ := feedVersions(t, f.log, feedAll(feedTasks), feedText(t, page.Cursor), 3)
			require.Equal(t, want, got, "after %d items", limit)
		}
		got, _ := feedVersions(t, f.log, feedAll(feedTasks), end, 3)
		require.Empty(t, got, "the cursor at the end is that of all entities")
	})
}

// TestFeedPageAfter: each change of a page has a cursor behind it.
func TestFeedPageAfter(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedSetup(t, d, 10)
		feedFill(t, f.db, feedRandom(t)(1), 12)
		for name, filters := range feedSets() {
			want, _ := feedVersions(t, f.log, filters, models.Cursor{}, 100000)
			for _, limit := range []int{4, 10, 1000} {
				c, had := models.Cursor{}, 0
				for more := true; more; {
					page, err := f.log.Changes().Read(t.Context(), filters, c, limit)
					require.NoError(t, err)
					for i := range page.Entries {
						had++
						rest, _ := feedVersions(t, f.log, filters, feedText(t, page.After(i)), 6)
						require.Equal(t, want[had:], rest, "%s after %d changes in pages of %d", name, had, limit)
					}
					c, more = feedText(t, page.Cursor), page.More
				}
			}
		}
	})
}

// feedFieldIDs reads the field log on to its end.
func feedFieldIDs(t testing.TB, log *trackers.Log, c models.Cursor, limit int) ([]int64, models.Cursor) {
	t.Helper()
	ids := []int64{}
	for {
		page, err := log.Fields().Since(context.Background(), feedWides, c, limit)
		require.NoError(t, err)
		for _, e := range page.Entries {
			ids = append(ids, e.Row.ID)
		}
		if c = feedText(t, page.Cursor); !page.More {
			return ids, c
		}
	}
}

// feedWide is a row with several fields.
type feedWide struct {
	ID      int64 `gorm:"primaryKey;autoIncrement:false"`
	A, B, C int64
}

const feedWides = "feed_wides"

// TestFeedFields: the field log has the same places as the change log, and a
// cursor of either is one of the other.
func TestFeedFields(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{{Model: &feedWide{}, FieldLog: true}})
		for i := range int64(12) {
			require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error {
				for j := range i%4 + 1 {
					require.NoError(t, tx.Save(&feedWide{ID: 1 + j, A: i, B: 100 + i, C: 200 + i}).Error)
				}
				return nil
			}))
		}
		changes, end := feedVersions(t, f.log, feedAll(feedWides), models.Cursor{}, 1000)
		fields, fieldEnd := feedFieldIDs(t, f.log, models.Cursor{}, 1000)
		require.Len(t, fields, 3*len(changes))
		require.Equal(t, end.String(), fieldEnd.String())
		for _, limit := range feedLimits {
			got, _ := feedFieldIDs(t, f.log, models.Cursor{}, limit)
			require.Equal(t, fields, got, "pages of %d", limit)
			c, had := models.Cursor{}, 0
			for more := true; more; {
				page, err := f.log.Changes().Since(t.Context(), feedWides, c, limit)
				require.NoError(t, err)
				c, more, had = feedText(t, page.Cursor), page.More, had+len(page.Entries)
				got, _ := feedFieldIDs(t, f.log, c, 6)
				feedSuffix(t, fields[3*had:], got, !more)
			}
			c, had = models.Cursor{}, 0
			for more := true; more; {
				page, err := f.log.Fields().Since(t.Context(), feedWides, c, limit)
				require.NoError(t, err)
				c, more, had = feedText(t, page.Cursor), page.More, had+len(page.Entries)
				got, _ := feedVersions(t, f.log, feedAll(feedWides), c, 6)
				feedSuffix(t, changes[had/3:], got, !more)
			}
		}
	})
}

// feedSuffix: inside a batch the other log may begin the batch again, but nothing
// is missing.
func feedSuffix(t *testing.T, want, got []int64, exact bool) {
	t.Helper()
	require.GreaterOrEqual(t, len(got), len(want))
	require.Equal(t, want, got[len(got)-len(want):])
	if exact {
		require.Equal(t, want, got)
	}
}

// TestFeedFieldsPageAfter: behind a field the other fields of its change are still
// to come.
func TestFeedFieldsPageAfter(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{{Model: &feedWide{}, FieldLog: true}})
		for i := range int64(5) {
			require.NoError(t, f.db.Save(&feedWide{ID: 1 + i%2, A: i, B: 100 + i, C: 200 + i}).Error)
		}
		page, err := f.log.Fields().Since(t.Context(), feedWides, models.Cursor{}, 0)
		require.NoError(t, err)
		for i := range page.Entries {
			rest, _ := feedFieldIDs(t, f.log, feedText(t, page.After(i)), 0)
			for _, e := range page.Entries[i+1:] {
				require.True(t, slices.Contains(rest, e.Row.ID), "after field %d of %d the field %s of version %d is lost", i, len(page.Entries), e.Row.Field, e.Version)
			}
		}
	})
}

// TestFeedForeignCursor: another database's cursor is refused, and so is one of a
// log that has lost its end.
func TestFeedForeignCursor(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		other := dbtest.SQLite
		if d.Dialect == "postgres" {
			other = dbtest.Postgres // another schema of the same server
		}
		f, g := feedSetup(t, d, 10), feedSetup(t, other(t), 10)
		for _, x := range []fixture{f, g} {
			require.NoError(t, x.db.Create(&feedItem{ID: 1, N: 1}).Error)
		}
		_, c := feedVersions(t, f.log, nil, models.Cursor{}, 10)
		for _, filters := range feedSets() {
			_, err := g.log.Changes().Read(t.Context(), filters, c, 10)
			require.ErrorIs(t, err, models.ErrCursorExpired)
		}
		_, err := g.log.Fields().Since(t.Context(), feedItems, c, 10)
		require.ErrorIs(t, err, models.ErrCursorExpired)
		require.ErrorIs(t, g.log.Accept(t.Context(), c), models.ErrCursorExpired)
	})
}
