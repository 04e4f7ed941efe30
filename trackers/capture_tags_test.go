package trackers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/schema"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// upperText keeps itself in upper case; it is its own serializer.
type upperText string

// Scan implements schema.SerializerInterface.
func (u *upperText) Scan(_ context.Context, _ *schema.Field, _ reflect.Value, v any) error {
	*u = upperText(strings.ToLower(fmt.Sprint(v)))
	return nil
}

// Value implements schema.SerializerInterface.
func (u upperText) Value(context.Context, *schema.Field, reflect.Value, any) (any, error) {
	return strings.ToUpper(string(u)), nil
}

type Size struct {
	Width  int
	Height *int
}

// Audit is embedded as a pointer.
type Audit struct{ By string }

// tagged has all the tags that change how a field is kept.
type tagged struct {
	ID      int64          `gorm:"primaryKey"`
	JSON    map[string]any `gorm:"serializer:json"`
	List    []string       `gorm:"serializer:json"`
	Gob     Size           `gorm:"serializer:gob;type:bytes"`
	Unix    int64          `gorm:"serializer:unixtime;type:timestamp"`
	Upper   upperText
	Texts   pq.StringArray `gorm:"type:text[]"`
	Numbers pq.Int64Array  `gorm:"type:bigint[]"`
	Box     Size           `gorm:"embedded;embeddedPrefix:box_"`
	Audit   *Audit         `gorm:"embedded;embeddedPrefix:audit_"`
	Other   string         `gorm:"column:other_name" json:"renamed"`
	Ignored string         `gorm:"-"`
	Bin     []byte         `gorm:"size:9"`
}

func newTagged() *tagged {
	return &tagged{
		ID: 1, JSON: map[string]any{"a": 1.0, "b": []any{"x", nil}}, List: []string{"p", "q"}, Gob: Size{Width: 3, Height: ptr(4)}, Unix: 1700000000,
		Upper: "loud", Texts: pq.StringArray{"a", `b,"c`}, Numbers: pq.Int64Array{1, -2}, Box: Size{Width: 5}, Audit: &Audit{By: "me"}, Other: "o", Ignored: "i",
	}
}

const taggedData = `{"id":1,"json":{"a":1,"b":["x",null]},"list":["p","q"],"gob":{"Width":3,"Height":4},"unix":1700000000,"upper":"loud","texts":["a","b,\"c"],` +
	`"numbers":[1,-2],"box_width":5,"box_height":null,"audit_by":"me","other_name":"o","bin":null}`

// change does one thing on both twins and gives the change that it left.
func (w twins) change(t *testing.T, do func(*gorm.DB) any) (models.Change, map[string]string) {
	t.Helper()
	require.Equal(t, do(w.other), do(w.db))
	rows := w.changeRows(t)
	require.NotEmpty(t, rows)
	c := rows[len(rows)-1]
	require.Greater(t, c.ID, w.seen.Load(), "nothing was logged")
	w.seen.Store(c.ID)
	return c, valuesOf(t, w.fieldRows(t)[c.ID])
}

func TestCaptureTags(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newTwins(t, d, []trackers.Entity{{Model: &tagged{}, FieldLog: true}}, gorm.Config{})
		c, fields := w.change(t, func(db *gorm.DB) any { return saw(db.Create(newTagged())) })
		require.JSONEq(t, taggedData, string(c.Data))
		require.Len(t, fields, 10)
		require.NotContains(t, string(c.Data), "gnored")

		var v tagged
		require.NoError(t, w.db.First(&v, 1).Error)
		require.NoError(t, w.db.Save(&v).Error)
		require.Empty(t, w.take(t), "saved as it is")

		_, fields = w.change(t, func(db *gorm.DB) any {
			v := newTagged()
			v.JSON["a"], v.List, v.Gob.Width, v.Unix, v.Upper = 2.0, nil, 4, 1700000001, "x"
			v.Texts, v.Numbers, v.Box.Height, v.Audit, v.Other = nil, pq.Int64Array{}, ptr(6), nil, ""
			return saw(db.Save(v))
		})
		// GORM decides whether an empty list and an absent struct are NULL; that the
		// log has the same is checked at the end.
		for _, name := range []string{"list", "audit_by"} {
			require.Contains(t, fields, name)
			delete(fields, name)
		}
		require.Equal(t, map[string]string{
			"json": `{"a":2,"b":["x",null]}`, "gob": `{"Height":4,"Width":4}`, "unix": "1700000001", "upper": `"x"`,
			"texts": "", "numbers": "[]", "box_height": "6", "other_name": `""`,
		}, fields)

		_, fields = w.change(t, func(db *gorm.DB) any {
			return saw(db.Model(&tagged{ID: 1}).Updates(map[string]any{"upper": upperText("y"), "box_width": 7}))
		})
		require.Equal(t, map[string]string{"upper": `"y"`, "box_width": "7"}, fields)
		_, fields = w.change(t, func(db *gorm.DB) any {
			return saw(db.Model(&tagged{ID: 1}).Updates(&tagged{JSON: map[string]any{"z": true}, Box: Size{Width: 8}}))
		})
		require.Equal(t, map[string]string{"json": `{"z":true}`, "box_width": "8"}, fields)
		_, fields = w.change(t, func(db *gorm.DB) any { return saw(db.Model(&tagged{ID: 1}).UpdateColumns(tagged{Unix: 1700000002})) })
		require.Equal(t, map[string]string{"unix": "1700000002"}, fields)
	})
}

// permitted has fields that GORM may not write, or not always.
type permitted struct {
	ID       int64  `gorm:"primaryKey"`
	First    string `gorm:"<-:create"`
	Database string `gorm:"<-:false;default:'db'"`
	Default  int    `gorm:"default:42"`
	Now      string `gorm:"default:(lower('NOW'))"`
	Total    int    `gorm:"->"`
	Virtual  int    `gorm:"->;-:migration"`
	Name     string
}

func (*permitted) Made() {}

func TestCapturePermissions(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newTwins(t, d, []trackers.Entity{{Model: &permitted{}, FieldLog: true}}, gorm.Config{}, func(db *gorm.DB) error {
			return db.Exec(`CREATE TABLE permitteds (id bigint PRIMARY KEY, first text, database text DEFAULT 'db', "default" bigint DEFAULT 42,
 now text DEFAULT 'now', name text, total bigint GENERATED ALWAYS AS (length(name) * 2) STORED)`).Error
		}).run(t, []step{
			{name: "create", do: func(db *gorm.DB) any {
				v := permitted{ID: 1, First: "m", Database: "mine", Name: "abc", Total: 99, Virtual: 9}
				return saw(db.Omit("Virtual").Create(&v), v)
			}, want: []string{`permitteds create 1 {"database":"db","default":42,"first":"m","id":1,"name":"abc","now":"now","total":6} | database default first name now total`}},
			{name: "generated", do: func(db *gorm.DB) any { return saw(db.Model(&permitted{ID: 1}).Update("name", "abcd")) },
				want: []string{`permitteds update 1 {"database":"db","default":42,"first":"m","id":1,"name":"abcd","now":"now","total":8} | name total`}},
			{name: "same generated value", do: func(db *gorm.DB) any { return saw(db.Model(&permitted{ID: 1}).Update("name", "dcba")) },
				want: []string{`permitteds update 1 {"database":"db","default":42,"first":"m","id":1,"name":"dcba","now":"now","total":8} | name`}},
			{name: "not to be written", do: func(db *gorm.DB) any {
				return saw(db.Model(&permitted{ID: 1}).Updates(permitted{First: "x", Database: "x", Default: 43}))
			}, want: []string{`permitteds update 1 {"database":"db","default":43,"first":"m","id":1,"name":"dcba","now":"now","total":8} | default`}},
			{name: "delete", do: func(db *gorm.DB) any { return saw(db.Delete(&permitted{ID: 1})) },
				want: []string{"permitteds delete 1 null | -database -default -first -name -now -total"}},
		})
	})
}

// What the model cannot read stands in the log as the database has it: the
// application could write it, so it must not fail.
func TestCaptureUndecodable(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		type listed struct {
			ID   int64    `gorm:"primaryKey"`
			List []string `gorm:"serializer:json"`
			N    *int
			Raw  json.RawMessage `gorm:"type:text"`
			Name string
		}
		w := newTwins(t, d, []trackers.Entity{{Model: &listed{}, FieldLog: true}}, gorm.Config{})
		for _, db := range []*gorm.DB{w.plain, w.peek} {
			require.NoError(t, db.Exec("INSERT INTO listeds (id, name) VALUES (1, 'a')").Error)
			if d.Dialect == "sqlite" {
				require.NoError(t, db.Exec("UPDATE listeds SET n = 'seven'").Error)
			}
		}
		n := map[string]string{"sqlite": `"seven"`, "postgres": "null"}[d.Dialect]
		w.run(t, []step{
			{name: "another column", do: func(db *gorm.DB) any { return saw(db.Table("listeds").Where("id = 1").Update("name", "b")) },
				want: []string{`listeds update 1 {"id":1,"list":null,"n":` + n + `,"name":"b","raw":null} | name`}},
			{name: "serializer", do: func(db *gorm.DB) any {
				return saw(db.Model(&listed{ID: 1}).Updates(map[string]any{"list": []string{"z"}}))
			}, want: []string{`listeds update 1 {"id":1,"list":"z","n":` + n + `,"name":"b","raw":null} | list`}},
			{name: "JSON", do: func(db *gorm.DB) any { return saw(db.Model(&listed{ID: 1}).Update("raw", json.RawMessage("{no"))) },
				want: []string{`listeds update 1 {"id":1,"list":"z","n":` + n + `,"name":"b","raw":"{no"} | raw`}},
			{name: "delete", do: func(db *gorm.DB) any { return saw(db.Table("listeds").Where("id = 1").Delete(nil)) },
				want: []string{map[string]string{"sqlite": "listeds delete 1 null | -list -n -name -raw", "postgres": "listeds delete 1 null | -list -name -raw"}[d.Dialect]}},
		})
	})
}

// loud makes the times of a change visible: they are those of the application's clock.
type loud struct {
	ID        int64 `gorm:"primaryKey"`
	CreatedAt time.Time
	UpdatedAt int64 `gorm:"autoUpdateTime:milli"`
	Day       *time.Time
}

func TestCaptureTimes(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newTwins(t, d, []trackers.Entity{{Model: &loud{}, FieldLog: true}}, gorm.Config{})
		c, _ := w.change(t, func(db *gorm.DB) any { return saw(db.Create(&loud{Day: &afternoon})) })
		want := `{"id":1,"created_at":"2026-01-01T19:04:05.678901Z","updated_at":1767294245678,"day":"2026-07-09T02:10:11.123456Z"}`
		require.JSONEq(t, want, string(c.Data))
		require.True(t, c.CreatedAt.Equal(w.clock.now().Truncate(time.Microsecond)), c.CreatedAt)
		w.clock.minutes.Add(1)
		c, fields := w.change(t, func(db *gorm.DB) any { return saw(db.Model(&loud{ID: 1}).Update("day", nil)) })
		require.Equal(t, map[string]string{"day": "", "updated_at": "1767294305678"}, fields)
		require.True(t, c.CreatedAt.Equal(w.clock.now().Truncate(time.Microsecond)), c.CreatedAt)
		var row map[string]any
		require.NoError(t, json.Unmarshal(c.Data, &row))
		require.Nil(t, row["day"])
	})
}
