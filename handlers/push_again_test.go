package handlers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// An answer that is given again has the conflicts of the first one.
func TestPushAgainWithItsConflicts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Poll{}, FieldLog: true, Writable: true, Strategy: gormsync.KeepBoth,
			FieldStrategy: map[string]gormsync.Strategy{"yours": gormsync.ClientWins, "late": gormsync.LastWriteWins},
			Resolve:       map[string]func(gormsync.Conflict) (any, error){"votes": func(gormsync.Conflict) (any, error) { return 100, nil }}})
		base := version(t, s.one("polls", `{"id":"p","action":"create","data":{"mine":"0","votes":1}}`))
		require.NoError(t, s.db.Save(&Poll{ID: "p", Mine: "s", Yours: "s", Both: "", Votes: 5, Late: "s"}).Error)
		s.client = "c2"
		merged := fmt.Sprintf(`{"id":"p","action":"update","client_version":%d,"data":{"mine":"c","yours":"c","votes":9,"late":"c"},"timestamp":"2001-02-03T04:05:06Z","mutation_id":"merged"}`, base)
		first := s.one("polls", merged)
		require.Equal(t, models.PushMerged, first.Status, "%+v", first.Error)
		require.Len(t, first.Conflicts, 3)
		lost := fmt.Sprintf(`{"id":"p","action":"update","client_version":%d,"data":{"mine":"d"},"mutation_id":"lost"}`, base)
		second := s.one("polls", lost)
		require.Equal(t, models.PushConflict, second.Status)
		require.Len(t, second.Conflicts, 1)

		first.Status = models.PushDuplicate
		require.Equal(t, first, s.one("polls", merged))
		require.Equal(t, second, s.one("polls", lost))

		// Whatever was changed since.
		require.NoError(t, s.db.Model(&Poll{ID: "p"}).Updates(&Poll{Mine: "t", Votes: 7}).Error)
		require.Equal(t, first.Conflicts, s.one("polls", merged).Conflicts)
		require.Equal(t, second.Conflicts, s.one("polls", lost).Conflicts)
		require.NoError(t, s.db.Delete(&Poll{ID: "p"}).Error)
		require.Equal(t, first.Conflicts, s.one("polls", merged).Conflicts)
		require.NoError(t, s.db.Create(&Poll{ID: "p", Mine: "u"}).Error)

		// The log does not reach back for ever.
		require.NoError(t, s.db.Exec("DELETE FROM "+models.TablesFor("").Changes+" WHERE id = ?", version(t, second)).Error)
		*s.whole = false
		again := s.one("polls", lost)
		require.Len(t, again.Conflicts, 1)
		require.Equal(t, []any{"mine", `"u"`, time.Time{}, `"d"`, second.Conflicts[0].ClientTimestamp},
			[]any{again.Conflicts[0].Field, string(again.Conflicts[0].ServerValue), again.Conflicts[0].ServerTimestamp, string(again.Conflicts[0].ClientValue), again.Conflicts[0].ClientTimestamp})
	})
}

// The same of an atomic request that was refused for a conflict.
func TestPushAgainAtomicWithItsConflicts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Poll{}, Writable: true, Strategy: gormsync.ServerWins})
		base := version(t, s.one("polls", `{"id":"p","action":"create","data":{"mine":"0"}}`))
		require.NoError(t, s.db.Save(&Poll{ID: "p", Mine: "s"}).Error)
		body := fmt.Sprintf(`{"client_id":"c2","atomic":true,"changes":[{"id":"q","action":"create","mutation_id":"1"},{"id":"p","action":"update","client_version":%d,"data":{"mine":"c"},"mutation_id":"2"}]}`, base)
		first := s.send("/sync/polls", body)
		require.Equal(t, []string{" atomic", " changed"}, codes(first), first.Text)
		require.Len(t, first.Results[1].Conflicts, 1)
		require.Equal(t, first.Results, s.send("/sync/polls", body).Results)
	})
}

func TestPushFieldsAgainWithTheirConflicts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Poll{}, FieldLog: true, Writable: true})
		require.NoError(t, s.db.Create(&Poll{ID: "p", Mine: "a"}).Error)
		changes := []string{
			`{"entity_id":"p","field":"mine","value":"b","action":"update","timestamp":"2001-01-01T00:00:00Z","mutation_id":"m"}`,
			`{"entity_id":"p","field":"yours","value":"b","action":"update","timestamp":"2001-01-01T00:00:00Z","mutation_id":"m"}`,
			`{"entity_id":"p","field":"late","value":"b","action":"update","mutation_id":"n"}`,
		}
		status := func(a models.FieldPushResponse) string {
			return fmt.Sprint(a.Results[0].Status, a.Results[1].Status, a.Results[2].Status, len(a.Applied))
		}
		first := s.fields("polls", changes...)
		require.Equal(t, "conflictconflictapplied1", status(first))
		require.Len(t, first.Conflicts, 2)
		again := s.fields("polls", changes...)
		require.Equal(t, "conflictconflictduplicate1", status(again))
		require.Equal(t, []any{first.Conflicts, first.Applied}, []any{again.Conflicts, again.Applied})

		// What has the value already comes with the change that gave it that.
		same := s.fields("polls", `{"entity_id":"p","field":"late","value":"b","action":"update"}`, `{"entity_id":"p","field":"mine","value":"a","action":"update"}`)
		require.Equal(t, first.Applied[0], same.Applied[0])
		require.Positive(t, same.Applied[1].ID)
		require.Less(t, same.Applied[1].ID, same.Applied[0].ID)
	})
}

// What is not the client's to see any more is not made up.
func TestPushFieldsAgainOfARowThatMoved(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, byScopes, gormsync.Entity{Model: &Memo{}, Scope: "team", FieldLog: true, Writable: true})
		require.NoError(t, s.db.Create(&Memo{ID: "m", Team: "red"}).Error)
		push := func() (a models.FieldPushResponse) {
			r := s.send("/field-sync/memos", `{"client_id":"c","changes":[{"entity_id":"m","field":"text","value":"t","action":"update","mutation_id":"1"}]}`, "X-Team: red")
			require.NoError(t, json.Unmarshal([]byte(r.Text), &a))
			return a
		}
		first := push()
		require.Len(t, first.Applied, 1)
		again := push()
		require.Equal(t, []any{models.PushDuplicate, first.Applied}, []any{again.Results[0].Status, again.Applied})
		require.NoError(t, s.db.Model(&Memo{ID: "m"}).Update("team", "blue").Error)
		moved := push()
		require.Equal(t, models.PushDuplicate, moved.Results[0].Status)
		require.Empty(t, moved.Applied)
	})
}

// A field that makes no sense does not spoil those that it shares a mutation with, and
// what may not be pushed is refused as such, whole.
func TestPushFieldsOfOneMutation(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, byScopes, gormsync.Entity{Model: &Memo{}, Scope: "team", FieldLog: true, Writable: true})
		require.NoError(t, s.db.Create(&Memo{ID: "m", Team: "red"}).Error)
		body := `{"type":"push_fields","entity":"memos","entity_id":"m","mutation_id":"m","fields":[
			{"field":"text","value":"a","action":"melt"},{"field":"text","value":"a","action":"update"},{"field":"team","value":"red","action":"update"}]}`
		codes := func(w wire) (all []string) {
			var a pushAck
			w.send(body)
			w.next("push_ack", &a)
			for _, r := range a.Results {
				all = append(all, string(r.Status))
				if r.Error != nil {
					all[len(all)-1] += " " + r.Error.Code
				}
			}
			return all
		}
		guest := s.dial(t, http.Header{"X-Team": {"red"}, "X-Guest": {"memos"}})
		require.Equal(t, []string{"rejected forbidden", "rejected forbidden", "rejected forbidden"}, codes(guest))
		body = strings.ReplaceAll(body, `"mutation_id":"m"`, `"mutation_id":"n"`)
		member := s.dial(t, http.Header{"X-Team": {"red"}})
		require.Equal(t, []string{"rejected invalid", "applied", "applied"}, codes(member))
		require.Equal(t, []string{"rejected invalid", "duplicate", "duplicate"}, codes(member))
	})
}

// byScopes is somebody whose rights change.
func byScopes(c echo.Context, entity string) (gormsync.Access, error) {
	h := c.Request().Header
	return gormsync.Access{Read: h.Get("X-Hidden") != entity, Write: h.Get("X-Guest") != entity, Scopes: strings.Split(h.Get("X-Team"), ","), Actor: "alice"}, nil
}

// An answer that is given again shows what its reader may see by then.
func TestPushAgainTellsNothingThatIsHiddenNow(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, byScopes, gormsync.Entity{Model: &Memo{}, Scope: "team", Writable: true, FieldLog: true, Strategy: gormsync.ServerWins})
		require.NoError(t, s.db.Create(&Memo{ID: "m", Team: "red", Text: "red's"}).Error)
		body := `{"client_id":"c","changes":[{"id":"m","action":"update","data":{"text":"mine"},"mutation_id":"m"}]}`
		first := s.send("/sync/memos", body, "X-Team: red,blue").Results[0]
		require.Equal(t, models.PushConflict, first.Status)
		require.Equal(t, `"red's"`, string(first.Conflicts[0].ServerValue))
		require.NoError(t, s.db.Model(&Memo{ID: "m"}).Updates(&Memo{Team: "blue", Text: "blue's"}).Error)

		both := s.send("/sync/memos", body, "X-Team: red,blue").Results[0]
		require.Equal(t, first.Conflicts, both.Conflicts)
		require.Contains(t, string(both.Data), "blue's")
		red := s.send("/sync/memos", body, "X-Team: red")
		require.Equal(t, models.PushConflict, red.Results[0].Status)
		require.NotContains(t, red.Text, "'s")
		require.Empty(t, red.Results[0].Conflicts)
		blue := s.send("/sync/memos", body, "X-Team: blue")
		require.NotContains(t, blue.Text, "red's")
		require.Equal(t, `"blue's"`, string(blue.Results[0].Conflicts[0].ServerValue))
		require.True(t, blue.Results[0].Conflicts[0].ServerTimestamp.IsZero())

		next := serve(t, d.Open(t), gormsync.Config{Entities: []gormsync.Entity{{Model: &Memo{}, Scope: "team", Writable: true, FieldLog: true, Hide: []string{"Text"}}},
			Authorize: byScopes, Poll: -1, Retention: -1, MutationRetention: -1})
		hidden := next.send("/sync/memos", body, "X-Team: red,blue")
		require.NotContains(t, hidden.Text, "'s")
		require.Equal(t, models.PushConflict, hidden.Results[0].Status)
		require.Empty(t, hidden.Results[0].Conflicts)
		*s.whole = false // the second server has taken the text out of the log
		stored := map[string]any{}
		require.NoError(t, s.db.Table(models.TablesFor("").Mutations).Take(&stored).Error)
		text, err := json.Marshal(stored)
		require.NoError(t, err)
		require.NotContains(t, string(text), "'s")
		require.NotContains(t, string(text), `\"mine\"`)
	})
}

// Whatever the answer was, it is the answer, also where rights have changed since.
func TestPushRefusalsAreRemembered(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, byScopes, gormsync.Entity{Model: &Memo{}, Scope: "team", Writable: true})
		create := func(id string) string {
			return fmt.Sprintf(`{"client_id":"c","changes":[{"entity":"memos","id":%q,"action":"create","data":{"text":"x"},"mutation_id":%q}]}`, id, id)
		}
		refused := s.send("/sync", create("a"), "X-Team: red", "X-Guest: memos")
		require.Equal(t, []string{"memos forbidden"}, codes(refused))
		require.Equal(t, refused.Results, s.send("/sync", create("a"), "X-Team: red").Results)
		require.Equal(t, models.PushApplied, s.send("/sync", create("b"), "X-Team: red").Results[0].Status)
		again := s.send("/sync", create("b"), "X-Team: red", "X-Guest: memos").Results[0]
		require.Equal(t, models.PushDuplicate, again.Status, "it is done, whatever the rights are now")
		require.Contains(t, string(again.Data), `"text":"x"`)

		// What makes no sense.
		melt := `{"client_id":"c","changes":[{"entity":"memos","id":"b","action":"melt","mutation_id":"melt"}]}`
		wrong := s.send("/sync", melt, "X-Team: red")
		require.Equal(t, []string{"memos invalid"}, codes(wrong))
		require.Equal(t, wrong.Results, s.send("/sync", melt, "X-Team: red").Results)
		require.Equal(t, []string{"memos mutation_reused"}, codes(s.send("/sync", strings.Replace(melt, `"melt"`, `"delete"`, 1), "X-Team: red")))

		// Of an entity that is not there for the client nothing is kept, so that nobody
		// can tell one that exists from one that does not.
		n := mutations(t, s.db)
		hidden := s.send("/sync", create("h"), "X-Team: red", "X-Hidden: memos")
		require.Equal(t, []string{"memos unknown_entity"}, codes(hidden))
		require.Equal(t, []string{"none unknown_entity"}, codes(s.send("/sync", strings.Replace(create("h"), `"memos"`, `"none"`, 1), "X-Team: red")))
		require.Equal(t, n, mutations(t, s.db))
		bad := fmt.Sprintf(`{"client_id":"c","changes":[{"entity":"memos","id":"z","action":"create","mutation_id":%q}]}`, strings.Repeat("x", 65))
		require.Equal(t, "mutation_id", s.send("/sync", bad, "X-Team: red").Results[0].Error.Field)
		require.Equal(t, n, mutations(t, s.db))

		// All or none, whichever of them comes first.
		atomic := `{"client_id":"c","atomic":true,"changes":[{"entity":"none","id":"1","action":"delete","mutation_id":"d"},{"entity":"memos","id":"1","action":"create","mutation_id":"e"}]}`
		all := s.send("/sync", atomic, "X-Team: red")
		require.Equal(t, []string{"none unknown_entity", "memos atomic"}, codes(all))
		require.Equal(t, all.Results, s.send("/sync", atomic, "X-Team: red").Results)
		require.Equal(t, n+2, mutations(t, s.db))
		var actors []string
		require.NoError(t, s.db.Table(models.TablesFor("").Mutations).Distinct("actor").Pluck("actor", &actors).Error)
		require.Equal(t, []string{"alice"}, actors)

		require.Equal(t, http.StatusForbidden, s.send("/sync/memos", create("f"), "X-Team: red", "X-Guest: memos").Code)
	})
}

// The first moment of all is a time as well.
func TestPushOfTheYearOne(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Poll{}, Writable: true, FieldLog: true})
		base := version(t, s.one("polls", `{"id":"p","action":"create","data":{"mine":"0"},"timestamp":"0001-01-01T00:00:00Z"}`))
		require.NoError(t, s.db.Model(&Poll{ID: "p"}).Update("mine", "s").Error)
		s.client = "c2"
		for _, at := range []string{"0001-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "0000-01-01T00:00:00Z"} {
			r := s.one("polls", fmt.Sprintf(`{"id":"p","action":"update","client_version":%d,"data":{"mine":"c"},"timestamp":%q}`, base, at))
			require.Equal(t, models.PushConflict, r.Status, at)
		}
		r := s.one("polls", fmt.Sprintf(`{"id":"p","action":"update","client_version":%d,"data":{"mine":"c"}}`, base))
		require.Equal(t, models.PushApplied, r.Status)
		require.Contains(t, s.get("/sync/polls").Text, `"mine":"c"`)
	})
}

// A Ticket needs a title.
type Ticket struct {
	ID    uint
	Title string
}

// Validate is asked before the row is saved.
func (k *Ticket) Validate() error {
	if k.Title == "" {
		return errors.New("a ticket needs a title")
	}
	return nil
}

// The key that a client sends where the database makes it is part of what it asks for.
func TestPushAgainWithAKeyOfItsOwn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Ticket{}, Writable: true})
		change := `{"id":"tmp","action":"create","data":{"id":99,"title":""},"mutation_id":"m"}`
		first := s.one("tickets", change)
		require.Equal(t, "a ticket needs a title", first.Error.Message)
		require.Equal(t, first, s.one("tickets", change))
	})
}
