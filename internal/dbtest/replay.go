package dbtest

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// Replay checks what must hold after every test: both logs, folded from their
// beginning, give the rows of the tracked tables, and versions grow.
func Replay(t testing.TB, log *trackers.Log) {
	t.Helper()
	for name, entity := range log.Entities() {
		if !log.HasTable(name) {
			continue
		}
		rows := tableRows(t, log, name)
		require.Equal(t, rows, foldChanges(t, log, name), "the change log of %s gives other rows than the table", name)
		if entity.FieldLog {
			for _, row := range rows {
				dropKeys(entity, row)
			}
			require.Equal(t, rows, foldFields(t, log, name), "the field log of %s gives other rows than the table", name)
		}
	}
}

type row = map[string]any

func tableRows(t testing.TB, log *trackers.Log, entity string) map[string]row {
	t.Helper()
	rows := map[string]row{}
	cursor := models.Cursor{}
	for {
		page, err := log.Changes().Snapshot(context.Background(), trackers.Filter{Entity: entity, All: true}, cursor, 0)
		require.NoError(t, err)
		for _, e := range page.Entries {
			rows[e.Row.EntityID] = withoutNull(t, e.Row.Data)
		}
		if cursor = page.Cursor; !page.More {
			return rows
		}
	}
}

func foldChanges(t testing.TB, log *trackers.Log, entity string) map[string]row {
	t.Helper()
	rows, newest := map[string]row{}, map[string]int64{}
	cursor := models.Cursor{}
	for {
		page, err := log.Changes().Since(context.Background(), entity, cursor, 0)
		require.NoError(t, err)
		for _, e := range page.Entries {
			require.Greater(t, e.Version, newest[e.Row.EntityID], "the versions of %s %s do not grow", entity, e.Row.EntityID)
			newest[e.Row.EntityID] = e.Version
			require.True(t, e.Row.Action.Valid())
			if e.Row.Action == models.Delete {
				require.Nil(t, e.Row.Data)
				delete(rows, e.Row.EntityID)
				continue
			}
			rows[e.Row.EntityID] = withoutNull(t, e.Row.Data)
		}
		if cursor = page.Cursor; !page.More {
			return rows
		}
	}
}

// foldFields builds rows of the field log. A row without fields is in the field
// log only as its absence, so rows come from the change log.
func foldFields(t testing.TB, log *trackers.Log, entity string) map[string]row {
	t.Helper()
	rows := map[string]row{}
	for id := range foldChanges(t, log, entity) {
		rows[id] = row{}
	}
	cursor := models.Cursor{}
	for {
		page, err := log.Fields().Since(context.Background(), entity, cursor, 0)
		require.NoError(t, err)
		for _, e := range page.Entries {
			r := rows[e.Row.EntityID]
			switch {
			case r == nil: // a row that is gone
			case e.Row.Action == models.Delete:
				delete(r, e.Row.Field)
			default:
				r[e.Row.Field] = decode(t, e.Row.Value)
			}
		}
		if cursor = page.Cursor; !page.More {
			return rows
		}
	}
}

func withoutNull(t testing.TB, data models.JSON) row {
	t.Helper()
	r, ok := decode(t, data).(map[string]any)
	require.True(t, ok, "the data %s is no object", data)
	for k, v := range r {
		if v == nil {
			delete(r, k)
		}
	}
	return r
}

func decode(t testing.TB, data models.JSON) any {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(data, &v), "%s", data)
	return v
}

func dropKeys(entity *trackers.Tracked, r row) {
	for _, f := range entity.Schema.PrimaryFields {
		delete(r, f.DBName)
	}
}
