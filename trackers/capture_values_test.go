package trackers_test

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	"github.com/rhtmx/gormsync/internal/dbtest"
	"github.com/rhtmx/gormsync/trackers"
)

// holder is a model with one value of any kind; its table is made by hand.
type holder[T any] struct {
	ID int64 `gorm:"primaryKey"`
	V  T
}

func (holder[T]) TableName() string { return "holders" }
func (*holder[T]) Made()            {}

// valueCase is a column type on each dialect (empty: not there), with values and
// the JSON that they have in the log.
type valueCase struct {
	name, sqlite, postgres string
	model                  any
	rows                   []func() any // in the order of want
	want                   []string
}

// values lists Go values and their JSON by turns.
func values[T any](name, sqlite, postgres string, pairs ...any) valueCase {
	c := valueCase{name: name, sqlite: sqlite, postgres: postgres, model: &holder[T]{}}
	for i := 0; i < len(pairs); i += 2 {
		v, ok := pairs[i].(T)
		if !ok && pairs[i] != nil {
			panic(fmt.Sprintf("%s: %T", name, pairs[i]))
		}
		c.rows = append(c.rows, func() any { return &holder[T]{ID: 1, V: v} })
		c.want = append(c.want, pairs[i+1].(string))
	}
	return c
}

// level has a name for people and a number for the database.
type level int

func (l level) MarshalText() ([]byte, error) { return []byte([]string{"low", "high"}[l]), nil }

type state string

// decimal is what the libraries for decimals are: text in JSON, whatever the database keeps.
type decimal struct{ text string }

func (d decimal) Value() (driver.Value, error) { return d.text, nil }
func (d decimal) MarshalJSON() ([]byte, error) { return json.Marshal(d.text) }

func (d *decimal) Scan(v any) error {
	switch v := v.(type) {
	case string:
		d.text = v
	case []byte:
		d.text = string(v)
	default:
		d.text = fmt.Sprint(v)
	}
	return nil
}

// point is a struct that the database has as text.
type point struct{ X, Y int }

func (p point) Value() (driver.Value, error) { return fmt.Sprintf("%d;%d", p.X, p.Y), nil }

func (p *point) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("a point cannot be a %T", v)
	}
	_, err := fmt.Sscanf(text, "%d;%d", &p.X, &p.Y)
	return err
}

// paint is a struct that the database has as JSON.
type paint struct {
	Color string `json:"color"`
}

func (p paint) Value() (driver.Value, error) { return json.Marshal(p) }

func (p *paint) Scan(v any) error {
	switch v := v.(type) {
	case string:
		return json.Unmarshal([]byte(v), p)
	case []byte:
		return json.Unmarshal(v, p)
	}
	return errors.New("no JSON")
}

var afternoon = time.Date(2026, 7, 8, 21, 10, 11, 123456789, time.FixedZone("", -5*3600))

var valueCases = []valueCase{
	values[bool]("bool", "numeric", "boolean", true, "true", false, "false"),
	values[*bool]("*bool", "numeric", "boolean", (*bool)(nil), "null", ptr(false), "false", ptr(true), "true", (*bool)(nil), "null"),
	values[int8]("int8", "integer", "smallint", int8(-128), "-128", int8(127), "127"),
	values[int64]("int64", "integer", "bigint", int64(1<<53), "9007199254740992", int64(1<<53+1), `"9007199254740993"`,
		int64(-1<<53), "-9007199254740992", int64(-1<<53-1), `"-9007199254740993"`, int64(math.MaxInt64), `"9223372036854775807"`, int64(math.MinInt64), `"-9223372036854775808"`),
	values[*int64]("*int64", "integer", "bigint", (*int64)(nil), "null", ptr(int64(0)), "0", (*int64)(nil), "null", ptr(int64(1<<60)), `"1152921504606846976"`),
	values[uint32]("uint32", "integer", "bigint", uint32(math.MaxUint32), "4294967295"),
	values[uint64]("uint64", "integer", "bigint", uint64(1<<53+1), `"9007199254740993"`, uint64(5), "5"),
	values[uint64]("large uint64", "", "numeric(20)", uint64(math.MaxUint64), `"18446744073709551615"`, uint64(1<<63), `"9223372036854775808"`, uint64(5), "5"),
	values[time.Duration]("duration", "integer", "bigint", time.Minute, "60000000000"),
	values[float32]("float32", "real", "real", float32(1.1), "1.1", float32(16777216), "16777216", float32(0.25), "0.25"),
	values[float64]("float64", "real", "double precision", 0.1, "0.1", 1e100, "1e100", -2.5e-9, "-2.5e-9", math.MaxFloat64, "1.7976931348623157e308", 3.0, "3"),
	values[float64]("float64 as numeric", "numeric", "numeric", 0.1, "0.1", 1e15, "1000000000000000", 2.0, "2"),
	values[float64]("infinity", "real", "double precision", 1.0, "1", math.Inf(1), "null", 2.0, "2", math.Inf(-1), "null"),
	values[string]("string", "text", "text", "", `""`, "ü\u2028\U0001F600", `"ü\u2028😀"`, "\"<&>\\\n\x01\x7f", `"\"<&>\\\n\u0001`+"\x7f"+`"`, "x", `"x"`, strings.Repeat("y", 9000), `"`+strings.Repeat("y", 9000)+`"`),
	values[string]("varchar", "varchar(20)", "varchar(20)", "a ", `"a "`),
	values[string]("invalid UTF-8", "text", "", "a\xffb", `"a`+"\ufffd"+`b"`, "a\x00b", `"a\u0000b"`),
	values[*string]("*string", "text", "text", (*string)(nil), "null", ptr(""), `""`, (*string)(nil), "null"),
	values[state]("enum", "text", "text", state("open"), `"open"`),
	values[level]("named number", "integer", "integer", level(0), `"low"`, level(1), `"high"`),
	values[[]byte]("bytes", "blob", "bytea", []byte{0, 1, 255}, `"AAH/"`, []byte(nil), "null", []byte("text"), `"dGV4dA=="`),
	values[uuid.UUID]("UUID", "uuid", "uuid", ref, `"`+ref.String()+`"`, uuid.Nil, `"00000000-0000-0000-0000-000000000000"`),
	values[*uuid.UUID]("*UUID", "text", "uuid", (*uuid.UUID)(nil), "null", ptr(ref), `"`+ref.String()+`"`),
	values[uuid.NullUUID]("NullUUID", "text", "uuid", uuid.NullUUID{}, "null", uuid.NullUUID{UUID: ref, Valid: true}, `"`+ref.String()+`"`),
	values[time.Time]("time", "datetime", "timestamptz", afternoon, `"2026-07-09T02:10:11.123456Z"`, afternoon.Truncate(time.Second), `"2026-07-09T02:10:11Z"`,
		time.Time{}, `"0001-01-01T00:00:00Z"`),
	values[time.Time]("timestamp", "timestamp", "", afternoon.UTC(), `"2026-07-09T02:10:11.123456Z"`),
	values[time.Time]("timestamp without zone", "", "timestamp", afternoon.UTC(), `"2026-07-09T02:10:11.123456Z"`),
	values[time.Time]("date", "", "date", afternoon.UTC(), `"2026-07-09T00:00:00Z"`),
	values[*time.Time]("*time", "datetime", "timestamptz", (*time.Time)(nil), "null", ptr(afternoon), `"2026-07-09T02:10:11.123456Z"`, (*time.Time)(nil), "null"),
	values[sql.NullTime]("NullTime", "datetime", "timestamptz", sql.NullTime{}, "null", sql.NullTime{Time: afternoon, Valid: true}, `"2026-07-09T02:10:11.123456Z"`),
	values[sql.NullString]("NullString", "text", "text", sql.NullString{String: "a", Valid: true}, `"a"`, sql.NullString{}, "null", sql.NullString{Valid: true}, `""`),
	values[sql.NullInt64]("NullInt64", "integer", "bigint", sql.NullInt64{}, "null", sql.NullInt64{Int64: 1<<53 + 1, Valid: true}, `"9007199254740993"`, sql.NullInt64{Int64: 1, Valid: true}, "1"),
	values[sql.NullBool]("NullBool", "numeric", "boolean", sql.NullBool{}, "null", sql.NullBool{Valid: true}, "false", sql.NullBool{Bool: true, Valid: true}, "true"),
	values[sql.NullFloat64]("NullFloat64", "real", "double precision", sql.NullFloat64{}, "null", sql.NullFloat64{Float64: 1.5, Valid: true}, "1.5"),
	values[sql.Null[state]]("Null", "text", "text", sql.Null[state]{}, "null", sql.Null[state]{V: "x", Valid: true}, `"x"`),
	values[decimal]("decimal", "text", "numeric(30,10)", decimal{"12345678901234567890.0000000001"}, `"12345678901234567890.0000000001"`, decimal{"-1.5000000000"}, `"-1.5000000000"`),
	values[point]("Valuer", "text", "text", point{1, 2}, `"1;2"`, point{}, `"0;0"`),
	values[*point]("*Valuer", "text", "text", (*point)(nil), "null", &point{3, 4}, `"3;4"`),
	values[paint]("Valuer of JSON", "json", "jsonb", paint{"red"}, `{"color":"red"}`, paint{}, `{"color":""}`),
	values[json.RawMessage]("JSON", "json", "jsonb", json.RawMessage(`{"a": [1, 2.50]}`), `{"a":[1,2.50]}`, json.RawMessage("null"), "null", json.RawMessage(`"x"`), `"x"`, json.RawMessage(nil), "null"),
}

// What a client reads is the value as the wire contract has it, whatever the
// database made of it.
func TestCaptureValues(t *testing.T) {
	t.Parallel()
	for _, c := range valueCases {
		t.Run(c.name, func(t *testing.T) {
			dbtest.Each(t, func(t *testing.T, d *dbtest.DB) {
				column := map[string]string{"sqlite": c.sqlite, "postgres": c.postgres}[d.Dialect]
				if column == "" {
					return // the database has no such values
				}
				w := newTwins(t, d, []trackers.Entity{{Model: c.model, FieldLog: true}}, gorm.Config{}, func(db *gorm.DB) error {
					return db.Exec("CREATE TABLE holders (id bigint PRIMARY KEY, v " + column + ")").Error
				})
				before := "none"
				for i, want := range c.want {
					seen := saw(w.other.Save(c.rows[i]()))
					require.Equal(t, seen, saw(w.db.Save(c.rows[i]())), want)
					got := w.value(t, before)
					require.JSONEq(t, want, got, "value %d", i)
					before = got
				}
				again := c.rows[len(c.rows)-1]
				require.NoError(t, w.db.First(again()).Error)
				require.NoError(t, w.db.Save(again()).Error)
				require.Empty(t, w.take(t), "saved as it is")
				require.Equal(t, saw(w.other.Delete(again())), saw(w.db.Delete(again())))
				require.Equal(t, "none", w.value(t, before))
			})
		})
	}
}

// value gives the JSON of v in the newest change, after a look at its field log;
// before is the one before it.
func (f fixture) value(t *testing.T, before string) string {
	t.Helper()
	rows := f.changeRows(t)
	require.NotEmpty(t, rows)
	c := rows[len(rows)-1]
	require.Greater(t, c.ID, f.seen.Load(), "nothing was logged")
	f.seen.Store(c.ID)
	fields := f.fieldRows(t)[c.ID]
	if c.Data == nil {
		require.Equal(t, before != "null", len(fields) == 1)
		return "none"
	}
	data := string(c.Data)
	require.True(t, strings.HasPrefix(data, `{"id":1,"v":`), data)
	data = data[len(`{"id":1,"v":`) : len(data)-1]
	switch {
	case data == "null" && before == "none":
		require.Empty(t, fields)
	case data == "null":
		require.Len(t, fields, 1)
		require.Nil(t, fields[0].Value)
	default:
		require.Len(t, fields, 1)
		require.Equal(t, data, string(fields[0].Value))
	}
	return data
}
