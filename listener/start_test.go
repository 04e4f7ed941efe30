package listener_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// silent makes a plugin whose server takes whatever it is sent and says nothing.
func silent(t *testing.T) (*gormsync.Plugin, *proxy) {
	t.Helper()
	link := newProxy(t, dbtest.Postgres(t).URL)
	db := pool(t, link.url)
	require.NoError(t, db.AutoMigrate(&item{}))
	plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &item{}}}, Logger: quiet})
	require.NoError(t, err)
	require.NoError(t, db.Use(plugin))
	link.cut()
	return plugin, link
}

// Those who wait for a silent server wait together, each for as long as it likes,
// and hold nobody up.
func TestStartsShareOneAttempt(t *testing.T) {
	t.Parallel()
	plugin, link := silent(t)
	var all sync.WaitGroup
	began := time.Now()
	for range 4 {
		all.Go(func() {
			err := plugin.Start(context.Background())
			if took := time.Since(began); took > 7*time.Second {
				t.Errorf("a Start came back after %v, and 5 s are promised", took)
			}
			if err == nil {
				t.Error("there is no server")
			}
		})
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, plugin.Start(short), context.DeadlineExceeded)
	require.NotNil(t, plugin.Changes())
	require.NotNil(t, plugin.Fields())
	require.Less(t, time.Since(began), 2*time.Second)
	all.Wait()
	link.mend()
	require.NoError(t, plugin.Start(t.Context()))
	require.NoError(t, plugin.Close(t.Context()))
}

// An attempt that everybody gave up is not what the next one gets.
func TestStartAfterOneThatGaveUp(t *testing.T) {
	t.Parallel()
	plugin, link := silent(t)
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, plugin.Start(short), context.DeadlineExceeded)
	link.mend()
	require.NoError(t, plugin.Start(t.Context()))
	require.NoError(t, plugin.Close(t.Context()))
}

func TestCloseEndsThoseWhoStart(t *testing.T) {
	t.Parallel()
	plugin, _ := silent(t)
	errs := make(chan error)
	for range 4 {
		go func() { errs <- plugin.Start(context.Background()) }()
	}
	<-time.After(300 * time.Millisecond) // they wait for the server now
	began := time.Now()
	limited, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_ = plugin.Close(limited) // whether it is quiet in time is not the point
	for range 4 {
		require.ErrorIs(t, <-errs, gormsync.ErrClosed)
	}
	require.Less(t, time.Since(began), 2*time.Second)
	require.NoError(t, plugin.Close(t.Context()))
}

func TestStartAfterCloseBeforeUse(t *testing.T) {
	plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &item{}}}})
	require.NoError(t, err)
	require.NoError(t, plugin.Close(t.Context()))
	require.ErrorIs(t, plugin.Start(t.Context()), gormsync.ErrClosed)
}

// Whoever asks right after Start is not told that nothing was started.
func TestModeAfterStart(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		for _, noNotify := range []bool{false, true} {
			db := d.Open(t)
			require.NoError(t, db.AutoMigrate(&item{}))
			plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &item{}}}, NoNotify: noNotify})
			require.NoError(t, err)
			require.NoError(t, db.Use(plugin))
			require.NoError(t, plugin.Start(t.Context()))
			status := plugin.Status()
			require.NotEqual(t, gormsync.Off, status.Mode)
			require.NotEqual(t, "not started", status.Reason)
			require.NoError(t, plugin.Close(t.Context()))
			require.Equal(t, gormsync.Off, plugin.Status().Mode)
		}
	})
}
