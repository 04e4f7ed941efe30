package doctor_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/cmd/gormsync/internal/doctor"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func open(t *testing.T, url string) *gorm.DB {
	t.Helper()
	db, err := gormsync.Open(url, &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	return db
}

// examine gives what is not well, by check.
func examine(t *testing.T, db *gorm.DB, o doctor.Options) map[string]doctor.Finding {
	t.Helper()
	findings, err := doctor.Examine(t.Context(), db, o)
	require.NoError(t, err)
	bad := map[string]doctor.Finding{}
	for _, f := range findings {
		require.NotEmpty(t, f.Message)
		if f.Level != doctor.OK {
			require.NotEmpty(t, f.Remedy, f.Message)
			bad[f.Check] = f
		}
	}
	return bad
}

func TestHealthy(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, migrate.Up(t.Context(), db, ""))
		require.Empty(t, examine(t, db, doctor.Options{OldTransaction: time.Hour}))
	})
}

// What is missing in the tables, on both databases.
func TestTables(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, db.Exec("CREATE TABLE x (i int)").Error)
		bad := examine(t, db, doctor.Options{})
		require.Contains(t, bad["schema"].Message, "there is no table _rhtmx_sync_log")
		require.Contains(t, bad["schema"].Remedy, "gormsync migrate up")
		require.NoError(t, migrate.Up(t.Context(), db, ""))

		version := func(v string) {
			require.NoError(t, db.Save(&models.Meta{Key: models.MetaSchema, Value: v}).Error)
		}
		version("0")
		require.Contains(t, examine(t, db, doctor.Options{})["schema"].Message, "are of version 0")
		version("99")
		require.Contains(t, examine(t, db, doctor.Options{})["schema"].Remedy, "update this program")
		version(fmt.Sprint(migrate.SchemaVersion))

		require.NoError(t, db.Exec("INSERT INTO _rhtmx_sync_log (id, version, entity, entity_id, action, created_at, edited_at) VALUES (500, 500, 'x', '1', 'delete', '2026-01-02', '2026-01-02')").Error)
		if d.Dialect == "sqlite" {
			require.NoError(t, db.Exec("UPDATE sqlite_sequence SET seq = 3").Error)
		}
		bad = examine(t, db, doctor.Options{})
		require.Contains(t, bad["sequence"].Message, "behind")
		if d.Dialect == "sqlite" {
			require.NoError(t, db.Exec(bad["sequence"].Remedy).Error)
			require.Empty(t, examine(t, db, doctor.Options{}))
		}
	})
}

// A role without rights: the remedy, run by the owner, is what it needs.
func TestRights(t *testing.T) {
	c := cluster(t, nil)
	owner := open(t, c)
	require.NoError(t, owner.Exec("CREATE SCHEMA apart").Error)
	require.NoError(t, owner.Exec("CREATE ROLE poor LOGIN").Error)
	inSchema := strings.Replace(c, "?", "?search_path=apart&", 1)
	require.NoError(t, migrate.Up(t.Context(), open(t, inSchema), ""))
	poor := open(t, strings.Replace(inSchema, "postgres@", "poor@", 1))
	bad := examine(t, poor, doctor.Options{})
	require.Len(t, bad, 1)
	require.Equal(t, doctor.Error, bad["rights"].Level)
	require.Contains(t, bad["rights"].Message, "the role poor")
	require.Contains(t, bad["rights"].Remedy, `GRANT SELECT, INSERT, UPDATE, DELETE ON "apart"."_rhtmx_sync_log" TO "poor"`)
	remedy(t, owner, bad["rights"])
	bad = examine(t, poor, doctor.Options{}) // the sequence is in sight now
	if len(bad) > 0 {
		remedy(t, owner, bad["rights"])
	}
	require.Empty(t, examine(t, poor, doctor.Options{}))

	require.NoError(t, owner.Exec("ALTER ROLE poor SET search_path = public").Error)
	elsewhere := open(t, strings.Replace(c, "postgres@", "poor@", 1))
	require.Contains(t, examine(t, elsewhere, doctor.Options{})["rights"].Message, "is in the schema apart")
}

// remedy runs the SQL of a remedy.
func remedy(t *testing.T, db *gorm.DB, f doctor.Finding) {
	t.Helper()
	for sql := range strings.SplitSeq(f.Remedy, "; ") {
		sql, _, _ = strings.Cut(sql, ", then ")
		sql, _, _ = strings.Cut(sql, ", and ")
		require.NoError(t, db.Exec(sql).Error, sql)
	}
}

func cluster(t *testing.T, settings map[string]string) (url string) {
	t.Helper()
	c, err := dbtest.StartCluster(dbtest.ClusterOptions{Settings: settings})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Remove()) })
	return c.URL()
}

// PgBouncer in transaction mode: found, and mended by an address that leads past it.
func TestTransactionPooler(t *testing.T) {
	direct := cluster(t, nil)
	pooled := dbtest.PgBouncer(t, direct, "transaction")
	db := open(t, pooled+"&default_query_exec_mode=exec")
	require.NoError(t, migrate.Up(t.Context(), db, ""))
	bad := examine(t, db, doctor.Options{})
	require.Len(t, bad, 1)
	require.Equal(t, doctor.Warning, bad["bells"].Level)
	require.Equal(t, 1, strings.Count(bad["bells"].Message, "transaction pooler"), bad["bells"].Message)
	require.LessOrEqual(t, strings.Count(bad["bells"].Message, "("), 1, bad["bells"].Message)
	require.Contains(t, bad["bells"].Remedy, "default_query_exec_mode=exec")
	require.Contains(t, bad["bells"].Remedy, "Config.ListenDSN")
	require.Empty(t, examine(t, db, doctor.Options{ListenDSN: direct}))
	require.Contains(t, examine(t, db, doctor.Options{ListenDSN: "postgres://%"})["bells"].Message, "ListenDSN")
	session := open(t, dbtest.PgBouncer(t, direct, "session"))
	require.Empty(t, examine(t, session, doctor.Options{}))
}

func TestSequenceCache(t *testing.T) {
	d := dbtest.Postgres(t)
	db := d.Open(t)
	require.NoError(t, migrate.Up(t.Context(), db, ""))
	require.NoError(t, db.Exec("ALTER SEQUENCE _rhtmx_sync_log_id_seq CACHE 20").Error)
	bad := examine(t, db, doctor.Options{OldTransaction: time.Hour})
	require.Len(t, bad, 1)
	require.Contains(t, bad["sequence"].Message, "CACHE 20")
	remedy(t, db, bad["sequence"])
	require.Empty(t, examine(t, db, doctor.Options{OldTransaction: time.Hour}))
}

// Item is what the restored log is of.
type Item struct {
	ID   int64 `gorm:"primaryKey"`
	Name string
}

// A dump that was restored into another cluster, whose transactions are behind
// those of the log; the remedy is to start the application.
func TestRestoredDump(t *testing.T) {
	src, dst := open(t, cluster(t, nil)), open(t, cluster(t, nil))
	use := func(db *gorm.DB) {
		sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Item{}}}})
		require.NoError(t, err)
		require.NoError(t, db.Use(sync))
	}
	for _, db := range []*gorm.DB{src, dst} {
		require.NoError(t, db.AutoMigrate(&Item{}))
		require.NoError(t, migrate.Up(t.Context(), db, ""))
	}
	require.NoError(t, src.Exec("DO $$ BEGIN FOR i IN 1..3000 LOOP BEGIN CREATE TEMP TABLE burnt (i int); RAISE EXCEPTION 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$").Error)
	use(src)
	require.NoError(t, src.Create([]Item{{Name: "a"}, {Name: "b"}}).Error)
	// What pg_dump carries over: rows as they are, and the sequence.
	for _, rows := range []any{&[]Item{}, &[]models.Change{}} {
		require.NoError(t, src.Find(rows).Error)
		require.NoError(t, dst.Create(rows).Error)
	}
	bad := examine(t, dst, doctor.Options{})
	require.Equal(t, doctor.Error, bad["epoch"].Level)
	require.Contains(t, bad["epoch"].Message, "restored dump")
	require.Contains(t, bad["epoch"].Remedy, "restart the application")
	use(dst)
	require.Empty(t, examine(t, dst, doctor.Options{}))
}

// A log that comes from another database of the same cluster, whose transactions are
// all over: nothing but the place tells.
func TestRestoredBesideItself(t *testing.T) {
	url := cluster(t, nil)
	admin := open(t, url)
	at := func(name string) string { return strings.Replace(url, "/postgres?", "/"+name+"?", 1) }
	use := func(name string) {
		db, err := gormsync.Open(at(name))
		require.NoError(t, err)
		require.NoError(t, db.AutoMigrate(&Item{}))
		sync, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Item{}}}})
		require.NoError(t, err)
		require.NoError(t, db.Use(sync))
		require.NoError(t, db.Create(&Item{Name: "a"}).Error)
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close()) // or it could be no template
	}
	require.NoError(t, admin.Exec("CREATE DATABASE source").Error)
	use("source")
	require.Eventually(t, func() bool { return admin.Exec("CREATE DATABASE restored TEMPLATE source").Error == nil }, 10*time.Second, 50*time.Millisecond)
	require.Empty(t, examine(t, open(t, at("source")), doctor.Options{}))
	restored := open(t, at("restored"))
	bad := examine(t, restored, doctor.Options{})
	require.Len(t, bad, 1)
	require.Contains(t, bad["epoch"].Message, "this is a restored dump")
	require.Contains(t, bad["epoch"].Remedy, "restart the application")
	use("restored")
	require.Empty(t, examine(t, restored, doctor.Options{}))
}

// A file that one may only read.
func TestReadOnlyFile(t *testing.T) {
	d := dbtest.SQLite(t)
	require.NoError(t, migrate.Up(t.Context(), d.Open(t), ""))
	u, err := url.Parse(d.URL)
	require.NoError(t, err)
	bad := examine(t, open(t, "file:"+u.Path+"?mode=ro"), doctor.Options{})
	require.Contains(t, bad["writing"].Message, "may read the file and not write to it")
	require.Contains(t, bad["writing"].Remedy, "let the user of the application write")
}

func TestOldTransactions(t *testing.T) {
	url := cluster(t, map[string]string{"max_prepared_transactions": "5"})
	db := open(t, url)
	require.NoError(t, migrate.Up(t.Context(), db, ""))
	stuck := open(t, url+"&application_name=forgotten")
	tx := stuck.Begin()
	require.NoError(t, tx.Exec("INSERT INTO _rhtmx_sync_meta VALUES ('a', 'b')").Error)
	require.NoError(t, db.Transaction(func(tx *gorm.DB) error {
		return tx.Exec("CREATE TABLE p (i int)").Error
	}))
	require.NoError(t, db.Connection(func(c *gorm.DB) error {
		for _, sql := range []string{"BEGIN", "INSERT INTO p VALUES (1)", "PREPARE TRANSACTION 'lost one'"} {
			if err := c.Exec(sql).Error; err != nil {
				return err
			}
		}
		return nil
	}))
	findings, err := doctor.Examine(t.Context(), db, doctor.Options{OldTransaction: time.Microsecond})
	require.NoError(t, err)
	var found []doctor.Finding
	for _, f := range findings {
		if f.Check == "transactions" {
			found = append(found, f)
		}
	}
	require.Len(t, found, 2)
	require.Contains(t, found[0].Message, `application "forgotten"`)
	require.Contains(t, found[1].Remedy, "ROLLBACK PREPARED 'lost one'")
	require.Empty(t, examine(t, db, doctor.Options{})) // neither is five minutes old
	remedy(t, db, found[0])
	require.Error(t, tx.Commit().Error)
	require.NoError(t, db.Exec("ROLLBACK PREPARED 'lost one'").Error)
	require.Empty(t, examine(t, db, doctor.Options{OldTransaction: time.Microsecond}))
}

func TestSQLite(t *testing.T) {
	d := dbtest.SQLite(t)
	db := d.Open(t)
	require.NoError(t, migrate.Up(t.Context(), db, ""))
	require.NoError(t, db.Exec("PRAGMA journal_mode = DELETE").Error)
	u, err := url.Parse(d.URL)
	require.NoError(t, err)
	impatient, err := gorm.Open(sqlite.Open("file:"+u.Path+"?_busy_timeout=1"), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	pool, err := impatient.DB()
	require.NoError(t, err)
	defer func() { require.NoError(t, pool.Close()) }()
	bad := examine(t, impatient, doctor.Options{})
	require.Len(t, bad, 1)
	require.Contains(t, bad["journal"].Remedy, "journal_mode = WAL")
	require.NoError(t, db.Exec("PRAGMA journal_mode = WAL").Error)

	require.NoError(t, db.Connection(func(c *gorm.DB) error {
		if err := c.Exec("BEGIN IMMEDIATE").Error; err != nil {
			return err
		}
		bad = examine(t, impatient, doctor.Options{})
		return c.WithContext(context.Background()).Exec("ROLLBACK").Error
	}))
	require.Contains(t, bad["writing"].Message, "nobody can write at present")
	require.Contains(t, bad["writing"].Remedy, "end its transaction")
	require.Empty(t, examine(t, impatient, doctor.Options{}))
}
