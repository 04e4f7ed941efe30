package trackers_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// attach puts a log on an open database whose tables are there.
func attach(t *testing.T, d *dbtest.DB, db *gorm.DB, cfg trackers.Config) fixture {
	t.Helper()
	require.NoError(t, migrate.Up(t.Context(), db.Session(&gorm.Session{NewDB: true, Logger: logger.Discard}), cfg.Prefix))
	f := fixture{db: db, rings: &atomic.Int64{}, plain: d.Open(t), seen: &atomic.Int64{}, free: &atomic.Bool{}}
	cfg.Ring = func() { f.rings.Add(1) }
	var err error
	f.log, err = trackers.NewLog(t.Context(), db, cfg)
	require.NoError(t, err)
	require.NoError(t, f.log.Capture(db))
	d.Check(func(t testing.TB) {
		f.strict(t)
		if !f.free.Load() {
			dbtest.Replay(t, f.log)
		}
	})
	return f
}

// unchecked is for tests that change rows past the log.
func (f fixture) unchecked() { f.free.Store(true) }

func (f fixture) changeRows(t testing.TB) []models.Change {
	t.Helper()
	var rows []models.Change
	require.NoError(t, f.plain.Order("id").Find(&rows).Error)
	return rows
}

// fieldRows gives the field log by version, each version's rows by name.
func (f fixture) fieldRows(t testing.TB) map[int64][]models.FieldChange {
	t.Helper()
	var rows []models.FieldChange
	require.NoError(t, f.plain.Order("field").Find(&rows).Error)
	by := map[int64][]models.FieldChange{}
	for _, r := range rows {
		by[r.Version] = append(by[r.Version], r)
	}
	return by
}

// take gives what was logged since the last call, one line a change:
//
//	todos update 1 {"done":true,"id":1} | done -rank
//
// Behind the bar are the rows of the field log, with a minus for a delete. The
// application's timestamps are left out of the data. The rows of a scope move
// are called leave and enter.
func (f fixture) take(t testing.TB) []string {
	t.Helper()
	fields := f.fieldRows(t)
	lines := []string{}
	for _, c := range f.changeRows(t) {
		if c.ID <= f.seen.Load() {
			continue
		}
		f.seen.Store(c.ID)
		lines = append(lines, line(t, c, fields[c.ID]))
	}
	return lines
}

func line(t testing.TB, c models.Change, fields []models.FieldChange) string {
	t.Helper()
	data := "null"
	if c.Data != nil {
		row := object(t, c.Data)
		delete(row, "created_at")
		delete(row, "updated_at")
		b, err := json.Marshal(row)
		require.NoError(t, err)
		data = string(b)
	}
	action := string(c.Action)
	if c.Move != models.MoveNone {
		action = string(c.Move)
	}
	words := []string{c.Entity, action, c.EntityID, data}
	if len(fields) > 0 {
		words = append(words, "|")
	}
	for _, r := range fields {
		if r.Action == models.Delete {
			words = append(words, "-"+r.Field)
		} else {
			words = append(words, r.Field)
		}
	}
	return strings.Join(words, " ")
}

// object decodes a row; numbers stay texts, so that none loses digits.
func object(t testing.TB, data models.JSON) map[string]any {
	t.Helper()
	row, ok := scalar(t, data).(map[string]any)
	require.True(t, ok, "%s", data)
	return row
}

func scalar(t testing.TB, data models.JSON) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v), "%s", data)
	return v
}

// strict checks what holds for every log: each change fits the row as the log
// had it before, and the field log says the same as the change log.
func (f fixture) strict(t testing.TB) {
	t.Helper()
	if !f.plain.Migrator().HasTable(&models.Change{}) || !f.plain.Migrator().HasTable(&models.FieldChange{}) {
		return // a test of failures dropped them
	}
	fields := f.fieldRows(t)
	state := map[string]map[string]any{}
	first := map[int64]int64{}
	for _, c := range f.changeRows(t) {
		at := fmt.Sprintf("change %d: %s", c.ID, line(t, c, fields[c.ID]))
		entity := f.log.Entity(c.Entity)
		require.NotNil(t, entity, at)
		require.Equal(t, c.ID, c.Version, at)
		require.False(t, c.EditedAt.After(c.CreatedAt), at)
		require.Positive(t, c.Tx, at)
		if _, ok := first[c.Tx]; !ok {
			first[c.Tx] = c.ID
		}
		if f.log.Dialect() == "sqlite" {
			require.Equal(t, first[c.Tx], c.Tx, "%s: tx is the id of the transaction's first row", at)
		}
		key := c.Entity + " " + c.EntityID
		before, known := state[key]
		after := map[string]any(nil)
		if c.Data != nil {
			after = object(t, c.Data)
		}
		require.Equal(t, c.Action == models.Delete, after == nil, at)
		known = known && !f.free.Load()
		if known {
			f.strictAction(t, at, c, before, after)
		}
		f.strictFields(t, at, entity, c, fields[c.ID])
		if entity.FieldLog && (known || c.Action == models.Create) && (before != nil || after != nil) {
			require.Equal(t, wantFields(t, entity, before, after), valuesOf(t, fields[c.ID]), at)
		}
		delete(fields, c.ID)
		state[key] = after
	}
	require.Empty(t, fields, "field rows without their change")
}

// strictAction: a row that is there is not created, one that went is not
// updated. A row that is marked as deleted may be deleted once more.
func (f fixture) strictAction(t testing.TB, at string, c models.Change, before, after map[string]any) {
	t.Helper()
	switch {
	case c.Action == models.Create:
		require.Nil(t, before, at)
	case c.Move == models.MoveEnter: // the leave took the row away
	case c.Action == models.Update:
		require.NotNil(t, before, at)
		require.NotEqual(t, before, after, "%s: nothing changed", at)
	case !softDeletes(f.log.Entity(c.Entity)):
		require.NotNil(t, before, at)
	}
}

func softDeletes(e *trackers.Tracked) bool {
	for _, field := range e.Schema.Fields {
		if strings.HasSuffix(field.FieldType.Name(), "DeletedAt") {
			return true
		}
	}
	return false
}

// strictFields: the rows of the field log belong to the change.
func (f fixture) strictFields(t testing.TB, at string, entity *trackers.Tracked, c models.Change, rows []models.FieldChange) {
	t.Helper()
	if !entity.FieldLog {
		require.Empty(t, rows, at)
	}
	for i, r := range rows {
		require.False(t, i > 0 && r.Field == rows[i-1].Field, at)
		require.Equal(t, r.Value == nil, r.Action == models.Delete, at)
		require.NotEqual(t, models.Create, r.Action, at)
		require.Equal(t, []any{c.Entity, c.EntityID, c.ClientID, c.Actor, c.Tx, c.Scope, c.EditedAt},
			[]any{r.Entity, r.EntityID, r.ClientID, r.Actor, r.Tx, r.Scope, r.Timestamp}, at)
	}
}

// valuesOf gives the values by field; empty for a delete.
func valuesOf(t testing.TB, rows []models.FieldChange) map[string]string {
	t.Helper()
	values := map[string]string{}
	for _, r := range rows {
		values[r.Field] = ""
		if r.Value != nil {
			values[r.Field] = text(t, scalar(t, r.Value))
		}
	}
	return values
}

// wantFields gives the fields that differ, with the new value; empty for NULL.
func wantFields(t testing.TB, entity *trackers.Tracked, before, after map[string]any) map[string]string {
	t.Helper()
	want := map[string]string{}
	for _, row := range []map[string]any{before, after} {
		for name := range row {
			was, is := text(t, before[name]), text(t, after[name])
			if was != is && !entity.Schema.FieldsByDBName[name].PrimaryKey {
				want[name] = is
			}
		}
	}
	return want
}

func text(t testing.TB, v any) string {
	t.Helper()
	if v == nil {
		return ""
	}
	b := &strings.Builder{}
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	require.NoError(t, e.Encode(v))
	return strings.TrimSpace(b.String())
}
