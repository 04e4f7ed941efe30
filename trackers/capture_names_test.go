package trackers_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/schema"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// odd has names that SQL must quote.
type odd struct {
	ID     int64  `gorm:"column:Select;primaryKey"`
	From   string `gorm:"column:from"`
	Umlaut string `gorm:"column:größe"`
	Spaced string `gorm:"column:two words"`
}

func (odd) TableName() string { return "Order" }

func oddLine(action, from string) string {
	return `Order ` + action + ` 1 {"Select":1,"from":"` + from + `","größe":"","two words":""} | `
}

func TestCaptureOddNames(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		newTwins(t, d, []trackers.Entity{{Model: &odd{}, FieldLog: true, Scope: "from"}}, gorm.Config{}).run(t, []step{
			{name: "create", do: func(db *gorm.DB) any { return saw(db.Create(&odd{ID: 1, From: "a"})) }, want: []string{oddLine("create", "a") + "from größe two words"}},
			{name: "update", do: func(db *gorm.DB) any { return saw(db.Model(&odd{ID: 1}).Update("two words", "b")) },
				want: []string{`Order update 1 {"Select":1,"from":"a","größe":"","two words":"b"} | two words`}},
			{name: "upsert", do: func(db *gorm.DB) any { return saw(db.Save(&[]odd{{ID: 1, From: "c"}})) },
				want: []string{"Order leave 1 null | -from -größe -two words", oddLine("enter", "c") + "from größe two words"}},
			{name: "alias", do: func(db *gorm.DB) any {
				return saw(db.Table(`"Order" AS o`).Where(`o."Select" = 1`).Update("from", "d"))
			},
				want: []string{"Order leave 1 null | -from -größe -two words", oddLine("enter", "d") + "from größe two words"}},
			{name: "delete", do: func(db *gorm.DB) any { return saw(db.Delete(&odd{ID: 1})) }, want: []string{"Order delete 1 null | -from -größe -two words"}},
		})
	})
}

// A table may be named with its schema, which is no part of the entity's name.
func TestCaptureSchemaName(t *testing.T) {
	t.Parallel()
	d := dbtest.Postgres(t)
	var name string
	require.NoError(t, d.Open(t).Raw("SELECT current_schema()").Row().Scan(&name))
	db := d.Open(t, &gorm.Config{NamingStrategy: schema.NamingStrategy{TablePrefix: name + "."}})
	require.NoError(t, db.AutoMigrate(&stock{}))
	f := attach(t, d, db, trackers.Config{Entities: []trackers.Entity{{Model: &stock{}, FieldLog: true}}})
	require.NoError(t, db.Create(&stock{SKU: "a"}).Error)
	require.NoError(t, db.Model(&stock{ID: 1}).Update("qty", 1).Error)
	require.NoError(t, db.Model(&[]stock{}).Clauses(clause.Returning{}).Where("id = 1").Update("qty", 2).Error)
	require.NoError(t, db.Save(&[]stock{{ID: 1, SKU: "a", Qty: 3}}).Error)
	require.NoError(t, db.Model(&stock{ID: 1}).Update("id", 2).Error)
	require.NoError(t, db.Model(&stock{}).Clauses(clause.From{Tables: []clause.Table{{Name: name + ".stocks", Alias: "other"}}}).
		Where("other.id = stocks.id").Update("qty", gorm.Expr("other.qty + 1")).Error)
	require.NoError(t, db.Delete(&stock{ID: 2}).Error)
	require.Equal(t, []string{
		`stocks create 1 {"id":1,"note":null,"qty":0,"sku":"a"} | qty sku`,
		`stocks update 1 {"id":1,"note":null,"qty":1,"sku":"a"} | qty`,
		`stocks update 1 {"id":1,"note":null,"qty":2,"sku":"a"} | qty`,
		`stocks update 1 {"id":1,"note":null,"qty":3,"sku":"a"} | qty`,
		`stocks delete 1 null | -qty -sku`, `stocks create 2 {"id":2,"note":null,"qty":3,"sku":"a"} | qty sku`,
		`stocks update 2 {"id":2,"note":null,"qty":4,"sku":"a"} | qty`,
		`stocks delete 2 null | -qty -sku`,
	}, f.take(t))
}

// SQLite does not mind the case of names, and so a table made by hand may have
// another one than the model.
func TestCaptureNameCase(t *testing.T) {
	t.Parallel()
	type ages = wide
	w := newTwins(t, dbtest.SQLite(t), []trackers.Entity{{Model: &ages{}, FieldLog: true}}, gorm.Config{},
		func(db *gorm.DB) error {
			return db.Exec("CREATE TABLE Ages (ID integer PRIMARY KEY, Name text, EXTRA text)").Error
		})
	w.run(t, []step{
		{name: "create", do: func(db *gorm.DB) any { return saw(db.Create(&ages{Name: "a"})) }, want: []string{`ages create 1 {"extra":null,"id":1,"name":"a"} | name`}},
		{name: "update", do: func(db *gorm.DB) any { return saw(db.Model(&ages{ID: 1}).Update("extra", "x")) }, want: []string{`ages update 1 {"extra":"x","id":1,"name":"a"} | extra`}},
		{name: "other case", do: func(db *gorm.DB) any { return saw(db.Table("AGES").Where("ID = 1").Update("NAME", "b")) },
			want: []string{`ages update 1 {"extra":"x","id":1,"name":"b"} | name`}},
		{name: "delete", do: func(db *gorm.DB) any { return saw(db.Delete(&ages{ID: 1})) }, want: []string{"ages delete 1 null | -extra -name"}},
	})
}

// Creds is embedded where JSON does not show it.
type Creds struct {
	Login string
	Token string
}

type account struct {
	ID     int64 `gorm:"primaryKey"`
	Name   string
	Secret Creds  `gorm:"embedded;embeddedPrefix:one_" json:"-"`
	Other  *Creds `gorm:"embedded;embeddedPrefix:two_" json:"-"`
	Shown  Creds  `gorm:"embedded;embeddedPrefix:three_"`
	Creds  `json:"-"`
}

// What JSON leaves out with all that is in it is hidden with all that is in it.
func TestCaptureHiddenEmbedded(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newTwins(t, d, []trackers.Entity{{Model: &account{}, FieldLog: true}}, gorm.Config{})
		w.run(t, []step{
			{name: "create", do: func(db *gorm.DB) any {
				return saw(db.Create(&account{ID: 1, Name: "a", Secret: Creds{"secret", "secret"}, Other: &Creds{"secret", "secret"}, Creds: Creds{"secret", "secret"}}))
			}, want: []string{`accounts create 1 {"id":1,"name":"a","three_login":"","three_token":""} | name three_login three_token`}},
			{name: "update", do: func(db *gorm.DB) any {
				return saw(db.Model(&account{ID: 1}).Updates(map[string]any{"one_login": "secret-2", "two_token": "secret-3", "token": "secret-4"}))
			}},
		})
		w.noSecrets(t, "secret", "one_", "two_")
	})
}
