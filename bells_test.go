package gormsync_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
)

// hears waits until the bells of others arrive.
func (a app) hears(t *testing.T) {
	t.Helper()
	require.NoError(t, a.sync.Start(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for a.sync.Status().Mode != gormsync.Listening {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			require.FailNow(t, "no bells arrive", "%+v", a.sync.Status())
		}
	}
}

// Two plugins with pools of their own, and no poll: what one writes reaches the
// other's sockets, and those who follow there in Go.
func TestServersHearEachOther(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		here, there := start(t, d, nil), start(t, d, nil)
		require.Equal(t, gormsync.Off, here.sync.Status().Mode)
		here.hears(t)
		there.hears(t)
		s := here.dial(t)
		s.send(`{"type":"subscribe","entities":["todos"]}`)
		require.Equal(t, "subscribed", s.next().Type)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		followed := make(chan string, 100)
		var following sync.WaitGroup
		following.Go(func() {
			for e, err := range here.sync.Changes().Follow(ctx, models.Cursor{}, "todos") {
				if err != nil {
					followed <- err.Error()
					return
				}
				followed <- e.Row.EntityID
			}
		})
		defer following.Wait()
		defer cancel()
		began := time.Now()
		for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			require.NoError(t, there.db.Create(&Todo{ID: id}).Error)
			require.Equal(t, id, s.next().Change.EntityID)
			require.Equal(t, id, <-followed)
		}
		require.Less(t, time.Since(began), 8*time.Second, "Follow was not woken: by itself it looks every 2 s")
		require.NotZero(t, here.sync.Status().LastBell)
	})
}

// Another service writes the log itself; the trigger rings for it.
func TestTriggerRingsForOthers(t *testing.T) {
	d := dbtest.Postgres(t)
	a := start(t, d, nil)
	a.hears(t)
	require.NoError(t, migrate.UpNotify(t.Context(), a.db, ""))
	s := a.dial(t)
	s.send(`{"type":"subscribe","entities":["todos"]}`)
	require.Equal(t, "subscribed", s.next().Type)
	require.NoError(t, d.Open(t).Exec(`INSERT INTO _rhtmx_sync_log (entity, entity_id, action, version, created_at, edited_at)
 VALUES ('todos', 'from psql', 'delete', 1, now(), now())`).Error)
	require.Equal(t, "from psql", s.next().Change.EntityID)
}

func TestStartAndCloseAtAnyMoment(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		require.NoError(t, d.Open(t).AutoMigrate(&Todo{}))
		for range 5 {
			plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}})
			require.NoError(t, err)
			require.NoError(t, d.Open(t).Use(plugin))
			var all sync.WaitGroup
			for i := range 10 {
				all.Go(func() {
					for range 10 {
						if err := plugin.Start(t.Context()); err != nil && !errors.Is(err, gormsync.ErrClosed) {
							t.Error(err)
						}
						if i == 9 {
							if err := plugin.Close(t.Context()); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			all.Wait()
			require.NoError(t, plugin.Close(t.Context()))
			require.ErrorIs(t, plugin.Start(t.Context()), gormsync.ErrClosed)
			require.Equal(t, gormsync.Off, plugin.Status().Mode)
		}
	})
}

// Bells arrive though the log is gone, and Status tells that it cannot be read.
func TestStatusTellsOfTheLog(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, func(c *gormsync.Config) {
			c.Poll, c.Logger = 10*time.Millisecond, slog.New(slog.DiscardHandler)
		})
		a.hears(t)
		require.Empty(t, a.sync.Status().LastError)
		require.NoError(t, migrate.Down(t.Context(), a.db, ""))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for !strings.Contains(a.sync.Status().LastError, "reading _rhtmx_sync_log") {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				require.FailNow(t, "the status does not tell", "%+v", a.sync.Status())
			}
		}
		require.Equal(t, gormsync.Listening, a.sync.Status().Mode)
		require.WithinDuration(t, time.Now(), a.sync.Status().LastErrorAt, 10*time.Second)
	})
}

// The error of a pool that the application has taken whole does not only blame the
// database.
func TestStartOnAFullPool(t *testing.T) {
	db := dbtest.Postgres(t).Open(t)
	require.NoError(t, db.AutoMigrate(&Todo{}))
	plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}})
	require.NoError(t, err)
	require.NoError(t, db.Use(plugin))
	pool, err := db.DB()
	require.NoError(t, err)
	pool.SetMaxOpenConns(1)
	tx := db.Begin()
	require.NoError(t, tx.Error)
	err = plugin.Start(t.Context())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "is a connection of its pool free?")
	require.NoError(t, tx.Rollback().Error)
	require.NoError(t, plugin.Start(t.Context()))
	require.NoError(t, plugin.Close(t.Context()))
}

// The limit that the README names.
func TestOnePluginForEachDB(t *testing.T) {
	db := dbtest.SQLite(t).Open(t)
	for _, want := range []error{nil, gorm.ErrRegistered} {
		plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}})
		require.NoError(t, err)
		require.ErrorIs(t, db.Use(plugin), want)
	}
}
