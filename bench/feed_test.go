package bench

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

const (
	feedRows   = 100_000
	logRows    = 1_000_000
	farBehind  = 10_000
	otherNames = 20 // the log's rows are of so many entities
)

// BenchmarkFeed shows what reading costs: a pull of one who has everything, one of
// a reader far behind, and a snapshot, beside what an application would do
// without gormsync: read as many rows of its table, or, if it kept such a log by
// itself, the same rows of that.
func BenchmarkFeed(b *testing.B) {
	for b.Loop() {
		feedTable(b, "SQLite", dbtest.SQLite(b).URL)
		feedTable(b, "PostgreSQL", dbtest.Postgres(b).URL)
	}
}

func feedTable(b *testing.B, name, url string) {
	b.Helper()
	db, _ := openItems(b, url, false)
	sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Item{}}}, Authorize: gormsync.UnsafeAllowAll})
	require.NoError(b, err)
	require.NoError(b, db.Use(sync))
	e := echo.New()
	require.NoError(b, sync.Mount(e.Group("/api")))
	fill(b, db)

	get := func(path string) []byte {
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(b, http.StatusOK, rec.Code, rec.Body.String())
		return rec.Body.Bytes()
	}
	var page struct{ Cursor string }
	require.NoError(b, json.Unmarshal(get("/api/sync/items?limit=1"), &page))
	start := cursorOf(b, page.Cursor)
	for range farBehind {
		require.NoError(b, db.Model(&Item{ID: int64(1 + counter()%feedRows)}).Update("count", counter()).Error)
	}
	require.NoError(b, json.Unmarshal(get("/api/sync/items?since="+start), &page))

	plain := func(rows int) variant {
		return func(int) error {
			var items []Item
			if err := db.Limit(rows).Order("id").Find(&items).Error; err != nil {
				return err
			}
			_, err := json.Marshal(items)
			return err
		}
	}
	plainLog := func(int) error {
		var changes []models.Change
		if err := db.Where("id > ?", logRows).Order("id").Find(&changes).Error; err != nil {
			return err
		}
		_, err := json.Marshal(changes)
		return err
	}
	pull := func(path string) variant {
		return func(n int) error {
			return times(n, func(int) error {
				w := &discard{header: http.Header{}}
				e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				if w.status >= http.StatusBadRequest {
					return fmt.Errorf("%s answers %d", path, w.status)
				}
				return nil
			})
		}
	}
	was := *rounds
	*rounds = min(was, 7)
	defer func() { *rounds = was }()
	m := compare(b, 1, pull("/api/sync/items"), plain(feedRows), pull("/api/sync/items?since="+start), plain(farBehind), plainLog)
	idle := compare(b, 50, pull("/api/sync/items?since="+page.Cursor))
	out := newTable(fmt.Sprintf("Feed, %s %s: %d rows, a log of %d changes", name, version(b, db), feedRows, logRows))
	out.row("read", "time", "rows/s", "plain Find + json.Marshal", "rows/s against plain")
	out.row("caught up", idle[0].Round(time.Microsecond), "", "", "")
	out.row("snapshot", m[0].Round(time.Millisecond), perSecond(feedRows, m[0]), m[1].Round(time.Millisecond), ratio(m[1], m[0]))
	out.row(fmt.Sprintf("%d changes behind", farBehind), m[2].Round(time.Millisecond), perSecond(farBehind, m[2]), m[3].Round(time.Millisecond), ratio(m[3], m[2]))
	out.row("the same, beside Find of the log's rows", m[2].Round(time.Millisecond), perSecond(farBehind, m[2]), m[4].Round(time.Millisecond), ratio(m[4], m[2]))
	out.print(b)
	plans(b, db, start)
}

// discard is a client that takes the answer and keeps nothing of it, so that the
// recorder's own memory is not measured.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

func perSecond(rows int, d time.Duration) int { return int(float64(rows) / d.Seconds()) }

// cursorOf takes the place in the log out of a cursor that is also in a snapshot.
func cursorOf(b *testing.B, text string) string {
	b.Helper()
	c, _, err := models.ParseCursor(text)
	require.NoError(b, err)
	c.Page = nil
	return c.String()
}

// fill makes the rows, and a long log of this entity and others, with SQL: what is
// measured is the reading.
func fill(b *testing.B, db *gorm.DB) {
	b.Helper()
	series := func(n int) string {
		if db.Name() == "sqlite" {
			return fmt.Sprintf("(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n FROM s) s", n)
		}
		return fmt.Sprintf("(SELECT n FROM generate_series(1, %d) n) s", n)
	}
	now, tx, no := "now()", "s.n", "false"
	if db.Name() == "sqlite" {
		now, no = "'2026-01-01 00:00:00+00:00'", "0"
	} else {
		tx = "0" // decided long ago
	}
	raw := db.WithContext(gormsync.Untracked(b.Context()))
	for _, sql := range []string{
		`INSERT INTO items (name, note, count, price, done, owner, created_at, updated_at)
 SELECT 'an item', 'with a note of some length, as people write them', n, 1.25, ` + no + `, 'alice', ` + now + `, ` + now + ` FROM ` + series(feedRows),
		`INSERT INTO _rhtmx_sync_log (id, version, entity, entity_id, action, data, actor, mutation_id, created_at, edited_at, tx, move)
 SELECT s.n, s.n, CASE WHEN s.n % ` + fmt.Sprint(otherNames) + ` = 0 THEN 'items' ELSE 'others' || (s.n % ` + fmt.Sprint(otherNames) + `) END,
 CAST(1 + s.n % ` + fmt.Sprint(feedRows) + ` AS text), 'update', '{"id":1}', '', '', ` + now + `, ` + now + `, ` + tx + `, '' FROM ` + series(logRows),
	} {
		require.NoError(b, raw.Exec(sql).Error)
	}
	if db.Name() == "postgres" {
		require.NoError(b, raw.Exec("SELECT setval('_rhtmx_sync_log_id_seq', ?)", logRows).Error)
	}
	require.NoError(b, raw.Exec("ANALYZE").Error)
}

// plans fails when a read of the long log goes through all of it.
func plans(b *testing.B, db *gorm.DB, start string) {
	b.Helper()
	c, _, err := models.ParseCursor(start)
	require.NoError(b, err)
	query := "SELECT id, tx FROM _rhtmx_sync_log c WHERE tx >= ? AND (c.entity = 'items' AND c.move <> 'leave')"
	explain := "EXPLAIN "
	if db.Name() == "sqlite" {
		query = strings.NewReplacer("tx >= ?", "id >= ?", "c.entity", "+c.entity").Replace(query)
		explain = "EXPLAIN QUERY PLAN "
	}
	rows, err := db.Raw(explain+query, int64(c.From.Xmax)).Rows()
	require.NoError(b, err)
	var plan []string
	for rows.Next() {
		cols, err := rows.Columns()
		require.NoError(b, err)
		cells := make([]any, len(cols))
		var last string
		for i := range cells {
			cells[i] = new(any)
		}
		cells[len(cells)-1] = &last
		require.NoError(b, rows.Scan(cells...))
		plan = append(plan, last)
	}
	require.NoError(b, rows.Err())
	require.NoError(b, rows.Close())
	text := strings.Join(plan, "\n")
	fmt.Println("plan:", strings.TrimSpace(plan[0]))
	require.NotContains(b, text, "Seq Scan")
	require.NotRegexp(b, `SCAN (c|_rhtmx_sync_log)`, text)
}
