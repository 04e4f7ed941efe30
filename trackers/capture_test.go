package trackers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

type todo struct {
	ID        int64 `gorm:"primaryKey"`
	Title     string
	Done      bool
	Rank      *float64
	Secret    string `json:"-"`
	OwnerID   *int64
	UpdatedAt time.Time
}

// fixture is one test's database with a log on it; more of it is in
// fixture_test.go.
type fixture struct {
	db    *gorm.DB
	log   *trackers.Log
	rings *atomic.Int64
	plain *gorm.DB      // the same database, not captured
	seen  *atomic.Int64 // the newest version that take gave
	free  *atomic.Bool  // the log need not give the tables, see unchecked
}

func setup(t *testing.T, d *dbtest.DB, entities []trackers.Entity, opts ...gorm.Option) fixture {
	t.Helper()
	db := d.Open(t, opts...)
	for _, e := range entities {
		require.NoError(t, db.AutoMigrate(e.Model))
	}
	return attach(t, d, db, trackers.Config{Entities: entities})
}

// changes gives the log as lines "action id data".
func (f fixture) changes(t *testing.T) []string {
	t.Helper()
	page, err := f.log.Changes().Read(context.Background(), nil, models.Cursor{}, 0)
	require.NoError(t, err)
	lines := []string{}
	for _, e := range page.Entries {
		var data map[string]any
		if e.Row.Data != nil {
			require.NoError(t, json.Unmarshal(e.Row.Data, &data))
			delete(data, "updated_at")
		}
		b, err := json.Marshal(data)
		require.NoError(t, err)
		lines = append(lines, fmt.Sprintf("%s %s %s %s", e.Row.Entity, e.Row.Action, e.Row.EntityID, b))
	}
	return lines
}

func TestCaptureSingleRows(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{{Model: &todo{}, FieldLog: true, Scope: "owner_id"}})
		one := &todo{Title: "milk", Secret: "pw"}
		require.NoError(t, f.db.Create(one).Error)
		one.Done = true
		require.NoError(t, f.db.Save(one).Error)
		res := f.db.Model(one).Updates(map[string]any{"title": "bread", "rank": 1.5})
		require.NoError(t, res.Error)
		require.EqualValues(t, 1, res.RowsAffected)
		require.NoError(t, f.db.Model(one).UpdateColumn("title", "bread").Error)
		require.NoError(t, f.db.Delete(one).Error)
		require.Equal(t, []string{
			`todos create 1 {"done":false,"id":1,"owner_id":null,"rank":null,"title":"milk"}`,
			`todos update 1 {"done":true,"id":1,"owner_id":null,"rank":null,"title":"milk"}`,
			`todos update 1 {"done":true,"id":1,"owner_id":null,"rank":1.5,"title":"bread"}`,
			`todos delete 1 null`,
		}, f.changes(t))
		require.EqualValues(t, 4, f.rings.Load())
	})
}

func TestCaptureRollback(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{{Model: &todo{}, FieldLog: true}})
		stop := errors.New("stop")
		require.ErrorIs(t, f.db.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Create(&todo{Title: "never"}).Error)
			return stop
		}), stop)
		require.Empty(t, f.changes(t))
		require.Zero(t, f.rings.Load())
		require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, tx.Create(&todo{Title: "a"}).Error)
			require.ErrorIs(t, tx.Transaction(func(tx *gorm.DB) error {
				require.NoError(t, tx.Create(&todo{Title: "b"}).Error)
				return stop
			}), stop)
			require.NoError(t, tx.Create(&todo{Title: "c"}).Error)
			require.Zero(t, f.rings.Load())
			return nil
		}))
		require.Len(t, f.changes(t), 2)
		require.EqualValues(t, 1, f.rings.Load())
	})
}
