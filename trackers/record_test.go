package trackers_test

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

func TestRecordWhatWasNotSeen(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{{Model: &todo{}, FieldLog: true, Scope: "owner_id"}})
		raw := f.db.WithContext(trackers.Untracked(t.Context()))
		record := f.log.Changes().Record
		owner := int64(7)
		require.NoError(t, f.db.Create(&[]todo{{ID: 1, Title: "a"}, {ID: 2, Title: "b", OwnerID: &owner}}).Error)
		require.NoError(t, raw.Create(&todo{ID: 3, Title: "c", OwnerID: &owner}).Error)
		rings := f.rings.Load()
		require.NoError(t, f.db.Transaction(func(tx *gorm.DB) error {
			raw := tx.WithContext(trackers.Untracked(t.Context()))
			require.NoError(t, raw.Exec("UPDATE todos SET title = ?, owner_id = ? WHERE id <= ?", "x", 8, 2).Error)
			return record(t.Context(), tx, models.Update, &[]*todo{{ID: 1}, {ID: 2}})
		}))
		require.Equal(t, rings+1, f.rings.Load())
		require.NoError(t, record(t.Context(), f.db, models.Update, todo{ID: 1}), "nothing differs")
		require.NoError(t, raw.Exec("DELETE FROM todos WHERE id >= ?", 2).Error)
		require.NoError(t, record(t.Context(), f.db, models.Delete, []todo{{ID: 2}, {ID: 3, OwnerID: &owner}}))
		require.Equal(t, []string{
			`todos create 1 {"done":false,"id":1,"owner_id":null,"rank":null,"title":"a"}`,
			`todos create 2 {"done":false,"id":2,"owner_id":7,"rank":null,"title":"b"}`,
			`todos delete 1 null`, // leaves no scope
			`todos update 1 {"done":false,"id":1,"owner_id":8,"rank":null,"title":"x"}`,
			`todos delete 2 null`, // leaves scope 7
			`todos update 2 {"done":false,"id":2,"owner_id":8,"rank":null,"title":"x"}`,
			`todos delete 2 null`,
			`todos delete 3 null`,
		}, f.changes(t))
		page, err := f.log.Changes().Read(t.Context(), []trackers.Filter{{Entity: "todos", Scopes: []string{"7"}}}, models.Cursor{}, 0)
		require.NoError(t, err)
		var seen []string
		for _, e := range page.Entries {
			seen = append(seen, string(e.Row.Action)+" "+e.Row.EntityID)
		}
		require.Equal(t, []string{"create 2", "delete 2", "delete 3"}, seen)
	})
}

func TestRecordRefuses(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{{Model: &todo{}}})
		record := f.log.Changes().Record
		require.ErrorContains(t, record(t.Context(), f.db, "move", &todo{ID: 1}), `no action "move"`)
		require.ErrorContains(t, record(t.Context(), f.db, models.Update, &models.Meta{}), "is not tracked")
		require.ErrorContains(t, record(t.Context(), f.db, models.Update, "todos"), "GORM cannot use string")
		require.ErrorContains(t, record(t.Context(), f.db, models.Update, &todo{ID: 9}), `no row "9"`)
		require.ErrorContains(t, record(t.Context(), f.db, models.Update, (*todo)(nil)), "a nil *trackers_test.todo")
		require.ErrorContains(t, record(t.Context(), f.db, models.Update, nil), "a nil <nil>")
		require.Empty(t, f.changes(t))
	})
}

func TestRawSQLIsNoticed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		for _, strict := range []bool{false, true} {
			db := d.Open(t)
			require.NoError(t, db.AutoMigrate(&todo{}))
			require.NoError(t, migrate.Up(t.Context(), db, ""))
			var out bytes.Buffer
			log, err := trackers.NewLog(t.Context(), db, trackers.Config{
				Entities: []trackers.Entity{{Model: &todo{}}}, StrictRaw: strict, Logger: slog.New(slog.NewTextHandler(&out, nil)),
			})
			require.NoError(t, err)
			require.NoError(t, log.Capture(db))
			check := func(err error) {
				t.Helper()
				if strict {
					require.ErrorIs(t, err, trackers.ErrRawSQL)
					require.ErrorContains(t, err, "the table todos is tracked")
				} else {
					require.NoError(t, err)
				}
			}
			var ids []int64
			for range 3 {
				check(db.Exec("UPDATE Todos SET done = true").Error)
			}
			check(db.Raw("UPDATE todos SET done = true RETURNING id").Scan(&ids).Error)
			rows, err := db.Raw("UPDATE todos SET done = true RETURNING id").Rows()
			check(err)
			if rows != nil {
				require.NoError(t, rows.Close())
				require.NoError(t, rows.Err())
			}
			require.NoError(t, db.Exec("UPDATE "+models.TablesFor("").Changes+" SET actor = 'x'").Error)
			require.NoError(t, db.Raw("SELECT id FROM todos").Scan(&ids).Error)
			require.NoError(t, db.WithContext(trackers.Untracked(t.Context())).Exec("UPDATE todos SET done = true").Error)
			if strict {
				require.Empty(t, out.String())
				continue
			}
			require.Equal(t, 3, bytes.Count(out.Bytes(), []byte("table=todos")), out.String())
			require.Equal(t, 3, bytes.Count(out.Bytes(), []byte("record_test.go:")), out.String())
			require.Contains(t, out.String(), "sync.Changes().Record")
		}
	})
}

var zeroCursor models.Cursor

// gormSession writes yesterday's changes.
var gormSession = gorm.Session{NowFunc: func() time.Time { return time.Now().Add(-24 * time.Hour) }}
