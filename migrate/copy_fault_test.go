package migrate_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
)

// A value that does not fit, and one that arrives as another, are named with their
// table, row and column.
func TestCopyNamesRows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source, target, value string
		want                  []string // in the error; none where the value is the same on both sides
	}{
		"NUL":            {"text", "text", `'a' || char(0) || 'b'`, []string{"copying things: the row with id = 'k2': its column v has a NUL (byte 0) at place 2"}},
		"no UTF-8":       {"text", "text", `CAST(x'61ff' AS text)`, []string{"the row with id = 'k2': its column v is no UTF-8"}},
		"too long":       {"text", "varchar(3)", `'abcdef'`, []string{"the row with id = 'k2'", "value too long", "COPY things, line 2, column v"}},
		"no number":      {"integer", "bigint", `'word'`, []string{"the row with id = 'k2'", "invalid input syntax", "column v"}},
		"NULL":           {"text", "text NOT NULL", `NULL`, []string{"the row with id = 'k2'", "null value in column"}},
		"cut digits":     {"text", "numeric(6,2)", `'1.555'`, []string{`differ between source and target in v (numeric), the row with id = "k2" for one: its v is "1.555" in the source and "1.56" in the target`, "keeps less than SQLite has"}},
		"infinity":       {"real", "numeric", `9e999`, nil},
		"minus infinity": {"real", "numeric", `-9e999`, nil},
		"an exponent":    {"text", "numeric(6,2)", `'1e3'`, nil},
		"bytes":          {"blob", "bytea", `x'00ff'`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := dbtest.SQLite(t).Open(t), dbtest.Postgres(t).Open(t)
			require.NoError(t, migrate.Up(t.Context(), src, ""))
			require.NoError(t, src.Exec("CREATE TABLE things (id text PRIMARY KEY, v "+c.source+")").Error)
			require.NoError(t, dst.Exec("CREATE TABLE things (id text PRIMARY KEY, v "+c.target+")").Error)
			one := map[string]string{"integer": "1", "real": "1.5", "blob": "x'01'"}[c.source]
			if one == "" {
				one = "'1'"
			}
			require.NoError(t, src.Exec("INSERT INTO things VALUES ('k1', "+one+"), ('k2', "+c.value+"), ('k3', "+one+")").Error)
			copier := migrate.Copier{Tables: []string{"things"}}
			_, err := copier.Copy(t.Context(), src, dst)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
			require.NoError(t, src.Exec("UPDATE things SET v = "+one).Error) // the remedy
			copier.Restart = name == "cut digits"
			_, err = copier.Copy(t.Context(), src, dst)
			require.NoError(t, err)
		})
	}
}

// Values that have changed places between rows sum up to the same in each column.
func TestCopyFindsSwaps(t *testing.T) {
	t.Parallel()
	src, dst := dbtest.SQLite(t).Open(t), dbtest.Postgres(t).Open(t)
	require.NoError(t, migrate.Up(t.Context(), src, ""))
	for _, sql := range []string{"CREATE TABLE things (a text, b text)", "INSERT INTO things VALUES ('1', 'x'), ('2', 'y')"} {
		require.NoError(t, src.Exec(sql).Error)
	}
	require.NoError(t, dst.Exec("CREATE TABLE things (a text, b text)").Error)
	_, err := migrate.Copier{Tables: []string{"things"}, Progress: func(p migrate.CopyProgress) {
		if p.Table == "things" && p.Done == 2 && p.Step == "copy" {
			require.NoError(t, dst.Exec("UPDATE things SET b = CASE b WHEN 'x' THEN 'y' ELSE 'x' END").Error)
		}
	}}.Copy(t.Context(), src, dst)
	require.ErrorContains(t, err, "values have changed places between rows")
}

// Rows that break a foreign key are named.
func TestCopyBrokenKey(t *testing.T) {
	t.Parallel()
	src, dst := dbtest.SQLite(t).Open(t), dbtest.Postgres(t).Open(t)
	require.NoError(t, src.AutoMigrate(&Kinds{}, &Pair{}))
	copyLog(t, src)
	require.NoError(t, src.Create(kindsRows()).Error)
	require.NoError(t, src.Model(&Kinds{ID: 1}).Update("parent_id", 99).Error)
	_, err := migrate.Copy(t.Context(), src, dst, &Kinds{}, &Pair{})
	require.ErrorContains(t, err, `the rows of kinds break the foreign key fk_kinds_parent: Key (parent_id)=(99) is not present in table "kinds"`)
	require.ErrorContains(t, err, "PRAGMA foreign_key_check")
	require.NoError(t, src.Model(&Kinds{ID: 1}).Update("parent_id", nil).Error)
	_, err = migrate.Copier{Restart: true}.Copy(t.Context(), src, dst, &Kinds{}, &Pair{})
	require.NoError(t, err)
}

// A pooler that shares out its connections is refused, and nothing is left on them;
// one that lends a connection for a session will do.
func TestCopyThroughPoolers(t *testing.T) {
	t.Parallel()
	cluster, err := dbtest.StartCluster(dbtest.ClusterOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cluster.Remove()) })
	src := dbtest.SQLite(t).Open(t)
	require.NoError(t, src.AutoMigrate(&Pair{}))
	require.NoError(t, migrate.Up(t.Context(), src, ""))
	require.NoError(t, src.Create([]Pair{{"a", 1, "x"}, {"b", 2, "y"}}).Error)
	open := func(url string) *gorm.DB {
		db, err := gorm.Open(postgres.Open(url), &gorm.Config{Logger: logger.Discard})
		require.NoError(t, err)
		pool, err := db.DB()
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, pool.Close()) })
		return db
	}
	direct := open(cluster.URL())
	pooled := open(dbtest.PgBouncer(t, cluster.URL(), "transaction") + "&default_query_exec_mode=exec")
	_, err = migrate.Copy(t.Context(), src, pooled, &Pair{})
	require.ErrorContains(t, err, "a transaction pooler stands before the target")
	var locks int
	require.NoError(t, direct.Raw("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").Scan(&locks).Error)
	require.Zero(t, locks)
	_, err = migrate.Copy(t.Context(), src, open(dbtest.PgBouncer(t, cluster.URL(), "session")), &Pair{})
	require.NoError(t, err)
}
