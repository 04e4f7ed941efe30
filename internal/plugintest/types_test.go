package plugintest

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/datatypes"
	"gorm.io/gorm"
	"gorm.io/plugin/soft_delete"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// Stamped is marked as deleted by a time in seconds.
type Stamped struct {
	ID        int64
	Name      string
	DeletedAt soft_delete.DeletedAt
}

// Flagged is marked as deleted by a flag.
type Flagged struct {
	ID      int64
	Name    string
	IsDeled soft_delete.DeletedAt `gorm:"softDelete:flag"`
}

// Mixed is marked by a flag and a time.
type Mixed struct {
	ID        int64
	Name      string
	DeletedAt gorm.DeletedAt
	IsDeled   soft_delete.DeletedAt `gorm:"softDelete:flag,DeletedAtField:DeletedAt"`
}

func TestSoftDeletes(t *testing.T) {
	for _, c := range []struct {
		entity string
		make   func(id int64, name string) any
		undo   map[string]any
	}{
		{"stampeds", func(id int64, name string) any { return &Stamped{ID: id, Name: name} }, map[string]any{"deleted_at": 0}},
		{"flaggeds", func(id int64, name string) any { return &Flagged{ID: id, Name: name} }, map[string]any{"is_deled": 0}},
		{"mixeds", func(id int64, name string) any { return &Mixed{ID: id, Name: name} }, map[string]any{"is_deled": 0, "deleted_at": nil}},
	} {
		t.Run(c.entity, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				db := d.Open(t)
				require.NoError(t, db.AutoMigrate(c.make(0, "")))
				sync := newSync(t, gormsync.Entity{Model: c.make(0, ""), FieldLog: true})
				require.NoError(t, db.Use(sync))
				require.NoError(t, db.Create(c.make(1, "a")).Error)
				require.NoError(t, db.Delete(c.make(1, "")).Error)
				require.NoError(t, db.Delete(c.make(1, "")).Error)
				require.NoError(t, db.Unscoped().Model(c.make(1, "")).Updates(c.undo).Error)
				require.NoError(t, db.Model(c.make(1, "")).Update("name", "b").Error)
				require.NoError(t, db.Unscoped().Delete(c.make(1, "")).Error)
				require.Equal(t, []string{"create 1", "delete 1", "create 1", "update 1", "delete 1"}, events(t, sync, c.entity))
			})
		})
	}
}

// Typed has the types of gorm.io/datatypes.
type Typed struct {
	ID    int64
	Plain datatypes.JSON
	Map   datatypes.JSONMap
	List  datatypes.JSONSlice[string]
	Deep  datatypes.JSONType[map[string]int]
	Day   datatypes.Date
	Clock datatypes.Time
	Key   datatypes.UUID
}

func TestDatatypes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, db.AutoMigrate(&Typed{}))
		sync := newSync(t, gormsync.Entity{Model: &Typed{}, FieldLog: true})
		require.NoError(t, db.Use(sync))
		row := &Typed{
			ID: 1, Plain: datatypes.JSON(`{"a": [1, 2]}`), Map: datatypes.JSONMap{"b": "c"}, List: datatypes.NewJSONSlice([]string{"x"}),
			Deep: datatypes.NewJSONType(map[string]int{"d": 4}), Clock: datatypes.NewTime(1, 2, 3, 0),
			Key: datatypes.UUID(uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")),
		}
		require.NoError(t, db.Create(row).Error)
		created, err := sync.Changes().Since(t.Context(), "typeds", models.Cursor{}, 0)
		require.NoError(t, err)
		require.NoError(t, db.Model(row).Update("plain", datatypes.JSON(`{"a": [3]}`)).Error)
		page, err := sync.Changes().Since(t.Context(), "typeds", models.Cursor{}, 0)
		require.NoError(t, err)
		require.Len(t, page.Entries, 2)
		var got map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(page.Entries[1].Row.Data, &got))
		for column, want := range map[string]string{
			"plain": `{"a":[3]}`, "map": `{"b":"c"}`, "list": `["x"]`, "deep": `{"d":4}`, "clock": `"01:02:03"`,
			"key": `"6ba7b810-9dad-11d1-80b4-00c04fd430c8"`,
		} {
			require.JSONEq(t, want, string(got[column]), column)
		}
		fields, err := sync.Fields().Since(t.Context(), "typeds", created.Cursor, 0)
		require.NoError(t, err)
		require.Len(t, fields.Entries, 1)
		require.Equal(t, "plain", fields.Entries[0].Row.Field)
	})
}
