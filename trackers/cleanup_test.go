package trackers_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

func TestCleanup(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{{Model: &todo{}, FieldLog: true}})
		f.unchecked() // the log is no longer whole
		old := f.db.Session(&gormSession)
		require.NoError(t, old.Create(&[]todo{{ID: 1}, {ID: 2}, {ID: 3}}).Error)
		early, err := f.log.Position(t.Context())
		require.NoError(t, err)
		require.NoError(t, old.Model(&todo{ID: 1}).Update("title", "x").Error)
		require.NoError(t, old.Delete(&todo{ID: 2}).Error)
		late, err := f.log.Position(t.Context())
		require.NoError(t, err)
		require.NoError(t, f.db.Model(&todo{ID: 3}).Update("title", "y").Error)

		n, err := f.log.Cleanup(t.Context(), 48*time.Hour)
		require.NoError(t, err)
		require.Zero(t, n, "nothing is that old")
		n, err = f.log.Cleanup(t.Context(), time.Hour)
		require.NoError(t, err)
		require.EqualValues(t, 4, n, "three creates, of 1, 2 and 3, and the delete of 2")
		n, err = f.log.Cleanup(t.Context(), time.Hour)
		require.NoError(t, err)
		require.Zero(t, n)

		_, err = f.log.Changes().Since(t.Context(), "todos", early, 0)
		require.ErrorIs(t, err, models.ErrCursorExpired)
		require.ErrorIs(t, f.log.Accept(t.Context(), early), models.ErrCursorExpired)
		page, err := f.log.Changes().Since(t.Context(), "todos", late, 0)
		require.NoError(t, err)
		require.Len(t, page.Entries, 1)
		require.Equal(t, "3", page.Entries[0].Row.EntityID)
		history, err := f.log.Changes().History(t.Context(), "todos", "1", 0, 0)
		require.NoError(t, err)
		require.Len(t, history, 1, "the newest change of a row that exists")
		var fields []models.FieldChange
		require.NoError(t, f.db.Table(models.TablesFor("").Fields).Order("id").Find(&fields).Error)
		require.Len(t, fields, 4, "title and updated_at of 1 and 3: the others went with their changes")
	})
}
