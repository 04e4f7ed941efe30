package handlers_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// A Memo belongs to a team.
type Memo struct {
	ID        string `gorm:"primaryKey"`
	Team      string
	Text      string
	Secret    string `json:"-"`
	Serial    int    `gorm:"<-:false;default:7"`
	CreatedAt time.Time
	UpdatedAt time.Time
	DeletedAt gorm.DeletedAt
}

// A Rule can be read only, and an Audit not even that.
type (
	Rule struct {
		ID   string `gorm:"primaryKey"`
		Text string
	}
	Audit struct {
		ID   string `gorm:"primaryKey"`
		Text string
	}
)

// byTeam lets the members of the teams in X-Team change what is theirs.
func byTeam(c echo.Context, entity string) (gormsync.Access, error) {
	teams := c.Request().Header.Get("X-Team")
	switch {
	case teams == "":
		return gormsync.Access{}, echo.ErrUnauthorized
	case entity == "audits":
		return gormsync.Access{Write: true, AllScopes: true}, nil // without Read it does not exist
	case entity == "rules":
		return gormsync.Access{Read: true, Write: true, AllScopes: true, Actor: teams}, nil
	}
	return gormsync.Access{Read: true, Write: c.Request().Header.Get("X-Guest") == "", Scopes: strings.Split(teams, ","), Actor: teams}, nil
}

func openTeams(t *testing.T, d *dbtest.DB) server {
	t.Helper()
	s := open(t, d, byTeam, gormsync.Entity{Model: &Memo{}, Scope: "team", Writable: true, FieldLog: true},
		gormsync.Entity{Model: &Rule{}}, gormsync.Entity{Model: &Audit{}, Writable: true})
	for _, m := range []Memo{{ID: "ours", Team: "red", Text: "x", Secret: "s"}, {ID: "theirs", Team: "blue", Text: "x", Secret: "s"}} {
		require.NoError(t, s.db.Create(&m).Error)
	}
	require.NoError(t, s.db.Create(&Memo{ID: "theirs-gone", Team: "blue"}).Error)
	require.NoError(t, s.db.Delete(&Memo{ID: "theirs-gone"}).Error)
	require.NoError(t, s.db.Create(&Rule{ID: "r"}).Error)
	require.NoError(t, s.db.Create(&Audit{ID: "x"}).Error)
	return s
}

// table is all that is stored, so that a test can say that nothing of it changed.
func (s server) table() string {
	s.t.Helper()
	var memos []Memo
	var rules []Rule
	var audits []Audit
	require.NoError(s.t, s.db.Unscoped().Order("id").Find(&memos).Error)
	require.NoError(s.t, s.db.Order("id").Find(&rules).Error)
	require.NoError(s.t, s.db.Order("id").Find(&audits).Error)
	return fmt.Sprint(memos, rules, audits)
}

// A forbidden thing does not succeed, and what is not the client's answers as if it
// were not there.
func TestPushForbiddenThings(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := openTeams(t, d)
		before := s.table()
		ask := func(change string) models.PushResult {
			r := s.send("/sync/memos", `{"client_id":"c","changes":[`+change+`]}`, "X-Team: red")
			require.Equal(t, http.StatusOK, r.Code, r.Text)
			require.NotContains(t, r.Text, "blue")
			r.Results[0].ID = ""
			return r.Results[0]
		}
		for name, change := range map[string]string{
			"another team's row":        `{"id":%q,"action":"update","data":{"text":"y"}}`,
			"with its version":          `{"id":%q,"action":"update","data":{"text":"y"},"client_version":2}`,
			"with a time":               `{"id":%q,"action":"update","data":{"text":"y"},"timestamp":"2030-01-02T03:04:05Z"}`,
			"another team's row, moved": `{"id":%q,"action":"update","data":{"team":"red"}}`,
			"a hidden field of it":      `{"id":%q,"action":"update","data":{"secret":"y"}}`,
			"delete it":                 `{"id":%q,"action":"delete"}`,
			"delete its version":        `{"id":%q,"action":"delete","client_version":2}`,
		} {
			nobodys := ask(fmt.Sprintf(change, "nobodys"))
			require.Nil(t, nobodys.Data, name)
			require.Zero(t, version(t, nobodys), name)
			for _, id := range []string{"theirs", "theirs-gone"} {
				require.Equal(t, nobodys, ask(fmt.Sprintf(change, id)), "%s: %s tells that it is there", name, id)
			}
		}
		for name, change := range map[string]string{
			"move to another team":     `{"id":"ours","action":"update","data":{"team":"blue"}}`,
			"move to no team":          `{"id":"ours","action":"update","data":{"team":""}}`,
			"create in another team":   `{"id":"new","action":"create","data":{"team":"blue"}}`,
			"take another team's id":   `{"id":"theirs","action":"create","data":{"text":"y"}}`,
			"hidden field":             `{"id":"ours","action":"update","data":{"secret":"y"}}`,
			"hidden field, by Go name": `{"id":"ours","action":"update","data":{"Secret":"y"}}`,
			"hidden field at creation": `{"id":"new","action":"create","data":{"secret":"y"}}`,
			"no field":                 `{"id":"ours","action":"update","data":{"nothing":"y"}}`,
			"primary key":              `{"id":"ours","action":"update","data":{"id":"other"}}`,
			"primary key at creation":  `{"id":"new","action":"create","data":{"id":"other"}}`,
			"read-only field":          `{"id":"ours","action":"update","data":{"serial":8},"client_version":1}`,
			"read-only at creation":    `{"id":"new","action":"create","data":{"serial":8},"mutation_id":"m"}`,
		} {
			require.Equal(t, models.PushRejected, ask(change).Status, name)
			require.Equal(t, before, s.table(), name)
		}
		require.Equal(t, ask(`{"id":"ours","action":"update","data":{"secret":"y"}}`).Error.Code,
			ask(`{"id":"ours","action":"update","data":{"nothing":"y"}}`).Error.Code)

		// The server's own fields are not the client's to set, but full rows have them.
		own := ask(`{"id":"ours","action":"update","data":{"id":"ours","created_at":"2001-01-01T00:00:00Z","updated_at":"2001-01-01T00:00:00Z","deleted_at":"2001-01-01T00:00:00Z","serial":9}}`)
		require.Equal(t, models.PushApplied, own.Status, "%+v", own.Error)
		require.Equal(t, before, s.table())
	})
}

func TestPushForbiddenEntities(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := openTeams(t, d)
		before := s.table()
		change := `{"changes":[{"id":"x","action":"update","data":{"text":"y"}},{"id":"x","action":"delete"},{"id":"y","action":"create"}]}`
		one := func(entity string, headers ...string) reply {
			r := s.send("/sync/"+entity, change, append(headers, "X-Team: red")...)
			r.Text = strings.ReplaceAll(r.Text, entity, "…")
			r.Message = ""
			return r
		}
		unknown := one("nothing")
		require.Equal(t, []any{http.StatusNotFound, "unknown_entity"}, []any{unknown.Code, unknown.Error})
		require.Equal(t, unknown, one("audits"), "what may not be read does not exist")
		require.Equal(t, unknown, one("sqlite_master"))
		require.Equal(t, unknown, one("_rhtmx_sync_log"))
		require.Equal(t, []any{http.StatusForbidden, "forbidden"}, []any{one("rules").Code, one("rules").Error})
		require.Equal(t, http.StatusForbidden, one("memos", "X-Guest: yes").Code)
		require.Equal(t, http.StatusUnauthorized, s.send("/sync/memos", change).Code)
		require.Equal(t, http.StatusForbidden, s.send("/sync/memos", change, "X-Team: red", "Origin: https://evil.example").Code)

		// Among several entities, each change is refused alone.
		r := s.send("/sync", `{"changes":[
			{"entity":"rules","id":"r","action":"update","data":{"text":"y"}},
			{"entity":"audits","id":"x","action":"delete"},
			{"entity":"nothing","id":"x","action":"delete"},
			{"id":"x","action":"delete"}]}`, "X-Team: red")
		require.Equal(t, http.StatusOK, r.Code, r.Text)
		require.Equal(t, []string{"rules forbidden", "audits unknown_entity", "nothing unknown_entity", " unknown_entity"}, codes(r))
		require.Equal(t, before, s.table())
	})
}

// codes gives the entity and the error of each result.
func codes(r reply) []string {
	var all []string
	for _, one := range r.Results {
		code := string(one.Status)
		if one.Error != nil {
			code = one.Error.Code
		}
		all = append(all, one.Entity+" "+code)
	}
	return all
}

func TestPushGivesNewRowsTheOnlyScope(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := openTeams(t, d)
		r := s.send("/sync/memos", `{"changes":[{"id":"n","action":"create","data":{"text":"y"}}]}`, "X-Team: red")
		require.Equal(t, models.PushApplied, r.Results[0].Status, r.Text)
		require.Contains(t, string(r.Results[0].Data), `"team":"red"`)
		r = s.send("/sync/memos", `{"changes":[{"id":"o","action":"create","data":{"text":"y"}}]}`, "X-Team: red,blue")
		require.Equal(t, []any{models.PushRejected, "forbidden", "team"}, []any{r.Results[0].Status, r.Results[0].Error.Code, r.Results[0].Error.Field}, "which of the two is for the client to say")
		r = s.send("/sync/memos", `{"changes":[{"id":"n","action":"update","data":{"team":"blue"}}]}`, "X-Team: red,blue")
		require.Equal(t, models.PushApplied, r.Results[0].Status, "from one of one's own to another: %s", r.Text)
	})
}

// Another user's mutation is neither told nor in the way, whoever takes the ids.
func TestPushMutationsAreTheActorsOwn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := openTeams(t, d)
		body := `{"client_id":"c","changes":[{"id":"ours","action":"update","data":{"text":"mine"},"mutation_id":"m"}]}`
		r := s.send("/sync/memos", body, "X-Team: red")
		require.Equal(t, models.PushApplied, r.Results[0].Status, r.Text)
		r = s.send("/sync/memos", body, "X-Team: blue")
		require.Equal(t, []any{models.PushRejected, "not_found"}, []any{r.Results[0].Status, r.Results[0].Error.Code})
		require.Nil(t, r.Results[0].Data)
		r = s.send("/sync/memos", body, "X-Team: red")
		require.Equal(t, models.PushDuplicate, r.Results[0].Status)
		// What was done is told under the access of now.
		require.NoError(t, s.db.Model(&Memo{ID: "ours"}).Update("team", "green").Error)
		r = s.send("/sync/memos", body, "X-Team: red")
		require.Equal(t, models.PushDuplicate, r.Results[0].Status)
		require.Nil(t, r.Results[0].Data)
		require.Zero(t, version(t, r.Results[0]))
	})
}
