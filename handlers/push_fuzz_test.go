package handlers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	"pgregory.net/rapid"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

var fuzzEntities = []gormsync.Entity{
	{Model: &Thing{}, FieldLog: true, Writable: true},
	{Model: &Memo{}, Writable: true, Scope: "team"},
	{Model: &PairTask{}, FieldLog: true, Writable: true, Strategy: gormsync.KeepBoth},
	{Model: &NumberedTask{}, Writable: true},
	{Model: &TextUUIDTask{}, Writable: true},
}

var fuzzPaths = []string{"/api/sync/things", "/api/field-sync/things", "/api/sync", "/api/sync/memos", "/api/sync/pair_tasks", "/api/sync/numbered_tasks", "/api/sync/text_uuid_tasks"}

// pushBodies are bodies of pushes, good ones and bad ones.
var pushBodies = []string{
	`{"client_id":"c1","changes":[{"id":"a","action":"create","data":{"small":1,"when":"2026-01-02T03:04:05Z","raw":{"x":[1]},"tags":["a"],"nick":"n"},"mutation_id":"m1"}]}`,
	`{"client_id":"c1","changes":[{"id":"a","action":"update","data":{"big":"9007199254740993","bytes":"AA==","owner":"7b0f3b5e-6d0c-4a4c-8d4d-0f3a9f1c2b3d"},"client_version":1,"timestamp":"2026-01-02T03:04:05Z"}]}`,
	`{"changes":[{"id":"a","action":"delete","data":null}]}`,
	`{"changes":[{"entity_id":"a","field":"small","value":2,"action":"update","timestamp":"2026-01-02T03:04:05Z"},{"entity_id":"a","field":"name","action":"delete"}]}`,
	`{"atomic":true,"changes":[{"entity":"things","id":"b","action":"create"},{"entity":"memos","id":"b","action":"create","data":{"team":"red"}},{"entity":"nothing","id":"b","action":"update"}]}`,
	`{"changes":[{"id":"home,7","action":"create","data":{"title":"t","list":"home","nr":7}},{"id":"home,7","action":"update","data":{"nr":8}}]}`,
	`{"changes":[{"id":"1","action":"update","data":{"title":"t","rank":1e3,"done":"x"}},{"id":"x","action":"delete"},{"id":18446744073709551615,"action":"update","data":{"rank":1}}]}`,
	`{"changes":[{"id":"a","action":"create","data":{"name":"\u0000","text":"\ud800","ratio":1e999,"unsign":18446744073709551615,"price":"x","place_lat":-0}}]}`,
	`{"changes":[{"id":"a","action":"create","data":{"id":"A","flag":null,"small":null,"when":null,"maybe":"0000-01-01T00:00:00Z","seen":"9999-12-31T23:59:59.999999999Z"},"client_version":0}]}`,
	`{"changes":[null,1,"",[],{},{"id":null},{"id":"a","action":null,"data":{"":1,"ID":2}}]}`,
	`{"changes":null,"client_id":null,"atomic":null}`, `null`, `[]`, `{`, ``, `{"changes":[{"id":"a","action":"update","data":{"deep_city":"x","deep_lat":1e40,"updated":5,"score":"5"}}]}`,
}

// target is an application that is called without a network.
type target struct {
	echo *echo.Echo
	db   *gorm.DB
	runs int
}

func newTarget(t testing.TB, db *gorm.DB) *target {
	t.Helper()
	for _, e := range fuzzEntities {
		require.NoError(t, db.AutoMigrate(e.Model))
	}
	plugin, err := gormsync.New(gormsync.Config{
		Entities: fuzzEntities, Poll: -1, Retention: -1, MutationRetention: -1, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Authorize: func(_ echo.Context, entity string) (gormsync.Access, error) {
			return gormsync.Access{Read: true, Write: true, AllScopes: entity != "memos", Scopes: []string{"red"}, Actor: "fuzz"}, nil
		},
	})
	require.NoError(t, err)
	require.NoError(t, db.Use(plugin))
	e := echo.New()
	require.NoError(t, plugin.Mount(e.Group("/api")))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, plugin.Close(ctx))
	})
	return &target{echo: e, db: db}
}

// post posts a body. Whatever it is, the answer is JSON, no fault of the server, and
// final for each change.
func (g *target) post(t require.TestingT, path, body string) {
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	res := httptest.NewRecorder()
	g.echo.ServeHTTP(res, req)
	require.Less(t, res.Code, 500, "%s %s: %s", path, body, res.Body)
	var got struct {
		Error   string
		Results []struct {
			Status models.PushStatus
			Error  *models.PushError
		}
	}
	require.NoError(t, json.Unmarshal(res.Body.Bytes(), &got), "%s", res.Body)
	require.Equal(t, res.Code != http.StatusOK, got.Error != "", "%s", res.Body)
	for _, r := range got.Results {
		require.Contains(t, []models.PushStatus{models.PushApplied, models.PushMerged, models.PushConflict, models.PushRejected, models.PushDuplicate}, r.Status, "%s %s: %s", path, body, res.Body)
		require.Equal(t, r.Status == models.PushRejected || r.Status == models.PushConflict, r.Error != nil, "%s %s: %s", path, body, res.Body)
		if r.Error != nil {
			require.NotRegexp(t, `(?i)sql|constraint|insert |select |update .* set|gorm`, r.Error.Message)
		}
	}
	g.forget(t)
}

// forget empties the tables from time to time, so that a long run stays quick.
func (g *target) forget(t require.TestingT) {
	if g.runs++; g.runs%5000 != 0 {
		return
	}
	names := models.TablesFor("")
	for _, table := range []string{"things", "memos", "pair_tasks", "numbered_tasks", "text_uuid_tasks", names.Changes, names.Fields, names.Mutations} {
		require.NoError(t, g.db.WithContext(gormsync.Untracked(context.Background())).Exec("DELETE FROM "+table).Error)
	}
}

func FuzzPush(f *testing.F) {
	db, err := gormsync.Open("sqlite::memory:", &gorm.Config{Logger: logger.Discard})
	require.NoError(f, err)
	f.Cleanup(func() {
		pool, err := db.DB()
		require.NoError(f, err)
		require.NoError(f, pool.Close())
	})
	g := newTarget(f, db)
	for i, body := range pushBodies {
		for path := range fuzzPaths {
			if i < 2 || (i+path)%3 == 0 { // enough to begin with
				f.Add(path, body)
			}
		}
	}
	f.Fuzz(func(t *testing.T, path int, body string) {
		g.post(t, fuzzPaths[uint(path)%uint(len(fuzzPaths))], body)
	})
}

// Well-formed changes with all sorts of values find more than random bytes do, and
// on PostgreSQL other things.
func TestPushAnyValues(t *testing.T) {
	columns := map[string][]string{
		"things": {"id", "flag", "small", "big", "unsign", "ratio", "price", "when", "maybe", "name", "bytes", "raw", "text", "owner", "tags", "place_city", "place_lat", "deep_city", "nick", "score", "seen", "updated"},
		"memos":  {"team", "text", "serial", "deleted_at"}, "pair_tasks": {"title", "rank", "nr"}, "numbered_tasks": {"title", "rank", "id"}, "text_uuid_tasks": {"title", "id"},
	}
	values := rapid.OneOf(
		rapid.SampledFrom([]string{
			`null`, `true`, `0`, `-1`, `127`, `128`, `1.5`, `1e400`, `-0.0`, `9223372036854775807`, `"9223372036854775808"`, `18446744073709551615`, `""`, `"x"`, `"12.5"`, `"NaN"`, `"Infinity"`,
			`"2026-01-02T03:04:05Z"`, `"0000-01-01T00:00:00Z"`, `"9999-12-31T23:59:59.999999999Z"`, `"AA=="`, `{}`, `[]`, `{"a":{"b":[null]}}`, `["x"]`, `[1]`, `"\u0000"`, `{"k\u0000":1}`, `"\ud800"`,
			`"7B0F3B5E-6D0C-4A4C-8D4D-0F3A9F1C2B3D"`, `99999999999.99`, `"99999999999.99"`,
		}),
		rapid.Map(rapid.String(), func(s string) string { return quoted(s) }),
		rapid.Map(rapid.Float64(), func(f float64) string { return quoted(f) }),
		rapid.Map(rapid.Int64(), func(n int64) string { return quoted(n) }),
	)
	ids := rapid.SampledFrom([]string{"a", "b", "", "0", "1", "-5", "9999999999999999999999", "home,1", "home,0", ",", "%", "a,b,c", "7b0f3b5e-6d0c-4a4c-8d4d-0f3a9f1c2b3d", "7B0F3B5E-6D0C-4A4C-8D4D-0F3A9F1C2B3D"})
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		g := newTarget(t, d.Open(t))
		for _, body := range pushBodies {
			for _, path := range fuzzPaths {
				g.post(t, path, body)
			}
		}
		rapid.Check(t, func(t *rapid.T) {
			var changes []string
			for range rapid.IntRange(1, 4).Draw(t, "changes") {
				entity := rapid.SampledFrom([]string{"things", "things", "things", "memos", "pair_tasks", "numbered_tasks", "text_uuid_tasks"}).Draw(t, "entity")
				fields := []string{}
				for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(columns[entity]), 0, 3, rapid.ID).Draw(t, "fields") {
					fields = append(fields, fmt.Sprintf("%q:%s", name, values.Draw(t, name)))
				}
				change := fmt.Sprintf(`"entity":%q,"id":%s,"action":%q,"data":{%s}`, entity, quoted(ids.Draw(t, "id")),
					rapid.SampledFrom([]string{"create", "update", "update", "delete"}).Draw(t, "action"), strings.Join(fields, ","))
				if rapid.Bool().Draw(t, "with base") {
					change += fmt.Sprintf(`,"client_version":%d`, rapid.IntRange(0, 20).Draw(t, "base"))
				}
				if rapid.Bool().Draw(t, "with mutation") {
					change += fmt.Sprintf(`,"mutation_id":"m%d"`, rapid.IntRange(0, 50).Draw(t, "mutation"))
				}
				changes = append(changes, "{"+change+"}")
			}
			g.post(t, "/api/sync", fmt.Sprintf(`{"client_id":"c","atomic":%v,"changes":[%s]}`, rapid.IntRange(0, 3).Draw(t, "atomic") == 0, strings.Join(changes, ",")))
		})
	})
}
