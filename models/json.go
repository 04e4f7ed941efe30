package models

import (
	"bytes"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// JSON is a JSON text kept in a text column. Nil is SQL NULL and JSON null.
type JSON []byte

// GormDataType implements schema.GormDataTypeInterface: text on both dialects,
// as in the tables of rhtmx-sync.
func (JSON) GormDataType() string { return "text" }

// Scan implements sql.Scanner.
func (j *JSON) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*j = nil
	case string:
		*j = JSON(v)
	case []byte:
		*j = append((*j)[:0:0], v...)
	default:
		return fmt.Errorf("models.JSON: cannot read a %T; the column must be text", src)
	}
	return nil
}

// Value implements driver.Valuer.
func (j JSON) Value() (driver.Value, error) {
	if j == nil {
		return nil, nil
	}
	return string(j), nil
}

// MarshalJSON implements json.Marshaler: the text stands for itself.
func (j JSON) MarshalJSON() ([]byte, error) {
	if j == nil {
		return []byte("null"), nil
	}
	return j, nil
}

// UnmarshalJSON implements json.Unmarshaler. JSON null becomes nil.
func (j *JSON) UnmarshalJSON(b []byte) error {
	if j == nil {
		return errors.New("models.JSON: UnmarshalJSON on a nil pointer")
	}
	if string(b) == "null" {
		*j = nil
		return nil
	}
	*j = append((*j)[:0:0], b...)
	return nil
}

// Without gives the JSON object without some of its members; the others stay to
// the letter. changed tells whether it had any of them.
func (j JSON) Without(names []string) (without JSON, changed bool, err error) {
	d := json.NewDecoder(bytes.NewReader(j))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false, errors.Join(errors.New("models.JSON: this is no JSON object"), err)
	}
	out := JSON{'{'}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, false, fmt.Errorf("models.JSON: %w", err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, false, fmt.Errorf("models.JSON: %w", err)
		}
		name, _ := key.(string)
		if slices.Contains(names, name) {
			changed = true
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(AppendString(out, name), ':'), value...)
	}
	if _, err := d.Token(); err != nil { // the closing brace
		return nil, false, fmt.Errorf("models.JSON: %w", err)
	}
	return append(out, '}'), changed, nil
}
