package trackers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// TestFeedMoves: whatever way a row takes between teams in one transaction, each
// reader sees it come as a create, change as an update, and go as a delete.
func TestFeedMoves(t *testing.T) {
	const most = 3 // steps in a transaction
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedSetup(t, d, 10)
		readers := moveReaders(f.log)
		n := 0
		for _, begin := range []string{"", "red"} {
			for _, way := range moveWays(most) {
				n++
				code := fmt.Sprintf("%03d %s: %s", n, begin, strings.Join(way, " "))
				if begin != "" {
					require.NoError(t, moveTo(f.db, code, begin))
				}
				require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error {
					for _, to := range way {
						if err := moveTo(tx, code, to); err != nil {
							return err
						}
					}
					return nil
				}))
			}
		}
		all := feedChanges(t, f.plain)
		for _, r := range readers {
			t.Run(r.name, func(t *testing.T) {
				require.NoError(t, r.drain(t.Context()))
				r.check(t, all, r.table(feedTable(t, f.plain), all))
			})
		}
		for _, r := range moveReaders(f.log)[2:] {
			t.Run("resolved "+r.name, func(t *testing.T) {
				moveResolve(t, f.log, r)
				r.check(t, all, r.table(feedTable(t, f.plain), all))
			})
		}
	})
}

// moveResolve gives a reader what the hub would send it.
func moveResolve(t *testing.T, log *trackers.Log, r *feedReader) {
	t.Helper()
	page, err := log.Changes().Read(t.Context(), nil, models.Cursor{}, 100000)
	require.NoError(t, err)
	var seen []trackers.Entry[models.Change]
	for _, e := range page.Entries {
		if slices.ContainsFunc(r.filters, func(f trackers.Filter) bool { return f.Sees(&e.Row) }) {
			seen = append(seen, e)
		}
	}
	for _, e := range trackers.Resolve(seen, r.filters) {
		r.take(&e.Row)
	}
}

func moveReaders(log *trackers.Log) []*feedReader {
	readers := []*feedReader{newFeedReader("hub", log, nil, 50), newFeedReader("all", log, feedAll(feedTasks), 5)}
	for _, way := range []struct {
		limit int
		teams []string
	}{{50, []string{"red"}}, {1, []string{"red", "blue"}}, {50, []string{"red", "blue"}}, {50, []string{"red", "green", "blue"}}} {
		name := fmt.Sprintf("%s by %d", strings.Join(way.teams, " "), way.limit)
		readers = append(readers, newFeedReader(name, log, []trackers.Filter{{Entity: feedTasks, Scopes: way.teams}}, way.limit))
	}
	return readers
}

// moveWays lists all ways of up to so many steps: into a team, or gone.
func moveWays(most int) [][]string {
	ways, last := [][]string{}, [][]string{{}}
	for range most {
		var longer [][]string
		for _, way := range last {
			for _, to := range []string{"red", "green", "blue", "gone"} {
				longer = append(longer, append(append([]string{}, way...), to))
			}
		}
		ways, last = append(ways, longer...), longer
	}
	return ways
}

// moveTo brings the row into a team, whether it is there or not, or deletes it.
func moveTo(tx *gorm.DB, code, team string) error {
	if team == "gone" {
		return tx.Delete(&feedTask{Code: code}).Error
	}
	res := tx.Model(&feedTask{Code: code}).Updates(map[string]any{"n": gorm.Expr("n + 1"), "team": team})
	if res.Error != nil || res.RowsAffected > 0 {
		return res.Error
	}
	return tx.Create(&feedTask{Code: code, N: 1, Team: team}).Error
}
