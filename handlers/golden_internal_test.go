package handlers

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/models"
)

// golden reads a message of the contract; the client's tests read the same files.
func golden(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "wire", name+".json"))
	require.NoError(t, err)
	return b
}

func at(n uint64) models.Cursor {
	return models.Cursor{Epoch: 0x2a83c0, From: models.TxSet{Xmax: n}}
}

func clock(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

// framed is the frame of some changes.
func framed(f form, more bool, cursor models.Cursor, changes ...models.Change) []byte {
	var entries []*entry
	for i := range changes {
		e := newChange(&changes[i])
		e.version, e.cursor = changes[i].ID, cursor
		entries = append(entries, e)
	}
	return f.encode(entries, more, func(c models.Cursor) models.Cursor { return c }).bytes
}

func TestMessagesAreGolden(t *testing.T) {
	client := "c1"
	update := models.Change{
		ID: 17, Version: 17, Entity: "todos", EntityID: "5", Action: models.Update, ClientID: &client, Actor: "alice", MutationID: "m1",
		Data: models.JSON(`{"id":"5","title":"Buy milk","done":true,"notes":null}`), CreatedAt: clock("2026-01-02T03:04:05.000006Z"),
	}
	create := models.Change{
		ID: 18, Version: 18, Entity: "todos", EntityID: "6", Action: models.Create,
		Data: models.JSON(`{"id":"6","title":"Water the plants","done":false,"notes":""}`), CreatedAt: clock("2026-01-02T03:04:06Z"),
	}
	gone := models.Change{ID: 19, Version: 19, Entity: "lists", EntityID: models.EncodeID("1", "home"), Action: models.Delete, CreatedAt: create.CreatedAt}
	half := models.Change{
		ID: 20, Version: 20, Entity: "todos", EntityID: "7", Action: models.Create,
		Data: models.JSON(`{"id":"7","title":"The first half of a long transaction","done":false,"notes":""}`), CreatedAt: clock("2026-01-02T03:04:07Z"),
	}
	leave := models.Change{ID: 21, Version: 21, Entity: "todos", EntityID: "5", Action: models.Delete, Move: models.MoveLeave}
	both := []string{"todos", "lists"}
	single, batch := form{noun: "change"}, form{noun: "change", batch: true}
	for name, frame := range map[string][]byte{
		"change":       framed(single, false, at(18), update),
		"changes":      framed(batch, false, at(20), create, gone),
		"changes-more": framed(batch, true, at(20), half),
		"leave":        framed(batch, false, at(22), leave),
		"error":        errorFrame(unknownEntity("lists")),
		"heartbeat":    heartbeatFrame(at(21).String()),
		"pong":         pong,
		"reset":        resetFrame(both, "cursor_expired"),
		"subscribed":   subscribedFrame(both, at(17)),
		"synced":       syncedFrame("todos", at(17)),
	} {
		require.JSONEq(t, string(golden(t, name)), string(frame), name)
	}
}

func TestGoldenMessagesAreUnderstood(t *testing.T) {
	m, err := parseInbound(golden(t, "ping"))
	require.NoError(t, err)
	require.Equal(t, "ping", m.Type)
	m, err = parseInbound(golden(t, "subscribe"))
	require.NoError(t, err)
	require.Equal(t, inbound{Type: "subscribe", Entities: []string{"todos", "lists"}, Batch: true, Since: since{each: map[string]string{
		"todos": at(4).String(), "lists": at(17).String(),
	}}}, m)
	for _, text := range m.Since.each {
		_, _, err := models.ParseCursor(text)
		require.NoError(t, err)
	}
}

func TestGoldenSnapshot(t *testing.T) {
	var got struct {
		Cursor, Version string
		Changes         []models.Change
	}
	require.NoError(t, json.Unmarshal(golden(t, "snapshot"), &got))
	require.Equal(t, at(4).String(), got.Cursor)
	require.Equal(t, at(4).Version(), got.Version)
	var raw struct{ Changes []json.RawMessage }
	require.NoError(t, json.Unmarshal(golden(t, "snapshot"), &raw))
	for i := range got.Changes {
		require.JSONEq(t, string(raw.Changes[i]), string(got.Changes[i].AppendJSON(nil)))
	}
}
