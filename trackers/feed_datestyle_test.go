package trackers_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// However a session of PostgreSQL writes its times, the log is read.
func TestAnyDateStyle(t *testing.T) {
	for _, style := range []string{"German", "SQL,%20DMY", "Postgres", "ISO,%20YMD"} {
		d := dbtest.Postgres(t)
		db := feedOpen(t, d.URL+"&datestyle="+style)
		log := feedLog(t, db, true)
		before := time.Now().Add(-time.Minute)
		require.NoError(t, feedUpsertItem(db, 1))
		require.NoError(t, feedUpsertItem(db, 1))
		page, err := log.Changes().Since(t.Context(), feedItems, models.Cursor{}, 0)
		require.NoError(t, err, style)
		require.Len(t, page.Entries, 2)
		require.WithinRange(t, page.Entries[1].Row.CreatedAt, before, time.Now())
		require.Equal(t, time.UTC, page.Entries[1].Row.CreatedAt.Location())
		fields, err := log.Fields().Since(t.Context(), feedItems, models.Cursor{}, 0)
		require.NoError(t, err)
		require.True(t, fields.Entries[0].Row.Timestamp.Equal(page.Entries[0].Row.CreatedAt), "to the microsecond")
		history, err := log.Changes().History(t.Context(), feedItems, "1", 0, 0)
		require.NoError(t, err)
		require.Equal(t, page.Entries[1].Row, history[0])
		_, err = log.Cleanup(t.Context(), time.Hour)
		require.NoError(t, err)
	}
}
