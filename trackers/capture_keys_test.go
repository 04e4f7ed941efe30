package trackers_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// One model for each kind of key. All have a name, which the tests change.
type keyInt64 struct {
	ID   int64 `gorm:"primaryKey"`
	Name string
}

type keyUint struct {
	ID   uint
	Name string
}

type keyInt8 struct {
	ID   int8 `gorm:"primaryKey;autoIncrement:false"`
	Name string
}

type keyString struct {
	ID   string `gorm:"primaryKey"`
	Name string
}

type keyUUID struct {
	ID   uuid.UUID `gorm:"type:uuid;primaryKey"`
	Name string
}

type keyPair struct {
	Lang string    `gorm:"primaryKey"`
	No   uint64    `gorm:"primaryKey;autoIncrement:false"`
	Ref  uuid.UUID `gorm:"type:uuid;primaryKey"`
	Name string
}

type keyRenamed struct {
	Ident string `gorm:"column:the_id;primaryKey"`
	Name  string
}

type keyState string

type keyNamed struct {
	State keyState `gorm:"primaryKey"`
	On    bool     `gorm:"primaryKey"`
	Name  string
}

var ref = uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")

// The id of a change is the key as text; a key inside the data keeps its own type.
func TestCaptureKeys(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		model   any
		row     func() any // one that is not there yet
		id, key string     // as in the log, and as in the data
	}{
		"int64 of the database": {&keyInt64{}, func() any { return &keyInt64{Name: "a"} }, "1", `"id":1`},
		"int64":                 {&keyInt64{}, func() any { return &keyInt64{ID: 9007199254740993, Name: "a"} }, "9007199254740993", `"id":"9007199254740993"`},
		"negative":              {&keyInt64{}, func() any { return &keyInt64{ID: -7, Name: "a"} }, "-7", `"id":-7`},
		"uint":                  {&keyUint{}, func() any { return &keyUint{Name: "a"} }, "1", `"id":1`},
		"int8":                  {&keyInt8{}, func() any { return &keyInt8{ID: 8, Name: "a"} }, "8", `"id":8`},
		"string":                {&keyString{}, func() any { return &keyString{ID: "x", Name: "a"} }, "x", `"id":"x"`},
		"string with signs":     {&keyString{}, func() any { return &keyString{ID: `50%, "ü"\2C`, Name: "a"} }, `50%, "ü"\2C`, `"id":"50%, \"ü\"\\2C"`},
		"UUID":                  {&keyUUID{}, func() any { return &keyUUID{ID: ref, Name: "a"} }, ref.String(), `"id":"` + ref.String() + `"`},
		"composite": {&keyPair{}, func() any { return &keyPair{Lang: "a,b%c", No: 3, Ref: ref, Name: "a"} }, "a%2Cb%25c,3," + ref.String(),
			`"lang":"a,b%c","no":3,"ref":"` + ref.String() + `"`},
		"column": {&keyRenamed{}, func() any { return &keyRenamed{Ident: "x", Name: "a"} }, "x", `"the_id":"x"`},
		"named":  {&keyNamed{}, func() any { return &keyNamed{State: "open", On: true, Name: "a"} }, "open,true", `"on":true,"state":"open"`},
	} {
		t.Run(name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				w := newTwins(t, d, []trackers.Entity{{Model: c.model, FieldLog: true}}, gorm.Config{})
				rows := map[*gorm.DB]any{w.db: c.row(), w.other: c.row()}
				line := func(action, name string) string {
					data := text(t, object(t, models.JSON(`{`+c.key+`,"name":"`+name+`"}`)))
					return w.tables[0] + " " + action + " " + c.id + " " + data + " | name"
				}
				w.run(t, []step{
					{name: "create", do: func(db *gorm.DB) any { return saw(db.Create(rows[db]), rows[db]) }, want: []string{line("create", "a")}},
					{name: "update", do: func(db *gorm.DB) any { return saw(db.Model(rows[db]).Update("name", "b"), rows[db]) }, want: []string{line("update", "b")}},
					{name: "save", do: func(db *gorm.DB) any { return saw(db.Save(rows[db]), rows[db]) }},
					{name: "upsert", do: func(db *gorm.DB) any {
						set := clause.OnConflict{Columns: keyColumns(w.log.Entity(w.tables[0])), DoUpdates: clause.Assignments(map[string]any{"name": "c"})}
						return saw(db.Clauses(set).Create(rows[db]))
					}, want: []string{line("update", "c")}},
					{name: "delete", do: func(db *gorm.DB) any { return saw(db.Delete(rows[db])) }, want: []string{w.tables[0] + " delete " + c.id + " null | -name"}},
				})
				entity := w.log.Entity(w.tables[0])
				parts, err := models.DecodeID(c.id, len(entity.Schema.PrimaryFields))
				require.NoError(t, err)
				require.Equal(t, c.id, models.EncodeID(parts...))
			})
		})
	}
}

func keyColumns(e *trackers.Tracked) []clause.Column { return columns(e.Schema.PrimaryFieldDBNames...) }
