package trackers

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"gorm.io/gorm/schema"

	"github.com/rhtmx/gormsync/models"
)

var (
	timeType      = reflect.TypeFor[time.Time]()
	rawType       = reflect.TypeFor[json.RawMessage]()
	marshalerType = reflect.TypeFor[json.Marshaler]()
	textType      = reflect.TypeFor[encoding.TextMarshaler]()
	valuerType    = reflect.TypeFor[driver.Valuer]()
)

// A rawEncoder appends the JSON of a driver's value. It says false when the
// value is not one that it knows; then the value goes through the model's field.
type rawEncoder func(b []byte, v driver.Value) ([]byte, bool)

// rawEncoderOf picks the encoder of a field once per plan; nil when the field's
// type has code of its own that must see the value. What a JSON column holds is
// embedded as it is, unless the type says itself how it looks as JSON.
func rawEncoderOf(f *schema.Field, columnType string) rawEncoder {
	t := f.IndirectFieldType
	switch {
	case f.Serializer != nil:
		return nil
	case t == timeType:
		return rawTime
	case embedsJSON(f, columnType):
		return rawJSON
	case hasMethods(t):
		return nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return rawBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return rawInt
	case reflect.Float32:
		return rawFloat32
	case reflect.Float64:
		return rawFloat64
	case reflect.String:
		return rawString
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return rawBytes
		}
	}
	return nil
}

// embedsJSON: the column holds JSON, and the field's type has no say in how it looks.
func embedsJSON(f *schema.Field, columnType string) bool {
	t := f.IndirectFieldType
	return f.Serializer == nil && t != timeType && (t == rawType || (isJSON(columnType) && !reflect.PointerTo(t).Implements(marshalerType)))
}

func isJSON(columnType string) bool {
	return strings.EqualFold(columnType, "json") || strings.EqualFold(columnType, "jsonb")
}

func hasMethods(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(marshalerType) || p.Implements(textType) || p.Implements(valuerType)
}

func rawTime(b []byte, v driver.Value) ([]byte, bool) {
	t, ok := v.(time.Time)
	if !ok {
		return b, false
	}
	return models.AppendTime(b, t), true
}

func rawJSON(b []byte, v driver.Value) ([]byte, bool) {
	var text []byte
	switch v := v.(type) {
	case string:
		text = []byte(v)
	case []byte:
		text = v
	default:
		return b, false
	}
	buf := bytes.NewBuffer(b)
	if json.Compact(buf, text) != nil {
		return b, false
	}
	return buf.Bytes(), true
}

func rawBool(b []byte, v driver.Value) ([]byte, bool) {
	switch v := v.(type) {
	case bool:
		return strconv.AppendBool(b, v), true
	case int64:
		return strconv.AppendBool(b, v != 0), true
	}
	return b, false
}

func rawInt(b []byte, v driver.Value) ([]byte, bool) {
	switch v := v.(type) {
	case int64:
		return appendInt(b, v), true
	case string: // a numeric column
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return appendInt(b, n), true
		}
		if n, err := strconv.ParseUint(v, 10, 64); err == nil {
			return appendUint(b, n), true
		}
	}
	return b, false
}

func rawFloat32(b []byte, v driver.Value) ([]byte, bool) {
	f, ok := float(v, 32)
	return appendFloat(b, float64(float32(f)), 32), ok
}

func rawFloat64(b []byte, v driver.Value) ([]byte, bool) {
	f, ok := float(v, 64)
	return appendFloat(b, f, 64), ok
}

func float(v driver.Value, bits int) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case string: // a numeric column
		f, err := strconv.ParseFloat(v, bits)
		return f, err == nil
	}
	return 0, false
}

func rawString(b []byte, v driver.Value) ([]byte, bool) {
	switch v := v.(type) {
	case string:
		return models.AppendString(b, v), true
	case []byte:
		return models.AppendString(b, string(v)), true
	case float64: // a numeric column of SQLite, as database/sql would write it
		return models.AppendString(b, strconv.FormatFloat(v, 'g', -1, 64)), true
	case int64:
		return models.AppendString(b, strconv.FormatInt(v, 10)), true
	}
	return b, false
}

func rawBytes(b []byte, v driver.Value) ([]byte, bool) {
	switch v := v.(type) {
	case []byte:
		return appendBytes(b, v), true
	case string:
		return appendBytes(b, []byte(v)), true
	}
	return b, false
}

// appendField decodes a driver's value through the model's field and appends
// the JSON of what the application would see.
func appendField(ctx context.Context, b []byte, f *schema.Field, model reflect.Value, v driver.Value) ([]byte, error) {
	if err := setField(ctx, f, model, v); err != nil {
		return b, err
	}
	field := f.ReflectValueOf(ctx, model)
	if t := reflect.PointerTo(f.IndirectFieldType); f.Serializer != nil && t.Implements(valuerType) && !t.Implements(marshalerType) {
		return appendMarshaled(b, field) // the serializer is how it is stored, not its Value
	}
	return appendGo(b, field)
}

// setField gives a model's field a driver's value, as GORM does when it scans.
func setField(ctx context.Context, f *schema.Field, model reflect.Value, v driver.Value) error {
	if f.Serializer == nil {
		return f.Set(ctx, model, scanned(f, v))
	}
	s := f.NewValuePool.Get()
	defer f.NewValuePool.Put(s)
	scanner, ok := s.(sql.Scanner)
	if !ok {
		return fmt.Errorf("the serializer %T cannot scan", f.Serializer)
	}
	if err := scanner.Scan(v); err != nil {
		return err
	}
	return f.Set(ctx, model, s)
}

// scanned lets a type that is a Scanner scan, as database/sql does: Field.Set goes
// by the kind of a type before it asks for its methods. What the Scanner refuses
// is left to Field.Set.
func scanned(f *schema.Field, v driver.Value) any {
	p := reflect.New(f.IndirectFieldType)
	if s, ok := p.Interface().(sql.Scanner); ok && v != nil && s.Scan(v) == nil {
		return p.Elem().Interface()
	}
	return v
}

// appendGo appends the JSON of a model's field.
func appendGo(b []byte, v reflect.Value) ([]byte, error) {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return append(b, "null"...), nil
		}
		v = v.Elem()
	}
	t := v.Type()
	p := reflect.PointerTo(t)
	switch {
	case t == timeType:
		return models.AppendTime(b, v.Interface().(time.Time)), nil
	case p.Implements(marshalerType), p.Implements(textType):
		return appendMarshaled(b, v)
	case p.Implements(valuerType) && !isList(t):
		// What the database would get: sql.NullString and the like.
		dv, err := valuerOf(v).Value()
		if err != nil {
			return b, err
		}
		return appendDriver(b, dv)
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return appendInt(b, v.Int()), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return appendUint(b, v.Uint()), nil
	case reflect.Float32, reflect.Float64:
		return appendFloat(b, v.Float(), t.Bits()), nil
	case reflect.String:
		return models.AppendString(b, v.String()), nil
	}
	return appendMarshaled(b, v)
}

// isList: a slice or map that is also a Valuer, such as pq.StringArray, is worth
// more to a client as JSON than as the driver's text.
func isList(t reflect.Type) bool {
	k := t.Kind()
	return (k == reflect.Slice && t.Elem().Kind() != reflect.Uint8) || k == reflect.Map
}

func valuerOf(v reflect.Value) driver.Valuer {
	if dv, ok := v.Interface().(driver.Valuer); ok {
		return dv
	}
	return addressable(v).Addr().Interface().(driver.Valuer)
}

func appendMarshaled(b []byte, v reflect.Value) ([]byte, error) {
	j, err := json.Marshal(addressable(v).Addr().Interface())
	return append(b, j...), err
}

func addressable(v reflect.Value) reflect.Value {
	if v.CanAddr() {
		return v
	}
	p := reflect.New(v.Type()).Elem()
	p.Set(v)
	return p
}

// appendDriver appends the JSON of a value as database/sql knows it.
func appendDriver(b []byte, v driver.Value) ([]byte, error) {
	switch x := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case int64:
		return appendInt(b, x), nil
	case float64:
		return appendFloat(b, x, 64), nil
	case bool:
		return strconv.AppendBool(b, x), nil
	case string:
		return models.AppendString(b, x), nil
	case []byte:
		if utf8.Valid(x) {
			return models.AppendString(b, string(x)), nil
		}
		return appendBytes(b, x), nil
	case time.Time:
		return models.AppendTime(b, x), nil
	}
	return b, fmt.Errorf("a value of type %T is none that a database driver gives", v)
}

// maxSafe is the largest integer that every smaller one has a double of its own for.
const maxSafe = 1 << 53

func appendInt(b []byte, n int64) []byte {
	if n > maxSafe || n < -maxSafe {
		return append(strconv.AppendInt(append(b, '"'), n, 10), '"')
	}
	return strconv.AppendInt(b, n, 10)
}

func appendUint(b []byte, n uint64) []byte {
	if n > maxSafe {
		return append(strconv.AppendUint(append(b, '"'), n, 10), '"')
	}
	return strconv.AppendUint(b, n, 10)
}

// appendFloat: JSON has no word for NaN and the infinities.
func appendFloat(b []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, bits)
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, v)
	return append(b, '"')
}
