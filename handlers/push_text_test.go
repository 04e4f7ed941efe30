package handlers_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// What no database can hold is refused for good, wherever it stands, and spoils
// nothing of what comes with it.
func TestPushOfTextsThatNoDatabaseHolds(t *testing.T) {
	const nul = `\u0000`
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Task{}, Writable: true}, gormsync.Entity{Model: &PairTask{}, Writable: true}, gormsync.Entity{Model: &NumberedTask{}, Writable: true, FieldLog: true})
		w := s.dial(t, http.Header{})
		n := 0
		for _, entity := range []string{"tasks", "pair_tasks", "numbered_tasks"} {
			for _, id := range []string{`"a` + nul + `,1"`, `"` + nul + `"`, `"7` + nul + `"`} {
				for _, action := range []string{"create", "update", "delete", "melt"} {
					n++
					change := fmt.Sprintf(`{"entity":%q,"id":%s,"action":%q,"data":{"title":"t"},"mutation_id":"m%d"}`, entity, id, action, n)
					r := s.one(entity, change)
					require.Equal(t, models.PushRejected, r.Status, change)
					if action != "melt" {
						require.Equal(t, &models.PushError{Code: "invalid", Field: "id", Message: "id cannot have the character U+0000."}, r.Error, change)
					}
					require.Equal(t, r, s.one(entity, change))

					change = strings.Replace(change, `"mutation_id":"m`, `"mutation_id":"n`, 1)
					all := s.send("/sync", `{"client_id":"c1","atomic":true,"changes":[`+change+`,{"entity":"tasks","id":"b","action":"create","mutation_id":"b`+fmt.Sprint(n)+`"}]}`)
					require.Equal(t, []string{entity + " invalid", "tasks atomic"}, codes(all))

					var a pushAck
					w.send(fmt.Sprintf(`{"type":"push","entity":%q,"entity_id":%s,"action":%q,"mutation_id":"w%d"}`, entity, id, action, n))
					w.next("push_ack", &a)
					require.Equal(t, models.PushRejected, a.Status)
				}
			}
		}
		require.Equal(t, models.PushRejected, s.one("pair_tasks", `{"id":"a%00,1","action":"create","data":{"title":"t"},"mutation_id":"percent"}`).Status)
		fields := s.fields("numbered_tasks", `{"entity_id":"1`+nul+`","field":"title","value":"t","action":"update","mutation_id":"f"}`)
		require.Equal(t, []any{models.PushRejected, "entity_id"}, []any{fields.Results[0].Status, fields.Results[0].Error.Field})
		atomic := `{"client_id":"c1","atomic":true,"changes":[{"entity":"a` + nul + `","id":"1","action":"delete","mutation_id":"e1"},{"entity":"tasks","id":"b","action":"create","data":{"a` + nul + `":1},"mutation_id":"e2"}]}`
		all := s.send("/sync", atomic)
		require.Equal(t, []string{"a\x00 unknown_entity", "tasks atomic"}, codes(all))
		require.Equal(t, all.Results, s.send("/sync", atomic).Results)
		require.Equal(t, models.PushRejected, s.one("tasks", `{"id":"b","action":"create","data":{"a`+nul+`":1},"mutation_id":"field"}`).Status)
		require.Zero(t, count(t, s.db, &Task{}))
		written := s.one("tasks", `{"id":"b","action":"create","data":{"title":"\\u0000"}}`)
		require.Equal(t, models.PushApplied, written.Status, "six characters that any database holds")
		require.Contains(t, string(written.Data), `"title":"\\u0000"`)
	})
}
