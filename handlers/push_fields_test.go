package handlers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

func (s server) get(path string, headers ...string) reply {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+"/api"+path, http.NoBody)
	require.NoError(s.t, err)
	return s.do(req, headers)
}

// fields posts field changes.
func (s server) fields(entity string, changes ...string) models.FieldPushResponse {
	s.t.Helper()
	r := s.send("/field-sync/"+entity, fmt.Sprintf(`{"client_id":"c1","changes":[%s]}`, strings.Join(changes, ",")))
	require.Equal(s.t, http.StatusOK, r.Code, r.Text)
	var got models.FieldPushResponse
	require.NoError(s.t, json.Unmarshal([]byte(r.Text), &got))
	return got
}

func TestPushFields(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Poll{}, FieldLog: true, Writable: true}, gormsync.Entity{Model: &Task{}, Writable: true})
		require.NoError(t, s.db.Create(&Poll{ID: "p", Mine: "a"}).Error)
		got := s.fields("polls", `{"entity_id":"p","field":"mine","value":"b","action":"update","timestamp":`+quoted(stamp(-5))+`}`,
			`{"entity_id":"p","field":"yours","value":"y","action":"update","timestamp":`+quoted(stamp(-5))+`,"mutation_id":"m"}`,
			`{"entity_id":"p","field":"votes","value":3,"action":"update","timestamp":`+quoted(stamp(-5))+`,"mutation_id":"m"}`,
			`{"entity_id":"p","field":"late","value":"","action":"delete"}`,
			`{"entity_id":"p","field":"votes","value":"x","action":"update"}`,
			`{"entity_id":"q","field":"mine","value":"x","action":"update"}`,
			`{"entity_id":"p","field":"mine","value":"x","action":"create"}`,
			`{"entity_id":"p","value":"x","action":"update"}`,
			`{"field":"mine","value":"x","action":"update"}`,
			`{"entity_id":"p","field":"mine","value":"old","action":"update","timestamp":"2001-01-01T00:00:00Z"}`)
		var lines []string
		for _, r := range got.Results {
			line := fmt.Sprint(r.EntityID, " ", r.Field, " ", r.Status)
			if r.Error != nil {
				line += fmt.Sprint(" ", r.Error.Code, " ", r.Error.Field)
			}
			lines = append(lines, line)
		}
		require.Equal(t, []string{
			"p mine applied", "p yours applied", "p votes applied", "p late applied", "p votes rejected invalid votes", "q mine rejected not_found ",
			"p mine rejected invalid action", "p  rejected invalid field", " mine rejected invalid entity_id", "p mine conflict changed ",
		}, lines)
		require.Equal(t, got.Results[1].Version, got.Results[2].Version, "one mutation, one change")
		require.Len(t, got.Applied, 4)
		require.Equal(t, []any{"polls", "p", "mine", `"b"`, models.Update, got.Results[0].Version},
			[]any{got.Applied[0].Entity, got.Applied[0].EntityID, got.Applied[0].Field, string(got.Applied[0].Value), got.Applied[0].Action, got.Applied[0].Version})
		require.Positive(t, got.Applied[0].ID)
		require.Len(t, got.Conflicts, 1)
		require.Equal(t, []any{"mine", `"b"`, `"old"`, models.LastWriteWins},
			[]any{got.Conflicts[0].Field, string(got.Conflicts[0].ServerValue), string(got.Conflicts[0].ClientValue), got.Conflicts[0].Resolution})

		latest := s.get("/field-sync/polls/p/latest")
		require.JSONEq(t, `{"mine":"b","yours":"y","both":"","votes":3,"late":""}`, latest.Text)
		require.Equal(t, []any{404, "not_found"}, []any{s.get("/field-sync/polls/q/latest").Code, s.get("/field-sync/polls/q/latest").Error})
		require.Equal(t, http.StatusNotFound, s.get("/field-sync/tasks/q/latest").Code, "no field log")
		require.Equal(t, http.StatusNotFound, s.send("/field-sync/tasks", `{"changes":[]}`).Code)
	})
}

// Equal values with a later time count: whatever the order in which two clients'
// edits arrive, the later one stands.
func TestPushFieldsConvergeWhateverTheOrder(t *testing.T) {
	early := `{"entity_id":"p","field":"mine","value":"b","action":"update","timestamp":"2026-01-01T00:00:01Z","client_version":%d}`
	middle := `{"entity_id":"p","field":"mine","value":"c","action":"update","timestamp":"2026-01-01T00:00:02Z","client_version":%d}`
	late := `{"entity_id":"p","field":"mine","value":"b","action":"update","timestamp":"2026-01-01T00:00:03Z","client_version":%d}`
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Poll{}, FieldLog: true, Writable: true})
		for i, order := range [][]string{{early, middle, late}, {early, late, middle}, {middle, late, early}, {late, middle, early}, {late, early, middle}, {middle, early, late}} {
			id := fmt.Sprint("p", i)
			base := version(t, s.one("polls", fmt.Sprintf(`{"id":%q,"action":"create","data":{"mine":"a"},"timestamp":"2026-01-01T00:00:00Z"}`, id)))
			for _, change := range order {
				s.fields("polls", strings.Replace(fmt.Sprintf(change, base), `"p"`, quoted(id), 1))
			}
			require.Contains(t, s.get("/field-sync/polls/"+id+"/latest").Text, `"mine":"b"`, "order %d", i)
		}
	})
}

func TestPushLatestIsForThoseWhoMayRead(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := openTeams(t, d)
		require.Equal(t, http.StatusOK, s.get("/field-sync/memos/ours/latest", "X-Team: red").Code)
		require.NotContains(t, s.get("/field-sync/memos/ours/latest", "X-Team: red").Text, "secret")
		none := s.get("/field-sync/memos/none/latest", "X-Team: red")
		require.Equal(t, http.StatusNotFound, none.Code)
		require.Equal(t, none, s.get("/field-sync/memos/theirs/latest", "X-Team: red"))
		require.Equal(t, none, s.get("/field-sync/memos/theirs-gone/latest", "X-Team: blue"))
	})
}

// wire is a WebSocket of a test.
type wire struct {
	t    *testing.T
	conn *websocket.Conn
}

func (s server) dial(t *testing.T, header http.Header) wire {
	t.Helper()
	conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.url, "http")+"/api/sync/ws", header)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	t.Cleanup(func() { _ = conn.Close() })
	return wire{t, conn}
}

func (w wire) send(message string) {
	w.t.Helper()
	require.NoError(w.t, w.conn.WriteMessage(websocket.TextMessage, []byte(message)))
}

// next gives the next message of a type.
func (w wire) next(kind string, into any) {
	w.t.Helper()
	require.NoError(w.t, w.conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	for {
		_, body, err := w.conn.ReadMessage()
		require.NoError(w.t, err, "waiting for %s", kind)
		var m struct{ Type string }
		require.NoError(w.t, json.Unmarshal(body, &m))
		if m.Type == kind {
			require.NoError(w.t, json.Unmarshal(body, into))
			return
		}
	}
}

type pushAck struct {
	Entity     string
	EntityID   string `json:"entity_id"`
	Version    int64
	MutationID string `json:"mutation_id"`
	Status     models.PushStatus
	ClientRef  string `json:"client_ref"`
	Data       models.JSON
	Error      *models.PushError
	Applied    int
	Conflicts  json.RawMessage
	Results    []models.FieldPushResult
}

func TestPushOverTheSocket(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Poll{}, FieldLog: true, Writable: true}, gormsync.Entity{Model: &Rule{}},
			gormsync.Entity{Model: &NumberedTask{}, Writable: true})
		w := s.dial(t, nil)
		ack := func(message string) (a pushAck) {
			w.send(message)
			w.next("push_ack", &a)
			return a
		}
		w.send(`{"type":"subscribe","entities":["polls"],"client_id":"phone"}`)
		created := ack(`{"type":"push","entity":"polls","entity_id":"p","action":"create","data":{"mine":"a"},"mutation_id":"m"}`)
		require.Equal(t, []any{"polls", "p", "m", models.PushApplied}, []any{created.Entity, created.EntityID, created.MutationID, created.Status})
		var live struct{ Change models.Change }
		w.send(`{"type":"push","entity":"polls","entity_id":"p","action":"update","data":{"mine":"b"}}`)
		for live.Change.Action != models.Update {
			w.next("change", &live)
		}
		require.Equal(t, "phone", *live.Change.ClientID, "the client that subscribed")

		again := ack(`{"type":"push","entity":"polls","entity_id":"p","action":"create","data":{"mine":"a"},"mutation_id":"m"}`)
		for again.MutationID == "" { // of the update
			w.next("push_ack", &again)
		}
		require.Equal(t, models.PushDuplicate, again.Status)
		made := ack(`{"type":"push","entity":"numbered_tasks","entity_id":"tmp","action":"create","data":{"title":"t"}}`)
		require.Equal(t, []any{models.PushApplied, "tmp", "1"}, []any{made.Status, made.ClientRef, made.EntityID})
		for message, code := range map[string]string{
			`{"type":"push","entity":"rules","entity_id":"r","action":"delete"}`:          "forbidden",
			`{"type":"push","entity":"nothing","entity_id":"r","action":"delete"}`:        "unknown_entity",
			`{"type":"push","entity":"polls","entity_id":"r","action":"melt"}`:            "invalid",
			`{"type":"push","entity":"polls","entity_id":"r","action":"update"}`:          "not_found",
			`{"type":"push","entity":"polls","entity_id":{},"action":"delete"}`:           "invalid",
			`{"type":"push","entity":"polls","entity_id":"p","action":"update","data":1}`: "invalid",
		} {
			refused := ack(message)
			require.Equal(t, models.PushRejected, refused.Status, message)
			require.Equal(t, code, refused.Error.Code, message)
		}

		fields := ack(`{"type":"push_fields","entity":"polls","entity_id":"p","fields":[
			{"field":"mine","value":"old","action":"update","timestamp":"2001-01-01T00:00:00.000Z"},
			{"field":"votes","value":1,"action":"update","timestamp":"2025-01-01T00:00:00.000Z"},
			{"field":"votes","value":2,"action":"update","timestamp":"2030-01-01T00:00:00.000Z"}, 7]}`)
		require.Equal(t, "p", fields.EntityID)
		require.Equal(t, "2", string(fields.Conflicts), "the votes of 2025 were before the row was made")
		require.Equal(t, 1, fields.Applied)
		require.Len(t, fields.Results, 4)
		for _, field := range []string{"mine", "votes"} {
			var lost models.Conflict
			w.next("conflict", &lost)
			require.Equal(t, []any{"polls", "p", field}, []any{lost.Entity, lost.EntityID, lost.Field})
		}
		refused := ack(`{"type":"push_fields","entity":"rules","entity_id":"r","fields":[{"field":"text","value":"x","action":"update"}]}`)
		require.Equal(t, []any{0, "forbidden"}, []any{refused.Applied, refused.Results[0].Error.Code})
		var wrong struct{ Code string }
		w.send(`{"type":"push","entity":7}`)
		w.next("error", &wrong)
		require.Equal(t, "bad_request", wrong.Code)
	})
}

// The original clients name neither themselves nor their changes, and send whole
// rows, one a request, again and again until it is answered well.
func TestPushOfOriginalClients(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Memo{}, FieldLog: true, Writable: true})
		post := func(change string) reply {
			return s.send("/sync/memos", `{"changes":[`+change+`]}`, "Content-Type: application/json")
		}
		for range 2 {
			r := post(`{"id":"m","action":"create","data":{"id":"m","text":"a"}}`)
			require.Equal(t, []string{"m"}, r.Applied, r.Text)
			require.Equal(t, []string{}, r.Conflicts)
		}
		var row struct{ Changes []models.Change }
		require.NoError(t, json.Unmarshal([]byte(s.get("/sync/memos").Text), &row))
		require.Len(t, row.Changes, 1)
		whole := strings.Replace(string(row.Changes[0].Data), `"text":"a"`, `"text":"b"`, 1)
		require.NoError(t, s.db.Model(&Memo{ID: "m"}).Update("team", "red").Error)
		for range 2 {
			r := post(fmt.Sprintf(`{"id":"m","action":"update","data":%s}`, whole))
			require.Equal(t, []string{"m"}, r.Applied, r.Text)
			require.Contains(t, string(r.Results[0].Data), `"text":"b"`)
			require.Contains(t, string(r.Results[0].Data), `"team":""`, "the last to arrive wins, with all of the row")
		}
		for range 2 {
			require.Equal(t, []string{"m"}, post(`{"id":"m","action":"delete","data":null}`).Applied)
		}
		require.Equal(t, []string{"m"}, post(`{"id":"m","action":"update","data":`+whole+`}`).Conflicts)
		require.Equal(t, []string{"m"}, post(`{"id":"m","action":"create","data":`+whole+`}`).Applied)
	})
}
