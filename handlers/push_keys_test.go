package handlers_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// Models whose keys come from several hands.
type (
	// Plot has a key that is the client's, in two parts.
	Plot struct {
		Org   string `gorm:"primaryKey"`
		Num   int    `gorm:"primaryKey;autoIncrement:false"`
		Title string
	}
	// Parcel has one whose second part PostgreSQL makes.
	Parcel struct {
		Org   string `gorm:"primaryKey"`
		Nr    int    `gorm:"primaryKey;autoIncrement"`
		Title string
	}
	// Crate gives itself another id.
	Crate struct {
		ID    string `gorm:"primaryKey"`
		Title string
	}
)

// BeforeCreate chooses the id.
func (c *Crate) BeforeCreate(*gorm.DB) error {
	c.ID = "own-" + c.ID
	return nil
}

func TestPushOfANewRowWithoutAnID(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Plot{}, Writable: true}, gormsync.Entity{Model: &Parcel{}, Writable: true},
			gormsync.Entity{Model: &Task{}, Writable: true}, gormsync.Entity{Model: &Crate{}, Writable: true})
		for i, c := range []struct{ entity, data, id, field string }{
			{"plots", `{"org":"q","num":2,"title":"a"}`, "q,2", ""},
			{"plots", `{"org":"q","num":0}`, "q,0", ""},
			{"plots", `{"org":"q, r","num":"3"}`, "q%2C r,3", ""},
			{"plots", `{"org":"q"}`, "", "id"},
			{"plots", `{"num":4}`, "", "id"},
			{"plots", `{"org":null,"num":4}`, "", "id"},
			{"plots", `{"title":"b"}`, "", "id"},
			{"plots", `{"org":"q","num":"x"}`, "", "num"},
			{"parcels", `{"title":"b"}`, "", "id"},
			{"parcels", `{"org":"o","nr":7}`, "o,7", ""},
			{"tasks", `{"id":"t","title":"t"}`, "t", ""},
			{"tasks", `{"id":"","title":"t"}`, "", "id"},
			{"tasks", `{"title":"t"}`, "", "id"},
			{"crates", `{"title":"t"}`, "own-", ""},
		} {
			change := fmt.Sprintf(`{"action":"create","data":%s,"mutation_id":"m%d"}`, c.data, i)
			r := s.one(c.entity, change)
			again := s.one(c.entity, change)
			if c.field != "" {
				require.Equal(t, []any{models.PushRejected, c.field}, []any{r.Status, r.Error.Field}, change)
				require.Equal(t, r, again)
				continue
			}
			require.Equal(t, []any{models.PushApplied, c.id}, []any{r.Status, r.ID}, "%s %+v", change, r.Error)
			r.Status = models.PushDuplicate
			require.Equal(t, r, again)
			require.Empty(t, r.ClientRef)
		}
		require.EqualValues(t, 3, count(t, s.db, &Plot{}))
		r := s.one("plots", `{"action":"create","data":{"org":"q","num":2,"title":"b"},"mutation_id":"other"}`)
		require.Equal(t, []any{models.PushApplied, "q,2"}, []any{r.Status, r.ID}, "as with the id: %+v", r.Error)
		require.Contains(t, string(r.Data), `"title":"b"`)

		half := s.one("parcels", `{"action":"create","data":{"org":"p","title":"t"},"mutation_id":"half"}`)
		require.Equal(t, models.PushApplied, half.Status, "%+v", half.Error)
		require.Regexp(t, `^p,[1-9]`, half.ID, "the database makes the other part")
	})
}

// What the client called the row comes with each answer, the first one too.
func TestPushTellsWhatTheClientCalledTheRow(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Crate{}, Writable: true}, gormsync.Entity{Model: &UUIDTask{}, Writable: true})
		upper := "7B0F3B5E-6D0C-4A4C-8D4D-0F3A9F1C2B3D"
		for entity, c := range map[string]struct{ ref, id string }{"crates": {"tmp", "own-tmp"}, "uuid_tasks": {upper, strings.ToLower(upper)}} {
			for _, action := range []string{"create", "delete"} {
				if entity == "crates" && action == "delete" {
					continue
				}
				change := fmt.Sprintf(`{"id":%q,"action":%q,"data":{"title":"t"},"mutation_id":%q}`, c.ref, action, entity+action)
				r := s.one(entity, change)
				require.Equal(t, []any{models.PushApplied, c.id, c.ref}, []any{r.Status, r.ID, r.ClientRef}, change)
				r.Status = models.PushDuplicate
				require.Equal(t, r, s.one(entity, change))
			}
		}
	})
}

// A trigger that swallows the row is none of the scope's business.
func TestPushOfARowThatATriggerSwallows(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, byScopes, gormsync.Entity{Model: &Memo{}, Scope: "team", Writable: true})
		swallow := `CREATE TRIGGER swallowed BEFORE INSERT ON memos BEGIN SELECT RAISE(IGNORE); END`
		if d.Dialect == "postgres" {
			swallow = `CREATE FUNCTION swallowed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER swallowed BEFORE INSERT ON memos FOR EACH ROW EXECUTE FUNCTION swallowed()`
		}
		pool, err := s.db.DB()
		require.NoError(t, err)
		_, err = pool.ExecContext(t.Context(), swallow)
		require.NoError(t, err)
		for _, teams := range []string{"red", "red,blue"} {
			r := s.send("/sync/memos", `{"client_id":"c","changes":[{"id":"m","action":"create","data":{"team":"red"}}]}`, "X-Team: "+teams).Results[0]
			require.Equal(t, &models.PushError{Code: "invalid", Message: "The database did not take this change."}, r.Error)
		}
	})
}
