package models

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendTime appends a time as JSON: RFC 3339 in UTC, with the microseconds that
// PostgreSQL keeps.
func AppendTime(b []byte, t time.Time) []byte {
	b = append(b, '"')
	b = t.UTC().Truncate(time.Microsecond).AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// AppendJSON appends the change as the wire contract has it. It gives what
// json.Marshal gives, without reading Data again.
func (c *Change) AppendJSON(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"id":`...), c.ID, 10)
	b = AppendString(append(b, `,"entity":`...), c.Entity)
	b = AppendString(append(b, `,"entity_id":`...), c.EntityID)
	b = AppendString(append(b, `,"action":`...), string(c.Action))
	b = appendOrNull(append(b, `,"data":`...), c.Data)
	b = strconv.AppendInt(append(b, `,"version":`...), c.Version, 10)
	b = appendName(append(b, `,"client_id":`...), c.ClientID)
	b = AppendString(append(b, `,"actor":`...), c.Actor)
	if c.MutationID != "" {
		b = AppendString(append(b, `,"mutation_id":`...), c.MutationID)
	}
	b = AppendTime(append(b, `,"created_at":`...), c.CreatedAt)
	return append(b, '}')
}

// AppendJSON appends the field's change as the wire contract has it.
func (c *FieldChange) AppendJSON(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"id":`...), c.ID, 10)
	b = AppendString(append(b, `,"entity":`...), c.Entity)
	b = AppendString(append(b, `,"entity_id":`...), c.EntityID)
	b = AppendString(append(b, `,"field":`...), c.Field)
	b = appendOrNull(append(b, `,"value":`...), c.Value)
	b = AppendString(append(b, `,"action":`...), string(c.Action))
	b = strconv.AppendInt(append(b, `,"version":`...), c.Version, 10)
	b = appendName(append(b, `,"client_id":`...), c.ClientID)
	b = AppendString(append(b, `,"actor":`...), c.Actor)
	b = AppendTime(append(b, `,"timestamp":`...), c.Timestamp)
	return append(b, '}')
}

func appendOrNull(b []byte, j JSON) []byte {
	if j == nil {
		return append(b, "null"...)
	}
	return append(b, j...)
}

func appendName(b []byte, s *string) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	return AppendString(b, *s)
}

const hexDigits = "0123456789abcdef"

// AppendString appends a JSON string; invalid UTF-8 becomes U+FFFD.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			b = appendEscape(append(b, s[start:i]...), c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b = append(append(b, s[start:i]...), "\ufffd"...)
			start = i + 1
		}
		i += n
	}
	return append(append(b, s[start:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
