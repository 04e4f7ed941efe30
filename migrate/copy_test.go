package migrate_test

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	_ "github.com/lib/pq" // the driver that TestCopyNeedsPgx takes
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

var copyRows = flag.Int("copy.rows", 20_000, "how many rows the copy that is killed has in each of its tables")

// Kinds has what people put into columns.
type Kinds struct {
	ID      uint `gorm:"primaryKey"`
	Text    string
	Name    *string `gorm:"size:30"`
	Small   int16
	Whole   int64
	Real    float64
	Single  float32
	Price   string `gorm:"type:numeric(20,4)"`
	Yes     bool
	Maybe   *bool
	At      time.Time
	Day     *time.Time `gorm:"type:date"`
	Data    []byte
	UUID    string `gorm:"type:uuid"`
	JSON    models.JSON
	Member  string `gorm:"type:jsonb"`
	Took    time.Duration
	Padded  string `gorm:"type:char(5)"`
	Deleted gorm.DeletedAt
	// A parent may come after its child, and GORM makes a foreign key of it.
	ParentID *uint
	Parent   *Kinds
}

// Pair has a key of two columns, one of which takes the name of SQLite's own.
type Pair struct {
	RowID string `gorm:"primaryKey;column:rowid"`
	Other int    `gorm:"primaryKey;autoIncrement:false"`
	Note  string
}

func copyLog(t testing.TB, db *gorm.DB) *trackers.Log {
	t.Helper()
	require.NoError(t, migrate.Up(context.Background(), db, ""))
	log, err := trackers.NewLog(context.Background(), db, trackers.Config{Entities: []trackers.Entity{{Model: &Kinds{}, FieldLog: true}, {Model: &Pair{}}}})
	require.NoError(t, err)
	require.NoError(t, log.Capture(db))
	return log
}

func kindsRows() []Kinds {
	name, yes := "tab\there, \\N, line\nend \\.", true
	day, parent := time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), uint(3)
	zone := time.FixedZone("", 5*3600+1800)
	return []Kinds{
		{ID: 1, UUID: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", Member: `{}`, Price: "0"},
		{
			ID: 2, Text: "ünï \u2028 \\x 'q' \"d\"", Name: &name, Small: -7, Whole: 1 << 60, Real: 0.1, Single: 0.3, Price: "12345678901.2500", Yes: true, Maybe: &yes,
			At: time.Date(2026, 1, 2, 3, 4, 5, 123456789, zone), Day: &day, Data: []byte{0, 1, '\\', '\n', 255}, UUID: "6BA7B810-9DAD-11D1-80B4-00C04FD430C8",
			JSON: models.JSON(`{"b": 1, "a":[1e2]}`), Member: `{"b": 1, "a":[1e2, 1.50], "ü": "<"}`, Took: time.Minute, Padded: "ab", ParentID: &parent,
		},
		{ID: 3, UUID: "00000000-0000-0000-0000-000000000000", Member: `[null]`, Price: "-1.5", At: time.Unix(0, 0), Deleted: gorm.DeletedAt{Time: day, Valid: true}, Data: []byte{}},
	}
}

// TestCopy: every kind of value arrives, and the log goes on where it was.
func TestCopy(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	from, to := dbtest.SQLite(t), dbtest.Postgres(t)
	src, dst := from.Open(t), to.Open(t)
	require.NoError(t, src.AutoMigrate(&Kinds{}, &Pair{}))
	log := copyLog(t, src)
	require.NoError(t, src.Create(kindsRows()).Error)
	require.NoError(t, src.Create([]Pair{{"a,b", 1, "x"}, {"a,b", 2, "y"}}).Error)
	require.NoError(t, src.Delete(&Pair{RowID: "a,b", Other: 2}).Error)
	require.NoError(t, src.Create(&Kinds{ID: 900, UUID: "00000000-0000-0000-0000-000000000000", Member: `1`, Price: "1"}).Error)
	require.NoError(t, src.Unscoped().Delete(&Kinds{ID: 900}).Error)
	require.NoError(t, src.Model(&Kinds{ID: 1}).Update("text", "later").Error)
	require.NoError(t, src.Exec("CREATE TABLE extra (id integer PRIMARY KEY, v text)").Error)
	old, err := log.Position(ctx)
	require.NoError(t, err)
	newest, err := log.Changes().LatestVersion(ctx, "kinds")
	require.NoError(t, err)

	var steps []migrate.CopyProgress
	c := migrate.Copier{Batch: 2, Progress: func(p migrate.CopyProgress) { steps = append(steps, p) }}
	report, err := c.Copy(ctx, src, dst, &Kinds{}, &Pair{})
	require.NoError(t, err)
	require.Equal(t, []string{"extra"}, report.Left)
	rows := map[string]int64{}
	for _, table := range report.Tables {
		require.Len(t, table.Checksum, 32)
		rows[table.Table] = table.Rows
	}
	require.EqualValues(t, 3, rows["kinds"])
	require.EqualValues(t, 1, rows["pairs"])
	require.Contains(t, steps, migrate.CopyProgress{Step: "copy", Table: "kinds", Done: 2, Total: 3})
	require.Contains(t, steps, migrate.CopyProgress{Step: "check", Table: "kinds", Done: 3, Total: 3})

	var want, got []Kinds
	require.NoError(t, src.Unscoped().Order("id").Find(&want).Error)
	require.NoError(t, dst.Unscoped().Order("id").Find(&got).Error)
	for i := range want {
		require.True(t, want[i].At.Truncate(time.Microsecond).Equal(got[i].At))
		want[i].At, got[i].At = time.Time{}, time.Time{}
		require.JSONEq(t, want[i].Member, got[i].Member)
		require.Equal(t, strings.ToLower(want[i].UUID), got[i].UUID)
		require.Equal(t, want[i].Padded, strings.TrimRight(got[i].Padded, " "))
		for _, k := range []*Kinds{&want[i], &got[i]} {
			k.Member, k.UUID, k.Padded, k.Price = "", "", "", ""
			k.Deleted.Time = k.Deleted.Time.UTC()
			if k.Day != nil {
				day := k.Day.UTC()
				k.Day = &day
			}
		}
	}
	require.Equal(t, want, got)
	var changes, copied []models.Change
	require.NoError(t, src.Order("id").Find(&changes).Error)
	require.NoError(t, dst.Order("id").Find(&copied).Error)
	for i := range changes {
		changes[i].Tx = 0
		for _, c := range []*models.Change{&changes[i], &copied[i]} {
			c.CreatedAt, c.EditedAt = c.CreatedAt.UTC().Truncate(time.Microsecond), c.EditedAt.UTC().Truncate(time.Microsecond)
		}
	}
	require.Equal(t, changes, copied)

	log = copyLog(t, dst)
	require.ErrorIs(t, log.Accept(ctx, old), models.ErrCursorExpired)
	pairs, err := trackers.NewLog(ctx, dst, trackers.Config{Entities: []trackers.Entity{{Model: &Pair{}}}})
	require.NoError(t, err)
	dbtest.Replay(t, pairs) // of kinds, PostgreSQL spells some values in other ways than the log of SQLite
	fresh := Kinds{UUID: "00000000-0000-0000-0000-000000000000", Member: `1`, Price: "1"}
	require.NoError(t, dst.Create(&fresh).Error)
	require.EqualValues(t, 901, fresh.ID, "a key came twice")
	history, err := log.Changes().History(ctx, "kinds", "901", 0, 0)
	require.NoError(t, err)
	require.Greater(t, history[0].Version, newest)
	require.NoError(t, dst.Create(&Pair{"new", 7, "z"}).Error)
	dbtest.Replay(t, pairs)
	missing := uint(12345)
	fresh.ID, fresh.ParentID = 0, &missing
	require.ErrorContains(t, dst.Create(&fresh).Error, "foreign key", "the foreign keys are not back")

	_, err = migrate.Copy(ctx, src, dst, &Kinds{}, &Pair{})
	require.ErrorContains(t, err, "is complete already")
	require.NoError(t, src.Create(&Pair{"later", 1, ""}).Error)
	_, err = migrate.Copy(ctx, src, dst, &Kinds{}, &Pair{})
	require.ErrorContains(t, err, "has rows already")
}

func TestCopyRefuses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	src, dst := dbtest.SQLite(t).Open(t), dbtest.Postgres(t).Open(t)
	_, err := migrate.Copy(ctx, dst, src)
	require.ErrorContains(t, err, "goes from SQLite to PostgreSQL")
	_, err = migrate.Copy(ctx, src, dst)
	require.ErrorContains(t, err, "let migrate.Up make them")
	require.NoError(t, src.AutoMigrate(&Kinds{}, &Pair{}))
	copyLog(t, src)
	_, err = migrate.Copy(ctx, src, dst)
	require.ErrorContains(t, err, "the target has no table kinds; give its model to Copy")
	require.NoError(t, dst.Exec("CREATE TABLE kinds (id bigint)").Error)
	_, err = migrate.Copy(ctx, src, dst)
	require.ErrorContains(t, err, "has no column text")
	require.NoError(t, dst.Exec("DROP TABLE kinds").Error)
	_, err = migrate.Copier{Tables: []string{"nothing"}}.Copy(ctx, src, dst, &Kinds{}, &Pair{})
	require.ErrorContains(t, err, "the source has no table nothing")
	require.NoError(t, src.Exec("CREATE TABLE bare (id text PRIMARY KEY) WITHOUT ROWID").Error)
	_, err = migrate.Copier{Tables: []string{"bare"}}.Copy(ctx, src, dst, &Kinds{}, &Pair{})
	require.ErrorContains(t, err, "rowid")
}

// Another driver than pgx is refused, and gets its connection back.
func TestCopyNeedsPgx(t *testing.T) {
	t.Parallel()
	from, to := dbtest.SQLite(t), dbtest.Postgres(t)
	src := from.Open(t)
	require.NoError(t, migrate.Up(t.Context(), src, ""))
	dst, err := gorm.Open(postgres.New(postgres.Config{DriverName: "postgres", DSN: to.URL}), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := dst.DB()
	require.NoError(t, err)
	defer func() { require.NoError(t, pool.Close()) }()
	_, err = migrate.Copy(t.Context(), src, dst)
	require.ErrorContains(t, err, "Copy needs the pgx driver")
	require.Zero(t, pool.Stats().InUse)
}

// A copy that meets what does not fit says so; one whose source changed meanwhile
// does not pass as complete.
func TestCopyFindsDifferences(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, c := range map[string]struct {
		sql, want string
		at        migrate.CopyProgress
	}{
		"a value": {`UPDATE kinds SET text = 'other' WHERE id = 1`, `the 3 rows differ between source and target in text (text), the row with id = "1" for one: its text is "other" in the source and "" in the target`, migrate.CopyProgress{Step: "copy", Table: "pairs"}},
		"a row":   {`INSERT INTO pairs VALUES ('late', 1, '')`, `the source has 3 rows and the target 2, the row with rowid = "late", other = "1" for one is only in the source`, migrate.CopyProgress{Step: "copy", Table: "_rhtmx_sync_log"}},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := dbtest.SQLite(t).Open(t), dbtest.Postgres(t).Open(t)
			require.NoError(t, src.AutoMigrate(&Kinds{}, &Pair{}))
			copyLog(t, src)
			require.NoError(t, src.Create(kindsRows()).Error)
			require.NoError(t, src.Create([]Pair{{"a", 1, "x"}, {"b", 2, "y"}}).Error)
			copier := migrate.Copier{Progress: func(p migrate.CopyProgress) {
				if p.Step == c.at.Step && p.Table == c.at.Table {
					require.NoError(t, src.WithContext(trackers.Untracked(ctx)).Exec(c.sql).Error)
					c.at.Table = ""
				}
			}}
			_, err := copier.Copy(ctx, src, dst, &Kinds{}, &Pair{})
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "copy again")
			_, err = migrate.Copy(ctx, src, dst, &Kinds{}, &Pair{})
			if name == "a row" { // it comes behind the others
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want, "it forgot that the copy failed")
			_, err = migrate.Copier{Restart: true}.Copy(ctx, src, dst, &Kinds{}, &Pair{})
			require.NoError(t, err)
			missing := uint(12345)
			require.ErrorContains(t, dst.Create(&Kinds{UUID: "00000000-0000-0000-0000-000000000000", Member: `1`, Price: "1", ParentID: &missing}).Error, "foreign key")
		})
	}
	t.Run("no text", func(t *testing.T) {
		src, dst := dbtest.SQLite(t).Open(t), dbtest.Postgres(t).Open(t)
		require.NoError(t, src.AutoMigrate(&Kinds{}, &Pair{}))
		copyLog(t, src)
		require.NoError(t, src.WithContext(trackers.Untracked(ctx)).Exec(`INSERT INTO pairs VALUES ('a', 1, 'x' || char(0))`).Error)
		_, err := migrate.Copy(ctx, src, dst, &Kinds{}, &Pair{})
		require.ErrorContains(t, err, "copying pairs")
		require.ErrorContains(t, err, "the row with rowid = 'a', other = 1: its column note has a NUL")
	})
}

const copyChild = "GORMSYNC_TEST_COPY"

// TestCopyChild is not a test of its own: TestCopyKilled runs it in a process that
// it kills.
func TestCopyChild(t *testing.T) {
	urls := strings.Split(os.Getenv(copyChild), "|")
	if len(urls) < 2 {
		return
	}
	src, err := gorm.Open(sqlite.Open(urls[0]), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	dst, err := gorm.Open(postgres.Open(urls[1]), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	_, err = bigCopier(func(p migrate.CopyProgress) { fmt.Println("progress", p.Step, p.Table, p.Done) }).Copy(t.Context(), src, dst)
	require.NoError(t, err)
}

// logTables are those that are copied beside the application's own.
var logTables = []string{models.TablesFor("").Changes, models.TablesFor("").Fields, models.TablesFor("").Mutations}

func bigCopier(progress func(migrate.CopyProgress)) migrate.Copier {
	return migrate.Copier{Batch: max(*copyRows/20, 100), Progress: progress}
}

// TestCopyKilled: a copy that was killed goes on where it was. Many rows do not
// take more memory than few.
func TestCopyKilled(t *testing.T) {
	from, to := dbtest.SQLite(t), dbtest.Postgres(t)
	src, dst := from.Open(t), to.Open(t)
	for _, db := range []*gorm.DB{src, dst} {
		require.NoError(t, db.AutoMigrate(&Todo{}))
	}
	require.NoError(t, migrate.Up(t.Context(), src, ""))
	_, err := trackers.NewLog(t.Context(), src, trackers.Config{Entities: []trackers.Entity{{Model: &Todo{}}}})
	require.NoError(t, err)
	for _, sql := range []string{
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?) INSERT INTO todos (id, title, done) SELECT printf('t%08d', i), 'number ' || i, i % 2 FROM n",
		`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < ?) INSERT INTO _rhtmx_sync_log (id, version, tx, entity, entity_id, action, data, created_at, edited_at)
SELECT i, i, i, 'todos', printf('t%08d', i), 'create', json_object('id', printf('t%08d', i), 'title', 'number ' || i, 'done', json(iif(i % 2, 'true', 'false'))), '2026-01-02 03:04:05.5+00:00', '2026-01-02 03:04:05.5+00:00' FROM n`,
	} {
		require.NoError(t, src.Exec(sql, *copyRows).Error)
	}

	ended := killHalfway(t, strings.TrimPrefix(from.URL, "sqlite://")+"|"+to.URL)
	var done int64
	require.NoError(t, dst.Raw("SELECT sum(done) FROM _rhtmx_sync_copy").Scan(&done).Error)
	require.Greater(t, done, int64(*copyRows), "it was killed too early: %s", ended)
	require.Less(t, done, int64(2**copyRows), "it was killed too late")

	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, peak := m.HeapAlloc, uint64(0) // other tests have left something too
	first := map[string]int64{}
	report, err := bigCopier(func(p migrate.CopyProgress) {
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
		if _, ok := first[p.Step+p.Table]; !ok {
			first[p.Step+p.Table] = p.Done
		}
	}).Copy(t.Context(), src, dst)
	require.NoError(t, err)
	require.EqualValues(t, *copyRows, first["copytodos"], "it began anew")
	require.GreaterOrEqual(t, first["copy_rhtmx_sync_log"], int64(1))
	require.Len(t, report.Tables, 1+len(logTables))
	for _, table := range report.Tables {
		if table.Table == "todos" || table.Table == "_rhtmx_sync_log" {
			require.EqualValues(t, *copyRows, table.Rows)
		}
	}
	require.Less(t, peak, before+64<<20, "memory grows with the rows")
	require.False(t, dst.Migrator().HasTable("_rhtmx_sync_copy"))
	log, err := trackers.NewLog(t.Context(), dst, trackers.Config{Entities: []trackers.Entity{{Model: &Todo{}}}})
	require.NoError(t, err)
	require.NoError(t, log.Capture(dst))
	require.NoError(t, dst.Create(&Todo{ID: "new"}).Error)
	version, err := log.Changes().LatestVersion(t.Context(), "todos")
	require.NoError(t, err)
	require.EqualValues(t, *copyRows+1, version)
	t.Logf("%d rows in each of two tables, at most %d MiB of heap", *copyRows, peak>>20)
}

// killHalfway copies in another process and kills it amid the log.
func killHalfway(t *testing.T, urls string) (output string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestCopyChild$", fmt.Sprint("-copy.rows=", *copyRows))
	cmd.Env = append(os.Environ(), copyChild+"="+urls)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	var seen strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(seen.String(), fmt.Sprint("progress copy _rhtmx_sync_log ", *copyRows/2)) {
		n, err := out.Read(buf)
		seen.Write(buf[:n])
		require.NoError(t, err, "%s", seen.String())
	}
	require.NoError(t, cmd.Process.Kill())
	_, _ = io.Copy(io.Discard, out)
	require.Error(t, cmd.Wait(), "it ended by itself")
	return seen.String()
}

// Two copies at once: the second says that it waits, and then finds the first one's
// rows.
func TestCopyTwice(t *testing.T) {
	t.Parallel()
	from, to := dbtest.SQLite(t), dbtest.Postgres(t)
	src := from.Open(t)
	require.NoError(t, src.AutoMigrate(&Kinds{}, &Pair{}))
	copyLog(t, src)
	require.NoError(t, src.Create(kindsRows()).Error)
	dsts := []*gorm.DB{to.Open(t), to.Open(t)}
	require.NoError(t, dsts[0].AutoMigrate(&Kinds{}, &Pair{}))
	require.NoError(t, migrate.Up(t.Context(), dsts[0], ""))
	errs := make(chan error, 2)
	waited, working := make(chan struct{}), make(chan struct{}, 1)
	for _, dst := range dsts {
		go func() {
			_, err := migrate.Copier{Batch: 1, Progress: func(p migrate.CopyProgress) {
				if p.Step == "wait" {
					close(waited)
					return
				}
				select {
				case working <- struct{}{}:
					<-waited // the first works until the second waits for it
				default:
				}
			}}.Copy(context.Background(), src, dst)
			errs <- err
		}()
	}
	first, second := <-errs, <-errs
	require.NoError(t, first)
	require.ErrorContains(t, second, "is complete already")
	var n int64
	require.NoError(t, dsts[0].Unscoped().Model(&Kinds{}).Count(&n).Error)
	require.EqualValues(t, 3, n)
	pool, err := dsts[0].DB()
	require.NoError(t, err)
	require.Zero(t, lockCount(t, pool))
}

func lockCount(t *testing.T, pool *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE l.locktype = 'advisory' AND d.datname = current_database() AND l.pid = pg_backend_pid()").Scan(&n))
	return n
}
