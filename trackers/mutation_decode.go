package trackers

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rhtmx/gormsync/models"
)

var (
	unmarshalerType = reflect.TypeFor[json.Unmarshaler]()
	scannerType     = reflect.TypeFor[sql.Scanner]()
)

// valueError is a value that a field cannot hold; its text is for the client.
type valueError string

func (e valueError) Error() string { return string(e) }

// spelled gives a key's text as the database spells it. It says false for what is
// no such key.
func (c *column) spelled(text string) (string, bool) {
	if !c.uuid {
		return text, true
	}
	u, err := uuid.Parse(text)
	return u.String(), err == nil
}

// decode sets a model's field to a value of a push, and gives the value as the log
// would have it. The errors are for the client.
func (c *column) decode(ctx context.Context, model reflect.Value, raw models.JSON) (models.JSON, error) {
	field := c.field.ReflectValueOf(ctx, model)
	if isNull(raw) { // a field that cannot hold it gets its zero
		field.SetZero()
		return raw, nil
	}
	for field.Kind() == reflect.Pointer {
		field.Set(reflect.New(field.Type().Elem()))
		field = field.Elem()
	}
	if err := c.decodeInto(field, raw); err != nil {
		return nil, err
	}
	if c.json {
		var b bytes.Buffer
		err := json.Compact(&b, raw)
		return b.Bytes(), err
	}
	return appendGo(nil, c.field.ReflectValueOf(ctx, model))
}

// decodeInto is the counterpart of the encoders.
func (c *column) decodeInto(v reflect.Value, raw models.JSON) error {
	t := v.Type()
	p := reflect.PointerTo(t)
	switch {
	case t == timeType:
		return decodeTime(v, raw)
	case c.json:
		return decodeEmbedded(v, raw)
	case p.Implements(unmarshalerType), p.Implements(textType), c.field.Serializer != nil:
		return decodeOwn(v, raw)
	case p.Implements(scannerType) && !isList(t):
		return decodeScanner(v, raw)
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(digits(raw), 10, t.Bits())
		v.SetInt(n)
		return whole(err)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(digits(raw), 10, t.Bits())
		v.SetUint(n)
		return whole(err)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return decodeBytes(v, raw)
		}
	}
	return decodeOwn(v, raw)
}

// digits are those of an integer, which comes as a text beyond 2^53.
func digits(raw models.JSON) string { return plain(raw) }

func whole(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strconv.ErrRange):
		return valueError("The number is too large or too small for this field.")
	}
	return valueError("This field takes whole numbers.")
}

func decodeTime(v reflect.Value, raw models.JSON) error {
	t, err := parseTime(raw)
	if err == nil {
		v.Set(reflect.ValueOf(t).Convert(v.Type()))
	}
	return err
}

func parseTime(raw models.JSON) (time.Time, error) {
	var text string
	err := json.Unmarshal(raw, &text)
	if err == nil {
		var t time.Time
		if t, err = time.Parse(time.RFC3339Nano, text); err == nil {
			return t.UTC().Truncate(time.Microsecond), nil
		}
	}
	return time.Time{}, valueError("This field takes times such as 2026-01-02T03:04:05Z.")
}

func decodeBytes(v reflect.Value, raw models.JSON) error {
	var text string
	b, err := []byte(nil), json.Unmarshal(raw, &text)
	if err == nil {
		b, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil {
		return valueError("This field takes bytes as base64.")
	}
	v.SetBytes(b)
	return nil
}

// decodeEmbedded keeps the JSON as it is, in a text or in bytes.
func decodeEmbedded(v reflect.Value, raw models.JSON) error {
	switch {
	case v.Kind() == reflect.String:
		v.SetString(string(raw))
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		v.SetBytes(bytes.Clone(raw))
	default:
		return decodeOwn(v, raw)
	}
	return nil
}

// decodeOwn leaves the value to its own type.
func decodeOwn(v reflect.Value, raw models.JSON) error {
	err := json.Unmarshal(raw, v.Addr().Interface())
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && v.Kind() == reflect.Bool:
		return valueError("This field takes true or false.")
	case errors.As(err, &wrong) && v.Kind() == reflect.String:
		return valueError("This field takes a text.")
	case errors.As(err, &wrong) && (v.Kind() == reflect.Float64 || v.Kind() == reflect.Float32):
		return valueError("This field takes numbers that fit it.")
	}
	return valueError("The value does not fit this field.")
}

// decodeScanner gives a type such as sql.NullString what a driver would.
func decodeScanner(v reflect.Value, raw models.JSON) error {
	s, ok := v.Addr().Interface().(sql.Scanner)
	if !ok {
		return valueError("The value does not fit this field.")
	}
	if t, err := parseTime(raw); err == nil && s.Scan(t) == nil {
		return nil
	}
	v.SetZero()
	for _, value := range driverValues(raw) {
		if s.Scan(value) == nil {
			return nil
		}
		v.SetZero()
	}
	return valueError("The value does not fit this field.")
}

// driverValues are what a driver might give for a JSON scalar.
func driverValues(raw models.JSON) []any {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return nil
	}
	switch x := value.(type) {
	case float64:
		if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
			return []any{n}
		}
		return []any{x}
	case string, bool:
		return []any{x}
	}
	return []any{string(raw)}
}

// fields checks what the client sent and spells it as the log does. A field that
// clients do not know, and one that there is not, are refused alike.
func (w *work) fields(ctx context.Context) (map[string]models.JSON, error) {
	scratch := reflect.New(w.t.Schema.ModelType).Elem()
	out := make(map[string]models.JSON, len(w.m.Data))
	for name, raw := range w.m.Data {
		if raw == nil {
			raw = models.JSON("null")
		}
		i, ok := w.p.byName[name]
		if !ok || i >= w.p.visible {
			return nil, refuse("invalid", clipped(name), fmt.Sprintf("There is no field %q here.", clipped(name)))
		}
		c := &w.p.cols[i]
		if c.field.AutoCreateTime > 0 || c.field.AutoUpdateTime > 0 || w.t.marksDeleted(c.field.DBName) {
			continue // the server's own
		}
		if w.log.dialect == postgres && hasNUL(raw) {
			return nil, refuse("invalid", name, nulText)
		}
		value, err := c.decode(ctx, scratch, raw)
		if err != nil {
			return nil, refuse("invalid", name, asSentence(err))
		}
		if c.field.PrimaryKey {
			if !w.isKey(i, plain(value)) {
				return nil, refuse("invalid", name, "The key of a row cannot be changed.")
			}
			continue
		}
		out[name] = value
	}
	return out, nil
}

func asSentence(err error) string {
	var known valueError
	if errors.As(err, &known) {
		return string(known)
	}
	return "The value does not fit this field."
}

const nulText = "The database cannot hold the character U+0000."

// hasNUL: PostgreSQL's texts have no U+0000. Behind an escaped backslash it is none.
func hasNUL(raw models.JSON) bool {
	return bytes.Contains(bytes.ReplaceAll(raw, []byte(`\\`), nil), []byte(`\u0000`))
}

func (t *Tracked) marksDeleted(column string) bool {
	for _, f := range t.soft {
		if f.DBName == column {
			return true
		}
	}
	return false
}

// isKey tells whether a text is the part of the row's id for a column.
func (w *work) isKey(col int, text string) bool {
	parts, err := models.DecodeID(w.id, len(w.p.pks))
	if err != nil {
		return false
	}
	for i, k := range w.p.pks {
		if k == col {
			spelled, ok := w.p.cols[k].spelled(text)
			return ok && spelled == parts[i]
		}
	}
	return false
}

func clipped(s string) string {
	const most = 64
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
