package handlers

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

func versions(v int64) *int64 { return &v }

func TestPushMessagesAreGolden(t *testing.T) {
	client, changed := "c1", &models.PushError{Code: "changed", Message: "Somebody else changed the same fields."}
	done := models.Conflict{
		Entity: "todos", EntityID: "5", Field: "done", Resolution: models.LastWriteWins,
		ServerValue: models.JSON("true"), ServerTimestamp: clock("2026-01-02T03:04:06Z"),
		ClientValue: models.JSON("false"), ClientTimestamp: clock("2026-01-02T03:04:05Z"),
	}
	notes := done
	notes.Field, notes.Resolution, notes.ServerValue, notes.ClientValue = "notes", models.KeepBoth, models.JSON(`"two"`), nil
	fields := []models.FieldPushResult{
		{EntityID: "5", Field: "title", Status: models.PushApplied, Version: 20},
		{EntityID: "5", Field: "notes", Status: models.PushConflict, Version: 20, Error: changed},
	}
	named := []models.FieldPushResult{fields[0], fields[1]}
	named[0].MutationID = "m1"
	updated := models.PushResult{ID: "5", MutationID: "m1", Status: models.PushApplied, Version: versions(20), Data: models.JSON(`{"id":5,"title":"Oat milk","done":true}`)}
	merged := updated
	merged.Status, merged.Conflicts = models.PushMerged, []models.Conflict{done}
	for name, message := range map[string]any{
		"pushed": models.PushResponse{
			Cursor: at(20).String(), Version: at(20).Version(), Applied: []string{"5", "7"}, Conflicts: []string{"6"},
			Results: []models.PushResult{
				merged,
				{ID: "7", ClientRef: "tmp-1", MutationID: "m2", Status: models.PushDuplicate, Version: versions(19), Data: models.JSON(`{"id":7,"title":"Bread","done":false}`)},
				{ID: "6", Status: models.PushRejected, Version: versions(0), Data: models.JSON("null"), Error: &models.PushError{Code: "not_found", Message: "There is no such row, or it is not yours."}},
			},
		},
		"field-pushed": models.FieldPushResponse{
			Cursor: at(20).String(), Conflicts: []models.Conflict{notes}, Results: named,
			Applied: []models.FieldChange{{
				ID: 20 << models.FieldBits, Entity: "todos", EntityID: "5", Field: "title", Value: models.JSON(`"Oat milk"`),
				Action: models.Update, Version: 20, ClientID: &client, Actor: "alice", Timestamp: clock("2026-01-02T03:04:05Z"),
			}},
		},
		"push-ack":        ackOf("todos", &updated),
		"push-fields-ack": fieldsAck{Type: "push_ack", Entity: "todos", EntityID: "5", Applied: 1, Conflicts: 1, Results: fields},
		"conflict":        conflictFrame{"conflict", notes},
	} {
		text, err := json.Marshal(message)
		require.NoError(t, err)
		require.JSONEq(t, string(golden(t, name)), string(text), name)
	}
}

func TestGoldenPushesAreUnderstood(t *testing.T) {
	var p push
	require.NoError(t, json.Unmarshal(golden(t, "push"), &p))
	require.Equal(t, "c1", p.ClientID)
	require.Equal(t, trackers.Mutation{
		Entity: "todos", ID: "5", Action: models.Update, Data: map[string]models.JSON{"title": models.JSON(`"Oat milk"`)},
		Base: versions(17), MutationID: "m1", At: clock("2026-01-02T03:04:05Z"),
	}, parseMutation(p.Changes[0], "todos", writer{}))
	require.Equal(t, trackers.Mutation{Entity: "todos", ID: "6", Action: models.Delete, Base: versions(18)}, parseMutation(p.Changes[2], "todos", writer{}))

	require.NoError(t, json.Unmarshal(golden(t, "push-several"), &p))
	require.True(t, p.Atomic)
	require.Len(t, p.Changes, 2)

	require.NoError(t, json.Unmarshal(golden(t, "field-push"), &p))
	fields := fieldPush{}
	for _, raw := range p.Changes {
		fields.add(raw, "todos", writer{})
	}
	require.Equal(t, []int{0, 1}, fields.of)
	require.Equal(t, map[string]models.JSON{"notes": nil}, fields.mutations[1].Data)
	require.Nil(t, fields.mutations[0].Refused)
	require.Nil(t, fields.mutations[1].Refused)

	m, err := parseInbound(golden(t, "push-message"))
	require.NoError(t, err)
	require.Equal(t, []string{"push", "todos", `"5"`, `"m1"`}, []string{m.Type, m.Entity, string(m.EntityID), string(m.MutationID)})
	m, err = parseInbound(golden(t, "push-fields-message"))
	require.NoError(t, err)
	require.Len(t, m.Fields, 2)
}
