package handlers_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// beside keeps both texts.
func beside(c gormsync.Conflict) (any, error) {
	var theirs, mine string
	if err := json.Unmarshal(c.ServerValue, &theirs); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(c.ClientValue, &mine); err != nil {
		return nil, err
	}
	return theirs + "+" + mine, nil
}

// A client's queue holds several edits of a field on one base. None of them knew what
// somebody else wrote meanwhile, however the first of them was settled.
func TestPushOfAQueueAgainstResolve(t *testing.T) {
	for _, fieldLog := range []bool{true, false} {
		t.Run(fmt.Sprint(fieldLog), func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				s := open(t, d, nil, gormsync.Entity{Model: &Poll{}, Writable: true, FieldLog: fieldLog,
					Resolve: map[string]func(gormsync.Conflict) (any, error){"mine": beside, "yours": beside}})
				base := version(t, s.one("polls", `{"id":"p","action":"create","data":{"mine":"0","yours":"0"}}`))
				edit := func(field, value, id string) string {
					return fmt.Sprintf(`{"id":"p","action":"update","client_version":%d,"data":{%q:%q},"mutation_id":%q}`, base, field, value, id)
				}
				s.client = "bo"
				require.Equal(t, models.PushApplied, s.one("polls", edit("mine", "bo", "1")).Status)

				s.client = "c1"
				queue := []string{edit("mine", "x", "1"), edit("yours", "x", "2"), edit("mine", "y", "3"), edit("yours", "y", "4")}
				first := s.push("polls", queue...)
				for i, status := range []models.PushStatus{models.PushMerged, models.PushApplied, models.PushMerged, models.PushApplied} {
					require.Equal(t, status, first[i].Status, "%d %+v", i, first[i].Error)
				}
				require.Contains(t, string(first[0].Data), `"mine":"bo+x"`)
				require.Contains(t, string(first[3].Data), `"mine":"bo+y"`)
				require.Contains(t, string(first[3].Data), `"yours":"y"`, "nobody else touched it")
				require.Equal(t, []any{`"bo"`, `"y"`, models.Custom}, []any{string(first[2].Conflicts[0].ServerValue), string(first[2].Conflicts[0].ClientValue), first[2].Conflicts[0].Resolution})
				for i, r := range s.push("polls", queue...) {
					require.Equal(t, models.PushDuplicate, r.Status)
					require.Equal(t, first[i].Conflicts, r.Conflicts, "%d", i)
				}
				if fieldLog {
					answer := s.fields("polls", fmt.Sprintf(`{"entity_id":"p","field":"mine","value":"z","action":"update","client_version":%d,"mutation_id":"5"}`, base))
					require.Len(t, answer.Conflicts, 1)
					require.Contains(t, s.get("/sync/polls").Text, `"mine":"bo+z"`)
				}

				// What the client made of it, and knew, it may change.
				base = version(t, s.one("polls", `{"id":"p","action":"update","data":{"late":"l"}}`))
				last := s.one("polls", edit("mine", "mine alone", "6"))
				require.Equal(t, models.PushApplied, last.Status)
				require.Contains(t, string(last.Data), `"mine":"mine alone"`)
			})
		})
	}
}

// A file that somebody else has locked costs a request one wait, and no more for all
// that is behind it.
func TestPushWaitsOnceForALockedFile(t *testing.T) {
	d := dbtest.SQLite(t)
	s := impatient(t, d)
	require.Equal(t, models.PushApplied, s.one("tasks", `{"id":"a","action":"create","data":{"title":"t"}}`).Status)
	other := d.Open(t).Begin()
	require.NoError(t, other.Exec("UPDATE tasks SET rank = 1").Error)
	var queue []string
	for i := range 50 {
		queue = append(queue, fmt.Sprintf(`{"id":"a","action":"update","data":{"rank":%d},"mutation_id":"m%d"}`, i, i))
	}
	begun := time.Now()
	for i, r := range s.push("tasks", queue...) {
		require.Equal(t, []any{models.PushRetry, "busy", fmt.Sprintf("m%d", i)}, []any{r.Status, r.Error.Code, r.MutationID})
	}
	require.Less(t, time.Since(begun), 20*time.Second, "one wait is 1.2 s, fifty are a minute")
	require.NoError(t, other.Rollback().Error)
	for _, r := range s.push("tasks", queue...) {
		require.Equal(t, models.PushApplied, r.Status)
	}
}

// A row that somebody else has locked holds up its own changes only.
func TestPushPassesALockedRow(t *testing.T) {
	d := dbtest.Postgres(t)
	s := impatient(t, d)
	for _, id := range []string{"a", "b"} {
		require.Equal(t, models.PushApplied, s.one("tasks", fmt.Sprintf(`{"id":%q,"action":"create","data":{"title":"t"}}`, id)).Status)
	}
	other := d.Open(t).Begin()
	require.NoError(t, other.Exec("UPDATE tasks SET rank = 1 WHERE id = 'a'").Error)
	got := s.push("tasks", `{"id":"a","action":"update","data":{"rank":2},"mutation_id":"1"}`, `{"id":"b","action":"update","data":{"rank":2},"mutation_id":"2"}`)
	require.Equal(t, []models.PushStatus{models.PushRetry, models.PushApplied}, []models.PushStatus{got[0].Status, got[1].Status})
	require.NoError(t, other.Rollback().Error)
}
