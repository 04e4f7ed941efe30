package handlers

import (
	"encoding/json"
	"fmt"

	"github.com/rhtmx/gormsync/models"
)

// inbound is a client's message; which fields count depends on Type.
type inbound struct {
	Type     string   `json:"type"`
	Entities []string `json:"entities"`
	Since    since    `json:"since"`
	Batch    bool     `json:"batch"`
	Compress string   `json:"compress"`
	pushInbound
}

// since is one cursor, or one for each entity.
type since struct {
	text string
	each map[string]string
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *since) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		return json.Unmarshal(b, &s.each)
	}
	if string(b) == "null" {
		return nil
	}
	return json.Unmarshal(b, &s.text)
}

// of gives the cursor text for an entity; empty for none.
func (s since) of(entity string) string {
	if s.each != nil {
		return s.each[entity]
	}
	return s.text
}

func parseInbound(frame []byte) (inbound, error) {
	var m inbound
	if err := json.Unmarshal(frame, &m); err != nil {
		return m, &apiError{Code: "bad_request", Message: "A message must be one JSON object; see the protocol."}
	}
	return m, nil
}

var pong = []byte(`{"type":"pong"}`)

func errorFrame(e *apiError) []byte {
	b := models.AppendString([]byte(`{"type":"error","code":`), e.Code)
	b = models.AppendString(append(b, `,"message":`...), e.Message)
	return append(b, '}')
}

func subscribedFrame(entities []string, cursor models.Cursor) []byte {
	b := appendNames([]byte(`{"type":"subscribed","entities":`), entities)
	b = models.AppendString(append(b, `,"cursor":`...), cursor.String())
	return append(b, '}')
}

func resetFrame(entities []string, reason string) []byte {
	b := models.AppendString([]byte(`{"type":"reset","reason":`), reason)
	b = appendNames(append(b, `,"entities":`...), entities)
	return append(b, '}')
}

func heartbeatFrame(cursor string) []byte {
	return fmt.Appendf(nil, `{"type":"heartbeat","cursor":%q}`, cursor)
}

func syncedFrame(entity string, cursor models.Cursor) []byte {
	b := models.AppendString([]byte(`{"type":"synced","entity":`), entity)
	b = models.AppendString(append(b, `,"cursor":`...), cursor.String())
	return append(b, '}')
}

func appendNames(b []byte, names []string) []byte {
	b = append(b, '[')
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = models.AppendString(b, n)
	}
	return append(b, ']')
}
