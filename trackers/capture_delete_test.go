package trackers_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// memo is marked as deleted, not deleted.
type memo struct {
	ID        int64 `gorm:"primaryKey"`
	Text      string
	DeletedAt gorm.DeletedAt `gorm:"index"`
}

// secretMemo hides the mark, as many models do.
type secretMemo struct {
	ID        int64 `gorm:"primaryKey"`
	Text      string
	DeletedAt gorm.DeletedAt `json:"-"`
}

func memoLine(action, id, text string) string {
	return `memos ` + action + ` ` + id + ` {"deleted_at":null,"id":` + id + `,"text":"` + text + `"} | text`
}

func TestCaptureSoftDelete(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newTwins(t, d, []trackers.Entity{{Model: &memo{}, FieldLog: true}}, gorm.Config{})
		w.unordered = true
		w.run(t, []step{
			{name: "create", do: func(db *gorm.DB) any {
				v := []memo{{Text: "a"}, {Text: "b"}, {Text: "c"}}
				return saw(db.Create(&v), v)
			}, want: []string{memoLine("create", "1", "a"), memoLine("create", "2", "b"), memoLine("create", "3", "c")}},
			{name: "delete", do: func(db *gorm.DB) any {
				v := memo{ID: 1}
				return saw(db.Delete(&v), v)
			}, want: []string{"memos delete 1 null | -text"}},
			{name: "delete again", do: func(db *gorm.DB) any { return saw(db.Delete(&memo{ID: 1})) }},
			{name: "update of a deleted row", do: func(db *gorm.DB) any { return saw(db.Model(&memo{ID: 1}).Update("text", "x")) }},
			{name: "unscoped update of a deleted row", do: func(db *gorm.DB) any {
				return saw(db.Unscoped().Model(&memo{ID: 1}).Update("text", "aa"))
			}},
			{name: "bulk", do: func(db *gorm.DB) any { return saw(db.Where("text <> ?", "c").Or("id = 2").Delete(&memo{})) },
				want: []string{"memos delete 2 null | -text"}},
			{name: "update with Or", do: func(db *gorm.DB) any {
				return saw(db.Model(&memo{}).Where("id = 3").Or("id = 1").Update("text", "cc"))
			}, want: []string{memoLine("update", "3", "cc")}},
			{name: "un-delete", do: func(db *gorm.DB) any {
				return saw(db.Unscoped().Model(&memo{ID: 1}).Update("deleted_at", nil))
			}, want: []string{memoLine("create", "1", "aa")}},
			{name: "un-delete in bulk, with another change", do: func(db *gorm.DB) any {
				return saw(db.Unscoped().Model(&memo{}).Where("deleted_at IS NOT NULL").Updates(map[string]any{"deleted_at": nil, "text": "bb"}))
			}, want: []string{memoLine("create", "2", "bb")}},
			{name: "un-delete of a living row", do: func(db *gorm.DB) any {
				return saw(db.Unscoped().Model(&memo{ID: 2}).Update("deleted_at", nil))
			}},
			{name: "marked by an update", do: func(db *gorm.DB) any {
				return saw(db.Model(&memo{ID: 2}).Update("deleted_at", db.NowFunc()))
			}, want: []string{"memos delete 2 null | -text"}},
			{name: "hard delete of a deleted row", do: func(db *gorm.DB) any { return saw(db.Unscoped().Delete(&memo{ID: 2})) },
				want: []string{"memos delete 2 null | -text"}},
			{name: "hard delete of a living row", do: func(db *gorm.DB) any { return saw(db.Unscoped().Delete(&memo{ID: 1})) },
				want: []string{"memos delete 1 null | -text"}},
			{name: "created as deleted", do: func(db *gorm.DB) any {
				v := memo{ID: 8, Text: "x", DeletedAt: gorm.DeletedAt{Time: db.NowFunc(), Valid: true}}
				return saw(db.Create(&v))
			}},
			{name: "upsert of a deleted row", do: func(db *gorm.DB) any {
				return saw(db.Clauses(clause.OnConflict{Columns: columns("id"), DoUpdates: clause.AssignmentColumns([]string{"text"})}).Create(&memo{ID: 8, Text: "y"}))
			}},
			{name: "upsert that revives", do: func(db *gorm.DB) any {
				return saw(db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&memo{ID: 8, Text: "z"}))
			},
				want: []string{memoLine("create", "8", "z")}},
			{name: "Returning", do: func(db *gorm.DB) any {
				var v []memo
				return saw(db.Clauses(clause.Returning{}).Where("id = 8").Delete(&v), v)
			}, want: []string{"memos delete 8 null | -text"}},
		})
	})
}

func TestCaptureSoftDeleteHidden(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newTwins(t, d, []trackers.Entity{{Model: &secretMemo{}, FieldLog: true}}, gorm.Config{}).run(t, []step{
			{name: "create", do: func(db *gorm.DB) any { return saw(db.Create(&secretMemo{Text: "a"})) },
				want: []string{`secret_memos create 1 {"id":1,"text":"a"} | text`}},
			{name: "delete", do: func(db *gorm.DB) any { return saw(db.Delete(&secretMemo{ID: 1})) }, want: []string{"secret_memos delete 1 null | -text"}},
			{name: "un-delete", do: func(db *gorm.DB) any {
				return saw(db.Unscoped().Model(&secretMemo{}).Where("id = 1").Update("deleted_at", nil))
			}, want: []string{`secret_memos create 1 {"id":1,"text":"a"} | text`}},
			{name: "marked by an update", do: func(db *gorm.DB) any { return saw(db.Model(&secretMemo{ID: 1}).Update("deleted_at", db.NowFunc())) },
				want: []string{"secret_memos delete 1 null | -text"}},
		})
	})
}

func TestCaptureDelete(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newTwins(t, d, stocks, gorm.Config{})
		create := func(db *gorm.DB) any {
			return saw(db.Create(&[]leg{{Trip: 1, Stop: "a", Km: ptr(1.0)}, {Trip: 1, Stop: "b"}, {Trip: 2, Stop: "a"}, {Trip: 2, Stop: "b"}, {Trip: 3, Stop: "c"}}))
		}
		require.Equal(t, create(w.other), create(w.db))
		w.take(t)
		w.heard.take()
		w.asked.take()
		w.run(t, []step{
			{name: "struct", do: func(db *gorm.DB) any {
				v := leg{Trip: 1, Stop: "a"}
				return saw(db.Delete(&v), v)
			}, want: []string{"legs delete 1,a null | -km"}},
			{name: "by value", do: func(db *gorm.DB) any { return saw(db.Delete(leg{Trip: 1, Stop: "b"})) }, want: []string{"legs delete 1,b null"}},
			{name: "pointers", do: func(db *gorm.DB) any { return saw(db.Delete([]*leg{{Trip: 2, Stop: "a"}, {Trip: 9, Stop: "z"}})) },
				want: []string{"legs delete 2,a null"}},
			{name: "inline condition", do: func(db *gorm.DB) any { return saw(db.Delete(&leg{}, "stop LIKE ?", "b%")) }, want: []string{"legs delete 2,b null"}},
			{name: "model and destination", do: func(db *gorm.DB) any { return saw(db.Model(&leg{Trip: 3, Stop: "x"}).Delete(&leg{})) }},
			{name: "no row", do: func(db *gorm.DB) any { return saw(db.Delete(&leg{Trip: 1, Stop: "a"})) }},
			{name: "no condition", do: func(db *gorm.DB) any { return saw(db.Delete(&leg{})) }},
			{name: "everything", do: func(db *gorm.DB) any {
				return saw(db.Session(&gorm.Session{AllowGlobalUpdate: true}).Delete(&leg{}))
			}, want: []string{"legs delete 3,c null"}},
		})
	})
}

// pin's table has no constraint, so that keys may meet for a moment.
type pin struct {
	ID   int64 `gorm:"primaryKey"`
	Name string
}

// A row whose key changes goes, and another one comes.
func TestCaptureKeyChange(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newTwins(t, d, []trackers.Entity{{Model: &place{}, FieldLog: true}, {Model: &leg{}, FieldLog: true}, {Model: &pin{}, FieldLog: true}}, gorm.Config{},
			func(db *gorm.DB) error { return db.Exec("CREATE TABLE pins (id bigint NOT NULL, name text)").Error })
		for _, db := range []*gorm.DB{w.db, w.other} {
			require.NoError(t, db.Create(&[]place{{Code: "a", Name: "A"}, {Code: "b"}}).Error)
			require.NoError(t, db.Create(&leg{Trip: 1, Stop: "x", Km: ptr(1.0)}).Error)
			require.NoError(t, db.Create(&[]pin{{ID: 1, Name: "one"}, {ID: 2, Name: "two"}, {ID: 3, Name: "three"}}).Error)
		}
		w.take(t)
		w.heard.take()
		w.asked.take()
		w.unordered = true
		pins := func(db *gorm.DB, key string) any {
			return saw(db.Session(&gorm.Session{AllowGlobalUpdate: true}).Model(&pin{}).UpdateColumn("id", gorm.Expr(key)))
		}
		w.run(t, []step{
			{name: "one", do: func(db *gorm.DB) any { return saw(db.Model(&place{Code: "a"}).Update("code", "c")) },
				want: []string{"places delete a null | -name", `places create c {"code":"c","name":"A"} | name`}},
			{name: "to itself", do: func(db *gorm.DB) any {
				return saw(db.Model(&place{Code: "c"}).Updates(map[string]any{"code": "c", "name": "C"}))
			},
				want: []string{`places update c {"code":"c","name":"C"} | name`}},
			{name: "taken", do: func(db *gorm.DB) any { return saw(db.Model(&place{Code: "c"}).Update("code", "b")) }},
			{name: "bulk", do: func(db *gorm.DB) any {
				return saw(db.Model(&place{}).Where("code <> ''").UpdateColumn("code", gorm.Expr("code || code")))
			}, want: []string{
				"places delete b null | -name", `places create bb {"code":"bb","name":""} | name`,
				"places delete c null | -name", `places create cc {"code":"cc","name":"C"} | name`,
			}},
			{name: "a part", do: func(db *gorm.DB) any { return saw(db.Model(&leg{Trip: 1, Stop: "x"}).Update("stop", "y")) },
				want: []string{"legs delete 1,x null | -km", `legs create 1,y {"km":1,"stop":"y","trip":1} | km`}},
			{name: "swap", do: func(db *gorm.DB) any { return pins(db, "CASE id WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE id END") },
				want: []string{`pins update 1 {"id":1,"name":"two"} | name`, `pins update 2 {"id":2,"name":"one"} | name`}},
			{name: "shift", do: func(db *gorm.DB) any { return pins(db, "id + 1") }, want: []string{
				"pins delete 1 null | -name", `pins update 2 {"id":2,"name":"two"} | name`, `pins update 3 {"id":3,"name":"one"} | name`,
				`pins create 4 {"id":4,"name":"three"} | name`,
			}},
			{name: "Returning", do: func(db *gorm.DB) any {
				var v []pin
				return saw(db.Model(&v).Clauses(clause.Returning{}).Where("id = 4").UpdateColumn("id", 5), v)
			}, want: []string{"pins delete 4 null | -name", `pins create 5 {"id":5,"name":"three"} | name`}},
		})
	})
}
