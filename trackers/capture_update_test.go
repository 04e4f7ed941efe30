package trackers_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// price is a table of its own that is not tracked.
type price struct {
	ID     int64 `gorm:"primaryKey"`
	ItemID int64
	Label  string
	Amount int
}

// newItems are twins with items 1 to n, named a, b, c and so on, and their prices.
func newItems(t *testing.T, d *dbtest.DB, n int) twins {
	t.Helper()
	w := newTwins(t, d, itemsAndPlaces, gorm.Config{}, func(db *gorm.DB) error { return db.AutoMigrate(&price{}) })
	for _, db := range []*gorm.DB{w.db, w.other} {
		for i := range n {
			require.NoError(t, db.Create(&item{Name: string(rune('a' + i))}).Error)
			require.NoError(t, db.Create(&price{ItemID: int64(i + 1), Label: "p" + string(rune('a'+i)), Amount: 10 * (i + 1)}).Error)
		}
	}
	w.take(t)
	w.heard.take()
	w.asked.take()
	return w
}

func itemQty(id int, name, qty, fields string) string {
	n := string(rune('0' + id))
	return `items update ` + n + ` {"id":` + n + `,"kind":"plain","name":"` + name + `","qty":` + qty + `} | ` + fields
}

func TestCaptureUpdate(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newItems(t, d, 1).run(t, []step{
			{name: "Save", do: func(db *gorm.DB) any {
				v := item{ID: 1, Name: "a", Kind: "plain", Qty: ptr(1)}
				return saw(db.Save(&v), v)
			}, want: []string{itemQty(1, "a", "1", "qty updated_at")}},
			{name: "Save by value", do: func(db *gorm.DB) any {
				return saw(db.Save(item{ID: 1, Name: "a", Kind: "plain", Qty: ptr(2)}))
			}, want: []string{itemQty(1, "a", "2", "qty updated_at")}},
			{name: "Save with nothing new but the time", do: func(db *gorm.DB) any {
				v := item{ID: 1, Name: "a", Kind: "plain", Qty: ptr(2)}
				return saw(db.Save(&v), v)
			}, want: []string{itemQty(1, "a", "2", "updated_at")}},
			{name: "Update", do: func(db *gorm.DB) any {
				v := item{ID: 1}
				return saw(db.Model(&v).Update("name", "b"), v)
			}, want: []string{itemQty(1, "b", "2", "name updated_at")}},
			{name: "Update to NULL", do: func(db *gorm.DB) any {
				v := item{ID: 1, Qty: ptr(7)}
				return saw(db.Model(&v).Update("qty", nil), v)
			}, want: []string{itemQty(1, "b", "null", "-qty updated_at")}},
			{name: "Updates with a struct", do: func(db *gorm.DB) any {
				v := item{ID: 1}
				return saw(db.Model(&v).Updates(item{Name: "c", Qty: ptr(0)}), v)
			}, want: []string{itemQty(1, "c", "0", "name qty updated_at")}},
			{name: "Updates of itself", do: func(db *gorm.DB) any {
				v := item{ID: 1, Name: "cc"}
				return saw(db.Updates(&v), v)
			}, want: []string{itemQty(1, "cc", "0", "name updated_at")}},
			{name: "Updates with a map", do: func(db *gorm.DB) any {
				v := item{ID: 1}
				return saw(db.Model(&v).Updates(map[string]any{"Name": "d", "qty": 4}), v)
			}, want: []string{itemQty(1, "d", "4", "name qty updated_at")}},
			{name: "UpdateColumn", do: func(db *gorm.DB) any {
				v := item{ID: 1}
				return saw(db.Model(&v).UpdateColumn("name", "e"), v)
			}, want: []string{itemQty(1, "e", "4", "name")}},
			{name: "UpdateColumn with nothing new", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{ID: 1}).UpdateColumn("name", "e"))
			}},
			{name: "UpdateColumns", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{ID: 1}).UpdateColumns(item{Name: "f", Qty: ptr(5)}))
			}, want: []string{itemQty(1, "f", "5", "name qty")}},
			{name: "Select", do: func(db *gorm.DB) any {
				v := item{ID: 1}
				return saw(db.Model(&v).Select("Name").Updates(item{Name: "g", Qty: ptr(9)}), v)
			}, want: []string{itemQty(1, "g", "5", "name updated_at")}},
			{name: "Select all", do: func(db *gorm.DB) any {
				v := item{ID: 1, Kind: "plain", Name: "gg"}
				return saw(db.Select("*").Updates(&v), v)
			}, want: []string{itemQty(1, "gg", "null", "name -qty updated_at")}},
			{name: "Omit", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{ID: 1}).Omit("Name", "UpdatedAt").Updates(map[string]any{"name": "h", "qty": 6}))
			}, want: []string{itemQty(1, "gg", "6", "qty")}},
			{name: "Expr", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{ID: 1}).UpdateColumns(map[string]any{"qty": gorm.Expr("qty + ?", 1), "name": gorm.Expr("name || ?", "!")}))
			}, want: []string{itemQty(1, "gg!", "7", "name qty")}},
			{name: "no such row", do: func(db *gorm.DB) any { return saw(db.Model(&item{ID: 9}).Update("name", "x")) }},
			{name: "no condition", do: func(db *gorm.DB) any { return saw(db.Model(&item{}).Update("name", "x")) }},
			{name: "no such column", do: func(db *gorm.DB) any { return saw(db.Model(&item{ID: 1}).Where("nothing = 1").Update("name", "x")) }},
			{name: "nothing to set", do: func(db *gorm.DB) any { return saw(db.Model(&item{ID: 1}).UpdateColumns(item{})) }},
			{name: "a key of its own", do: func(db *gorm.DB) any {
				return []any{saw(db.Save(&place{Code: "x", Name: "1"})), saw(db.Save(&place{Code: "x", Name: "1"})), saw(db.Save(&place{Code: "x", Name: "2"}))}
			}, want: []string{`places create x {"code":"x","name":"1"} | name`, `places update x {"code":"x","name":"2"} | name`}},
		})
	})
}

// Bulk updates log each row that they hit; which row comes first is up to the
// database.
func TestCaptureUpdateBulk(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newItems(t, d, 5)
		w.unordered = true
		w.run(t, []step{
			{name: "by condition", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{}).Where("id > ? AND name <> ?", 2, "d").Updates(map[string]any{"qty": 1}))
			}, want: []string{itemQty(3, "c", "1", "qty updated_at"), itemQty(5, "e", "1", "qty updated_at")}},
			{name: "rows that have the value already", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{}).Where("id > 2").UpdateColumn("qty", 1))
			}, want: []string{itemQty(4, "d", "1", "qty")}},
			{name: "struct condition", do: func(db *gorm.DB) any {
				return saw(db.Where(&item{Name: "a"}).Or(map[string]any{"name": "b"}).Not("id = ?", 2).Model(&item{}).UpdateColumn("qty", 2))
			}, want: []string{itemQty(1, "a", "2", "qty")}},
			{name: "slice", do: func(db *gorm.DB) any {
				v := []item{{ID: 1}, {ID: 2}}
				return saw(db.Model(&v).UpdateColumn("qty", 3), v)
			}, want: []string{itemQty(1, "a", "3", "qty"), itemQty(2, "b", "3", "qty")}},
			{name: "slice of pointers", do: func(db *gorm.DB) any {
				v := []*item{{ID: 1}, {ID: 3}}
				return saw(db.Model(v).Where("id > 1").Update("qty", 4), v)
			}, want: []string{itemQty(3, "c", "4", "qty updated_at")}},
			{name: "named arguments", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{}).Where("id = @id OR id = @id + 1", sql.Named("id", 4)).UpdateColumn("qty", 5))
			}, want: []string{itemQty(4, "d", "5", "qty"), itemQty(5, "e", "5", "qty")}},
			{name: "list", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{}).Where("id IN ?", []int{1, 2}).Where(clause.Like{Column: "name", Value: "b%"}).UpdateColumn("qty", gorm.Expr("qty * 2")))
			}, want: []string{itemQty(2, "b", "6", "qty")}},
			{name: "all", do: func(db *gorm.DB) any {
				return saw(db.Session(&gorm.Session{AllowGlobalUpdate: true}).Model(&item{}).UpdateColumn("qty", gorm.Expr("id")))
			}, want: []string{itemQty(1, "a", "1", "qty"), itemQty(2, "b", "2", "qty"), itemQty(3, "c", "3", "qty"), itemQty(4, "d", "4", "qty")}},
			{name: "delete by condition", do: func(db *gorm.DB) any {
				return saw(db.Where("id IN (?)", []int64{1, 2}).Delete(&item{}))
			}, want: []string{"items delete 1 null | -kind -name -qty -updated_at", "items delete 2 null | -kind -name -qty -updated_at"}},
			{name: "delete by keys", do: func(db *gorm.DB) any { return saw(db.Delete(&item{}, []int{3, 9})) },
				want: []string{"items delete 3 null | -kind -name -qty -updated_at"}},
			{name: "delete a slice", do: func(db *gorm.DB) any { return saw(db.Delete(&[]item{{ID: 4}, {ID: 5}})) },
				want: []string{"items delete 4 null | -kind -name -qty -updated_at", "items delete 5 null | -kind -name -qty -updated_at"}},
		})
	})
}

// Conditions and values may be whole queries.
func TestCaptureUpdateSubquery(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		from := func(tables ...clause.Table) clause.From { return clause.From{Tables: tables} }
		w := newItems(t, d, 3)
		w.unordered = true
		w.run(t, []step{
			{name: "in the condition", do: func(db *gorm.DB) any {
				cheap := db.Model(&price{}).Select("item_id").Where("amount < ?", 25)
				return saw(db.Model(&item{}).Where("id IN (?) AND name <> ?", cheap, "x").UpdateColumn("qty", 1))
			}, want: []string{itemQty(1, "a", "1", "qty"), itemQty(2, "b", "1", "qty")}},
			{name: "raw in the condition", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{}).Where("id = (?)", db.Raw("SELECT max(item_id) FROM prices WHERE amount > ?", 1)).UpdateColumn("qty", 2))
			}, want: []string{itemQty(3, "c", "2", "qty")}},
			{name: "as the value", do: func(db *gorm.DB) any {
				label := db.Model(&price{}).Select("label").Where("prices.item_id = items.id AND amount > ?", 5)
				return saw(db.Model(&item{}).Where("id < ?", 3).UpdateColumn("name", label))
			}, want: []string{itemQty(1, "pa", "1", "name"), itemQty(2, "pb", "1", "name")}},
			{name: "in both", do: func(db *gorm.DB) any {
				amount := db.Table("prices").Select("amount").Where("prices.item_id = items.id AND label <> ?", "none")
				return saw(db.Model(&item{}).Where("id NOT IN (?)", db.Model(&price{}).Select("item_id").Where("amount >= ?", 30)).
					UpdateColumns(map[string]any{"qty": amount, "name": "z"}))
			}, want: []string{itemQty(1, "z", "10", "name qty"), itemQty(2, "z", "20", "name qty")}},
			{name: "in a delete", do: func(db *gorm.DB) any {
				return saw(db.Where("code IN (?)", db.Model(&price{}).Select("label")).Delete(&place{}))
			}},
			{name: "FROM", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{}).Clauses(from(clause.Table{Name: "prices"})).
					Where("prices.item_id = items.id AND prices.amount > ?", 15).Update("qty", gorm.Expr("prices.amount + ?", 1)))
			}, want: []string{itemQty(2, "z", "21", "qty updated_at"), itemQty(3, "c", "31", "qty updated_at")}},
			{name: "FROM an alias", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{}).Clauses(from(clause.Table{Name: "prices", Alias: "p"})).
					Where("p.item_id = items.id AND p.id = ?", 1).UpdateColumn("name", gorm.Expr("p.label")))
			}, want: []string{itemQty(1, "pa", "10", "name")}},
			{name: "FROM a join", do: func(db *gorm.DB) any {
				join := clause.Join{Type: clause.InnerJoin, Table: clause.Table{Name: "prices", Alias: "q"},
					ON: clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "q.id = p.id"}}}}
				return saw(db.Model(&item{}).Clauses(clause.From{Tables: []clause.Table{{Name: "prices", Alias: "p"}}, Joins: []clause.Join{join}}).
					Where("p.item_id = items.id AND q.amount = ?", 20).UpdateColumn("name", gorm.Expr("q.label")))
			}, want: []string{itemQty(2, "pb", "21", "name")}},
			{name: "FROM that meets a row twice", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{}).Clauses(from(clause.Table{Name: "prices"})).Where("items.id = ?", 3).UpdateColumn("name", "twice"))
			}, want: []string{itemQty(3, "twice", "31", "name")}},
			{name: "FROM with a new key", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{}).Clauses(from(clause.Table{Name: "prices"})).
					Where("prices.item_id = items.id AND prices.amount = 30").UpdateColumn("id", gorm.Expr("prices.amount")))
			}, want: []string{"items delete 3 null | -kind -name -qty -updated_at", `items create 30 {"id":30,"kind":"plain","name":"twice","qty":31} | kind name qty updated_at`}},
		})
	})
}

// An alias hides the table's name, and a statement may have no model at all.
func TestCaptureTable(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newItems(t, d, 3).run(t, []step{
			{name: "alias", do: func(db *gorm.DB) any {
				return saw(db.Table("items AS t").Where("t.id = ?", 1).Updates(map[string]any{"qty": 1}))
			}, want: []string{itemQty(1, "a", "1", "qty")}},
			{name: "alias without AS", only: "postgres", do: func(db *gorm.DB) any {
				return saw(db.Table("items t").Where("t.id = ?", 1).UpdateColumn("qty", 2))
			}, want: []string{itemQty(1, "a", "2", "qty")}},
			{name: "quoted alias", do: func(db *gorm.DB) any {
				return saw(db.Table(`"items" AS "t"`).Where("t.id = ?", 1).UpdateColumn("qty", 3))
			}, want: []string{itemQty(1, "a", "3", "qty")}},
			{name: "alias with a model", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{ID: 1}).Table("items AS t").Update("qty", 4))
			}, want: []string{itemQty(1, "a", "4", "qty updated_at")}},
			{name: "alias and subquery", do: func(db *gorm.DB) any {
				return saw(db.Table("items AS t").Where("t.id IN (?)", db.Table("items AS s").Select("s.id").Where("s.id = ?", 2)).
					UpdateColumn("qty", db.Table("prices AS p").Select("p.amount").Where("p.item_id = t.id")))
			}, want: []string{itemQty(2, "b", "20", "qty")}},
			{name: "delete with an alias", do: func(db *gorm.DB) any {
				return saw(db.Table("items AS t").Where("t.id = ?", 2).Delete(&item{}))
			}, want: []string{"items delete 2 null | -kind -name -qty -updated_at"}},
			{name: "no model", do: func(db *gorm.DB) any {
				return saw(db.Table("items").Where("id = ?", 3).Updates(map[string]any{"name": "cc"}))
			}, want: []string{itemQty(3, "cc", "null", "name")}},
			{name: "another model", do: func(db *gorm.DB) any {
				type part struct{ ID, Qty int }
				return saw(db.Table("items").Where("id = ?", 3).Updates(&part{Qty: 8}))
			}, want: []string{itemQty(3, "cc", "8", "qty")}},
			{name: "delete without a model", do: func(db *gorm.DB) any { return saw(db.Table("items").Where("id = 3").Delete(nil)) },
				want: []string{"items delete 3 null | -kind -name -qty -updated_at"}},
			{name: "another table", do: func(db *gorm.DB) any {
				return []any{saw(db.Create(&price{Label: "x"})), saw(db.Model(&price{}).Where("item_id = 0").Update("amount", 1)), saw(db.Where("item_id = 0").Delete(&price{}))}
			}},
			{name: "with its schema", only: "postgres", do: func(db *gorm.DB) any {
				var schema string
				db = db.Session(&gorm.Session{Logger: logger.Discard}) // the name is random
				err := db.Raw("SELECT current_schema()").Row().Scan(&schema)
				return []any{err, saw(db.Table(schema+".items").Where("id = 1").UpdateColumn("qty", 9))}
			}, want: []string{itemQty(1, "a", "9", "qty")}},
		})
	})
}

func TestCaptureUpdateWithoutFieldLog(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newTwins(t, d, []trackers.Entity{{Model: &place{}}}, gorm.Config{}).run(t, []step{
			{name: "all", do: func(db *gorm.DB) any {
				return []any{saw(db.Create(&place{Code: "a"})), saw(db.Model(&place{Code: "a"}).Update("name", "A")), saw(db.Delete(&place{Code: "a"}))}
			}, want: []string{`places create a {"code":"a","name":""}`, `places update a {"code":"a","name":"A"}`, "places delete a null"}},
		})
	})
}
