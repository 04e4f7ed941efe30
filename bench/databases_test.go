package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

// writerCounts are how many write at once.
var writerCounts = []int{1, 2, 4, 8, 16, 32}

// side is one of two databases with the same rows, tracked and served.
type side struct {
	db   *gorm.DB
	echo *echo.Echo
}

func (s side) get(path string) error {
	w := &discard{header: http.Header{}}
	s.echo.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.status >= http.StatusBadRequest {
		return fmt.Errorf("%s answers %d", path, w.status)
	}
	return nil
}

// BenchmarkDatabases compares SQLite and PostgreSQL, everything tracked with both
// logs, in one table: every operation alone, and 1 to 32 writers at once. Both
// write through to the disk as their defaults are.
func BenchmarkDatabases(b *testing.B) {
	for b.Loop() {
		sides := []side{newSide(b, dbtest.SQLite(b).URL), newSide(b, dbtest.Postgres(b).URL)}
		out := newTable(fmt.Sprintf("SQLite %s and PostgreSQL %s, both logs, %d processors: the time of one, or how many in a second",
			version(b, sides[0].db), version(b, sides[1].db), runtime.NumCPU()))
		out.row("operation", "SQLite", "PostgreSQL", "SQLite's speed against PostgreSQL's")
		for _, op := range operations() {
			m := compare(b, op.n,
				func(n int) error { return op.run(sides[0].db, n) },
				func(n int) error { return op.run(sides[1].db, n) })
			out.row(op.name, m[0].Round(time.Microsecond), m[1].Round(time.Microsecond), ratio(m[1], m[0]))
		}
		reads(b, out, sides)
		for _, writers := range writerCounts {
			rates := commits(b, sides, writers)
			out.row(fmt.Sprintf("%d writers, creates/s", writers), int(rates[0]), int(rates[1]), fmt.Sprintf("%.2f", rates[0]/rates[1]))
		}
		out.print(b)
	}
}

func newSide(b *testing.B, url string) side {
	b.Helper()
	db, _ := openItems(b, url, false)
	plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Item{}, FieldLog: true}}, Authorize: gormsync.UnsafeAllowAll})
	require.NoError(b, err)
	require.NoError(b, db.Use(plugin))
	pool, err := db.DB()
	require.NoError(b, err)
	pool.SetMaxOpenConns(40) // more than writers
	e := echo.New()
	require.NoError(b, plugin.Mount(e.Group("/api")))
	items := make([]*Item, 3000)
	for i := range items {
		items[i] = item()
	}
	require.NoError(b, db.CreateInBatches(items, 500).Error)
	return side{db, e}
}

func reads(b *testing.B, out *table, sides []side) {
	b.Helper()
	read := func(name string, n int, path func(s side) string) {
		variants := make([]variant, len(sides))
		for i, s := range sides {
			p := path(s)
			variants[i] = func(n int) error { return times(n, func(int) error { return s.get(p) }) }
		}
		m := compare(b, n, variants...)
		out.row(name, m[0].Round(time.Microsecond), m[1].Round(time.Microsecond), ratio(m[1], m[0]))
	}
	read("pull, nothing new", 20, func(s side) string { return "/api/sync/items?since=" + head(b, s) })
	read("pull of 1000 changes", 1, func(s side) string {
		since := head(b, s)
		require.NoError(b, s.db.Model(&Item{}).Where("id <= 1000").Update("count", counter()).Error)
		return "/api/sync/items?since=" + since
	})
	read("snapshot of 1000 rows", 1, func(side) string { return "/api/sync/items?limit=1000" })
}

// head is the cursor of a side's present end.
func head(b *testing.B, s side) string {
	b.Helper()
	rec := httptest.NewRecorder()
	s.echo.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/api/sync?entities=items&since=now", nil))
	require.Equal(b, http.StatusOK, rec.Code, rec.Body.String())
	var answer struct{ Cursor string }
	require.NoError(b, json.Unmarshal(rec.Body.Bytes(), &answer))
	return answer.Cursor
}

// commits gives the median of how many creates of one row each a second has, the
// sides taking turns.
func commits(b *testing.B, sides []side, writers int) []float64 {
	b.Helper()
	rates := make([][]float64, len(sides))
	for range max(3, *rounds/6) {
		for i, s := range sides {
			rates[i] = append(rates[i], burst(b, s.db, writers))
		}
	}
	medians := make([]float64, len(sides))
	for i, r := range rates {
		slices.Sort(r)
		medians[i] = r[len(r)/2]
	}
	return medians
}

// burst has writers write for a while.
func burst(b *testing.B, db *gorm.DB, writers int) float64 {
	b.Helper()
	var n atomic.Int64
	var all sync.WaitGroup
	errs := make(chan error, writers)
	begun := time.Now()
	for range writers {
		all.Go(func() {
			for time.Since(begun) < 400*time.Millisecond {
				if err := db.Create(item()).Error; err != nil {
					errs <- err
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	took := time.Since(begun)
	select {
	case err := <-errs:
		require.NoError(b, err)
	default:
	}
	return float64(n.Load()) / took.Seconds()
}
