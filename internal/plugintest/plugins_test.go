package plugintest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"
	"gorm.io/gorm"
	"gorm.io/plugin/dbresolver"
	"gorm.io/plugin/opentelemetry/tracing"
	"gorm.io/plugin/prometheus"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// The Prometheus plugin has goroutines that nothing ends, and dbresolver keeps a
// cache of prepared statements that nothing closes.
func TestMain(m *testing.M) {
	dbtest.Main(m,
		goleak.IgnoreAnyFunction("gorm.io/plugin/prometheus.(*Prometheus).Initialize.func1.1"),
		goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"),
	)
}

// Part is the model of these tests.
type Part struct {
	ID   int64 `gorm:"primaryKey"`
	Name string
}

func newSync(t *testing.T, entities ...gormsync.Entity) *gormsync.Plugin {
	t.Helper()
	sync, err := gormsync.New(gormsync.Config{Entities: entities})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sync.Close(context.Background())) })
	return sync
}

// events gives the log as "action id".
func events(t *testing.T, sync *gormsync.Plugin, entity string) []string {
	t.Helper()
	page, err := sync.Changes().Since(t.Context(), entity, models.Cursor{}, 0)
	require.NoError(t, err)
	lines := []string{}
	for _, e := range page.Entries {
		lines = append(lines, string(e.Row.Action)+" "+e.Row.EntityID)
	}
	return lines
}

// write changes parts in all the ways that matter to a plugin that sits between.
func write(t *testing.T, db *gorm.DB) {
	t.Helper()
	require.NoError(t, db.Create(&Part{ID: 1, Name: "a"}).Error)
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Model(&Part{ID: 1}).Update("name", "b").Error; err != nil {
			return err
		}
		return tx.Create(&Part{ID: 2}).Error
	}))
	require.Error(t, db.Transaction(func(tx *gorm.DB) error {
		require.NoError(t, tx.Create(&Part{ID: 3}).Error)
		return gorm.ErrInvalidData
	}))
	require.NoError(t, db.Session(&gorm.Session{SkipDefaultTransaction: true}).Delete(&Part{ID: 2}).Error)
}

var written = []string{"create 1", "update 1", "create 2", "delete 2"}

func TestBesideOtherPlugins(t *testing.T) {
	for name, other := range map[string]func(t *testing.T, db *gorm.DB) gorm.Plugin{
		"dbresolver":    resolver,
		"opentelemetry": telemetry,
		"prometheus":    metrics,
	} {
		for _, first := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
					db := d.Open(t)
					require.NoError(t, db.AutoMigrate(&Part{}))
					sync := newSync(t, gormsync.Entity{Model: &Part{}, FieldLog: true})
					plugins := []gorm.Plugin{sync, other(t, db)}
					if !first {
						slices.Reverse(plugins)
					}
					for _, p := range plugins {
						require.NoError(t, db.Use(p))
					}
					write(t, db)
					require.Equal(t, written, events(t, sync, "parts"))
					require.NoError(t, sync.Initialize(db), "a second time")
					require.NoError(t, db.Create(&Part{ID: 9}).Error)
					require.Equal(t, append(slices.Clone(written), "create 9"), events(t, sync, "parts"))
				})
			})
		}
	}
}

// resolver reads from a replica, which here is the same database again.
func resolver(t *testing.T, db *gorm.DB) gorm.Plugin {
	t.Helper()
	r := dbresolver.Register(dbresolver.Config{
		Sources: []gorm.Dialector{db.Dialector}, Replicas: []gorm.Dialector{db.Dialector}, TraceResolverMode: true,
	})
	t.Cleanup(func() {
		_ = r.Call(func(pool gorm.ConnPool) error {
			if c, ok := pool.(interface{ Close() error }); ok {
				return c.Close()
			}
			if g, ok := pool.(gorm.GetDBConnector); ok {
				if p, err := g.GetDBConn(); err == nil {
					return p.Close()
				}
			}
			return nil
		})
	})
	return r
}

func telemetry(t *testing.T, _ *gorm.DB) gorm.Plugin {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(spans))
	t.Cleanup(func() { require.NotEmpty(t, spans.GetSpans(), "the other plugin saw nothing") })
	return tracing.NewPlugin(tracing.WithTracerProvider(provider), tracing.WithoutMetrics())
}

func metrics(*testing.T, *gorm.DB) gorm.Plugin {
	return prometheus.New(prometheus.Config{RefreshInterval: uint32(time.Hour / time.Second)})
}
