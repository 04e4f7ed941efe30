package trackers_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// member has what one would rather have hidden from the beginning.
type member struct {
	ID       int64
	Name     string
	Password string
	Team     string
	Region   string
	Hits     int
}

func shapeLog(t *testing.T, db *gorm.DB, e trackers.Entity) *trackers.Log {
	t.Helper()
	e.Model = &member{}
	log, err := trackers.NewLog(t.Context(), db, trackers.Config{Entities: []trackers.Entity{e}})
	require.NoError(t, err)
	return log
}

// shapeFill writes some changes, in two scopes.
func shapeFill(t *testing.T, d *dbtest.DB) *gorm.DB {
	t.Helper()
	db := d.Open(t)
	require.NoError(t, migrate.Up(t.Context(), db, ""))
	require.NoError(t, db.AutoMigrate(&member{}))
	log := shapeLog(t, db, trackers.Entity{FieldLog: true, Scope: "team"})
	require.NoError(t, log.Capture(db))
	rows := make([]member, 2500)
	for i := range rows {
		rows[i] = member{Name: `of "quotes", <html> and ü`, Password: "secret", Team: "red", Region: "north", Hits: 1}
	}
	require.NoError(t, db.CreateInBatches(rows, 1000).Error)
	require.NoError(t, db.Model(&member{ID: 1}).Updates(map[string]any{"password": "secret too", "team": "blue"}).Error)
	require.NoError(t, db.Delete(&member{ID: 2}).Error)
	return d.Open(t)
}

func fieldCount(t *testing.T, db *gorm.DB, field string) (n int64) {
	t.Helper()
	require.NoError(t, db.Model(&models.FieldChange{}).Where("field = ?", field).Count(&n).Error)
	return n
}

func TestHiddenLaterIsScrubbed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := shapeFill(t, d)
		before, names, passwords := feedChanges(t, db), fieldCount(t, db, "name"), fieldCount(t, db, "password")
		require.Positive(t, passwords)
		hide := trackers.Entity{FieldLog: true, Scope: "team", Hide: []string{"password"}}
		var starting sync.WaitGroup
		for range 4 { // several servers of the new version
			other := d.Open(t)
			starting.Go(func() {
				log, err := trackers.NewLog(t.Context(), other, trackers.Config{Entities: []trackers.Entity{{Model: &member{}, FieldLog: true, Scope: "team", Hide: []string{"password"}}}})
				if err != nil {
					t.Error(err)
				} else if g := log.Entity("members").Generation; g != 1 {
					t.Errorf("generation %d", g)
				}
			})
		}
		starting.Wait()
		after := feedChanges(t, db)
		require.Len(t, after, len(before))
		for i := range after {
			if before[i].Data != nil {
				want, changed, err := before[i].Data.Without([]string{"password"})
				require.NoError(t, err)
				require.True(t, changed)
				require.NotContains(t, string(want), "secret")
				before[i].Data = want
			}
			require.Equal(t, before[i], after[i], "all else stays to the letter")
		}
		require.Zero(t, fieldCount(t, db, "password"))
		require.Equal(t, names, fieldCount(t, db, "name"))
		require.EqualValues(t, 1, shapeLog(t, db, hide).Entity("members").Generation, "nothing is to be done again")
		hide.Hide = nil
		require.EqualValues(t, 2, shapeLog(t, db, hide).Entity("members").Generation, "the clients lack a column")
	})
}

func TestAnotherScopeColumnClearsTheOldScopes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := shapeFill(t, d)
		log := shapeLog(t, db, trackers.Entity{FieldLog: true, Scope: "region"})
		require.EqualValues(t, 1, log.Entity("members").Generation)
		for _, c := range feedChanges(t, db) {
			require.Nil(t, c.Scope, "a region named red would see the team")
		}
		red := []trackers.Filter{{Entity: "members", Scopes: []string{"red"}}}
		page, err := log.Changes().Read(t.Context(), red, models.Cursor{}, 10)
		require.NoError(t, err)
		require.Empty(t, page.Entries)
		fields, err := log.Fields().Read(t.Context(), red, models.Cursor{}, 10)
		require.NoError(t, err)
		require.Empty(t, fields.Entries)
	})
}
