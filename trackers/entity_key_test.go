package trackers_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

type (
	keyRaw struct {
		ID json.RawMessage `gorm:"primaryKey"`
	}
	keyJSONB struct {
		ID string `gorm:"primaryKey;type:jsonb"`
	}
	keyMixed struct {
		A int64  `gorm:"primaryKey;autoIncrement:false"`
		B string `gorm:"primaryKey;type:jsonb"`
	}
	keyText struct {
		ID string `gorm:"primaryKey"`
	}
)

// TestJSONKey: a primary key that is JSON is refused when the entity is registered,
// or, if only the table knows of it, by whoever needs the key.
func TestJSONKey(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, migrate.Up(t.Context(), db, ""))
		for entity, model := range map[string]any{"key_raws": &keyRaw{}, "key_json_bs": &keyJSONB{}, "key_mixeds": &keyMixed{}} {
			_, err := trackers.NewLog(t.Context(), db, trackers.Config{Entities: []trackers.Entity{{Model: model}}})
			require.ErrorContains(t, err, entity+" is JSON")
			require.ErrorContains(t, err, "make it a text, a number or a UUID")
		}
		require.NoError(t, db.Exec("CREATE TABLE key_texts (id jsonb PRIMARY KEY)").Error)
		log, err := trackers.NewLog(t.Context(), db, trackers.Config{Entities: []trackers.Entity{{Model: &keyText{}}}})
		require.NoError(t, err)
		_, err = log.Changes().Snapshot(t.Context(), feedAll("key_texts")[0], models.Cursor{}, 10)
		require.ErrorContains(t, err, "key_texts is JSON")
	})
}
