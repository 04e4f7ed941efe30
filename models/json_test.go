package models_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rhtmx/gormsync/models"
)

func TestAppendJSONIsMarshal(t *testing.T) {
	client := "c\u2028<1>\x01\xff"
	for _, c := range []models.Change{
		{ID: 7, Version: 7, Entity: "todos", EntityID: "a\"b", Action: models.Delete, CreatedAt: time.Unix(1, 5000)},
		{ID: 1, Version: 1, Entity: "t", EntityID: "1", Action: models.Create, Data: models.JSON(`{"id":1}`), ClientID: &client, Actor: "ä", MutationID: "m"},
	} {
		want, err := json.Marshal(c)
		require.NoError(t, err)
		require.JSONEq(t, string(want), string(c.AppendJSON(nil)))
	}
	f := models.FieldChange{ID: 2, Version: 1, Entity: "t", EntityID: "1", Field: "x", Value: models.JSON(`[1]`), Action: models.Update, Timestamp: time.Unix(3, 0)}
	want, err := json.Marshal(f)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(f.AppendJSON(nil)))
}

func TestAppendString(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		var got string
		require.NoError(t, json.Unmarshal(models.AppendString(nil, s), &got))
		want, err := json.Marshal(s)
		require.NoError(t, err)
		var plain string
		require.NoError(t, json.Unmarshal(want, &plain))
		require.Equal(t, plain, got)
	})
}

func TestJSONWithout(t *testing.T) {
	got, changed, err := models.JSON(`{ "a": 1.50, "secret":{"b":[1,{"a":2}]},"ü":"<\u00e4>","z":null}`).Without([]string{"secret", "none"})
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, models.JSON(`{"a":1.50,"ü":"<\u00e4>","z":null}`), got, "to the letter")
	got, changed, err = models.JSON(`{}`).Without([]string{"secret"})
	require.NoError(t, err)
	require.False(t, changed)
	require.Equal(t, models.JSON(`{}`), got)
	for _, bad := range []string{``, `[]`, `{"a":1`, `{"a":}`, `null`} {
		_, _, err := models.JSON(bad).Without([]string{"a"})
		require.Error(t, err, bad)
	}
}
