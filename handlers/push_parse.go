package handlers

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// text is a JSON string, or a number as its digits: some clients send ids so.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(t))
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	*t = text(n)
	return nil
}

// pushedChange is one change of a push. Its parts are read one by one, so that the
// answer can name the one that is wrong.
type pushedChange struct {
	ID     json.RawMessage `json:"id"`
	Action json.RawMessage `json:"action"`
	Data   json.RawMessage `json:"data"`
	pushedTimes
}

// parseMutation reads a change. What is wrong with it refuses that change only.
func parseMutation(raw json.RawMessage, entity string, w writer) trackers.Mutation {
	m := trackers.Mutation{Entity: entity, Filter: w.filter, Refused: w.refused}
	var c pushedChange
	if json.Unmarshal(raw, &c) != nil {
		m.Refused = invalid("", "A change must be an object with id, action and data.")
		return m
	}
	if why := c.read(&m); why != nil && m.Refused == nil {
		m.Refused = why
	}
	return m
}

// read reads the parts. Whatever is wrong, what is left of the id can be stored.
func (c *pushedChange) read(m *trackers.Mutation) *models.PushError {
	why := c.decode(m)
	if !isName(m.ID) {
		m.ID = strings.ReplaceAll(strings.ToValidUTF8(m.ID, ""), "\x00", "")
	}
	return why
}

func (c *pushedChange) decode(m *trackers.Mutation) *models.PushError {
	id, action := (*text)(&m.ID), (*string)(&m.Action)
	steps := []struct {
		name, what string
		raw        json.RawMessage
		into       any
	}{
		{"mutation_id", "mutation_id must be a string.", c.MutationID, &m.MutationID},
		{"id", "id must be a string.", c.ID, id},
		{"action", "action must be create, update or delete.", c.Action, action},
		{"data", "data must be an object of fields, or null.", c.Data, &m.Data},
		{"client_version", "client_version must be the version of a change, or be left out.", c.ClientVersion, &m.Base},
		{"timestamp", "timestamp must be a time such as 2026-01-02T03:04:05Z.", c.Timestamp, (*moment)(&m.At)},
	}
	for _, s := range steps {
		if len(s.raw) > 0 && json.Unmarshal(s.raw, s.into) != nil {
			return invalid(s.name, s.what)
		}
	}
	return check(m)
}

// check refuses what has the right type and still makes no sense.
func check(m *trackers.Mutation) *models.PushError {
	switch {
	case utf8.RuneCountInString(m.MutationID) > models.MaxName || !isName(m.MutationID):
		m.MutationID, m.Unnamed = clip(strings.ToValidUTF8(m.MutationID, "")), true
		return invalid("mutation_id", "mutation_id can have 64 characters of text at most.")
	case !m.Action.Valid():
		return invalid("action", "action must be create, update or delete.")
	case m.ID == "" && m.Action != models.Create:
		return invalid("id", "An update or a delete needs the id of its row.")
	case !isName(m.ID):
		return invalid("id", "id cannot have the character U+0000.")
	case len(m.ID) > maxID:
		m.ID = clip(strings.ToValidUTF8(m.ID, ""))
		return invalid("id", fmt.Sprintf("id can have %d bytes of text at most.", maxID))
	case m.Base != nil && *m.Base < 0:
		return invalid("client_version", "client_version must be the version of a change, or be left out.")
	}
	return nil
}

// maxID is how many bytes an entity id may have: an index of PostgreSQL holds no more.
const maxID = 2000

// isName: PostgreSQL's texts have no U+0000.
func isName(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func invalid(field, message string) *models.PushError {
	return &models.PushError{Code: "invalid", Field: field, Message: message}
}

// moment is a time as clients send it; null is none.
type moment time.Time

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	t := (*time.Time)(m)
	if err := t.UnmarshalJSON(b); err != nil {
		return err
	}
	if first := (time.Time{}).Add(time.Microsecond); t.Before(first) { // no time at all is none
		*t = first
	}
	return nil
}
