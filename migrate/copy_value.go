package migrate

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// PostgreSQL's types that Copy knows more of than that they have a text.
const (
	kindBool      = "bool"
	kindBytes     = "bytea"
	kindDate      = "date"
	kindFloat4    = "float4"
	kindFloat8    = "float8"
	kindJSON      = "json"
	kindJSONB     = "jsonb"
	kindNumeric   = "numeric"
	kindPadded    = "bpchar"
	kindTimestamp = "timestamp"
	kindTimeZoned = "timestamptz"
	kindUUID      = "uuid"
)

// textFor is the text of a value of SQLite for a column of PostgreSQL; nil is NULL.
func textFor(kind string, v any) *string {
	var text string
	switch v := v.(type) {
	case nil:
		return nil
	case int64:
		text = ofInt(kind, v)
	case float64:
		text = ofFloat(kind, v)
	case string:
		text = ofText(kind, v)
	case []byte:
		text = ofBytes(kind, v)
	default: // a driver that guesses; it has the text in it
		text = fmt.Sprint(v)
	}
	return &text
}

func ofInt(kind string, n int64) string {
	switch kind {
	case kindBool:
		return strconv.FormatBool(n != 0)
	case kindTimestamp, kindTimeZoned, kindDate:
		if n > 1e12 || n < -1e12 { // as the driver takes numbers for times
			return formatTime(kind, time.UnixMilli(n))
		}
		return formatTime(kind, time.Unix(n, 0))
	}
	return strconv.FormatInt(n, 10)
}

func ofFloat(kind string, f float64) string {
	switch kind {
	case kindFloat4, kindFloat8:
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func ofText(kind, s string) string {
	switch kind {
	case kindTimestamp, kindTimeZoned, kindDate:
		if t, ok := parseTime(s); ok {
			return formatTime(kind, t)
		}
	case kindBytes:
		return `\x` + hex.EncodeToString([]byte(s))
	}
	return s
}

func ofBytes(kind string, b []byte) string {
	switch {
	case kind == kindBytes:
		return `\x` + hex.EncodeToString(b)
	case kind == kindUUID && len(b) == 16:
		return hex.EncodeToString(b)
	}
	return string(b)
}

// timeForms are those in which SQLite's drivers and functions write times, and
// PostgreSQL's own.
var timeForms = []string{
	"2006-01-02 15:04:05.999999999-07:00", "2006-01-02T15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999-07", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02",
}

func parseTime(s string) (time.Time, bool) {
	for _, form := range timeForms {
		if t, err := time.Parse(form, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// formatTime cuts to the microseconds that PostgreSQL keeps, which would round.
// A column without a zone gets UTC; a date is the one that was written.
func formatTime(kind string, t time.Time) string {
	if kind == kindDate {
		return t.Format(time.DateOnly)
	}
	t = t.UTC().Truncate(time.Microsecond)
	if kind == kindTimestamp {
		return t.Format("2006-01-02 15:04:05.999999")
	}
	return t.Format("2006-01-02 15:04:05.999999-07")
}

// appendCopy appends a value in the text format of COPY.
func appendCopy(b []byte, v *string) []byte {
	if v == nil {
		return append(b, `\N`...)
	}
	for i := range len(*v) {
		switch c := (*v)[i]; c {
		case '\\':
			b = append(b, `\\`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, c)
		}
	}
	return b
}

// parseCopy reads a value in the text format of COPY, as the server writes it.
func parseCopy(field []byte) *string {
	if string(field) == `\N` {
		return nil
	}
	out := make([]byte, 0, len(field))
	for i := 0; i < len(field); i++ {
		c := field[i]
		if c == '\\' && i+1 < len(field) {
			i++
			if c = field[i]; strings.IndexByte("bfnrtv", c) >= 0 {
				c = "\b\f\n\r\t\v"[strings.IndexByte("bfnrtv", c)]
			}
		}
		out = append(out, c)
	}
	text := string(out)
	return &text
}

// canonical is a spelling that both sides share. Of a type that SQLite does not
// know there is none: only whether it is NULL.
func canonical(kind, text string) string {
	switch kind {
	case kindBool:
		if b, err := strconv.ParseBool(text); err == nil {
			return strconv.FormatBool(b)
		}
	case kindTimestamp, kindTimeZoned:
		if t, ok := parseTime(text); ok {
			return strconv.FormatInt(t.UnixMicro(), 10)
		}
	case kindFloat4, kindFloat8:
		bits := 64
		if kind == kindFloat4 {
			bits = 32
		}
		if f, err := strconv.ParseFloat(text, bits); err == nil {
			return strconv.FormatFloat(f, 'g', -1, bits)
		}
	case kindNumeric, "int2", "int4", "int8":
		return canonicalNumber(text)
	case kindJSONB:
		return canonicalJSON(text)
	case kindPadded:
		return strings.TrimRight(text, " ")
	case kindUUID:
		return strings.ToLower(strings.NewReplacer("-", "", "{", "", "}", "").Replace(text))
	case kindBytes:
		return strings.ToLower(text)
	case kindDate, kindJSON, "text", "varchar":
	default:
		return ""
	}
	return text
}

// farExponent bounds what is computed: an exponent may stand for more digits than
// there is memory.
const farExponent = 2000

func canonicalNumber(text string) string {
	text = strings.TrimSpace(text)
	switch strings.ToLower(strings.TrimPrefix(text, "+")) {
	case "inf", "infinity":
		return "Infinity"
	case "-inf", "-infinity":
		return "-Infinity"
	case "nan":
		return "NaN"
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		if e, err := strconv.Atoi(text[i+1:]); err != nil || e > farExponent || e < -farExponent {
			return text
		}
	}
	if n, ok := new(big.Rat).SetString(text); ok && len(text) < farExponent {
		return n.RatString()
	}
	return text
}

// canonicalJSON: jsonb sorts members, and spells numbers in its own way.
func canonicalJSON(text string) string {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return text
	}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(spelled(v)); err != nil {
		return text
	}
	return out.String()
}

func spelled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = spelled(v[k])
		}
	case []any:
		for i := range v {
			v[i] = spelled(v[i])
		}
	case json.Number:
		if f, ok := new(big.Float).SetPrec(200).SetString(v.String()); ok {
			return json.Number(f.Text('g', 40))
		}
	}
	return v
}
