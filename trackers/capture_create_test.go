package trackers_test

import (
	"strconv"
	"testing"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// item has a key and a default that the database makes.
type item struct {
	ID        int64 `gorm:"primaryKey"`
	Name      string
	Kind      string `gorm:"default:plain"`
	Qty       *int
	UpdatedAt time.Time
}

// place has a key of the application's: GORM asks for no rows when it creates one.
type place struct {
	Code string `gorm:"primaryKey"`
	Name string
}

var itemsAndPlaces = []trackers.Entity{{Model: &item{}, FieldLog: true}, {Model: &place{}, FieldLog: true}}

// itemLine is the change of an item that has no more than a name.
func itemLine(action string, id int, name, fields string) string {
	n := strconv.Itoa(id)
	return "items " + action + " " + n + ` {"id":` + n + `,"kind":"plain","name":"` + name + `","qty":null} | ` + fields
}

func created(id int, name string) string { return itemLine("create", id, name, "kind name updated_at") }

func TestCaptureCreate(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newTwins(t, d, itemsAndPlaces, gorm.Config{}).run(t, []step{
			{name: "struct", do: func(db *gorm.DB) any {
				v := item{Name: "a", Qty: ptr(3)}
				return saw(db.Create(&v), v)
			}, want: []string{`items create 1 {"id":1,"kind":"plain","name":"a","qty":3} | kind name qty updated_at`}},
			{name: "slice", do: func(db *gorm.DB) any {
				v := []item{{Name: "b"}, {Name: "c", Kind: "odd"}}
				return saw(db.Create(&v), v)
			}, want: []string{created(2, "b"), `items create 3 {"id":3,"kind":"odd","name":"c","qty":null} | kind name updated_at`}},
			{name: "slice by value", do: func(db *gorm.DB) any {
				v := []item{{Name: "d"}}
				return saw(db.Create(v), v)
			}, want: []string{created(4, "d")}},
			{name: "slice of pointers", do: func(db *gorm.DB) any {
				v := []*item{{Name: "e"}, {Name: "f"}}
				return saw(db.Create(v), v)
			}, want: []string{created(5, "e"), created(6, "f")}},
			{name: "array", do: func(db *gorm.DB) any {
				v := [2]item{{Name: "g"}, {Name: "h"}}
				return saw(db.Create(&v), v)
			}, want: []string{created(7, "g"), created(8, "h")}},
			{name: "CreateInBatches", do: func(db *gorm.DB) any {
				v := []*item{{Name: "i"}, {Name: "j"}, {Name: "k"}}
				return saw(db.CreateInBatches(v, 2), v)
			}, want: []string{created(9, "i"), created(10, "j"), created(11, "k")}},
			{name: "CreateBatchSize", do: func(db *gorm.DB) any {
				v := []item{{Name: "l"}, {Name: "m"}, {Name: "n"}}
				return saw(db.Session(&gorm.Session{CreateBatchSize: 2}).Create(&v), v)
			}, want: []string{created(12, "l"), created(13, "m"), created(14, "n")}},
			{name: "own key", do: func(db *gorm.DB) any {
				v := item{ID: 100, Name: "o"}
				return saw(db.Create(&v), v)
			}, want: []string{created(100, "o")}},
			{name: "no slice", do: func(db *gorm.DB) any { return saw(db.Create(&[]item{})) }},
			{name: "no keys of the database", do: func(db *gorm.DB) any {
				v := []place{{Code: "x", Name: "X"}, {Code: "y"}}
				return saw(db.Create(&v), v)
			}, want: []string{`places create x {"code":"x","name":"X"} | name`, `places create y {"code":"y","name":""} | name`}},
			{name: "Table", do: func(db *gorm.DB) any {
				v := place{Code: "z"}
				return saw(db.Table("places").Create(&v), v)
			}, want: []string{`places create z {"code":"z","name":""} | name`}},
			{name: "taken key", do: func(db *gorm.DB) any {
				v := []place{{Code: "new"}, {Code: "z"}}
				return saw(db.Create(&v), v)
			}},
		})
	})
}

// What GORM names after its own fields may be left out, too.
func TestCaptureCreateSelected(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newTwins(t, d, itemsAndPlaces, gorm.Config{}).run(t, []step{
			{name: "Select", do: func(db *gorm.DB) any {
				v := item{Name: "a", Qty: ptr(1)}
				return saw(db.Select("Name").Create(&v), v)
			}, want: []string{itemLine("create", 1, "a", "kind name updated_at")}},
			{name: "Omit", do: func(db *gorm.DB) any {
				v := item{Name: "b", Qty: ptr(1)}
				return saw(db.Omit("Qty", "UpdatedAt").Create(&v), v)
			}, want: []string{itemLine("create", 2, "b", "kind name")}},
			{name: "zero value", do: func(db *gorm.DB) any {
				v := item{}
				return saw(db.Create(&v), v)
			}, want: []string{created(3, "")}},
			{name: "expression", do: func(db *gorm.DB) any {
				return saw(db.Model(&item{}).Create(map[string]any{"Name": gorm.Expr("upper(?)", "c"), "ID": gorm.Expr("2 + 2")}))
			}, want: []string{itemLine("create", 4, "C", "kind name")}},
			{name: "Returning of the user", do: func(db *gorm.DB) any {
				v := []item{{ID: 11, Name: "d"}, {ID: 12, Name: "e"}}
				res := db.Clauses(clause.Returning{Columns: []clause.Column{{Name: "name"}, {Name: "kind"}}}).Create(&v)
				return saw(res, v)
			}, want: []string{created(11, "d"), created(12, "e")}},
			{name: "OR IGNORE", only: "sqlite", do: func(db *gorm.DB) any {
				v := []place{{Code: "a"}, {Code: "a", Name: "again"}, {Code: "b"}}
				return saw(db.Clauses(clause.Insert{Modifier: "OR IGNORE"}).Create(&v), v)
			}, want: []string{`places create a {"code":"a","name":""} | name`, `places create b {"code":"b","name":""} | name`}},
			{name: "OR REPLACE", only: "sqlite", do: func(db *gorm.DB) any {
				v := []place{{Code: "b", Name: "new"}, {Code: "c"}}
				return saw(db.Clauses(clause.Insert{Modifier: "OR REPLACE"}).Create(&v), v)
			}, want: []string{`places update b {"code":"b","name":"new"} | name`, `places create c {"code":"c","name":""} | name`}},
		})
	})
}

func TestCaptureCreateMaps(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newTwins(t, d, itemsAndPlaces, gorm.Config{}).run(t, []step{
			{name: "Model", do: func(db *gorm.DB) any {
				m := map[string]any{"Name": "a", "qty": 2}
				return saw(db.Model(&item{}).Create(m), m)
			}, want: []string{`items create 1 {"id":1,"kind":"plain","name":"a","qty":2} | kind name qty`}},
			{name: "Model, pointer", do: func(db *gorm.DB) any {
				m := map[string]any{"Name": "b"}
				return saw(db.Model(&item{}).Create(&m), m)
			}, want: []string{itemLine("create", 2, "b", "kind name")}},
			{name: "Model, pointer to a slice", do: func(db *gorm.DB) any {
				m := []map[string]any{{"Name": "e"}, {"Name": "f"}}
				return saw(db.Model(&item{}).Create(&m), m)
			}, want: []string{itemLine("create", 3, "e", "kind name"), itemLine("create", 4, "f", "kind name")}},
			{name: "Table", do: func(db *gorm.DB) any {
				m := map[string]any{"name": "g"}
				return saw(db.Table("items").Create(m), m)
			}, want: []string{itemLine("create", 5, "g", "kind name")}},
			{name: "Table, pointer", do: func(db *gorm.DB) any {
				m := map[string]any{"name": "h"}
				return saw(db.Table("items").Create(&m), m)
			}, want: []string{itemLine("create", 6, "h", "kind name")}},
			{name: "Table, slice", do: func(db *gorm.DB) any {
				m := []map[string]any{{"name": "i"}, {"name": "j"}}
				return saw(db.Table("items").Create(m), m)
			}, want: []string{itemLine("create", 7, "i", "kind name"), itemLine("create", 8, "j", "kind name")}},
			{name: "Table, pointer to a slice", do: func(db *gorm.DB) any {
				m := []map[string]any{{"name": "k"}, {"name": "l"}}
				return saw(db.Table("items").Create(&m), m)
			}, want: []string{itemLine("create", 9, "k", "kind name"), itemLine("create", 10, "l", "kind name")}},
			{name: "Table, Returning", do: func(db *gorm.DB) any {
				m := map[string]any{"name": "m"}
				return saw(db.Table("items").Clauses(clause.Returning{Columns: []clause.Column{{Name: "id"}, {Name: "kind"}}}).Create(m), m)
			}, want: []string{itemLine("create", 11, "m", "kind name")}},
			{name: "Model without keys of the database", do: func(db *gorm.DB) any {
				m := map[string]any{"Code": "x", "Name": "X"}
				return saw(db.Model(&place{}).Create(m), m)
			}, want: []string{`places create x {"code":"x","name":"X"} | name`}},
			{name: "Model, slice", do: func(db *gorm.DB) any {
				m := []map[string]any{{"Code": "y"}, {"Code": "z", "Name": "Z"}}
				return saw(db.Model(&place{}).Select("Code", "Name").Create(m), m)
			}, want: []string{`places create y {"code":"y","name":null}`, `places create z {"code":"z","name":"Z"} | name`}},
			{name: "Model, slice that GORM cannot scan keys into", do: func(db *gorm.DB) any {
				m := []map[string]any{{"Name": "c"}, {"Name": "d"}}
				return saw(db.Model(&item{}).Create(m), m)
			}},
		})
	})
}

// The result that WithResult hands out is good after the call, and speaks of the
// application's row, not of the log's.
func TestCaptureCreateResult(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		create := func(db *gorm.DB, code string) any {
			res := gorm.WithResult()
			err := gorm.G[place](db, res).Create(db.Statement.Context, &place{Code: code})
			id, idErr := res.Result.LastInsertId()
			n, countErr := res.Result.RowsAffected()
			return []any{errorText(err), res.RowsAffected, id, errorText(idErr), n, errorText(countErr)}
		}
		newTwins(t, d, itemsAndPlaces, gorm.Config{}).run(t, []step{
			{name: "once", do: func(db *gorm.DB) any { return create(db, "a") }, want: []string{`places create a {"code":"a","name":""} | name`}},
			{name: "in a transaction", do: func(db *gorm.DB) any {
				tx := db.Begin()
				return []any{create(tx, "b"), create(tx, "c"), errorText(tx.Commit().Error)}
			}, want: []string{`places create b {"code":"b","name":""} | name`, `places create c {"code":"c","name":""} | name`}},
		})
	})
}
