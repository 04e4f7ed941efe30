package trackers_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

var errStop = errors.New("stop")

func placeLine(code string) string {
	return `places create ` + code + ` {"code":"` + code + `","name":""} | name`
}

// modes are the ways to open a database that change how GORM runs a statement.
var modes = map[string]gorm.Config{
	"plain":                                  {},
	"PrepareStmt":                            {PrepareStmt: true},
	"SkipDefaultTransaction":                 {SkipDefaultTransaction: true},
	"PrepareStmt and SkipDefaultTransaction": {PrepareStmt: true, SkipDefaultTransaction: true},
}

// mode is one of them, in a subtest with a database of its own.
type mode struct {
	t   *testing.T
	d   *dbtest.DB
	cfg gorm.Config
}

// eachMode runs fn for every mode on both databases.
func eachMode(t *testing.T, fn func(mode)) {
	t.Helper()
	for name, cfg := range modes {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) { fn(mode{t, d, cfg}) })
		})
	}
}

// What rolls back is in no log, be it a transaction or the part of one.
func TestCaptureTransactions(t *testing.T) {
	t.Parallel()
	create := func(db *gorm.DB, code string) any { return saw(db.Create(&place{Code: code})) }
	eachMode(t, func(m mode) {
		t, d, cfg := m.t, m.d, m.cfg
		newTwins(t, d, itemsAndPlaces, cfg).run(t, []step{
			{name: "nested", do: func(db *gorm.DB) any {
				return errorText(db.Transaction(func(tx *gorm.DB) error {
					create(tx, "a")
					inner := tx.Transaction(func(tx *gorm.DB) error {
						create(tx, "b")
						deeper := tx.Transaction(func(tx *gorm.DB) error { return tx.Create(&place{Code: "c"}).Error })
						return errors.Join(deeper, errStop)
					})
					create(tx, "d")
					return errors.Join(tx.Transaction(func(tx *gorm.DB) error { return tx.Create(&place{Code: "e"}).Error }), ignore(inner, errStop))
				}))
			}, want: []string{placeLine("a"), placeLine("d"), placeLine("e")}},
			{name: "rolled back", do: func(db *gorm.DB) any {
				return errorText(db.Transaction(func(tx *gorm.DB) error {
					create(tx, "x")
					return errStop
				}))
			}},
			{name: "panic", do: func(db *gorm.DB) (seen any) {
				defer func() { seen = recover() }()
				return db.Transaction(func(tx *gorm.DB) error {
					create(tx, "x")
					panic("stop")
				})
			}},
			{name: "SavePoint", do: func(db *gorm.DB) any {
				tx := db.Begin()
				seen := []any{create(tx, "f"), saw(tx.SavePoint("one")), create(tx, "g"), saw(tx.SavePoint("two")), create(tx, "h"), saw(tx.RollbackTo("two")),
					create(tx, "i"), saw(tx.RollbackTo("one")), create(tx, "j"), saw(tx.RollbackTo("one")), create(tx, "k")}
				return append(seen, saw(tx.Commit()))
			}, want: []string{placeLine("f"), placeLine("k")}},
			{name: "raw savepoints", do: func(db *gorm.DB) any {
				tx := db.Begin()
				seen := []any{}
				for _, sql := range []string{"SAVEPOINT a", "", "savepoint \"B\";", "", "ROLLBACK TO SAVEPOINT \"B\"", "", "RELEASE a", "", "SAVEPOINT c", "", "rollback transaction to c"} {
					if sql == "" {
						seen = append(seen, create(tx, "l"+string(rune('a'+len(seen)))))
					} else {
						seen = append(seen, saw(tx.Exec(sql)))
					}
				}
				return append(seen, saw(tx.Commit()))
			}, want: []string{placeLine("lb"), placeLine("lf"), placeLine("lh")}},
			{name: "a failing statement inside", do: func(db *gorm.DB) any {
				return errorText(db.Transaction(func(tx *gorm.DB) error {
					create(tx, "m")
					inner := tx.Transaction(func(tx *gorm.DB) error { return tx.Create(&[]place{{Code: "n"}, {Code: "m"}}).Error })
					create(tx, "o")
					if inner == nil {
						return errStop
					}
					return nil
				}))
			}, want: []string{placeLine("m"), placeLine("o")}},
			{name: "a failing statement alone", do: func(db *gorm.DB) any { return saw(db.Create(&[]place{{Code: "p"}, {Code: "o"}})) }},
			{name: "DisableNestedTransaction", do: func(db *gorm.DB) any {
				return errorText(db.Session(&gorm.Session{DisableNestedTransaction: true}).Transaction(func(tx *gorm.DB) error {
					inner := tx.Transaction(func(tx *gorm.DB) error {
						create(tx, "q")
						return errStop
					})
					return ignore(inner, errStop)
				}))
			}, want: []string{placeLine("q")}},
			{name: "after the commit", do: func(db *gorm.DB) any {
				tx := db.Begin()
				return []any{create(tx, "r"), saw(tx.Commit()), create(tx, "s"), saw(tx.Rollback())}
			}, want: []string{placeLine("r")}},
		})
	})
}

func ignore(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// The session's own ways of running statements.
func TestCaptureSessions(t *testing.T) {
	t.Parallel()
	eachMode(t, func(m mode) {
		t, d, cfg := m.t, m.d, m.cfg
		newTwins(t, d, itemsAndPlaces, cfg).run(t, []step{
			{name: "PrepareStmt", do: func(db *gorm.DB) any {
				s := db.Session(&gorm.Session{PrepareStmt: true})
				v := item{Name: "a"}
				return []any{saw(s.Create(&v), v), saw(s.Model(&v).Update("name", "b"), v), saw(s.Model(&v).Update("name", "c"), v), saw(s.Delete(&v), v)}
			}, want: []string{created(1, "a"), itemLine("update", 1, "b", "name"), itemLine("update", 1, "c", "name"), "items delete 1 null | -kind -name -updated_at"}},
			{name: "PrepareStmt in a transaction", do: func(db *gorm.DB) any {
				return errorText(db.Transaction(func(tx *gorm.DB) error {
					return tx.Session(&gorm.Session{PrepareStmt: true}).Create(&place{Code: "a"}).Error
				}))
			}, want: []string{placeLine("a")}},
			{name: "SkipDefaultTransaction", do: func(db *gorm.DB) any {
				s := db.Session(&gorm.Session{SkipDefaultTransaction: true})
				v := place{Code: "b"}
				return []any{saw(s.Create(&v)), saw(s.Model(&v).Update("name", "B"), v), saw(s.Create(&[]place{{Code: "x"}, {Code: "b"}})), saw(s.Delete(&v))}
			}, want: []string{placeLine("b"), `places update b {"code":"b","name":"B"} | name`, "places delete b null | -name"}},
			{name: "SkipDefaultTransaction in a transaction", do: func(db *gorm.DB) any {
				tx := db.Session(&gorm.Session{SkipDefaultTransaction: true}).Begin()
				return []any{saw(tx.Create(&place{Code: "c"})), saw(tx.Rollback())}
			}},
			{name: "DryRun", do: func(db *gorm.DB) any {
				s := db.Session(&gorm.Session{DryRun: true})
				v := item{Name: "dry"}
				res := s.Create(&v)
				return []any{saw(res, v), res.Statement.SQL.String(), saw(s.Model(&item{ID: 1}).Update("name", "x")), saw(s.Delete(&item{ID: 1}))}
			}},
			{name: "ToSQL", do: func(db *gorm.DB) any {
				return db.ToSQL(func(tx *gorm.DB) *gorm.DB { return tx.Model(&place{Code: "a"}).Update("name", "x") })
			}},
			{name: "Connection", do: func(db *gorm.DB) any {
				return errorText(db.Connection(func(c *gorm.DB) error {
					if err := c.Create(&place{Code: "d"}).Error; err != nil {
						return err
					}
					return c.Transaction(func(tx *gorm.DB) error { return tx.Create(&place{Code: "e"}).Error })
				}))
			}, want: []string{placeLine("d"), placeLine("e")}},
			{name: "cancelled", do: func(db *gorm.DB) any {
				ctx, cancel := context.WithCancel(context.Background())
				tx := db.WithContext(ctx).Begin()
				first := saw(tx.Create(&place{Code: "f"}))
				cancel()
				second := tx.Create(&place{Code: "g"}).Error
				return []any{first, second != nil, tx.Commit().Error != nil}
			}},
			{name: "cancelled before", do: func(db *gorm.DB) any {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				// GORM does not log what it does not come to, as when BEGIN fails.
				s := db.Session(&gorm.Session{Context: ctx, Logger: logger.Discard})
				return []any{errorText(s.Create(&place{Code: "g"}).Error), errorText(s.Model(&place{Code: "a"}).Update("name", "x").Error), errorText(s.Delete(&place{Code: "a"}).Error)}
			}},
		})
	})
}

// The cache of prepared statements belongs to the application: one for each of
// its statements.
func TestCapturePreparedStatements(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]gorm.Config{"default": {PrepareStmt: true}, "SkipDefaultTransaction": {PrepareStmt: true, SkipDefaultTransaction: true}} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				w := newTwins(t, d, itemsAndPlaces, cfg)
				cached := func(db *gorm.DB) []string {
					prepared, ok := db.ConnPool.(*gorm.PreparedStmtDB)
					require.True(t, ok)
					return prepared.Stmts.Keys()
				}
				for _, db := range []*gorm.DB{w.db, w.other} {
					db.ConnPool.(*gorm.PreparedStmtDB).Close()
					v := item{Name: "a"}
					require.NoError(t, db.Create(&v).Error)
					require.NoError(t, db.Model(&v).Update("name", "b").Error)
					require.NoError(t, db.Model(&v).Update("name", "c").Error)
					require.NoError(t, db.Save(&place{Code: "x"}).Error)
					require.NoError(t, db.Delete(&v).Error)
				}
				require.Len(t, w.take(t), 5)
				got := cached(w.db)
				for _, sql := range got {
					require.NotContains(t, sql, "_rhtmx_")
				}
				require.Len(t, got, len(cached(w.other)), "%q", got)
			})
		})
	}
}

// Statements that were prepared before gormsync came, or while it is there, live
// side by side.
func TestCapturePreparedBefore(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db := d.Open(t, &gorm.Config{PrepareStmt: true})
		require.NoError(t, db.AutoMigrate(&item{}))
		require.NoError(t, db.Create(&item{Name: "a"}).Error)
		require.NoError(t, db.Model(&item{ID: 1}).Update("name", "b").Error)
		f := attach(t, d, db, trackers.Config{Entities: []trackers.Entity{{Model: &item{}}}})
		require.NoError(t, db.Create(&item{Name: "c"}).Error)
		require.NoError(t, db.Model(&item{ID: 1}).Update("name", "d").Error)
		require.Equal(t, []string{
			`items create 2 {"id":2,"kind":"plain","name":"c","qty":null}`, `items update 1 {"id":1,"kind":"plain","name":"d","qty":null}`,
		}, f.take(t))
	})
}
