package handlers_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// impatient opens an application that waits 300 ms for locks.
func impatient(t *testing.T, d *dbtest.DB) server {
	t.Helper()
	url := d.URL + "&lock_timeout=300ms"
	if d.Dialect == "sqlite" {
		url = d.URL + "?_busy_timeout=300"
	}
	require.NoError(t, d.Open(t).AutoMigrate(&Task{}))
	db, err := gormsync.Open(url)
	require.NoError(t, err)
	t.Cleanup(func() {
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
	})
	return serve(t, db, gormsync.Config{Entities: []gormsync.Entity{{Model: &Task{}, Writable: true}}, Authorize: gormsync.UnsafeAllowAll,
		Poll: -1, Retention: -1, MutationRetention: -1, Logger: slog.New(slog.DiscardHandler)})
}

func TestPushWaitsForABusyDatabase(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := impatient(t, d)
		require.Equal(t, models.PushApplied, s.one("tasks", `{"id":"a","action":"create","data":{"title":"t"}}`).Status)
		other := d.Open(t).Begin()
		require.NoError(t, other.Error)
		require.NoError(t, other.Exec("UPDATE tasks SET rank = 1 WHERE id = 'a'").Error)

		r := s.one("tasks", `{"id":"a","action":"update","data":{"title":"u"},"mutation_id":"m"}`)
		require.Equal(t, []any{models.PushRetry, "busy"}, []any{r.Status, r.Error.Code})
		require.Nil(t, r.Version)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/sync/tasks", strings.NewReader(`{"changes":[{"id":"a","action":"update","data":{"title":"v"}}]}`))
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, []any{http.StatusServiceUnavailable, "1"}, []any{res.StatusCode, res.Header.Get("Retry-After")}, "an original client keeps its queue")

		// The second attempt finds the lock free.
		var released sync.WaitGroup
		released.Go(func() {
			<-time.After(400 * time.Millisecond)
			_ = other.Rollback()
		})
		r = s.one("tasks", `{"id":"a","action":"update","data":{"title":"u"},"mutation_id":"m"}`)
		released.Wait()
		require.Equal(t, models.PushApplied, r.Status, "%+v", r.Error)
	})
}

// A Guest's hook waits, or gives up altogether.
type Guest struct {
	ID   string `gorm:"primaryKey"`
	Name string
}

type gateKey struct{}

// gate holds hooks up: each says that it is there, and waits to be let through.
type gate struct{ here, through chan struct{} }

// BeforeSave waits for the gate in the context, if there is one.
func (g *Guest) BeforeSave(tx *gorm.DB) error {
	if g.Name == "panic" {
		panic("a guest's hook gave up")
	}
	if gate, ok := tx.Statement.Context.Value(gateKey{}).(gate); ok {
		gate.here <- struct{}{}
		<-gate.through
	}
	return nil
}

func openGuests(t *testing.T, d *dbtest.DB) (*echo.Echo, *gorm.DB) {
	t.Helper()
	db := d.Open(t)
	require.NoError(t, db.AutoMigrate(&Guest{}))
	plugin, err := gormsync.New(gormsync.Config{
		Entities: []gormsync.Entity{{Model: &Guest{}, Writable: true}}, Poll: -1, Retention: -1, MutationRetention: -1,
		Authorize: func(c echo.Context, _ string) (gormsync.Access, error) {
			return gormsync.Access{Read: true, Write: true, AllScopes: true, Actor: c.Request().Header.Get("X-Actor")}, nil
		},
	})
	require.NoError(t, err)
	require.NoError(t, db.Use(plugin))
	t.Cleanup(func() { require.NoError(t, plugin.Close(context.Background())) })
	e := echo.New()
	require.NoError(t, plugin.Mount(e.Group("/api")))
	return e, db
}

func post(e *echo.Echo, ctx context.Context, actor, body string) *httptest.ResponseRecorder { //nolint:revive // the application comes first
	req := httptest.NewRequest(http.MethodPost, "/api/sync/guests", strings.NewReader(body)).WithContext(ctx)
	req.Header.Set("X-Actor", actor)
	res := httptest.NewRecorder()
	e.ServeHTTP(res, req)
	return res
}

func TestPushesOfOneActorAreCounted(t *testing.T) {
	d := dbtest.Postgres(t)
	e, _ := openGuests(t, d)
	hold := gate{make(chan struct{}), make(chan struct{})}
	ctx := context.WithValue(t.Context(), gateKey{}, hold)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			res := post(e, ctx, "alice", fmt.Sprintf(`{"changes":[{"id":"g%d","action":"create"}]}`, i))
			assert.Equal(t, http.StatusOK, res.Code)
		})
		<-hold.here
	}
	create := `{"changes":[{"id":"x","action":"create"}]}`
	res := post(e, t.Context(), "alice", create)
	require.Equal(t, http.StatusTooManyRequests, res.Code)
	require.Contains(t, res.Body.String(), `"too_many"`)
	require.Equal(t, http.StatusOK, post(e, t.Context(), "bob", create).Code)
	close(hold.through)
	all.Wait()
	require.Equal(t, http.StatusOK, post(e, t.Context(), "alice", create).Code)
}

// A hook that panics takes its transaction with it, and no lock stays behind. The
// client is told so once and for all, or it would send the change for ever.
func TestPushOfAPanickingHookIsUndone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		e, db := openGuests(t, d)
		body := `{"client_id":"c","changes":[{"id":"p","action":"create","data":{"name":%q},"mutation_id":%q}]}`
		for range 20 { // more than there are connections
			res := post(e, t.Context(), "alice", fmt.Sprintf(body, "panic", "m"))
			require.Equal(t, http.StatusOK, res.Code)
			require.Contains(t, res.Body.String(), `"status":"rejected"`)
			require.NotContains(t, res.Body.String(), "gave up", "it is none of the client's business")
		}
		require.Equal(t, http.StatusOK, post(e, t.Context(), "alice", fmt.Sprintf(body, "fine", "n")).Code)
		var rows int64
		require.NoError(t, db.Table(models.TablesFor("").Mutations).Count(&rows).Error)
		require.EqualValues(t, 2, rows, "of the refusal and of the other one")
		var guests int64
		require.NoError(t, db.Model(&Guest{}).Count(&guests).Error)
		require.EqualValues(t, 1, guests)
	})
}

// Whatever options GORM has been opened with.
func TestPushWithOptionsOfGORM(t *testing.T) {
	for name, option := range map[string]gorm.Config{
		"prepared":     {PrepareStmt: true},
		"translated":   {TranslateError: true},
		"transactions": {SkipDefaultTransaction: true, DisableNestedTransaction: true},
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				options := option // GORM keeps things in it
				db := d.Open(t, &options)
				require.NoError(t, db.AutoMigrate(&Task{}, &Step{}))
				s := serve(t, db, gormsync.Config{Entities: []gormsync.Entity{{Model: &Task{}, Writable: true, FieldLog: true}, {Model: &Step{}, Writable: true}},
					Authorize: gormsync.UnsafeAllowAll, Poll: -1, Retention: -1, MutationRetention: -1})
				pushStatuses(t, s, "tasks", "a", "b")
				require.Equal(t, models.PushApplied, s.one("steps", `{"id":"s","action":"create","data":{"task_id":"a"}}`).Status)
				r := s.one("steps", `{"id":"t","action":"create","data":{"task_id":"a"},"mutation_id":"u"}`)
				require.Equal(t, []any{models.PushRejected, "Another row has this value already."}, []any{r.Status, r.Error.Message})
				dbtest.Replay(t, s.log)
			})
		})
	}
}

func TestPushMutationsAreForgotten(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := openTasks(t, d)
		change := `{"id":"a","action":"create","data":{"title":"t"},"mutation_id":"m%d"}`
		for i := range 3 {
			s.one("tasks", fmt.Sprintf(change, i))
		}
		table := models.TablesFor("").Mutations
		require.NoError(t, s.db.Table(table).Where("mutation_id < 'm2'").Update("created_at", time.Now().Add(-time.Hour).UTC()).Error)
		n, err := s.log.ForgetMutations(t.Context(), time.Minute)
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
		require.Equal(t, models.PushDuplicate, s.one("tasks", fmt.Sprintf(change, 2)).Status)
		require.Equal(t, models.PushApplied, s.one("tasks", fmt.Sprintf(change, 0)).Status)
	})
}

// Two pushes that wait for each other's rows: the database ends one of them, which
// is tried again.
func TestPushSurvivesDeadlocks(t *testing.T) {
	e, db := openGuests(t, dbtest.Postgres(t))
	for _, id := range []string{"g1", "g2"} {
		require.NoError(t, db.Create(&Guest{ID: id}).Error)
	}
	hold := gate{make(chan struct{}, 100), make(chan struct{})}
	ctx := context.WithValue(t.Context(), gateKey{}, hold)
	var both sync.WaitGroup
	for _, order := range [][]string{{"g1", "g2"}, {"g2", "g1"}} {
		both.Go(func() {
			res := post(e, ctx, "alice", fmt.Sprintf(`{"client_id":%[1]q,"atomic":true,"changes":[
				{"id":%[1]q,"action":"update","data":{"name":%[1]q},"mutation_id":"1"},{"id":%[2]q,"action":"update","data":{"name":%[1]q},"mutation_id":"2"}]}`, order[0], order[1]))
			assert.Equal(t, 2, strings.Count(res.Body.String(), `"status":"applied"`), res.Body.String())
		})
	}
	<-hold.here
	<-hold.here // each has its first row
	close(hold.through)
	both.Wait()
	var names []string
	require.NoError(t, db.Model(&Guest{}).Distinct("name").Pluck("name", &names).Error)
	require.Len(t, names, 1, "one came after the other, whole")
}

// The cursor of an answer is behind the push, and no client can go on from it and
// miss what others did before.
func TestPushCursor(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := openTasks(t, d)
		r := s.send("/sync/tasks", `{"changes":[{"id":"a","action":"create","data":{"title":"t"}}]}`)
		cursor, _, err := models.ParseCursor(r.Cursor)
		require.NoError(t, err)
		page, err := s.log.Changes().Since(t.Context(), "tasks", cursor, 0)
		require.NoError(t, err)
		require.Empty(t, page.Entries)
		require.Equal(t, http.StatusGone, s.get("/sync/tasks?since="+r.Cursor).Code)
		require.Contains(t, s.get("/sync/tasks?since="+r.Version).Text, `"reset":true`)
	})
}
