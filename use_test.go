package gormsync_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// While db.Use makes the tables, which may take long, nobody waits for it.
func TestUseHoldsNobodyUp(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		here, through := make(chan struct{}), make(chan struct{})
		var once sync.Once
		require.NoError(t, db.Callback().Raw().Before("gorm:raw").Register("gate", func(*gorm.DB) {
			once.Do(func() {
				close(here)
				<-through
			})
		}))
		plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}, Authorize: gormsync.UnsafeAllowAll, Poll: -1})
		require.NoError(t, err)
		var use sync.WaitGroup
		use.Go(func() { assert.NoError(t, db.Use(plugin)) })
		<-here
		const before = "the plugin has no database yet"
		require.Nil(t, plugin.Changes())
		require.Nil(t, plugin.Fields())
		require.Zero(t, plugin.Disconnect(func(gormsync.Access) bool { return true }))
		require.ErrorContains(t, plugin.Mount(echo.New().Group("")), before)
		require.ErrorContains(t, plugin.Start(t.Context()), before)
		_, err = plugin.Cleanup(t.Context(), time.Hour)
		require.ErrorContains(t, err, before)
		close(through)
		use.Wait()
		require.NotNil(t, plugin.Changes())
		require.NoError(t, plugin.Mount(echo.New().Group("")))
		require.NoError(t, plugin.Close(context.Background()))
	})
}
