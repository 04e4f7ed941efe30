package trackers_test

import (
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// TestFeedTexts: whatever a text of the log holds, a read gives it as the log has
// it, whole or in pages.
func TestFeedTexts(t *testing.T) {
	texts := append([]string{
		`\`, `\\`, `"\"`, `["a",null]`, `"],[`, "\x1f", "\x01\n\r\t\b\f\x7f", `\u0041`, "\u2028", "null", "0000000000000000", "",
	}, snapTexts...)
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := feedSetup(t, d, 5)
		for _, s := range texts {
			ctx := trackers.WithActor(trackers.WithClient(t.Context(), s+"c"), s)
			if s == "" {
				ctx = t.Context() // no client
			}
			require.NoError(t, feedUpsertTask(f.db.WithContext(ctx), s+"k", s))
			require.NoError(t, f.db.WithContext(ctx).Delete(&feedTask{Code: s + "k"}).Error)
		}
		want := feedChanges(t, f.plain)
		require.Len(t, want, 2*len(texts))
		scoped := []trackers.Filter{{Entity: feedTasks, Scopes: texts}}
		for _, filters := range [][]trackers.Filter{nil, feedAll(feedTasks), scoped} {
			for _, limit := range []int{1000, 3} {
				require.Equal(t, feedPlain(want), feedPlain(feedRead(t, f.log, filters, limit)))
			}
		}
		for _, c := range want {
			history, err := f.log.Changes().History(t.Context(), feedTasks, c.EntityID, 0, 0)
			require.NoError(t, err)
			require.Contains(t, feedPlain(history), feedPlain([]models.Change{c})[0])
			require.Subset(t, feedPlain(want), feedPlain(history))
		}
	})
}

// TestFeedOtherDriver: a pool of lib/pq reads what one of pgx does.
func TestFeedOtherDriver(t *testing.T) {
	d := dbtest.Postgres(t)
	f := feedSetup(t, d, 5)
	feedFill(t, f.db, feedRandom(t)(1), 20)
	other, err := gorm.Open(postgres.New(postgres.Config{DriverName: "postgres", DSN: d.URL + "&sslmode=disable"}), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := other.DB()
	require.NoError(t, err)
	defer func() { require.NoError(t, pool.Close()) }()
	require.IsType(t, &pq.Driver{}, pool.Driver())
	log, err := trackers.NewLog(t.Context(), other, trackers.Config{Entities: feedEntities()})
	require.NoError(t, err)
	for name, filters := range feedSets() {
		for _, limit := range []int{1000, 3} {
			require.Equal(t, feedRead(t, f.log, filters, limit), feedRead(t, log, filters, limit), name)
		}
	}
}

func feedRead(t *testing.T, log *trackers.Log, filters []trackers.Filter, limit int) (changes []models.Change) {
	t.Helper()
	for c, more := (models.Cursor{}), true; more; {
		page, err := log.Changes().Read(t.Context(), filters, c, limit)
		require.NoError(t, err)
		for i := range page.Entries {
			changes = append(changes, page.Entries[i].Row)
		}
		c, more = page.Cursor, page.More
	}
	return changes
}

// feedPlain leaves out what a read does not give, and the zone that the driver has.
func feedPlain(changes []models.Change) []models.Change {
	plain := make([]models.Change, len(changes))
	for i, c := range changes {
		c.CreatedAt, c.EditedAt = c.CreatedAt.UTC(), time.Time{}
		plain[i] = c
	}
	return plain
}
