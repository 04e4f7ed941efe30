package trackers_test

import (
	"context"
	"testing"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/internal/dbtest"
)

func returning(names ...string) clause.Returning { return clause.Returning{Columns: columns(names...)} }

// The rows that an application asks for are its own: the columns it named, in
// its own models, and no more.
func TestCaptureReturning(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newItems(t, d, 4)
		w.unordered = true
		w.run(t, []step{
			{name: "update, columns into a struct", do: func(db *gorm.DB) any {
				v := item{ID: 1, Name: "mine"}
				return saw(db.Model(&v).Clauses(returning("qty", "kind")).Update("qty", gorm.Expr("4 + 3")), v)
			}, want: []string{itemQty(1, "a", "7", "qty updated_at")}},
			{name: "update, all into a struct", do: func(db *gorm.DB) any {
				v := item{ID: 1, Name: "mine"}
				return saw(db.Model(&v).Clauses(clause.Returning{}).UpdateColumn("qty", 8), v)
			}, want: []string{itemQty(1, "a", "8", "qty")}},
			{name: "update, all into a slice", do: func(db *gorm.DB) any {
				var v []item
				return saw(db.Model(&v).Clauses(clause.Returning{}).Where("id < 3").UpdateColumn("qty", 9), v)
			}, want: []string{itemQty(1, "a", "9", "qty"), itemQty(2, "b", "9", "qty")}},
			{name: "update, columns into a slice of pointers", do: func(db *gorm.DB) any {
				var v []*item
				return saw(db.Model(&v).Clauses(returning("id", "name")).Where("id = 3").Updates(map[string]any{"name": "cc"}), v)
			}, want: []string{itemQty(3, "cc", "null", "name updated_at")}},
			{name: "update that changes nothing", do: func(db *gorm.DB) any {
				var v []item
				return saw(db.Model(&v).Clauses(returning("name")).Where("id = 3").UpdateColumn("name", "cc"), v)
			}},
			{name: "update of no row", do: func(db *gorm.DB) any {
				v := []item{{ID: 1}}
				return saw(db.Model(&v).Clauses(clause.Returning{}).Where("id > 90").UpdateColumn("name", "x"), v)
			}},
			{name: "update with an expression", do: func(db *gorm.DB) any {
				v := item{ID: 2}
				double := clause.Returning{Columns: []clause.Column{{Name: "qty * 2 AS qty", Raw: true}, {Name: "name"}}}
				return saw(db.Model(&v).Clauses(double).UpdateColumn("qty", 10), v)
			}, want: []string{itemQty(2, "b", "10", "qty")}},
			{name: "update FROM", only: "postgres", do: func(db *gorm.DB) any {
				var v []item
				own := clause.Returning{Columns: []clause.Column{{Table: "items", Name: "id"}, {Table: "prices", Name: "label", Alias: "name"}}}
				return saw(db.Model(&v).Clauses(clause.From{Tables: []clause.Table{{Name: "prices"}}}, own).
					Where("prices.item_id = items.id AND items.id = 3").UpdateColumn("qty", gorm.Expr("prices.amount")), v)
			}, want: []string{itemQty(3, "cc", "30", "qty")}},
			{name: "update of a table without a model", do: func(db *gorm.DB) any {
				return saw(db.Table("items").Where("id = 3").UpdateColumn("qty", 31))
			}, want: []string{itemQty(3, "cc", "31", "qty")}},
			{name: "delete, all", do: func(db *gorm.DB) any {
				var v []item
				return saw(db.Clauses(clause.Returning{}).Where("id < 3").Delete(&v), v)
			}, want: []string{"items delete 1 null | -kind -name -qty -updated_at", "items delete 2 null | -kind -name -qty -updated_at"}},
			{name: "delete, columns", do: func(db *gorm.DB) any {
				v := item{ID: 3}
				return saw(db.Clauses(returning("name")).Delete(&v), v)
			}, want: []string{"items delete 3 null | -kind -name -qty -updated_at"}},
			{name: "delete of no row", do: func(db *gorm.DB) any {
				v := []item{{Name: "x"}}
				return saw(db.Clauses(clause.Returning{}).Where("id = 99").Delete(&v), v)
			}},
		})
	})
}

func TestCaptureReturningCreate(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newItems(t, d, 0).run(t, []step{
			{name: "columns into a struct", do: func(db *gorm.DB) any {
				v := item{Name: "a"}
				return saw(db.Clauses(returning("id")).Create(&v), v) // the kind stays empty
			}, want: []string{created(1, "a")}},
			{name: "all into a slice", do: func(db *gorm.DB) any {
				v := []item{{Name: "b"}, {Name: "c"}}
				return saw(db.Clauses(clause.Returning{}).Create(&v), v)
			}, want: []string{created(2, "b"), created(3, "c")}},
			{name: "columns into a map", do: func(db *gorm.DB) any {
				m := map[string]any{"Name": "d"}
				return saw(db.Model(&item{}).Clauses(returning("id", "kind")).Create(m), m)
			}, want: []string{itemLine("create", 4, "d", "kind name")}},
			{name: "all into a map", do: func(db *gorm.DB) any {
				m := map[string]any{"Name": "e"}
				return saw(db.Model(&item{}).Clauses(clause.Returning{}).Create(&m), m)
			}, want: []string{itemLine("create", 5, "e", "kind name")}},
			{name: "columns into maps", do: func(db *gorm.DB) any {
				m := []map[string]any{{"Name": "f"}, {"Name": "g"}}
				return saw(db.Model(&item{}).Clauses(returning("id", "name")).Create(&m), m)
			}, want: []string{itemLine("create", 6, "f", "kind name"), itemLine("create", 7, "g", "kind name")}},
			{name: "a column that is not the model's", do: func(db *gorm.DB) any {
				m := map[string]any{"name": "h"}
				return saw(db.Table("items").Clauses(clause.Returning{Columns: []clause.Column{{Name: "id * 2 AS twice", Raw: true}}}).Create(m), m)
			}, want: []string{itemLine("create", 8, "h", "kind name")}},
			{name: "DoNothing with one new row", do: func(db *gorm.DB) any {
				v := []place{{Code: "x"}}
				first := saw(db.Create(&v))
				more := []place{{Code: "x", Name: "old"}, {Code: "y", Name: "new"}}
				return []any{first, saw(db.Clauses(clause.OnConflict{DoNothing: true}, returning("code", "name")).Create(&more), more)}
			}, want: []string{`places create x {"code":"x","name":""} | name`, `places create y {"code":"y","name":"new"} | name`}},
			{name: "DoUpdates", do: func(db *gorm.DB) any {
				v := []place{{Code: "x", Name: "X"}, {Code: "z", Name: "Z"}}
				upper := clause.Assignments(map[string]any{"name": gorm.Expr("excluded.name || '!'")})
				return saw(db.Clauses(clause.OnConflict{Columns: columns("code"), DoUpdates: upper}, clause.Returning{}).Create(&v), v)
			}, want: []string{`places update x {"code":"x","name":"X!"} | name`, `places create z {"code":"z","name":"Z"} | name`}},
		})
	})
}

func TestCaptureGenerics(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		ctx := context.Background()
		type counted struct {
			n   int
			err string
		}
		n := func(n int, err error) any { return counted{n, errorText(err)} }
		newItems(t, d, 1).run(t, []step{
			{name: "Create", do: func(db *gorm.DB) any {
				v := item{Name: "b"}
				return []any{errorText(gorm.G[item](db).Create(ctx, &v)), v}
			}, want: []string{created(2, "b")}},
			{name: "CreateInBatches", do: func(db *gorm.DB) any {
				v := []item{{Name: "c"}, {Name: "d"}, {Name: "e"}}
				return []any{errorText(gorm.G[item](db).CreateInBatches(ctx, &v, 2)), v}
			}, want: []string{created(3, "c"), created(4, "d"), created(5, "e")}},
			{name: "Select and Omit", do: func(db *gorm.DB) any {
				v, u := item{Name: "f", Qty: ptr(1)}, item{Name: "g", Qty: ptr(1)}
				return []any{errorText(gorm.G[item](db).Select("Name").Create(ctx, &v)), v, errorText(gorm.G[item](db).Omit("Qty").Create(ctx, &u)), u}
			}, want: []string{created(6, "f"), created(7, "g")}},
			{name: "Update", do: func(db *gorm.DB) any { return n(gorm.G[item](db).Where("id = ?", 1).Update(ctx, "name", "aa")) },
				want: []string{itemQty(1, "aa", "null", "name updated_at")}},
			{name: "Updates", do: func(db *gorm.DB) any {
				return n(gorm.G[item](db).Where("id = ?", 2).Updates(ctx, item{Qty: ptr(2)}))
			}, want: []string{itemQty(2, "b", "2", "qty updated_at")}},
			{name: "Set and Update", do: func(db *gorm.DB) any {
				return n(gorm.G[item](db).Where("id = ?", 2).Set(clause.Assignment{Column: clause.Column{Name: "qty"}, Value: gorm.Expr("qty + ?", 1)}).Update(ctx))
			}, want: []string{itemQty(2, "b", "3", "qty")}},
			{name: "Set and Create", do: func(db *gorm.DB) any {
				set := []clause.Assigner{clause.Assignment{Column: clause.Column{Name: "name"}, Value: "h"}, clause.Assignment{Column: clause.Column{Name: "qty"}, Value: 8}}
				return errorText(gorm.G[item](db).Set(set...).Create(ctx))
			}, want: []string{`items create 8 {"id":8,"kind":"plain","name":"h","qty":8} | kind name qty`}},
			{name: "Delete", do: func(db *gorm.DB) any { return n(gorm.G[item](db).Where("id > ?", 3).Where("qty IS NULL").Delete(ctx)) },
				unordered: true, want: []string{
					"items delete 4 null | -kind -name -updated_at", "items delete 5 null | -kind -name -updated_at",
					"items delete 6 null | -kind -name -updated_at", "items delete 7 null | -kind -name -updated_at",
				}},
			{name: "OnConflict", do: func(db *gorm.DB) any {
				v := item{ID: 1, Name: "a"}
				up := clause.OnConflict{Columns: columns("id"), DoUpdates: clause.AssignmentColumns([]string{"name"})}
				return []any{errorText(gorm.G[item](db, up).Create(ctx, &v)), v}
			}, want: []string{itemQty(1, "a", "null", "name")}},
			{name: "Result", do: func(db *gorm.DB) any {
				res, del := gorm.WithResult(), gorm.WithResult()
				rows := n(gorm.G[item](db, res).Where("id < 3").Update(ctx, "kind", "odd"))
				gone := n(gorm.G[item](db, del).Where("id = 8").Delete(ctx))
				updated, _ := res.Result.RowsAffected()
				deleted, _ := del.Result.RowsAffected()
				return []any{rows, res.RowsAffected, updated, gone, del.RowsAffected, deleted}
			}, unordered: true, want: []string{
				`items update 1 {"id":1,"kind":"odd","name":"a","qty":null} | kind updated_at`,
				`items update 2 {"id":2,"kind":"odd","name":"b","qty":3} | kind updated_at`,
				`items delete 8 null | -kind -name -qty`,
			}},
			{name: "Table", do: func(db *gorm.DB) any {
				return n(gorm.G[item](db).Table("items AS i").Where("i.id = 3").Update(ctx, "qty", 3))
			},
				want: []string{itemQty(3, "c", "3", "qty updated_at")}},
			{name: "errors", do: func(db *gorm.DB) any {
				return []any{
					errorText(gorm.G[item](db).Create(ctx, &item{ID: 1})), n(gorm.G[item](db).Delete(ctx)), n(gorm.G[item](db).Where("id = 99").Update(ctx, "name", "x")),
				}
			}},
			{name: "transaction", do: func(db *gorm.DB) any {
				return errorText(db.Transaction(func(tx *gorm.DB) error {
					if err := gorm.G[place](tx).Create(ctx, &place{Code: "t"}); err != nil {
						return err
					}
					_, err := gorm.G[place](tx).Where("code = ?", "t").Delete(ctx)
					return err
				}))
			}, want: []string{`places create t {"code":"t","name":""} | name`, "places delete t null | -name"}},
		})
	})
}
