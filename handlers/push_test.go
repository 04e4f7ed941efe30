package handlers_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// The models of the status table: the same row under each kind of key.
type (
	Task struct {
		ID string `gorm:"primaryKey"`
		TaskFields
	}
	NumberedTask struct {
		ID uint
		TaskFields
	}
	UUIDTask struct {
		ID uuid.UUID `gorm:"type:uuid;primaryKey"`
		TaskFields
	}
	TextUUIDTask struct {
		ID string `gorm:"type:uuid;primaryKey"`
		TaskFields
	}
	PairTask struct {
		List string `gorm:"primaryKey"`
		Nr   int    `gorm:"primaryKey;autoIncrement:false"`
		TaskFields
	}
)

// TaskFields are what all tasks have.
type TaskFields struct {
	Title     string `gorm:"not null"`
	Done      bool
	Rank      int
	UpdatedAt time.Time
}

// stamp is a client's time, the more minutes the earlier.
func stamp(minutesAgo int) string {
	return time.Now().Add(-time.Duration(minutesAgo) * time.Minute).UTC().Format(time.RFC3339Nano)
}

func quoted(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// values gives the title, done and rank of a result's row.
func values(t *testing.T, r models.PushResult) string {
	t.Helper()
	var row struct {
		Title string
		Done  bool
		Rank  int
	}
	if r.Data == nil { // null
		return "none"
	}
	require.NoError(t, json.Unmarshal(r.Data, &row))
	return fmt.Sprintf("%s %v %d", row.Title, row.Done, row.Rank)
}

func version(t *testing.T, r models.PushResult) int64 {
	t.Helper()
	require.NotNil(t, r.Version)
	return *r.Version
}

func TestPushStatuses(t *testing.T) {
	for _, c := range []struct {
		entity string
		model  any
		id     string
		other  string // an id that no row has
	}{
		{"tasks", &Task{}, "a%2C b", "nobody"},
		{"numbered_tasks", &NumberedTask{}, "tmp-1", "4711"},
		{"uuid_tasks", &UUIDTask{}, "7b0f3b5e-6d0c-4a4c-8d4d-0f3a9f1c2b3d", uuid.NewString()},
		{"text_uuid_tasks", &TextUUIDTask{}, "7b0f3b5e-6d0c-4a4c-8d4d-0f3a9f1c2b3d", uuid.NewString()},
		{"pair_tasks", &PairTask{}, "home%2C work,7", "home,8"},
	} {
		for _, fieldLog := range []bool{true, false} {
			t.Run(c.entity+" "+strconv.FormatBool(fieldLog), func(t *testing.T) {
				dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
					s := open(t, d, nil, gormsync.Entity{Model: c.model, FieldLog: fieldLog, Writable: true})
					pushStatuses(t, s, c.entity, c.id, c.other)
				})
			})
		}
	}
}

func pushStatuses(t *testing.T, s server, entity, id, other string) {
	t.Helper()
	create := fmt.Sprintf(`{"id":%s,"action":"create","data":{"title":"milk","rank":1},"mutation_id":"create","timestamp":%s}`, quoted(id), quoted(stamp(60)))
	created := s.one(entity, create)
	require.Equal(t, models.PushApplied, created.Status, "%+v", created.Error)
	require.Equal(t, "milk false 1", values(t, created))
	if entity == "numbered_tasks" {
		require.Equal(t, id, created.ClientRef)
		require.NotEqual(t, id, created.ID)
		id = created.ID
	} else {
		require.Equal(t, id, created.ID)
		require.Empty(t, created.ClientRef)
	}
	first := version(t, created)
	again := s.one(entity, create)
	require.Equal(t, models.PushDuplicate, again.Status)
	require.Equal(t, []any{created.ID, created.ClientRef, created.Version, created.Data}, []any{again.ID, again.ClientRef, again.Version, again.Data})

	change := func(action, data string, rest ...string) models.PushResult {
		text := fmt.Sprintf(`{"id":%s,"action":%q,"data":%s`, quoted(id), action, data)
		for _, r := range rest {
			text += "," + r
		}
		return s.one(entity, text+"}")
	}
	based := func(v int64) string { return fmt.Sprintf(`"client_version":%d`, v) }
	at := func(minutesAgo int) string { return `"timestamp":` + quoted(stamp(minutesAgo)) }

	// Based on the newest version, nothing can conflict.
	second := change("update", `{"title":"oat milk"}`, based(first), at(30))
	require.Equal(t, models.PushApplied, second.Status, "%+v", second.Error)
	require.Equal(t, "oat milk false 1", values(t, second))
	require.Greater(t, version(t, second), first)

	// Another field, on an old base and long ago: both stand.
	third := change("update", `{"rank":2}`, based(first), at(50))
	require.Equal(t, models.PushApplied, third.Status, "%+v", third.Error)
	require.Equal(t, "oat milk false 2", values(t, third))

	// The same field, on an old base: the earlier edit loses, the later one wins.
	lost := change("update", `{"title":"soy milk"}`, based(first), at(40), `"mutation_id":"lost"`)
	require.Equal(t, models.PushConflict, lost.Status)
	require.Equal(t, "changed", lost.Error.Code)
	require.Equal(t, "oat milk false 2", values(t, lost))
	require.Len(t, lost.Conflicts, 1)
	require.Equal(t, []any{"title", `"oat milk"`, `"soy milk"`, models.LastWriteWins},
		[]any{lost.Conflicts[0].Field, string(lost.Conflicts[0].ServerValue), string(lost.Conflicts[0].ClientValue), lost.Conflicts[0].Resolution})
	require.Equal(t, models.PushConflict, change("update", `{"title":"soy milk"}`, based(first), at(40), `"mutation_id":"lost"`).Status, "a conflict stays one")
	merged := change("update", `{"title":"soy milk","done":true}`, based(first), at(40))
	require.Equal(t, models.PushMerged, merged.Status, "%+v", merged.Error)
	require.Equal(t, "oat milk true 2", values(t, merged))
	won := change("update", `{"title":"rice milk"}`, based(first), at(20))
	require.Equal(t, models.PushApplied, won.Status)
	require.Equal(t, "rice milk true 2", values(t, won))

	// What cannot be done.
	missing := s.one(entity, fmt.Sprintf(`{"id":%s,"action":"update","data":{"title":"x"}}`, quoted(other)))
	require.Equal(t, []any{models.PushRejected, "not_found", "none"}, []any{missing.Status, missing.Error.Code, values(t, missing)})
	unknown := change("update", `{"colour":"red"}`)
	require.Equal(t, []any{models.PushRejected, "invalid", "colour"}, []any{unknown.Status, unknown.Error.Code, unknown.Error.Field})
	require.Equal(t, "rice milk true 2", values(t, unknown))
	wrong := change("update", `{"rank":"first"}`, `"mutation_id":"wrong"`)
	require.Equal(t, []any{models.PushRejected, "invalid", "rank"}, []any{wrong.Status, wrong.Error.Code, wrong.Error.Field})
	require.Equal(t, wrong, change("update", `{"rank":"first"}`, `"mutation_id":"wrong"`), "a rejection stays one")
	reused := change("update", `{"rank":9}`, `"mutation_id":"wrong"`)
	require.Equal(t, []any{models.PushRejected, "mutation_reused"}, []any{reused.Status, reused.Error.Code})

	// Deletes.
	early := change("delete", "null", based(first), at(45))
	require.Equal(t, models.PushConflict, early.Status)
	require.Equal(t, "rice milk true 2", values(t, early))
	gone := change("delete", "null", at(10), `"mutation_id":"gone"`)
	require.Equal(t, models.PushApplied, gone.Status, "%+v", gone.Error)
	require.Equal(t, "none", values(t, gone))
	require.Equal(t, models.PushDuplicate, change("delete", "null", at(10), `"mutation_id":"gone"`).Status)
	require.Equal(t, models.PushApplied, change("delete", "null").Status, "deleting what is gone is no error")
	require.Equal(t, models.PushApplied, s.one(entity, fmt.Sprintf(`{"id":%s,"action":"delete","data":null}`, quoted(other))).Status)
	late := change("update", `{"title":"tea"}`, based(first), at(15))
	require.Equal(t, []any{models.PushConflict, "deleted"}, []any{late.Status, late.Error.Code})
	require.Equal(t, models.PushConflict, change("update", `{"title":"tea"}`).Status, "who does not say when cannot undo a delete")
	back := change("update", `{"title":"tea"}`, based(first), at(5))
	require.Equal(t, models.PushApplied, back.Status, "%+v", back.Error)
	if entity != "numbered_tasks" {
		require.Equal(t, "tea true 2", values(t, back))
		require.Equal(t, id, back.ID)
	}
}
