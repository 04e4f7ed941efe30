package trackers_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// vault has a column hidden in each of the ways there are.
type vault struct {
	ID       int64 `gorm:"primaryKey"`
	Name     string
	Password string `json:"-"`
	PINCode  string `gorm:"->:false;<-"`
	Blood    string
	Owner    string
	Gone     gorm.DeletedAt `json:"-"`
}

var vaults = trackers.Entity{Model: &vault{}, FieldLog: true, Hide: []string{"blood", "Owner"}, Scope: "owner"}

func newVault() *vault {
	return &vault{ID: 1, Name: "n1", Password: "secret-pw", PINCode: "secret-pin", Blood: "secret-blood", Owner: "team"}
}

// noSecrets looks for hidden names and values in all that is in the log tables.
// (The scope is the one hidden value that has a column of its own there.)
func (f fixture) noSecrets(t *testing.T, words ...string) {
	t.Helper()
	for _, table := range []string{"_rhtmx_sync_log", "_rhtmx_field_sync_log"} {
		for _, row := range contents(t, f.plain, table) {
			for _, word := range words {
				require.NotContains(t, strings.ToLower(row), word)
			}
		}
	}
}

func TestCaptureHidden(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newTwins(t, d, []trackers.Entity{vaults}, gorm.Config{})
		w.run(t, []step{
			{name: "create", do: func(db *gorm.DB) any {
				v := newVault()
				return saw(db.Create(v), v)
			}, want: []string{`vaults create 1 {"id":1,"name":"n1"} | name`}},
			{name: "update of what is hidden", do: func(db *gorm.DB) any {
				return saw(db.Model(&vault{ID: 1}).Updates(vault{Password: "secret-2", PINCode: "secret-3", Blood: "secret-4"}))
			}},
			{name: "update of both", do: func(db *gorm.DB) any {
				return saw(db.Model(&vault{ID: 1}).Updates(map[string]any{"name": "n2", "password": "secret-5", "pin_code": "secret-6", "blood": "secret-7"}))
			}, want: []string{`vaults update 1 {"id":1,"name":"n2"} | name`}},
			{name: "hidden scope", do: func(db *gorm.DB) any { return saw(db.Model(&vault{ID: 1}).Update("owner", "other")) },
				want: []string{"vaults leave 1 null | -name", `vaults enter 1 {"id":1,"name":"n2"} | name`}},
			{name: "save as it is", do: func(db *gorm.DB) any {
				var v vault
				first := saw(db.First(&v))
				return []any{first, v, saw(db.Save(&v))}
			}},
			{name: "soft delete", do: func(db *gorm.DB) any { return saw(db.Delete(&vault{ID: 1})) }, want: []string{"vaults delete 1 null | -name"}},
			{name: "hard delete", do: func(db *gorm.DB) any { return saw(db.Unscoped().Delete(&vault{ID: 1})) }, want: []string{"vaults delete 1 null | -name"}},
			{name: "by its table", do: func(db *gorm.DB) any {
				return saw(db.Table("vaults").Create(map[string]any{"id": 2, "name": "n3", "password": "secret-8", "pin_code": "secret-9", "blood": "secret-10", "owner": "x"}))
			}, want: []string{`vaults create 2 {"id":2,"name":"n3"} | name`}},
		})
		w.noSecrets(t, "secret", "password", "pin", "blood", "owner", "gone")
	})
}

func TestCaptureHideErrors(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, []trackers.Entity{{Model: &place{}}})
		for _, e := range []trackers.Entity{
			{Model: &vault{}, Hide: []string{"nothing"}}, {Model: &vault{}, Scope: "nothing"}, {Model: &person{}, Hide: []string{"Pets"}},
		} {
			_, err := trackers.NewLog(t.Context(), f.db, trackers.Config{Entities: []trackers.Entity{e}})
			require.ErrorContains(t, err, "which is no column of")
		}
	})
}

// wide and narrow are two ages of one model: the table may be older or newer
// than the program.
type narrow struct {
	ID   int64 `gorm:"primaryKey"`
	Name string
}

func (narrow) TableName() string { return "ages" }

type wide struct {
	ID    int64 `gorm:"primaryKey"`
	Name  string
	Extra *string
}

func (wide) TableName() string { return "ages" }
func (*wide) Made()            {}

// A model may lack columns of the table and the table may lack columns of the model.
func TestCaptureColumns(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newTwins(t, d, []trackers.Entity{{Model: &narrow{}, FieldLog: true}}, gorm.Config{}, func(db *gorm.DB) error { return db.AutoMigrate(&wide{}) })
		w.run(t, []step{
			{name: "a column without a field", do: func(db *gorm.DB) any {
				return []any{
					saw(db.Create(&narrow{ID: 1, Name: "a"})), saw(db.Model(&wide{ID: 1}).Update("extra", "x")), saw(db.Create(&wide{ID: 2, Extra: ptr("y")})),
					saw(db.Model(&narrow{ID: 2}).Update("name", "b")), saw(db.Delete(&wide{ID: 1})),
				}
			}, want: []string{
				`ages create 1 {"id":1,"name":"a"} | name`, `ages create 2 {"id":2,"name":""} | name`, `ages update 2 {"id":2,"name":"b"} | name`, "ages delete 1 null | -name",
			}},
		})
	})
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newTwins(t, d, []trackers.Entity{{Model: &wide{}, FieldLog: true}}, gorm.Config{}, func(db *gorm.DB) error { return db.AutoMigrate(&narrow{}) })
		w.run(t, []step{
			{name: "a field without a column", do: func(db *gorm.DB) any {
				return []any{
					saw(db.Create(&narrow{ID: 1, Name: "a"})), saw(db.Omit("Extra").Create(&wide{ID: 2, Name: "b"})), saw(db.Create(&wide{ID: 3})),
					saw(db.Model(&wide{ID: 1}).Update("name", "c")), saw(db.Delete(&wide{ID: 1})),
				}
			}, want: []string{
				`ages create 1 {"id":1,"name":"a"} | name`, `ages create 2 {"id":2,"name":"b"} | name`, `ages update 1 {"id":1,"name":"c"} | name`, "ages delete 1 null | -name",
			}},
		})
	})
}

// Columns come and go while the program runs.
func TestCaptureAlterTable(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]gorm.Config{"plain": {}, "PrepareStmt": {PrepareStmt: true}} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				set := func(db *gorm.DB, fields map[string]any) any { return saw(db.Model(&wide{ID: 1}).Updates(fields)) }
				add := func(db *gorm.DB) any { return saw(db.Exec("ALTER TABLE ages ADD COLUMN extra text DEFAULT 'd'")) }
				drop := func(db *gorm.DB) any { return saw(db.Exec("ALTER TABLE ages DROP COLUMN extra")) }
				w := newTwins(t, d, []trackers.Entity{{Model: &wide{}}}, cfg, func(db *gorm.DB) error { return db.AutoMigrate(&narrow{}) })
				w.run(t, []step{
					{name: "before", do: func(db *gorm.DB) any { return saw(db.Create(&narrow{ID: 1, Name: "a"})) }, want: []string{`ages create 1 {"id":1,"name":"a"}`}},
					{name: "ADD COLUMN", do: func(db *gorm.DB) any { return []any{add(db), set(db, map[string]any{"name": "b"})} },
						want: []string{`ages update 1 {"extra":"d","id":1,"name":"b"}`}},
					{name: "the new column", do: func(db *gorm.DB) any { return set(db, map[string]any{"extra": "x"}) }, want: []string{`ages update 1 {"extra":"x","id":1,"name":"b"}`}},
					{name: "DROP COLUMN", do: func(db *gorm.DB) any { return []any{drop(db), set(db, map[string]any{"name": "c"})} },
						want: []string{`ages update 1 {"id":1,"name":"c"}`}},
					{name: "in a transaction that is rolled back", do: func(db *gorm.DB) any {
						tx := db.Begin()
						inside := []any{add(tx), set(tx, map[string]any{"name": "d"}), saw(tx.Rollback())}
						return append(inside, set(db, map[string]any{"name": "e"}))
					}, want: []string{`ages update 1 {"id":1,"name":"e"}`}},
					{name: "in a part that is rolled back", do: func(db *gorm.DB) any {
						tx := db.Begin()
						return []any{
							saw(tx.SavePoint("a")), add(tx), set(tx, map[string]any{"extra": "y"}), saw(tx.RollbackTo("a")), set(tx, map[string]any{"name": "f"}), saw(tx.Commit()),
						}
					}, want: []string{`ages update 1 {"id":1,"name":"f"}`}},
					{name: "the migrator", do: func(db *gorm.DB) any {
						return []any{errorText(db.Migrator().AddColumn(&wide{}, "Extra")), set(db, map[string]any{"extra": "z"}), errorText(db.AutoMigrate(&wide{}))}
					}, want: []string{`ages update 1 {"extra":"z","id":1,"name":"f"}`}},
				})
			})
		})
	}
}

// Another program changes the table: the next statements work, as they would
// without gormsync, and log what is there.
func TestCaptureAlterTableElsewhere(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newTwins(t, d, []trackers.Entity{{Model: &wide{}}}, gorm.Config{}, func(db *gorm.DB) error { return db.AutoMigrate(&narrow{}) })
		elsewhere := func(sql string) {
			require.NoError(t, w.plain.Exec(sql).Error)
			require.NoError(t, w.peek.Exec(sql).Error)
		}
		w.run(t, []step{{name: "before", do: func(db *gorm.DB) any { return saw(db.Create(&narrow{ID: 1, Name: "a"})) }, want: []string{`ages create 1 {"id":1,"name":"a"}`}}})
		elsewhere("ALTER TABLE ages ADD COLUMN extra text DEFAULT 'd'")
		w.run(t, []step{
			{name: "after ADD", do: func(db *gorm.DB) any { return saw(db.Model(&wide{ID: 1}).Update("extra", "x")) }, want: []string{`ages update 1 {"extra":"x","id":1,"name":"a"}`}},
		})
		elsewhere("ALTER TABLE ages DROP COLUMN extra")
		update := func() error { return w.db.Table("ages").Where("id = 1").Update("name", "b").Error }
		if update() != nil { // it named the column once more, as the application's own may
			require.NoError(t, update())
		}
		require.Equal(t, []string{`ages update 1 {"id":1,"name":"b"}`}, w.take(t))
	})
}

// A connection that has not looked at the table since another one changed it.
func TestCaptureAlterTableOtherConnection(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		require.NoError(t, db.AutoMigrate(&narrow{}))
		f := attach(t, d, db, trackers.Config{Entities: []trackers.Entity{{Model: &wide{}}}})
		require.NoError(t, db.Connection(func(one *gorm.DB) error {
			require.NoError(t, db.Create(&narrow{ID: 1, Name: "a"}).Error) // on a second one
			require.NoError(t, one.Exec("ALTER TABLE ages ADD COLUMN extra text DEFAULT 'd'").Error)
			require.NoError(t, db.Model(&wide{ID: 1}).Update("name", "b").Error)
			return db.Model(&wide{ID: 1}).Update("extra", "x").Error
		}))
		require.Equal(t, []string{
			`ages create 1 {"id":1,"name":"a"}`, `ages update 1 {"extra":"d","id":1,"name":"b"}`, `ages update 1 {"extra":"x","id":1,"name":"b"}`,
		}, f.take(t))
	})
}

// A table that is made, dropped and made again in the life of a log.
func TestCaptureTableComesAndGoes(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t)
		f := attach(t, d, db, trackers.Config{Entities: []trackers.Entity{{Model: &place{}}}})
		require.Error(t, db.Create(&place{Code: "a"}).Error)
		require.NoError(t, db.AutoMigrate(&place{}))
		require.NoError(t, db.Create(&place{Code: "b"}).Error)
		require.NoError(t, db.Migrator().DropTable(&place{}))
		require.Error(t, db.WithContext(context.Background()).Create(&place{Code: "c"}).Error)
		require.NoError(t, db.Exec("CREATE TABLE places (name text, code text PRIMARY KEY)").Error)
		require.NoError(t, db.Create(&place{Code: "d"}).Error)
		require.Equal(t, []string{`places create b {"code":"b","name":""}`, `places create d {"code":"d","name":""}`}, f.take(t))
		require.Equal(t, models.JSON(`{"name":"","code":"d"}`), f.changeRows(t)[1].Data, "the table's order")
		f.unchecked() // dropping a table deletes no rows
	})
}
