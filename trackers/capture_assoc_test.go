package trackers_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// Associations of every kind. Names are short because each row is spelt out below.
type firm struct {
	ID   int64 `gorm:"primaryKey"`
	Name string
}

type badge struct {
	ID       int64 `gorm:"primaryKey"`
	PersonID *int64
	No       string
}

type pet struct {
	ID       int64 `gorm:"primaryKey"`
	PersonID *int64
	Name     string
	Toys     []toy `gorm:"polymorphic:Owner"`
}

type toy struct {
	ID        int64 `gorm:"primaryKey"`
	Name      string
	OwnerID   *int64
	OwnerType *string
}

type tongue struct {
	Code string `gorm:"primaryKey"`
	Name string
}

// speaks is the join table of people and tongues; it has a column of its own.
type speaks struct {
	PersonID   int64  `gorm:"primaryKey"`
	TongueCode string `gorm:"primaryKey"`
	Since      int    `gorm:"default:1999"`
}

func (speaks) TableName() string { return "person_tongues" }

type person struct {
	ID      int64 `gorm:"primaryKey"`
	Name    string
	FirmID  *int64
	Firm    *firm
	Badge   *badge
	Pets    []pet
	Toys    []toy    `gorm:"polymorphic:Owner"`
	Tongues []tongue `gorm:"many2many:person_tongues"`
}

var family = []trackers.Entity{
	{Model: &firm{}}, {Model: &badge{}}, {Model: &pet{}}, {Model: &toy{}}, {Model: &tongue{}}, {Model: &person{}, FieldLog: true}, {Model: &speaks{}},
}

func newFamily(t *testing.T, d *dbtest.DB, joinModel bool) twins {
	t.Helper()
	return newTwins(t, d, family, gorm.Config{}, func(db *gorm.DB) error {
		if joinModel {
			return db.SetupJoinTable(&person{}, "Tongues", &speaks{})
		}
		return nil
	})
}

func anna() *person {
	return &person{
		Name: "anna", Firm: &firm{Name: "f"}, Badge: &badge{No: "b"},
		Pets: []pet{{Name: "cat", Toys: []toy{{Name: "mouse"}}}, {Name: "dog"}}, Toys: []toy{{Name: "drum"}},
		Tongues: []tongue{{Code: "de"}, {Code: "en", Name: "E"}},
	}
}

func TestCaptureAssociationCreate(t *testing.T) {
	t.Parallel()
	for name, joinModel := range map[string]bool{"join model": true, "join table": false} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				w := newFamily(t, d, joinModel)
				w.run(t, []step{
					{name: "cascade", do: func(db *gorm.DB) any {
						v := anna()
						return saw(db.Create(v), v)
					}, want: []string{
						`firms create 1 {"id":1,"name":"f"}`,
						`people create 1 {"firm_id":1,"id":1,"name":"anna"} | firm_id name`,
						`badges create 1 {"id":1,"no":"b","person_id":1}`,
						`pets create 1 {"id":1,"name":"cat","person_id":1}`,
						`pets create 2 {"id":2,"name":"dog","person_id":1}`,
						`toys create 1 {"id":1,"name":"mouse","owner_id":1,"owner_type":"pets"}`,
						`toys create 2 {"id":2,"name":"drum","owner_id":1,"owner_type":"people"}`,
						`tongues create de {"code":"de","name":""}`,
						`tongues create en {"code":"en","name":"E"}`,
						`person_tongues create 1,de {"person_id":1,"since":1999,"tongue_code":"de"}`,
						`person_tongues create 1,en {"person_id":1,"since":1999,"tongue_code":"en"}`,
					}},
					{name: "elements that are there", do: func(db *gorm.DB) any {
						v := &person{Name: "ben", Firm: &firm{ID: 1, Name: "ignored"}, Tongues: []tongue{{Code: "en", Name: "ignored"}, {Code: "fr"}}}
						return saw(db.Create(v), v)
					}, want: []string{
						`people create 2 {"firm_id":1,"id":2,"name":"ben"} | firm_id name`,
						`tongues create fr {"code":"fr","name":""}`,
						`person_tongues create 2,en {"person_id":2,"since":1999,"tongue_code":"en"}`,
						`person_tongues create 2,fr {"person_id":2,"since":1999,"tongue_code":"fr"}`,
					}},
					{name: "several owners", do: func(db *gorm.DB) any {
						v := []person{{Name: "cid", Pets: []pet{{Name: "x"}}}, {Name: "dan", Pets: []pet{{Name: "y"}}}}
						return saw(db.Create(&v), v)
					}, want: []string{
						`people create 3 {"firm_id":null,"id":3,"name":"cid"} | name`,
						`people create 4 {"firm_id":null,"id":4,"name":"dan"} | name`,
						`pets create 3 {"id":3,"name":"x","person_id":3}`,
						`pets create 4 {"id":4,"name":"y","person_id":4}`,
					}},
					{name: "omitted", do: func(db *gorm.DB) any {
						v := anna()
						return saw(db.Omit("Firm", "Badge", "Pets", "Toys", "Tongues.*").Create(v), v)
					}, want: []string{
						`people create 5 {"firm_id":null,"id":5,"name":"anna"} | name`,
						`person_tongues create 5,de {"person_id":5,"since":1999,"tongue_code":"de"}`,
						`person_tongues create 5,en {"person_id":5,"since":1999,"tongue_code":"en"}`,
					}},
					{name: "an element that fails", do: func(db *gorm.DB) any {
						v := &person{Name: "eve", Firm: &firm{Name: "g"}, Badge: &badge{No: "b"}}
						index := saw(db.Exec("CREATE UNIQUE INDEX badge_no ON badges (no)"))
						return []any{index, saw(db.Create(v))}
					}},
				})
			})
		})
	}
}

func TestCaptureAssociationMode(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newFamily(t, d, true)
		for _, db := range []*gorm.DB{w.db, w.other} {
			require.NoError(t, db.Create(anna()).Error)
		}
		w.take(t)
		w.heard.take()
		w.asked.take()
		w.unordered = true
		of := func(db *gorm.DB, name string) *gorm.Association {
			return db.Model(&person{ID: 1, Name: "anna"}).Association(name)
		}
		err := func(err error) any { return errorText(err) }
		w.run(t, []step{
			{name: "many2many Append", do: func(db *gorm.DB) any { return err(of(db, "Tongues").Append(&tongue{Code: "fr"})) },
				want: []string{`tongues create fr {"code":"fr","name":""}`, `person_tongues create 1,fr {"person_id":1,"since":1999,"tongue_code":"fr"}`}},
			{name: "many2many Append of one that it has", do: func(db *gorm.DB) any { return err(of(db, "Tongues").Append(&tongue{Code: "fr"})) }},
			{name: "many2many Replace", do: func(db *gorm.DB) any { return err(of(db, "Tongues").Replace(&tongue{Code: "it"}, &tongue{Code: "fr"})) },
				want: []string{
					`tongues create it {"code":"it","name":""}`, `person_tongues create 1,it {"person_id":1,"since":1999,"tongue_code":"it"}`,
					`person_tongues delete 1,de null`, `person_tongues delete 1,en null`,
				}},
			{name: "many2many Delete", do: func(db *gorm.DB) any { return err(of(db, "Tongues").Delete(&tongue{Code: "it"}, &tongue{Code: "xx"})) },
				want: []string{`person_tongues delete 1,it null`}},
			{name: "many2many Clear", do: func(db *gorm.DB) any { return err(of(db, "Tongues").Clear()) }, want: []string{`person_tongues delete 1,fr null`}},
			{name: "has-many Append", do: func(db *gorm.DB) any { return err(of(db, "Pets").Append(&pet{Name: "hen"})) },
				want: []string{`pets create 3 {"id":3,"name":"hen","person_id":1}`}},
			{name: "has-many Replace", do: func(db *gorm.DB) any { return err(of(db, "Pets").Replace(&pet{ID: 1, Name: "cat"})) },
				want: []string{`pets update 2 {"id":2,"name":"dog","person_id":null}`, `pets update 3 {"id":3,"name":"hen","person_id":null}`}},
			{name: "has-many Append of a stray", do: func(db *gorm.DB) any { return err(of(db, "Pets").Append(&pet{ID: 2, Name: "dog"})) },
				want: []string{`pets update 2 {"id":2,"name":"dog","person_id":1}`}},
			{name: "has-many Delete", do: func(db *gorm.DB) any { return err(of(db, "Pets").Delete(&pet{ID: 2})) },
				want: []string{`pets update 2 {"id":2,"name":"dog","person_id":null}`}},
			{name: "has-many unscoped Clear", do: func(db *gorm.DB) any { return err(of(db, "Pets").Unscoped().Clear()) }, want: []string{`pets delete 1 null`}},
			{name: "has-one Replace", do: func(db *gorm.DB) any { return err(of(db, "Badge").Replace(&badge{No: "c"})) },
				want: []string{`badges create 2 {"id":2,"no":"c","person_id":1}`, `badges update 1 {"id":1,"no":"b","person_id":null}`}},
			{name: "has-one Clear", do: func(db *gorm.DB) any { return err(of(db, "Badge").Clear()) },
				want: []string{`badges update 2 {"id":2,"no":"c","person_id":null}`}},
			{name: "belongs-to Replace", do: func(db *gorm.DB) any { return err(of(db, "Firm").Replace(&firm{Name: "g"})) },
				want: []string{`firms create 2 {"id":2,"name":"g"}`, `people update 1 {"firm_id":2,"id":1,"name":"anna"} | firm_id`}},
			{name: "belongs-to Clear", do: func(db *gorm.DB) any { return err(of(db, "Firm").Clear()) },
				want: []string{`people update 1 {"firm_id":null,"id":1,"name":"anna"} | -firm_id`}},
			{name: "polymorphic Replace", do: func(db *gorm.DB) any { return err(of(db, "Toys").Replace(&toy{Name: "ball"})) },
				want: []string{`toys create 3 {"id":3,"name":"ball","owner_id":1,"owner_type":"people"}`, `toys update 2 {"id":2,"name":"drum","owner_id":null,"owner_type":"people"}`}},
			{name: "polymorphic Delete", do: func(db *gorm.DB) any { return err(of(db, "Toys").Delete(&toy{ID: 3})) },
				want: []string{`toys update 3 {"id":3,"name":"ball","owner_id":null,"owner_type":"people"}`}},
			{name: "Count and Find", do: func(db *gorm.DB) any {
				var v []pet
				return []any{of(db, "Pets").Count(), err(of(db, "Pets").Find(&v)), v}
			}},
			{name: "several owners", do: func(db *gorm.DB) any {
				v := []person{{Name: "x"}, {Name: "y"}}
				res := saw(db.Create(&v))
				return []any{res, err(db.Model(&v).Association("Tongues").Append(&tongue{Code: "de"}, &[]tongue{{Code: "de"}, {Code: "en"}}))}
			}, want: []string{
				`people create 2 {"firm_id":null,"id":2,"name":"x"} | name`, `people create 3 {"firm_id":null,"id":3,"name":"y"} | name`,
				`person_tongues create 2,de {"person_id":2,"since":1999,"tongue_code":"de"}`, `person_tongues create 3,de {"person_id":3,"since":1999,"tongue_code":"de"}`,
				`person_tongues create 3,en {"person_id":3,"since":1999,"tongue_code":"en"}`,
			}},
		})
	})
}

func TestCaptureAssociationSave(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		w := newFamily(t, d, true)
		loaded := func(db *gorm.DB) *person {
			var v person
			require.NoError(t, db.Preload("Firm").Preload("Badge").Preload("Pets.Toys").Preload("Toys").Preload("Tongues").First(&v, 1).Error)
			return &v
		}
		for _, db := range []*gorm.DB{w.db, w.other} {
			require.NoError(t, db.Create(anna()).Error)
		}
		w.take(t)
		w.heard.take()
		w.asked.take()
		w.run(t, []step{
			{name: "Save leaves elements alone", do: func(db *gorm.DB) any {
				v := loaded(db)
				v.Firm.Name, v.Pets[0].Name, v.Name = "changed", "changed", "bea"
				return saw(db.Save(v), v)
			}, want: []string{`people update 1 {"firm_id":1,"id":1,"name":"bea"} | name`}},
			{name: "FullSaveAssociations", do: func(db *gorm.DB) any {
				v := loaded(db)
				v.Firm.Name, v.Badge.No, v.Pets[0].Toys[0].Name, v.Tongues[0].Name = "F", "B", "rat", "D"
				v.Pets = append(v.Pets, pet{Name: "emu"})
				return saw(db.Session(&gorm.Session{FullSaveAssociations: true}).Save(v), v)
			}, want: []string{
				`firms update 1 {"id":1,"name":"F"}`,
				`badges update 1 {"id":1,"no":"B","person_id":1}`,
				`pets create 3 {"id":3,"name":"emu","person_id":1}`,
				`toys update 1 {"id":1,"name":"rat","owner_id":1,"owner_type":"pets"}`,
				`tongues update de {"code":"de","name":"D"}`,
			}},
			{name: "FullSaveAssociations of nothing new", do: func(db *gorm.DB) any {
				v := loaded(db)
				return saw(db.Session(&gorm.Session{FullSaveAssociations: true}).Updates(v), v)
			}},
			{name: "Updates with a new element", do: func(db *gorm.DB) any {
				return saw(db.Updates(&person{ID: 1, Name: "cleo", Pets: []pet{{Name: "fox"}}}))
			}, want: []string{`people update 1 {"firm_id":1,"id":1,"name":"cleo"} | name`, `pets create 4 {"id":4,"name":"fox","person_id":1}`}},
			{name: "Select and Delete", unordered: true, do: func(db *gorm.DB) any {
				v := &person{Name: "dora", Badge: &badge{No: "d"}, Tongues: []tongue{{Code: "de"}}, Toys: []toy{{Name: "kite"}}, Pets: []pet{{Name: "gnu"}}}
				return []any{saw(db.Omit("Tongues.*").Create(v)), saw(db.Select("Badge", "Toys", "Tongues", "Pets").Delete(&person{ID: v.ID}))}
			}, want: []string{
				`people create 2 {"firm_id":null,"id":2,"name":"dora"} | name`, `badges create 2 {"id":2,"no":"d","person_id":2}`,
				`person_tongues create 2,de {"person_id":2,"since":1999,"tongue_code":"de"}`, `pets create 5 {"id":5,"name":"gnu","person_id":2}`,
				`toys create 3 {"id":3,"name":"kite","owner_id":2,"owner_type":"people"}`,
				`badges delete 2 null`, `toys delete 3 null`, `person_tongues delete 2,de null`, `pets delete 5 null`, `people delete 2 null | -name`,
			}},
			{name: "Delete with children", do: func(db *gorm.DB) any { return saw(db.Delete(&person{ID: 1})) },
				want: map[string][]string{"sqlite": {"people delete 1 null | -firm_id -name"}}[d.Dialect]}, // a foreign key on PostgreSQL
		})
	})
}

// The context reaches all that an association writes, and Set does not matter.
func TestCaptureAssociationContext(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		f := setup(t, d, family)
		ctx := trackers.WithActor(trackers.WithClient(context.Background(), "phone"), "alice")
		db := f.db.WithContext(ctx)
		v := anna()
		require.NoError(t, db.Create(v).Error)
		require.NoError(t, db.Model(v).Association("Tongues").Append(&tongue{Code: "fr"}))
		require.NoError(t, db.Model(v).Association("Pets").Replace(&pet{Name: "hen"}))
		require.NoError(t, db.Select("Tongues").Delete(v).Error)
		rows := f.changeRows(t)
		require.Len(t, rows, 11+2+3+4)
		for _, c := range rows {
			require.Equal(t, ptr("phone"), c.ClientID, "%s %s", c.Entity, c.EntityID)
			require.Equal(t, "alice", c.Actor)
		}
		f.take(t)
		require.NoError(t, f.db.WithContext(trackers.Untracked(ctx)).Create(anna()).Error)
		require.Empty(t, f.take(t))
		f.unchecked()
	})
}
