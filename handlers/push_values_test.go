package handlers_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/rhtmx/gormsync"
	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/models"
)

// A Thing has a field of every sort.
type Thing struct {
	ID      string `gorm:"primaryKey"`
	Flag    bool   `gorm:"default:true"`
	Small   int8
	Big     int64
	Unsign  uint64
	Ratio   float64
	Price   string `gorm:"type:numeric(10,2);default:0"`
	When    time.Time
	Maybe   *time.Time
	Name    *string
	Bytes   []byte
	Raw     json.RawMessage `gorm:"type:json"`
	Text    string          `gorm:"type:json;default:'{}'"`
	Owner   uuid.UUID       `gorm:"type:uuid"`
	Tags    []string        `gorm:"serializer:json"`
	Place   Place           `gorm:"embedded;embeddedPrefix:place_"`
	Deep    *Place          `gorm:"embedded;embeddedPrefix:deep_"`
	Nick    sql.NullString
	Score   sql.NullInt64
	Seen    sql.NullTime
	Updated int64 `gorm:"autoUpdateTime:milli"`
}

// A Place is embedded.
type Place struct {
	City string
	Lat  float32
}

// Every sort of value goes in as it came out.
func TestPushValues(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Thing{}, FieldLog: true, Writable: true})
		r := s.one("things", `{"id":"e","action":"create","data":{}}`)
		require.Equal(t, models.PushApplied, r.Status, "%+v", r.Error)
		for _, c := range []struct{ field, sent, got string }{
			{"flag", `false`, `false`},
			{"small", `-128`, `-128`},
			{"big", `"9223372036854775807"`, `"9223372036854775807"`},
			{"big", `12`, `12`},
			{"unsign", `"9223372036854775807"`, `"9223372036854775807"`},
			{"ratio", `1e-3`, `0.001`},
			{"price", `"12.50"`, ``},
			{"when", `"2026-01-02T04:04:05.123456789+01:00"`, `"2026-01-02T03:04:05.123456Z"`},
			{"maybe", `"2026-01-02T03:04:05Z"`, `"2026-01-02T03:04:05Z"`},
			{"maybe", `null`, `null`},
			{"name", `"ä\"\\\n😀"`, `"ä\"\\\n😀"`},
			{"name", `null`, `null`},
			{"bytes", `"AP8="`, `"AP8="`},
			{"raw", `{"b": [1, {"c":null}]}`, `{"b":[1,{"c":null}]}`},
			{"text", `[1]`, `[1]`},
			{"owner", `"7B0F3B5E-6D0C-4A4C-8D4D-0F3A9F1C2B3D"`, `"7b0f3b5e-6d0c-4a4c-8d4d-0f3a9f1c2b3d"`},
			{"tags", `["x","y"]`, `["x","y"]`},
			{"place_city", `"Ulm"`, `"Ulm"`},
			{"place_lat", `48.4`, `48.4`},
			{"deep_city", `"Bonn"`, `"Bonn"`},
			{"nick", `"n"`, `"n"`},
			{"nick", `null`, `null`},
			{"score", `5`, `5`},
			{"seen", `"2026-01-02T03:04:05Z"`, `"2026-01-02T03:04:05Z"`},
		} {
			r := s.one("things", fmt.Sprintf(`{"id":"e","action":"update","data":{%q:%s}}`, c.field, c.sent))
			require.Equal(t, models.PushApplied, r.Status, "%s: %+v", c.field, r.Error)
			var row map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(r.Data, &row))
			if c.got != "" {
				require.Equal(t, c.got, string(row[c.field]), c.field)
			}
			// The row as it is, sent back whole, changes nothing.
			again := s.one("things", fmt.Sprintf(`{"id":"e","action":"update","data":%s,"client_version":%d}`, r.Data, version(t, r)))
			require.Equal(t, models.PushApplied, again.Status, "%s: %+v", c.field, again.Error)
			require.Equal(t, *r.Version, *again.Version, "%s: %s became %s", c.field, r.Data, again.Data)
		}
		var thing Thing
		require.NoError(t, s.db.First(&thing, "id = ?", "e").Error)
		require.False(t, thing.Flag)
		require.Equal(t, "Bonn", thing.Deep.City)
		require.Equal(t, []string{"x", "y"}, thing.Tags)
		require.True(t, thing.When.Equal(time.Date(2026, 1, 2, 3, 4, 5, 123456000, time.UTC)))
		require.EqualValues(t, 5, thing.Score.Int64)

		// A zero is a value, whatever the column's default.
		r = s.one("things", `{"id":"z","action":"create","data":{"flag":false}}`)
		require.Contains(t, string(r.Data), `"flag":false`)
		for field, value := range map[string]string{
			"small": `128`, "unsign": `-1`, "big": `"x"`, "ratio": `"x"`, "when": `"soon"`, "bytes": `"%"`, "owner": `"x"`, "tags": `"x"`, "flag": `1`, "seen": `"x"`, "score": `"x"`,
			"place_lat": `1e300`, "name": `["x"]`,
		} {
			r := s.one("things", fmt.Sprintf(`{"id":"e","action":"update","data":{%q:%s}}`, field, value))
			require.Equal(t, models.PushRejected, r.Status, field)
			require.Equal(t, []any{"invalid", field}, []any{r.Error.Code, r.Error.Field})
		}
	})
}

// A row is created again under its deleted id, also where deleting only marks it.
func TestPushComesBackFromSoftDelete(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{Model: &Memo{}, FieldLog: true, Writable: true})
		created := s.one("memos", `{"id":"m","action":"create","data":{"text":"a","team":"red"}}`)
		require.NoError(t, s.db.WithContext(context.Background()).Model(&Memo{}).Where("id = 'm'").UpdateColumn("secret", "kept").Error)
		gone := s.one("memos", `{"id":"m","action":"delete"}`)
		require.Nil(t, gone.Data)
		require.Greater(t, *gone.Version, *created.Version)
		require.Equal(t, models.PushApplied, s.one("memos", `{"id":"m","action":"delete"}`).Status)
		require.Equal(t, models.PushConflict, s.one("memos", `{"id":"m","action":"update","data":{"text":"b"},"timestamp":"2001-01-01T00:00:00Z"}`).Status)
		require.Equal(t, models.PushConflict, s.one("memos", `{"id":"m","action":"create","data":{"text":"b"},"timestamp":"2001-01-01T00:00:00Z"}`).Status)
		back := s.one("memos", `{"id":"m","action":"create","data":{"text":"b"}}`)
		require.Equal(t, models.PushApplied, back.Status, "%+v", back.Error)
		require.Contains(t, string(back.Data), `"text":"b"`)
		var memo Memo
		require.NoError(t, s.db.First(&memo, "id = ?", "m").Error)
		require.Equal(t, []any{"b", "red", "kept"}, []any{memo.Text, memo.Team, memo.Secret})
	})
}

// A Poll has a strategy for each field.
type Poll struct {
	ID    string `gorm:"primaryKey"`
	Mine  string
	Yours string
	Both  string
	Votes int
	Late  string
}

func TestPushStrategies(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		s := open(t, d, nil, gormsync.Entity{
			Model: &Poll{}, FieldLog: true, Writable: true, Strategy: gormsync.ServerWins,
			FieldStrategy: map[string]gormsync.Strategy{"yours": gormsync.ClientWins, "both": gormsync.KeepBoth, "late": gormsync.LastWriteWins},
			Resolve: map[string]func(gormsync.Conflict) (any, error){"votes": func(c gormsync.Conflict) (any, error) {
				var theirs, mine int
				if err := json.Unmarshal(c.ServerValue, &theirs); err != nil {
					return nil, err
				}
				if err := json.Unmarshal(c.ClientValue, &mine); err != nil {
					return nil, err
				}
				if mine > 100 {
					return nil, fmt.Errorf("%d votes are too many", mine)
				}
				return max(theirs, mine) + 1, nil
			}},
		})
		base := version(t, s.one("polls", `{"id":"p","action":"create","data":{"mine":"0"}}`))
		require.NoError(t, s.db.Save(&Poll{ID: "p", Mine: "s", Yours: "s", Both: "s", Votes: 5, Late: "s"}).Error)
		r := s.one("polls", fmt.Sprintf(`{"id":"p","action":"update","client_version":%d,"data":{"mine":"c","yours":"c","both":"c","votes":9,"late":"c"}}`, base))
		require.Equal(t, models.PushMerged, r.Status, "%+v", r.Error)
		require.JSONEq(t, `{"id":"p","mine":"s","yours":"c","both":"s","votes":10,"late":"c"}`, string(r.Data))
		how := map[string]models.Strategy{}
		for _, c := range r.Conflicts {
			how[c.Field] = c.Resolution
			require.Equal(t, []string{"polls", "p"}, []string{c.Entity, c.EntityID})
			require.False(t, c.ServerTimestamp.IsZero() || c.ClientTimestamp.IsZero(), c.Field)
		}
		require.Equal(t, map[string]models.Strategy{"mine": models.ServerWins, "both": models.KeepBoth, "votes": models.Custom}, how)
		s.client = "c2"
		r = s.one("polls", fmt.Sprintf(`{"id":"p","action":"update","client_version":%d,"data":{"votes":101}}`, base))
		require.Equal(t, []any{models.PushRejected, "votes", "101 votes are too many"}, []any{r.Status, r.Error.Field, r.Error.Message})

		// Without a base, or with one that is not known, the server's value stands too.
		for _, base := range []string{``, `,"client_version":999999`} {
			r = s.one("polls", `{"id":"p","action":"update","data":{"mine":"x"}`+base+`}`)
			require.Equal(t, models.PushConflict, r.Status, base)
			require.Equal(t, models.PushConflict, s.one("polls", `{"id":"p","action":"delete"`+base+`}`).Status, base)
		}
		require.Equal(t, models.PushApplied, s.one("polls", fmt.Sprintf(`{"id":"p","action":"delete","client_version":%d}`, version(t, r))).Status)
		require.Equal(t, models.PushConflict, s.one("polls", `{"id":"p","action":"create","data":{"mine":"x"}}`).Status, "the deletion stands")
	})
}

func TestPushKnowsRowsThatWereNeverLogged(t *testing.T) {
	for _, fieldLog := range []bool{true, false} {
		dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
			db := d.Open(t)
			require.NoError(t, db.AutoMigrate(&Poll{}))
			require.NoError(t, db.Create(&Poll{ID: "old", Mine: "a"}).Error)
			s := open(t, d, nil, gormsync.Entity{Model: &Poll{}, FieldLog: fieldLog, Writable: true, Strategy: gormsync.ServerWins})
			*s.whole = false
			r := s.one("polls", `{"id":"old","action":"update","data":{"mine":"b"},"client_version":0}`)
			require.Equal(t, models.PushApplied, r.Status, "%+v", r.Error)
			s.client = "c2"
			r = s.one("polls", `{"id":"old","action":"update","data":{"both":"b"},"client_version":0}`)
			if fieldLog { // it says that only one field changed
				require.Equal(t, models.PushApplied, r.Status, "%+v", r.Error)
			} else {
				require.Equal(t, models.PushConflict, r.Status)
			}
		})
	}
}

// Another process adds a column that the model has already.
func TestPushFindsNewColumns(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
		db, other := d.Open(t), d.Open(t)
		require.NoError(t, other.Exec("CREATE TABLE rules (id text PRIMARY KEY)").Error)
		s := serve(t, db, gormsync.Config{Entities: []gormsync.Entity{{Model: &Rule{}, Writable: true}}, Authorize: gormsync.UnsafeAllowAll,
			Poll: -1, Retention: -1, MutationRetention: -1})
		require.Equal(t, "text", s.one("rules", `{"id":"a","action":"create","data":{"text":"x"}}`).Error.Field)
		require.NoError(t, other.Exec("ALTER TABLE rules ADD COLUMN text text").Error)
		r := s.one("rules", `{"id":"a","action":"create","data":{"text":"x"}}`)
		require.Equal(t, models.PushApplied, r.Status, "%+v", r.Error)
		require.Contains(t, string(r.Data), `"text":"x"`)
	})
}
