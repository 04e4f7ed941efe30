package handlers_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// A Task is what most of these tests push.
type Task struct {
	ID    string `gorm:"primaryKey"`
	Title string `gorm:"not null"`
	Done  bool
	Rank  int
}

func TestPushFirst(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Task{}, FieldLog: true, Writable: true})
		r := s.one("tasks", `{"id":"a","action":"create","data":{"id":"a","title":"milk"},"mutation_id":"m1"}`)
		require.Equal(t, models.PushApplied, r.Status, "%+v", r.Error)
		require.JSONEq(t, `{"id":"a","title":"milk","done":false,"rank":0}`, string(r.Data))
		again := s.one("tasks", `{"id":"a","action":"create","data":{"id":"a","title":"milk"},"mutation_id":"m1"}`)
		require.Equal(t, models.PushDuplicate, again.Status)
		require.Equal(t, *r.Version, *again.Version)
	})
}
