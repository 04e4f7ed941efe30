package models

import (
	"net/url"
	"strings"
)

// EncodeID joins the parts of a primary key into an entity id. A single part
// stands as it is; several are joined with ",", each percent-encoded where it
// holds a "," or a "%".
func EncodeID(parts ...string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	escaped := make([]string, len(parts))
	for i, p := range parts {
		escaped[i] = idEscaper.Replace(p)
	}
	return strings.Join(escaped, ",")
}

var idEscaper = strings.NewReplacer("%", "%25", ",", "%2C")

// DecodeID splits an entity id into n key parts. It returns ErrBadID when the
// text has another number of parts or a broken escape.
func DecodeID(id string, n int) ([]string, error) {
	if n == 1 {
		return []string{id}, nil
	}
	parts := strings.Split(id, ",")
	if len(parts) != n {
		return nil, ErrBadID
	}
	for i, p := range parts {
		plain, err := url.PathUnescape(p)
		if err != nil {
			return nil, ErrBadID
		}
		parts[i] = plain
	}
	return parts, nil
}
