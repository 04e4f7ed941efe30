package trackers_test

import (
	"database/sql"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

type scopeName string

// The rows of these tables have scopes of one type each.
type (
	scopeInt struct {
		ID    int64
		Scope int64
	}
	scopeIntPointer struct {
		ID    int64
		Scope *int64
	}
	scopeUintPointer struct {
		ID    int64
		Scope *uint
	}
	scopeFloatPointer struct {
		ID    int64
		Scope *float64
	}
	scopeBoolPointer struct {
		ID    int64
		Scope *bool
	}
	scopeNamePointer struct {
		ID    int64
		Scope *scopeName
	}
	scopeNullInt struct {
		ID    int64
		Scope sql.NullInt64
	}
	scopeTime struct {
		ID    int64
		Scope *time.Time
	}
	scopeUUIDText struct { // a UUID to PostgreSQL only
		ID    int64
		Scope string `gorm:"type:uuid;default:null"`
	}
	scopeUUID struct {
		ID    int64
		Scope *uuid.UUID
	}
)

// TestScopesOfEveryType: who has a scope sees its rows in the snapshot and in the
// log, whatever the column's type, and in whatever form the scope is given.
func TestScopesOfEveryType(t *testing.T) {
	moment := time.Date(2026, 1, 2, 3, 4, 5, 100_000_000, time.UTC)
	id := uuid.MustParse("6f1e0c5a-1b2c-4d3e-8f90-a1b2c3d4e5f6")
	cases := []struct {
		row   any // one that is to be seen
		forms []string
	}{
		{&scopeInt{Scope: 7}, []string{"7"}},
		{&scopeIntPointer{Scope: ptr(int64(7))}, []string{"7"}},
		{&scopeUintPointer{Scope: ptr(uint(7))}, []string{"7"}},
		{&scopeFloatPointer{Scope: ptr(1.5)}, []string{"1.5", "1.50"}},
		{&scopeBoolPointer{Scope: ptr(true)}, []string{"true", "1"}},
		{&scopeNamePointer{Scope: ptr(scopeName("a"))}, []string{"a"}},
		{&scopeNullInt{Scope: sql.NullInt64{Int64: 7, Valid: true}}, []string{"7"}},
		{&scopeTime{Scope: &moment}, []string{"2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.100000Z", "2026-01-02T04:04:05.1+01:00"}},
		{&scopeUUIDText{Scope: id.String()}, []string{id.String(), "6F1E0C5A-1B2C-4D3E-8F90-A1B2C3D4E5F6"}},
		{&scopeUUID{Scope: &id}, []string{id.String(), "6F1E0C5A-1B2C-4D3E-8F90-A1B2C3D4E5F6"}},
	}
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		var entities []trackers.Entity
		for _, c := range cases {
			entities = append(entities, trackers.Entity{Model: c.row, Scope: "scope"})
		}
		f := setup(t, d, entities)
		for _, c := range cases {
			stmt := &gorm.Statement{DB: f.db}
			require.NoError(t, stmt.Parse(c.row))
			start, err := f.log.Position(t.Context())
			require.NoError(t, err)
			row, none := reflect.New(reflect.TypeOf(c.row).Elem()), reflect.New(reflect.TypeOf(c.row).Elem())
			row.Elem().Set(reflect.ValueOf(c.row).Elem())
			require.NoError(t, f.db.Create(row.Interface()).Error)
			require.NoError(t, f.db.Create(none.Interface()).Error) // of no scope, or of the zero one
			forms := c.forms
			if _, text := c.row.(*scopeUUIDText); text && d.Dialect == "sqlite" {
				forms = forms[:1]
			}
			for _, form := range forms {
				scopes, err := f.log.Canonical(t.Context(), stmt.Table, []string{form, "nonsense \x00"})
				require.NoError(t, err)
				filter := trackers.Filter{Entity: stmt.Table, Scopes: scopes}
				snapshot, err := f.log.Changes().Snapshot(t.Context(), filter, models.Cursor{}, 0)
				require.NoError(t, err)
				require.Len(t, snapshot.Entries, 1, "%s: the snapshot of %q", stmt.Table, form)
				page, err := f.log.Changes().Read(t.Context(), []trackers.Filter{filter}, start, 0)
				require.NoError(t, err)
				require.Len(t, page.Entries, 1, "%s: the log of %q", stmt.Table, form)
			}
		}
	})
}
