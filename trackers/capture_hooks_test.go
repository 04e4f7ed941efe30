package trackers_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// visit has every hook that GORM knows. What they do is said by the context.
type visit struct {
	ID   int64 `gorm:"primaryKey"`
	Name string
}

type hooksKey struct{}

// hooks keeps the order of the hooks, lets one of them fail, and lets some write.
type hooks struct {
	calls  []string
	fail   string
	writes map[string]string // hook → the code of a place that it creates
}

func (v *visit) hook(tx *gorm.DB, name string) error {
	h, ok := tx.Statement.Context.Value(hooksKey{}).(*hooks)
	if !ok {
		return nil
	}
	h.calls = append(h.calls, name+" "+v.Name)
	if code := h.writes[name]; code != "" {
		if err := tx.Create(&place{Code: code}).Error; err != nil {
			return err
		}
	}
	if h.fail == name {
		return errStop
	}
	return nil
}

func (v *visit) BeforeSave(tx *gorm.DB) error   { return v.hook(tx, "BeforeSave") }
func (v *visit) BeforeCreate(tx *gorm.DB) error { return v.hook(tx, "BeforeCreate") }
func (v *visit) AfterCreate(tx *gorm.DB) error  { return v.hook(tx, "AfterCreate") }
func (v *visit) AfterSave(tx *gorm.DB) error    { return v.hook(tx, "AfterSave") }
func (v *visit) BeforeUpdate(tx *gorm.DB) error { return v.hook(tx, "BeforeUpdate") }
func (v *visit) AfterUpdate(tx *gorm.DB) error  { return v.hook(tx, "AfterUpdate") }
func (v *visit) BeforeDelete(tx *gorm.DB) error { return v.hook(tx, "BeforeDelete") }
func (v *visit) AfterDelete(tx *gorm.DB) error  { return v.hook(tx, "AfterDelete") }
func (v *visit) AfterFind(tx *gorm.DB) error    { return v.hook(tx, "AfterFind") }

var visits = []trackers.Entity{{Model: &visit{}, FieldLog: true}, {Model: &place{}, FieldLog: true}}

func with(db *gorm.DB, h *hooks) *gorm.DB {
	return db.WithContext(context.WithValue(context.Background(), hooksKey{}, h))
}

// Hooks run as often and in the order that they would without gormsync.
func TestCaptureHooks(t *testing.T) {
	t.Parallel()
	eachMode(t, func(m mode) {
		t, d, cfg := m.t, m.d, m.cfg
		hooked := func(db *gorm.DB, fn func(*gorm.DB) any) any {
			h := &hooks{writes: map[string]string{}}
			return []any{fn(with(db, h)), h.calls}
		}
		newTwins(t, d, visits, cfg).run(t, []step{
			{name: "Create", do: func(db *gorm.DB) any {
				return hooked(db, func(db *gorm.DB) any { return saw(db.Create(&[]*visit{{Name: "a"}, {Name: "b"}})) })
			}, want: []string{`visits create 1 {"id":1,"name":"a"} | name`, `visits create 2 {"id":2,"name":"b"} | name`}},
			{name: "Updates", do: func(db *gorm.DB) any {
				return hooked(db, func(db *gorm.DB) any { return saw(db.Model(&visit{ID: 1}).Updates(visit{Name: "aa"})) })
			}, want: []string{`visits update 1 {"id":1,"name":"aa"} | name`}},
			{name: "UpdateColumn", do: func(db *gorm.DB) any {
				return hooked(db, func(db *gorm.DB) any { return saw(db.Model(&visit{ID: 1}).UpdateColumn("name", "ab")) })
			}, want: []string{`visits update 1 {"id":1,"name":"ab"} | name`}},
			{name: "Save", do: func(db *gorm.DB) any {
				return hooked(db, func(db *gorm.DB) any {
					return []any{saw(db.Save(&visit{ID: 1, Name: "ac"})), saw(db.Save(&visit{ID: 7, Name: "g"}))}
				})
			}, want: []string{`visits update 1 {"id":1,"name":"ac"} | name`, `visits create 7 {"id":7,"name":"g"} | name`}},
			{name: "Returning", do: func(db *gorm.DB) any {
				return hooked(db, func(db *gorm.DB) any {
					var v []visit
					return []any{saw(db.Model(&v).Clauses(clause.Returning{}).Where("id < 3").Update("name", "z")), v}
				})
			}, unordered: true, want: []string{`visits update 1 {"id":1,"name":"z"} | name`, `visits update 2 {"id":2,"name":"z"} | name`}},
			{name: "Delete", do: func(db *gorm.DB) any {
				return hooked(db, func(db *gorm.DB) any { return saw(db.Delete(&visit{ID: 1, Name: "ac"})) })
			}, want: []string{"visits delete 1 null | -name"}},
			{name: "Find", do: func(db *gorm.DB) any {
				return hooked(db, func(db *gorm.DB) any { return saw(db.Find(&[]visit{})) })
			}},
			{name: "SkipHooks", do: func(db *gorm.DB) any {
				return hooked(db, func(db *gorm.DB) any {
					s := db.Session(&gorm.Session{SkipHooks: true})
					return []any{saw(s.Create(&visit{ID: 8, Name: "s"})), saw(s.Model(&visit{ID: 8}).Update("name", "t")), saw(s.Delete(&visit{ID: 8}))}
				})
			}, want: []string{`visits create 8 {"id":8,"name":"s"} | name`, `visits update 8 {"id":8,"name":"t"} | name`, "visits delete 8 null | -name"}},
		})
	})
}

// A hook that fails takes the row and its log back together. Without a
// transaction around them GORM keeps the row of a failing After hook, and so the
// log keeps it too.
func TestCaptureHookErrors(t *testing.T) {
	t.Parallel()
	create := func(db *gorm.DB) any { return saw(db.Create(&visit{ID: 5, Name: "x"})) }
	update := func(db *gorm.DB) any { return saw(db.Model(&visit{ID: 1}).Updates(visit{Name: "b"})) }
	remove := func(db *gorm.DB) any { return saw(db.Delete(&visit{ID: 1})) }
	created, updated, removed := `visits create 5 {"id":5,"name":"x"} | name`, `visits update 1 {"id":1,"name":"b"} | name`, "visits delete 1 null | -name"
	eachMode(t, func(m mode) {
		t, d, cfg := m.t, m.d, m.cfg
		w := newTwins(t, d, visits, cfg)
		w.unchecked() // putBack works past the log
		for _, db := range []*gorm.DB{w.db, w.other} {
			require.NoError(t, db.Create(&visit{ID: 1, Name: "a"}).Error)
		}
		w.take(t)
		w.heard.take()
		w.asked.take()
		var steps []step
		for _, c := range []struct {
			name string
			do   func(*gorm.DB) any
			line string // what an After hook leaves behind without a transaction
		}{
			{"BeforeSave", create, ""}, {"BeforeCreate", create, ""}, {"BeforeSave", update, ""}, {"BeforeUpdate", update, ""}, {"BeforeDelete", remove, ""},
			{"AfterCreate", create, created}, {"AfterUpdate", update, updated}, {"AfterDelete", remove, removed},
		} {
			alone := step{name: c.name, do: func(db *gorm.DB) any {
				h := &hooks{fail: c.name}
				return []any{c.do(with(db, h)), h.calls}
			}}
			inside := step{name: c.name + " in a transaction", do: alone.do}
			if cfg.SkipDefaultTransaction && c.line != "" {
				alone.want = []string{c.line}
			}
			steps = append(steps, putBack(alone), rolledBack(inside))
		}
		w.run(t, steps)
	})
}

// rolledBack does a step inside a transaction that is given up.
func rolledBack(s step) step {
	do := s.do
	s.do = func(db *gorm.DB) (seen any) {
		err := db.Transaction(func(tx *gorm.DB) error {
			seen = do(tx)
			return errStop
		})
		return []any{seen, errors.Is(err, errStop)}
	}
	return s
}

// putBack does a step and then restores the rows, past the hooks.
func putBack(s step) step {
	do := s.do
	s.do = func(db *gorm.DB) any {
		seen := do(db)
		plain := db.WithContext(trackers.Untracked(context.Background()))
		return []any{
			seen, saw(plain.Where("id = 5").Delete(&visit{})),
			saw(plain.Clauses(clause.OnConflict{UpdateAll: true}).Create(&visit{ID: 1, Name: "a"})),
		}
	}
	return s
}

// What hooks write goes into the log where it happens, and into the same transaction.
func TestCaptureHooksThatWrite(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newTwins(t, d, visits, gorm.Config{})
		w.run(t, []step{
			{name: "create", do: func(db *gorm.DB) any {
				h := &hooks{writes: map[string]string{"BeforeCreate": "1", "AfterCreate": "2", "AfterSave": "3"}}
				return []any{saw(with(db, h).Create(&visit{Name: "a"})), h.calls}
			}, want: []string{placeLine("1"), `visits create 1 {"id":1,"name":"a"} | name`, placeLine("2"), placeLine("3")}},
			{name: "update", do: func(db *gorm.DB) any {
				h := &hooks{writes: map[string]string{"BeforeUpdate": "4", "AfterUpdate": "5"}}
				return []any{saw(with(db, h).Model(&visit{ID: 1}).Update("name", "b")), h.calls}
			}, want: []string{placeLine("4"), `visits update 1 {"id":1,"name":"b"} | name`, placeLine("5")}},
			{name: "delete", do: func(db *gorm.DB) any {
				h := &hooks{writes: map[string]string{"BeforeDelete": "6", "AfterDelete": "7"}}
				return []any{saw(with(db, h).Delete(&visit{ID: 1})), h.calls}
			}, want: []string{placeLine("6"), "visits delete 1 null | -name", placeLine("7")}},
			{name: "and fails", do: func(db *gorm.DB) any {
				h := &hooks{writes: map[string]string{"BeforeCreate": "8", "AfterCreate": "9"}, fail: "AfterSave"}
				return []any{saw(with(db, h).Create(&visit{Name: "c"})), h.calls}
			}},
			{name: "a write that fails", do: func(db *gorm.DB) any {
				h := &hooks{writes: map[string]string{"AfterCreate": "1"}}
				return []any{saw(with(db, h).Create(&visit{Name: "d"})), h.calls}
			}},
		})
		tx := map[int64]int{}
		for _, c := range w.changeRows(t) {
			tx[c.Tx]++
		}
		require.Len(t, tx, 3, "each call is one transaction")
	})
}

// Errors are those that the application knows, and a failing statement leaves no log.
func TestCaptureErrors(t *testing.T) {
	t.Parallel()
	for name, translate := range map[string]bool{"TranslateError": true, "as they are": false} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				is := func(err error) any {
					return []any{errorText(err), errors.Is(err, gorm.ErrDuplicatedKey), errors.Is(err, gorm.ErrForeignKeyViolated), errors.Is(err, gorm.ErrMissingWhereClause)}
				}
				w := newTwins(t, d, append(stocks, family...), gorm.Config{TranslateError: translate})
				w.run(t, []step{
					{name: "rows", do: func(db *gorm.DB) any { return saw(db.Create(&[]stock{{SKU: "a"}, {SKU: "b"}})) },
						want: []string{`stocks create 1 {"id":1,"note":null,"qty":0,"sku":"a"} | qty sku`, `stocks create 2 {"id":2,"note":null,"qty":0,"sku":"b"} | qty sku`}},
					{name: "create", do: func(db *gorm.DB) any { return is(db.Create(&stock{SKU: "a"}).Error) }},
					{name: "create many", do: func(db *gorm.DB) any { return is(db.Create(&[]stock{{SKU: "c"}, {SKU: "a"}}).Error) }},
					{name: "create with a key", do: func(db *gorm.DB) any { return is(db.Create(&stock{ID: 1, SKU: "d"}).Error) }},
					{name: "update", do: func(db *gorm.DB) any { return is(db.Model(&stock{ID: 1}).Update("sku", "b").Error) }},
					{name: "bulk update", do: func(db *gorm.DB) any { return is(db.Model(&stock{}).Where("id > 0").Update("sku", "z").Error) }},
					{name: "key", do: func(db *gorm.DB) any { return is(db.Model(&stock{ID: 1}).Update("id", 2).Error) }},
					{name: "upsert", do: func(db *gorm.DB) any {
						return is(db.Clauses(clause.OnConflict{Columns: columns("id"), UpdateAll: true}).Create(&stock{ID: 1, SKU: "b"}).Error)
					}},
					{name: "foreign key", only: "postgres", do: func(db *gorm.DB) any { return is(db.Create(&person{FirmID: ptr(int64(99))}).Error) }},
					{name: "no condition", do: func(db *gorm.DB) any {
						return []any{is(db.Delete(&stock{}).Error), is(db.Model(&stock{}).Update("qty", 1).Error)}
					}},
					{name: "unknown column", do: func(db *gorm.DB) any { return is(db.Table("stocks").Create(map[string]any{"none": 1}).Error) }},
					{name: "an earlier error", do: func(db *gorm.DB) any {
						tx := db.Session(&gorm.Session{})
						_ = tx.AddError(errStop)
						return is(tx.Create(&stock{SKU: "y"}).Error)
					}},
				})
				require.Equal(t, translate, errors.Is(w.db.Create(&stock{SKU: "a"}).Error, gorm.ErrDuplicatedKey))
			})
		})
	}
}

// Other ways to configure GORM.
func TestCaptureConfigs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg   gorm.Config
		table string
	}{
		"DisableForeignKeyConstraintWhenMigrating": {gorm.Config{DisableForeignKeyConstraintWhenMigrating: true, QueryFields: true}, "places"},
		"NamingStrategy":       {gorm.Config{NamingStrategy: schema.NamingStrategy{TablePrefix: "app_", SingularTable: true, NoLowerCase: true}}, "app_place"},
		"FullSaveAssociations": {gorm.Config{FullSaveAssociations: true, AllowGlobalUpdate: true, DisableNestedTransaction: true}, "places"},
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				code, label := "code", "name"
				if c.table == "app_place" {
					code, label = "Code", "Name"
				}
				row := func(name string) string { return `1 {"` + code + `":"1","` + label + `":"` + name + `"} | ` + label }
				newTwins(t, d, visits, c.cfg).run(t, []step{
					{name: "create", do: func(db *gorm.DB) any { return saw(db.Create(&place{Code: "1", Name: "a"})) }, want: []string{c.table + " create " + row("a")}},
					{name: "update", do: func(db *gorm.DB) any { return saw(db.Model(&place{Code: "1"}).Update("Name", "b")) }, want: []string{c.table + " update " + row("b")}},
					{name: "delete", do: func(db *gorm.DB) any { return saw(db.Delete(&place{Code: "1"})) }, want: []string{c.table + " delete 1 null | -" + label}},
					{name: "find", do: func(db *gorm.DB) any { return saw(db.Find(&[]place{})) }},
				})
			})
		})
	}
}
