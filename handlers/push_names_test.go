package handlers_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// A Badge has a rule for most of its columns.
type Badge struct {
	ID      string  `gorm:"primaryKey"`
	Team    string  `gorm:"uniqueIndex:team_code"`
	Code    *string `gorm:"uniqueIndex:team_code"`
	Serial  *string `gorm:"unique"`
	Row     *int    `gorm:"uniqueIndex:place"`
	Seat    *int    `gorm:"uniqueIndex:place"`
	Size    int     `gorm:"check:small,size < 10"`
	Name    string  `gorm:"size:5"`
	OwnerID *string
	Owner   *Task
	SpareID *string
	Spare   *Task
}

func openBadges(t *testing.T, d *dbtest.DB) server {
	t.Helper()
	s := open(t, d, byScopes, gormsync.Entity{Model: &Badge{}, Scope: "team", Writable: true})
	if d.Dialect == "sqlite" {
		pool, err := s.db.DB()
		require.NoError(t, err)
		pool.SetMaxOpenConns(1)
		require.NoError(t, s.db.Exec("PRAGMA foreign_keys = ON").Error)
	}
	return s
}

// A refusal names the field that it is about, where the database says which it is.
func TestPushRefusalsNameTheirField(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := openBadges(t, d)
		ask := func(change string) models.PushResult {
			r := s.send("/sync/badges", `{"client_id":"c","changes":[`+change+`]}`, "X-Team: red")
			require.Len(t, r.Results, 1, r.Text)
			return r.Results[0]
		}
		require.Equal(t, models.PushApplied, ask(`{"id":"a","action":"create","data":{"code":"x","serial":"1","row":1,"seat":1}}`).Status)
		require.Equal(t, models.PushApplied, ask(`{"id":"b","action":"create"}`).Status)
		for change, field := range map[string]string{
			`{"id":"b","action":"update","data":{"code":"x"}}`:                          "code", // with the team, which is not the client's choice
			`{"id":"b","action":"update","data":{"serial":"1"},"mutation_id":"serial"}`: "serial",
			`{"id":"b","action":"update","data":{"row":1,"seat":1}}`:                    "", // both
			`{"id":"b","action":"update","data":{"owner_id":"none","name":"n"}}`:        "owner_id",
			`{"id":"c","action":"create","data":{"spare_id":"none","code":"c"}}`:        "spare_id",
			`{"id":"b","action":"update","data":{"size":"x"}}`:                          "size",
			`{"id":"b","action":"update","data":{"id":"c"}}`:                            "id",
			`{"id":"b","action":"update","data":{"team":"blue"}}`:                       "team",
			`{"id":"","action":"create","data":{"name":"n"}}`:                           "id",
			`{"id":"b","action":"update","data":{"name":"n"},"timestamp":"t"}`:          "timestamp",
		} {
			for range 2 {
				r := ask(change)
				require.Equal(t, models.PushRejected, r.Status, change)
				require.Equal(t, field, r.Error.Field, "%s: %s", change, r.Error.Message)
			}
		}
		r := ask(`{"id":"b","action":"update","data":{"size":11,"name":"n"}}`)
		require.Equal(t, "The values break a rule of the table.", r.Error.Message)
		if d.Dialect == "postgres" { // SQLite tells nothing of either
			require.Equal(t, "size", r.Error.Field)
			require.Equal(t, "name", ask(`{"id":"b","action":"update","data":{"name":"too long"}}`).Error.Field)
		}
	})
}

// Where a value is unique over all tenants, nobody is told whose it is.
func TestPushOfAValueThatAnotherTenantHas(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := openBadges(t, d)
		serial := "007"
		require.NoError(t, s.db.Create(&Badge{ID: "theirs", Team: "blue", Serial: &serial}).Error)
		require.NoError(t, s.db.Create(&Badge{ID: "ours", Team: "red"}).Error)
		for _, change := range []string{
			`{"id":"new","action":"create","data":{"serial":"007"}}`,
			`{"id":"ours","action":"update","data":{"serial":"007"}}`,
		} {
			r := s.send("/sync/badges", `{"client_id":"c","changes":[`+change+`]}`, "X-Team: red").Results[0]
			require.Equal(t, &models.PushError{Code: "invalid", Field: "serial", Message: "A value cannot be used here; choose another one."}, r.Error)
		}
		taken := s.send("/sync/badges", `{"client_id":"c","changes":[{"id":"theirs","action":"create"}]}`, "X-Team: red").Results[0]
		require.Equal(t, &models.PushError{Code: "invalid", Field: "id", Message: "This id cannot be used; choose another one."}, taken.Error)
	})
}

// A rule that is checked at the end of an atomic request is broken by the request.
func TestPushAtomicBreaksADeferredRule(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, db.AutoMigrate(&Rule{}))
		require.NoError(t, db.Exec(`CREATE TABLE stones (id text PRIMARY KEY, name text REFERENCES rules (id) DEFERRABLE INITIALLY DEFERRED)`).Error)
		s := serve(t, db, gormsync.Config{Entities: []gormsync.Entity{{Model: &Rule{}, Writable: true}, {Model: &Stone{}, Writable: true}},
			Authorize: gormsync.UnsafeAllowAll, Poll: -1, Retention: -1, MutationRetention: -1})
		if d.Dialect == "sqlite" {
			pool, err := db.DB()
			require.NoError(t, err)
			pool.SetMaxOpenConns(1)
			require.NoError(t, db.Exec("PRAGMA foreign_keys = ON").Error)
		}
		body := `{"client_id":"c","atomic":true,"changes":[{"entity":"rules","id":"r","action":"create","data":{"text":"t"},"mutation_id":"1"},{"entity":"stones","id":"s","action":"create","data":{"name":"none"},"mutation_id":"2"}]}`
		first := s.send("/sync", body)
		require.Equal(t, []string{"rules invalid", "stones invalid"}, codes(first), first.Text)
		for _, r := range first.Results {
			require.Equal(t, models.PushRejected, r.Status)
			require.Equal(t, "The changes of this request cannot be made together. A row that this one refers to is not there, or one that refers to this one is.", r.Error.Message)
			require.Empty(t, r.Error.Field)
		}
		require.Equal(t, first.Results, s.send("/sync", body).Results)
		one := s.one("stones", `{"id":"s","action":"create","data":{"name":"none"},"mutation_id":"3"}`)
		require.Equal(t, []any{models.PushRejected, "name"}, []any{one.Status, one.Error.Field})
	})
}
