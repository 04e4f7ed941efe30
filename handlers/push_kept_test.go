package handlers_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// A Stone is in a table whose triggers leave out what its name says.
type Stone struct {
	ID   string `gorm:"primaryKey"`
	Name string
}

// What the database swallows is not applied.
func TestPushThatATriggerSwallows(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Stone{}, Writable: true, FieldLog: true})
		swallow := `CREATE TRIGGER i BEFORE INSERT ON stones WHEN NEW.name = 'heavy' BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER u BEFORE UPDATE ON stones WHEN NEW.name = 'heavy' BEGIN SELECT RAISE(IGNORE); END;
CREATE TRIGGER d BEFORE DELETE ON stones WHEN OLD.name = 'fixed' BEGIN SELECT RAISE(IGNORE); END;`
		if d.Dialect == "postgres" {
			swallow = `CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER i BEFORE INSERT OR UPDATE ON stones FOR EACH ROW WHEN (NEW.name = 'heavy') EXECUTE FUNCTION swallow();
CREATE TRIGGER d BEFORE DELETE ON stones FOR EACH ROW WHEN (OLD.name = 'fixed') EXECUTE FUNCTION swallow();`
		}
		pool, err := s.db.DB()
		require.NoError(t, err)
		_, err = pool.ExecContext(t.Context(), swallow)
		require.NoError(t, err)
		require.Equal(t, models.PushApplied, s.one("stones", `{"id":"a","action":"create","data":{"name":"fixed"}}`).Status)
		for _, change := range []string{
			`{"id":"b","action":"create","data":{"name":"heavy"},"mutation_id":"1"}`,
			`{"id":"a","action":"update","data":{"name":"heavy"},"mutation_id":"2"}`,
			`{"id":"a","action":"delete","mutation_id":"3"}`,
		} {
			r := s.one("stones", change)
			require.Equal(t, models.PushRejected, r.Status, change)
			require.Equal(t, &models.PushError{Code: "invalid", Message: "The database did not take this change."}, r.Error)
			require.Equal(t, r, s.one("stones", change))
		}
		require.Equal(t, models.PushApplied, s.one("stones", `{"id":"a","action":"update","data":{"name":"fixed"}}`).Status, "it is so already")
		require.Equal(t, int64(1), count(t, s.db, &Stone{}))
	})
}

// A Form has a default in every column, as the database's or as GORM's.
type Form struct {
	ID    string  `gorm:"primaryKey"`
	Title *string `gorm:"default:untitled"`
	Open  *bool   `gorm:"default:true"`
	Rank  int     `gorm:"default:7"`
	Stamp *string `gorm:"default:(upper('x'))"`
	Once  *int    `gorm:"<-:create;default:3"`
	Kept  string  `gorm:"not null;default:'k'"`
	Must  *string `gorm:"not null;default:'m'"`
}

// What the client says stands, whatever the default; what it leaves out gets it.
func TestPushOfNullWhereThereIsADefault(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Form{}, Writable: true, FieldLog: true})
		for id, c := range map[string]struct{ sent, got string }{
			"none":  {`{}`, `"title":"untitled","open":true,"rank":7,"stamp":"X","once":3,"kept":"k","must":"m"`},
			"null":  {`{"title":null,"open":null,"rank":null,"stamp":null,"once":null,"kept":null}`, `"title":null,"open":null,"rank":0,"stamp":null,"once":null,"kept":"","must":"m"`},
			"zero":  {`{"title":"","open":false,"rank":0,"stamp":"","once":0,"kept":""}`, `"title":"","open":false,"rank":0,"stamp":"","once":0,"kept":"","must":"m"`},
			"other": {`{"title":"t","open":true,"rank":1,"stamp":"s","once":1,"kept":"x","must":"y"}`, `"title":"t","open":true,"rank":1,"stamp":"s","once":1,"kept":"x","must":"y"`},
		} {
			r := s.one("forms", `{"id":"`+id+`","action":"create","data":`+c.sent+`,"mutation_id":"`+id+`"}`)
			require.Equal(t, models.PushApplied, r.Status, "%+v", r.Error)
			require.JSONEq(t, `{"id":"`+id+`",`+c.got+`}`, string(r.Data))
		}
		r := s.one("forms", `{"id":"must","action":"create","data":{"must":null}}`)
		require.Equal(t, &models.PushError{Code: "invalid", Field: "must", Message: "This field needs a value."}, r.Error)
		var changes int64
		require.NoError(t, s.db.Table(models.TablesFor("").Changes).Count(&changes).Error)
		require.EqualValues(t, 4, changes, "one for each row")
	})
}
