package gormsync_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
)

func TestVersionOfAndStale(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		require.NoError(t, a.db.Create(&Todo{ID: "a", Title: "milk"}).Error)
		require.NoError(t, a.db.Create(&Todo{ID: "b", Title: "eggs"}).Error)
		todo := Todo{ID: "a"}
		version, err := gormsync.VersionOf(a.db, &todo)
		require.NoError(t, err)
		require.Positive(t, version)
		require.NoError(t, a.db.First(&todo).Error)
		bound := a.db.WithContext(gormsync.WithBase(context.Background(), &todo, version))

		require.NoError(t, bound.Model(&Todo{ID: "b"}).Update("title", "two eggs").Error, "other rows are not bound")
		require.NoError(t, bound.Model(&todo).Update("title", "oat milk").Error)
		require.ErrorIs(t, bound.Model(&todo).Update("title", "soy milk").Error, gormsync.ErrStale, "the first change was the second's undoing")
		todo.Title = "rice milk"
		require.ErrorIs(t, bound.Save(&todo).Error, gormsync.ErrStale)
		require.ErrorIs(t, bound.Delete(&todo).Error, gormsync.ErrStale)
		require.ErrorIs(t, a.db.Transaction(func(tx *gorm.DB) error {
			_ = tx.WithContext(bound.Statement.Context).Save(&todo).Error // an application that does not look
			return nil
		}), gormsync.ErrStale)
		require.NoError(t, a.db.First(&todo, "id = ?", "a").Error)
		require.Equal(t, "oat milk", todo.Title)

		version, err = gormsync.VersionOf(a.db, &todo)
		require.NoError(t, err)
		require.NoError(t, a.db.Delete(&todo).Error)
		bound = a.db.WithContext(gormsync.WithBase(context.Background(), &todo, version))
		require.ErrorIs(t, bound.Model(&todo).Update("title", "tea").Error, gormsync.ErrStale, "the row went")
		require.ErrorIs(t, bound.Save(&todo).Error, gormsync.ErrStale, "and must not come back")
		var count int64
		require.NoError(t, a.db.Model(&Todo{}).Count(&count).Error)
		require.EqualValues(t, 1, count)

		fresh, err := gormsync.VersionOf(a.db, &Todo{ID: "never"})
		require.NoError(t, err)
		require.Zero(t, fresh)
		_, err = gormsync.VersionOf(a.db, &Stranger{})
		require.ErrorContains(t, err, "is not tracked")
		_, err = gormsync.VersionOf(d.Open(t), &todo)
		require.ErrorContains(t, err, "call db.Use(sync) first")
	})
}

// A row that a condition or a trigger leaves out is not one that somebody changed.
func TestStaleIsNotWhatMatchesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		keep := `CREATE TRIGGER keep BEFORE UPDATE ON todos WHEN NEW.title = 'keep' BEGIN SELECT RAISE(IGNORE); END`
		if d.Dialect == "postgres" {
			keep = `CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.title = 'keep' THEN RETURN NULL; END IF; RETURN NEW; END $$;
CREATE TRIGGER keep BEFORE UPDATE ON todos FOR EACH ROW EXECUTE FUNCTION keep()`
		}
		pool, err := a.db.DB()
		require.NoError(t, err)
		_, err = pool.ExecContext(t.Context(), keep)
		require.NoError(t, err)
		todo := Todo{ID: "a", Title: "t"}
		require.NoError(t, a.db.Create(&todo).Error)
		version, err := gormsync.VersionOf(a.db, &todo)
		require.NoError(t, err)
		bound := a.db.WithContext(gormsync.WithBase(context.Background(), &todo, version))
		for what, res := range map[string]*gorm.DB{
			"a condition": bound.Model(&todo).Where("title = ?", "other").Update("title", "u"),
			"a trigger":   bound.Model(&todo).Update("title", "keep"),
			"a delete":    bound.Where("title = ?", "other").Delete(&todo),
		} {
			require.NoError(t, res.Error, what)
			require.Zero(t, res.RowsAffected, what)
		}
		require.NoError(t, a.db.Model(&Todo{ID: "a"}).Update("title", "v").Error)
		require.ErrorIs(t, bound.Model(&todo).Where("title = ?", "other").Update("title", "u").Error, gormsync.ErrStale, "whether or not it matches")
		require.NoError(t, a.db.Exec("DELETE FROM todos").Error)
		require.ErrorIs(t, bound.Model(&todo).Update("title", "u").Error, gormsync.ErrStale, "it went, whoever deleted it")
	})
}

// Several rows are bound, each to its own version, also where the change is to be in
// no log.
func TestStaleOfSeveralRows(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		a := start(t, d, nil)
		rows := []Todo{{ID: "a"}, {ID: "b"}, {ID: "c"}}
		require.NoError(t, a.db.Create(&rows).Error)
		bind := func(ctx context.Context, id string) context.Context {
			version, err := gormsync.VersionOf(a.db, &Todo{ID: id})
			require.NoError(t, err)
			return gormsync.WithBase(ctx, &Todo{ID: id}, version)
		}
		ctx := bind(bind(bind(context.Background(), "a"), "b"), "c")
		require.NoError(t, a.db.Model(&Todo{ID: "b"}).Update("title", "elsewhere").Error)
		for _, ctx := range []context.Context{ctx, gormsync.Untracked(ctx)} {
			bound := a.db.WithContext(ctx)
			require.ErrorIs(t, bound.Model(&Todo{ID: "b"}).Update("title", "x").Error, gormsync.ErrStale, "not the last one that was bound")
			require.ErrorIs(t, bound.Delete(&Todo{ID: "b"}).Error, gormsync.ErrStale)
			require.ErrorIs(t, bound.Model(&Todo{}).Where("1 = 1").Update("title", "all").Error, gormsync.ErrStale)
			require.ErrorIs(t, bound.Transaction(func(tx *gorm.DB) error {
				_ = tx.Model(&Todo{ID: "b"}).Update("title", "x").Error // an application that does not look
				return tx.Model(&Todo{ID: "a"}).Update("title", "x").Error
			}), gormsync.ErrStale)
		}
		var titles []string
		require.NoError(t, a.db.Model(&Todo{}).Order("id").Pluck("title", &titles).Error)
		require.Equal(t, []string{"", "elsewhere", ""}, titles)

		newest, err := gormsync.VersionOf(a.db, &Todo{ID: "b"})
		require.NoError(t, err)
		again := bind(ctx, "b")
		require.NoError(t, a.db.WithContext(gormsync.Untracked(again)).Model(&Todo{}).Where("1 = 1").Update("title", "all").Error, "the last base of a row counts")
		after, err := gormsync.VersionOf(a.db, &Todo{ID: "b"})
		require.NoError(t, err)
		require.Equal(t, newest, after, "it is in no log")
		require.NoError(t, a.db.WithContext(again).Delete(&rows).Error)
	})
}

// A Stranger is in no configuration.
type Stranger struct{ ID int }

func TestStrategiesAreChecked(t *testing.T) {
	refused := func(e gormsync.Entity, why string) {
		t.Helper()
		e.Model = &Todo{}
		db, err := gormsync.Open("sqlite::memory:")
		require.NoError(t, err)
		plugin, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{e}})
		require.NoError(t, err)
		require.ErrorContains(t, db.Use(plugin), why)
		pool, err := db.DB()
		require.NoError(t, err)
		require.NoError(t, pool.Close())
	}
	refused(gormsync.Entity{Strategy: "first_wins"}, `the strategy "first_wins", which is none`)
	refused(gormsync.Entity{FieldStrategy: map[string]gormsync.Strategy{"title": "custom"}}, `the strategy "custom", which is none`)
	refused(gormsync.Entity{FieldStrategy: map[string]gormsync.Strategy{"nothing": gormsync.ServerWins}}, "no column that clients see")
	refused(gormsync.Entity{Resolve: map[string]func(gormsync.Conflict) (any, error){"token": nil}}, "no column that clients see")
	_, err := gormsync.New(gormsync.Config{Entities: []gormsync.Entity{{Model: &Todo{}}}, MutationRetention: -2})
	require.ErrorContains(t, err, "Config.MutationRetention")
}
