package models

import (
	"database/sql/driver"
	"errors"
	"fmt"
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
