package gormsync_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/migrate"
	"github.com/rhtmx/gormsync/models"
)

// blocks are the blocks of a document in one language.
func blocks(t *testing.T, file, language string) (found []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, b := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		found = append(found, b[1])
	}
	return found
}

// The code of docs/listen-notify.md.
func TestListenNotifyDocument(t *testing.T) {
	d := dbtest.Postgres(t)
	db := d.Open(t)
	ctx := t.Context()
	check(db.AutoMigrate(&Note{}))
	sync, err := gormsync.New(gormsync.Config{
		Entities:  []gormsync.Entity{{Model: &Note{}}},
		ListenDSN: os.Getenv("LISTEN_DSN"), // empty: where the pool of db leads
	})
	check(err)
	check(db.Use(sync))
	check(sync.Start(ctx)) // fails within 5 s if the database cannot be read
	defer closeSoon(t, sync)
	app{db: db, sync: sync}.hears(t)

	status := sync.Status()
	fmt.Println(status.Mode, status.Reason)
	check(migrate.UpNotify(ctx, db, "")) // DownNotify removes it

	notes := make(chan string, 1)
	go func() {
		defer close(notes)
		for e, err := range sync.Changes().Follow(ctx, models.Cursor{}, "notes") {
			if err == nil {
				notes <- e.Row.EntityID
			}
			return
		}
	}()
	for _, sql := range blocks(t, "docs/listen-notify.md", "sql") {
		check(d.Open(t).Exec(sql).Error)
	}
	require.Equal(t, "n1", <-notes)
}

// The code of docs/supabase.md; TestListener has the poolers.
func TestSupabaseDocument(t *testing.T) {
	d := dbtest.Postgres(t)
	t.Setenv("DATABASE_URL", d.URL+"&default_query_exec_mode=exec")
	t.Setenv("DIRECT_URL", d.URL)
	check(d.Open(t).AutoMigrate(&Note{}))
	ctx := t.Context()
	db, err := gormsync.Open(os.Getenv("DATABASE_URL")) // the transaction pooler, with ?default_query_exec_mode=exec
	check(err)
	sync, err := gormsync.New(gormsync.Config{
		Entities:  []gormsync.Entity{{Model: &Note{}}},
		ListenDSN: os.Getenv("DIRECT_URL"), // direct, or the session pooler
	})
	check(err)
	check(db.Use(sync))
	check(sync.Start(ctx))
	app{db: db, sync: sync}.hears(t)
	end(db, sync)
}

// docs/postgresql.md: a role that owns its database can do everything, and so can
// one with just the rights that are granted there.
func TestPostgreSQLDocument(t *testing.T) {
	cluster, err := dbtest.StartCluster(dbtest.ClusterOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, cluster.Remove()) }()
	as := func(role, database string) *gorm.DB {
		db, err := gormsync.Open(strings.NewReplacer("postgres@", role+"@", "/postgres?", "/"+database+"?").Replace(cluster.URL()))
		require.NoError(t, err)
		t.Cleanup(func() {
			if pool, err := db.DB(); err == nil {
				_ = pool.Close()
			}
		})
		return db
	}
	sql := blocks(t, "docs/postgresql.md", "sql")
	require.Len(t, sql, 2)
	admin := as("postgres", "postgres")
	for statement := range strings.SplitSeq(strings.TrimSpace(sql[0]), "\n") { // CREATE DATABASE stands alone
		require.NoError(t, admin.Exec(statement).Error)
	}
	require.NoError(t, admin.Exec("CREATE ROLE todo_writer LOGIN").Error)
	owner := as("todo_app", "todo")
	require.NoError(t, owner.AutoMigrate(&Note{}))
	worksAs(t, owner, gormsync.Config{})
	require.NoError(t, owner.Exec(sql[1]).Error)
	require.NoError(t, owner.Exec("GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO todo_writer").Error)
	worksAs(t, as("todo_writer", "todo"), gormsync.Config{SkipMigrate: true})
}

// worksAs does with a connection whatever a plugin does.
func worksAs(t *testing.T, db *gorm.DB, cfg gormsync.Config) {
	t.Helper()
	cfg.Entities = []gormsync.Entity{{Model: &Note{}, FieldLog: true}}
	sync, err := gormsync.New(cfg)
	require.NoError(t, err)
	require.NoError(t, db.Use(sync))
	app{db: db, sync: sync}.hears(t)
	defer closeSoon(t, sync)
	require.NoError(t, db.Save(&Note{ID: "n1", Text: "hello"}).Error)
	require.NoError(t, db.Model(&Note{ID: "n1"}).Update("text", "bye").Error)
	_, err = sync.Cleanup(t.Context(), time.Nanosecond)
	require.NoError(t, err)
	require.NoError(t, db.Delete(&Note{ID: "n1"}).Error)
}

func closeSoon(t *testing.T, sync *gormsync.Plugin) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, sync.Close(ctx))
}
