package trackers_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// stock has a unique column beside its key.
type stock struct {
	ID   int64  `gorm:"primaryKey"`
	SKU  string `gorm:"uniqueIndex:stock_sku"`
	Qty  int
	Note *string
}

// leg has a key of two columns.
type leg struct {
	Trip int    `gorm:"primaryKey;autoIncrement:false"`
	Stop string `gorm:"primaryKey"`
	Km   *float64
}

var stocks = []trackers.Entity{{Model: &stock{}, FieldLog: true}, {Model: &leg{}, FieldLog: true}}

// newStocks has the rows 1 a 10 and 2 b 20.
func newStocks(t *testing.T, d *dbtest.DB) twins {
	t.Helper()
	w := newTwins(t, d, stocks, gorm.Config{})
	for _, db := range []*gorm.DB{w.db, w.other} {
		require.NoError(t, db.Create(&[]stock{{SKU: "a", Qty: 10}, {SKU: "b", Qty: 20}}).Error)
	}
	w.take(t)
	w.heard.take()
	w.asked.take()
	return w
}

func columns(names ...string) []clause.Column {
	cols := make([]clause.Column, len(names))
	for i, name := range names {
		cols[i].Name = name
	}
	return cols
}

func TestCaptureOnConflict(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		note := clause.AssignmentColumns([]string{"note"})
		qty := clause.AssignmentColumns([]string{"qty"})
		newStocks(t, d).run(t, []step{
			{name: "DoNothing", do: func(db *gorm.DB) any {
				v := []stock{{ID: 5, SKU: "a"}, {ID: 3, SKU: "c"}, {ID: 1, SKU: "z"}}
				return saw(db.Clauses(clause.OnConflict{DoNothing: true}).Create(&v), v)
			}, want: []string{`stocks create 3 {"id":3,"note":null,"qty":0,"sku":"c"} | qty sku`}},
			{name: "DoNothing on columns", do: func(db *gorm.DB) any {
				v := []stock{{ID: 5, SKU: "a"}}
				return saw(db.Clauses(clause.OnConflict{Columns: columns("sku"), DoNothing: true}).Create(&v), v)
			}},
			{name: "DoNothing with keys of the database", do: func(db *gorm.DB) any {
				v := []stock{{SKU: "a", Qty: 1}, {SKU: "b", Qty: 1}}
				return saw(db.Clauses(clause.OnConflict{DoNothing: true}).Create(&v), v)
			}},
			{name: "DoUpdates on the key", do: func(db *gorm.DB) any {
				v := []stock{{ID: 1, SKU: "ignored", Qty: 11}, {ID: 4, SKU: "d", Qty: 40}}
				return saw(db.Clauses(clause.OnConflict{Columns: columns("id"), DoUpdates: qty}).Create(&v), v)
			}, want: []string{
				`stocks update 1 {"id":1,"note":null,"qty":11,"sku":"a"} | qty`,
				`stocks create 4 {"id":4,"note":null,"qty":40,"sku":"d"} | qty sku`,
			}},
			{name: "DoUpdates on another unique column", do: func(db *gorm.DB) any {
				v := stock{ID: 77, SKU: "b", Note: ptr("n")}
				return saw(db.Clauses(clause.OnConflict{Columns: columns("sku"), DoUpdates: note}).Create(&v), v)
			}, want: []string{`stocks update 2 {"id":2,"note":"n","qty":20,"sku":"b"} | note`}},
			{name: "DoUpdates with an assignment", do: func(db *gorm.DB) any {
				v := stock{ID: 78, SKU: "b", Qty: 5}
				add := clause.Assignments(map[string]any{"qty": gorm.Expr("stocks.qty + excluded.qty"), "note": nil})
				return saw(db.Clauses(clause.OnConflict{Columns: columns("sku"), DoUpdates: add}).Create(&v), v)
			}, want: []string{`stocks update 2 {"id":2,"note":null,"qty":25,"sku":"b"} | -note qty`}},
			{name: "DoUpdates with nothing new", do: func(db *gorm.DB) any {
				return saw(db.Clauses(clause.OnConflict{Columns: columns("sku"), DoUpdates: qty}).Create(&stock{ID: 79, SKU: "b", Qty: 25}))
			}},
			{name: "UpdateAll", do: func(db *gorm.DB) any {
				v := []stock{{ID: 1, SKU: "aa", Qty: 12}, {ID: 4, SKU: "d", Qty: 40}}
				return saw(db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&v), v)
			}, want: []string{`stocks update 1 {"id":1,"note":null,"qty":12,"sku":"aa"} | qty sku`}},
			{name: "UpdateAll on another unique column", do: func(db *gorm.DB) any {
				v := stock{ID: 80, SKU: "aa", Qty: 13}
				return saw(db.Clauses(clause.OnConflict{Columns: columns("sku"), UpdateAll: true}).Create(&v), v)
			}, want: []string{`stocks update 1 {"id":1,"note":null,"qty":13,"sku":"aa"} | qty`}},
			{name: "Where", do: func(db *gorm.DB) any {
				more := clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "stocks.qty < excluded.qty"}}}
				v := []stock{{ID: 1, SKU: "x", Qty: 5}, {ID: 2, SKU: "y", Qty: 50}, {ID: 3, SKU: "c", Qty: 0}, {ID: 6, SKU: "f"}}
				return saw(db.Clauses(clause.OnConflict{Columns: columns("id"), Where: more, DoUpdates: qty}).Create(&v), v)
			}, want: []string{
				`stocks update 2 {"id":2,"note":null,"qty":50,"sku":"b"} | qty`,
				`stocks create 6 {"id":6,"note":null,"qty":0,"sku":"f"} | qty sku`,
			}},
			{name: "a new key", do: func(db *gorm.DB) any {
				v := stock{ID: 60, SKU: "f", Qty: 6}
				return saw(db.Clauses(clause.OnConflict{Columns: columns("sku"), DoUpdates: clause.AssignmentColumns([]string{"id", "qty"})}).Create(&v), v)
			}, want: []string{`stocks delete 6 null | -qty -sku`, `stocks create 60 {"id":60,"note":null,"qty":6,"sku":"f"} | qty sku`}},
			{name: "a value of the database's", do: func(db *gorm.DB) any {
				return saw(db.Model(&stock{}).Clauses(clause.OnConflict{Columns: columns("sku"), DoUpdates: qty}).
					Create(map[string]any{"ID": 81, "SKU": gorm.Expr("lower(?)", "B"), "Qty": 51}))
			}, want: []string{`stocks update 2 {"id":2,"note":null,"qty":51,"sku":"b"} | qty`}},
			{name: "a map", do: func(db *gorm.DB) any {
				m := []map[string]any{{"id": 2, "sku": "b", "qty": 52}, {"id": 7, "sku": "g", "qty": 70}}
				return saw(db.Table("stocks").Clauses(clause.OnConflict{Columns: columns("id"), DoUpdates: qty}).Create(m))
			}, want: []string{
				`stocks update 2 {"id":2,"note":null,"qty":52,"sku":"b"} | qty`,
				`stocks create 7 {"id":7,"note":null,"qty":70,"sku":"g"} | qty sku`,
			}},
			{name: "error", do: func(db *gorm.DB) any {
				return saw(db.Clauses(clause.OnConflict{Columns: columns("id"), DoUpdates: qty}).Create(&[]stock{{ID: 1, Qty: 3}, {ID: 90, SKU: "b"}}))
			}},
		})
	})
}

// Where the conflict's columns are not said, or are met twice, the log must be
// right all the same.
func TestCaptureOnConflictHard(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		qty := clause.AssignmentColumns([]string{"qty"})
		newStocks(t, d).run(t, []step{
			{name: "OnConstraint", only: "postgres", do: func(db *gorm.DB) any {
				v := []stock{{ID: 1, SKU: "x", Qty: 11}, {ID: 3, SKU: "c", Qty: 3}}
				return saw(db.Clauses(clause.OnConflict{OnConstraint: "stocks_pkey", DoUpdates: qty}).Create(&v), v)
			}, want: []string{
				`stocks update 1 {"id":1,"note":null,"qty":11,"sku":"a"} | qty`,
				`stocks create 3 {"id":3,"note":null,"qty":3,"sku":"c"} | qty sku`,
			}},
			{name: "no target", only: "sqlite", do: func(db *gorm.DB) any {
				v := []stock{{ID: 1, SKU: "x", Qty: 11}, {ID: 9, SKU: "b", Qty: 21}, {ID: 3, SKU: "c", Qty: 3}}
				return saw(db.Clauses(clause.OnConflict{DoUpdates: qty}).Create(&v))
			}, want: []string{
				`stocks update 1 {"id":1,"note":null,"qty":11,"sku":"a"} | qty`,
				`stocks update 2 {"id":2,"note":null,"qty":21,"sku":"b"} | qty`,
				`stocks create 3 {"id":3,"note":null,"qty":3,"sku":"c"} | qty sku`,
			}},
			{name: "a new row twice", do: func(db *gorm.DB) any { // an error on PostgreSQL
				return saw(db.Clauses(clause.OnConflict{Columns: columns("id"), DoUpdates: qty}).Create(&[]stock{{ID: 4, SKU: "d", Qty: 1}, {ID: 4, SKU: "d", Qty: 2}}))
			}, want: map[string][]string{"sqlite": {
				`stocks create 4 {"id":4,"note":null,"qty":1,"sku":"d"} | qty sku`,
				`stocks update 4 {"id":4,"note":null,"qty":2,"sku":"d"} | qty`,
			}}[d.Dialect]},
			{name: "there and back", only: "sqlite", do: func(db *gorm.DB) any {
				return saw(db.Clauses(clause.OnConflict{Columns: columns("id"), DoUpdates: qty}).Create(&[]stock{{ID: 4, SKU: "d", Qty: 7}, {ID: 4, SKU: "d", Qty: 2}}))
			}, want: []string{
				`stocks update 4 {"id":4,"note":null,"qty":7,"sku":"d"} | qty`,
				`stocks update 4 {"id":4,"note":null,"qty":2,"sku":"d"} | qty`,
			}},
		})
	})
}

func TestCaptureSaveMany(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newStocks(t, d).run(t, []step{
			{name: "Save of a row that is missing", do: func(db *gorm.DB) any {
				v := stock{ID: 5, SKU: "e", Qty: 5}
				return saw(db.Save(&v), v)
			}, want: []string{`stocks create 5 {"id":5,"note":null,"qty":5,"sku":"e"} | qty sku`}},
			{name: "Save without a key", do: func(db *gorm.DB) any {
				v := stock{SKU: "f"}
				return saw(db.Save(&v), v)
			}, want: map[string][]string{
				"sqlite":   {`stocks create 6 {"id":6,"note":null,"qty":0,"sku":"f"} | qty sku`},
				"postgres": {`stocks create 3 {"id":3,"note":null,"qty":0,"sku":"f"} | qty sku`},
			}[d.Dialect]},
			{name: "Save as it is", do: func(db *gorm.DB) any { return saw(db.Save(&stock{ID: 2, SKU: "b", Qty: 20})) }},
			{name: "Save of a slice", do: func(db *gorm.DB) any {
				v := []stock{{ID: 2, SKU: "b", Qty: 22}, {ID: 7, SKU: "g"}, {ID: 5, SKU: "e", Qty: 5}}
				return saw(db.Save(&v), v)
			}, want: []string{
				`stocks update 2 {"id":2,"note":null,"qty":22,"sku":"b"} | qty`,
				`stocks create 7 {"id":7,"note":null,"qty":0,"sku":"g"} | qty sku`,
			}},
			{name: "Save of a slice of pointers, composite keys", do: func(db *gorm.DB) any {
				v := []*leg{{Trip: 1, Stop: "x"}, {Trip: 1, Stop: "y,z", Km: ptr(1.5)}}
				return saw(db.Save(v), v)
			}, want: []string{`legs create 1,x {"km":null,"stop":"x","trip":1}`, `legs create 1,y%2Cz {"km":1.5,"stop":"y,z","trip":1} | km`}},
			{name: "again, with composite keys", do: func(db *gorm.DB) any {
				return saw(db.Save([]*leg{{Trip: 1, Stop: "x", Km: ptr(2.0)}, {Trip: 1, Stop: "y,z"}, {Trip: 2, Stop: "x"}}))
			}, want: []string{
				`legs update 1,x {"km":2,"stop":"x","trip":1} | km`,
				`legs update 1,y%2Cz {"km":null,"stop":"y,z","trip":1} | -km`,
				`legs create 2,x {"km":null,"stop":"x","trip":2}`,
			}},
			{name: "Save of a row with a zero in its key", do: func(db *gorm.DB) any {
				return []any{saw(db.Save(&leg{Trip: 0, Stop: "x"})), saw(db.Save(&leg{Trip: 3, Stop: "x", Km: ptr(1.0)}))}
			}, want: []string{`legs create 0,x {"km":null,"stop":"x","trip":0}`, `legs create 3,x {"km":1,"stop":"x","trip":3} | km`}},
		})
	})
}

func TestCaptureFirstOr(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newTwins(t, d, stocks, gorm.Config{}).run(t, []step{
			{name: "FirstOrCreate creates", do: func(db *gorm.DB) any {
				var v stock
				return saw(db.Where(stock{SKU: "a"}).Attrs(stock{Qty: 1}).FirstOrCreate(&v), v)
			}, want: []string{`stocks create 1 {"id":1,"note":null,"qty":1,"sku":"a"} | qty sku`}},
			{name: "FirstOrCreate finds", do: func(db *gorm.DB) any {
				var v stock
				return saw(db.Where(stock{SKU: "a"}).Attrs(stock{Qty: 2}).FirstOrCreate(&v), v)
			}},
			{name: "FirstOrCreate assigns", do: func(db *gorm.DB) any {
				var v stock
				return saw(db.Where(stock{SKU: "a"}).Assign(stock{Qty: 3}).FirstOrCreate(&v), v)
			}, want: []string{`stocks update 1 {"id":1,"note":null,"qty":3,"sku":"a"} | qty`}},
			{name: "FirstOrCreate assigns to a new one", do: func(db *gorm.DB) any {
				var v stock
				return saw(db.Where(stock{SKU: "b"}).Assign(map[string]any{"qty": 4}).FirstOrCreate(&v), v)
			}, want: []string{`stocks create 2 {"id":2,"note":null,"qty":4,"sku":"b"} | qty sku`}},
			{name: "FirstOrInit and Save", do: func(db *gorm.DB) any {
				var v, w stock
				return []any{
					saw(db.Where(stock{SKU: "c"}).Attrs(stock{Qty: 5}).FirstOrInit(&v), v), saw(db.Save(&v), v),
					saw(db.Where(stock{SKU: "c"}).Assign(stock{Qty: 6}).FirstOrInit(&w), w), saw(db.Save(&w), w),
				}
			}, want: []string{
				`stocks create 3 {"id":3,"note":null,"qty":5,"sku":"c"} | qty sku`,
				`stocks update 3 {"id":3,"note":null,"qty":6,"sku":"c"} | qty`,
			}},
		})
	})
}
