package handlers

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"unicode/utf8"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// pushInbound is what a message has that pushes.
type pushInbound struct {
	ClientID string            `json:"client_id"`
	Entity   string            `json:"entity"`
	EntityID json.RawMessage   `json:"entity_id"`
	Action   json.RawMessage   `json:"action"`
	Data     json.RawMessage   `json:"data"`
	Fields   []json.RawMessage `json:"fields"`
	pushedTimes
}

// pushSocket answers push and push_fields. A message without client_id is of the
// client that subscribed.
func (h *Handlers) pushSocket(ctx context.Context, c *session, who caller, m inbound) error {
	p := &push{ClientID: cmp.Or(m.ClientID, c.client), writers: map[string]writer{}}
	if utf8.RuneCountInString(p.ClientID) > models.MaxName || !isName(p.ClientID) {
		return errClientID
	}
	writer, err := h.socketWriter(ctx, who, m)
	if err != nil {
		return err
	}
	p.writers[m.Entity] = writer
	if m.Type == "push" {
		return h.pushRow(ctx, c, p, m, writer)
	}
	return h.pushRowFields(ctx, c, p, m, writer)
}

// socketWriter: what may not be written is refused in the acknowledgement, since an
// original client only logs errors.
func (h *Handlers) socketWriter(ctx context.Context, who caller, m inbound) (writer, error) {
	ask := h.writer
	if m.Type == "push_fields" {
		ask = h.fieldWriter
	}
	w, err := ask(ctx, who, m.Entity)
	var known *apiError
	if errors.As(err, &known) && (known.status == http.StatusForbidden || known.status == http.StatusNotFound) {
		return w.refuse(known), nil
	}
	return w, err
}

// ack acknowledges a pushed row.
type ack struct {
	Type       string            `json:"type"`
	Entity     string            `json:"entity"`
	EntityID   string            `json:"entity_id"`
	Version    int64             `json:"version"`
	MutationID string            `json:"mutation_id,omitempty"`
	Status     models.PushStatus `json:"status"`
	ClientRef  string            `json:"client_ref,omitempty"`
	Data       models.JSON       `json:"data,omitempty"`
	Conflicts  []models.Conflict `json:"conflicts,omitempty"`
	Error      *models.PushError `json:"error,omitempty"`
}

func ackOf(entity string, r *models.PushResult) ack {
	a := ack{
		Type: "push_ack", Entity: entity, EntityID: r.ID, MutationID: r.MutationID, Status: r.Status,
		ClientRef: r.ClientRef, Data: r.Data, Conflicts: r.Conflicts, Error: r.Error,
	}
	if r.Version != nil {
		a.Version = *r.Version
	}
	return a
}

func (h *Handlers) pushRow(ctx context.Context, c *session, p *push, m inbound, w writer) error {
	mutation := trackers.Mutation{Entity: m.Entity, Filter: w.filter, Refused: w.refused}
	change := pushedChange{ID: m.EntityID, Action: m.Action, Data: m.Data, pushedTimes: m.pushedTimes}
	if why := change.read(&mutation); why != nil && mutation.Refused == nil {
		mutation.Refused = why
	}
	results := h.run(ctx, p, []trackers.Mutation{mutation})
	return h.replyJSON(c, ackOf(m.Entity, &results[0]))
}

// fieldsAck acknowledges the pushed fields of a row.
type fieldsAck struct {
	Type      string                   `json:"type"`
	Entity    string                   `json:"entity"`
	EntityID  string                   `json:"entity_id"`
	Applied   int                      `json:"applied"`
	Conflicts int                      `json:"conflicts"`
	Results   []models.FieldPushResult `json:"results"`
}

// conflictFrame tells of one field whose pushed value does not stand.
type conflictFrame struct {
	Type string `json:"type"`
	models.Conflict
}

func (h *Handlers) pushRowFields(ctx context.Context, c *session, p *push, m inbound, w writer) error {
	fields := fieldPush{}
	for _, raw := range m.Fields {
		fields.add(ofRow(raw, m), m.Entity, w)
	}
	a, err := h.fieldAnswer(ctx, &fields, h.run(ctx, p, fields.mutations))
	if err != nil {
		return err
	}
	var id text
	_ = json.Unmarshal(m.EntityID, &id) // each field's result says what is wrong with it
	answer := fieldsAck{Type: "push_ack", Entity: m.Entity, EntityID: string(id), Applied: len(a.Applied), Conflicts: len(a.Conflicts), Results: a.Results}
	if err := h.replyJSON(c, answer); err != nil {
		return err
	}
	for _, conflict := range a.Conflicts {
		if err := h.replyJSON(c, conflictFrame{"conflict", conflict}); err != nil {
			return err
		}
	}
	return nil
}

// ofRow gives a field of push_fields the row that the message names.
func ofRow(raw json.RawMessage, m inbound) json.RawMessage {
	var f map[string]json.RawMessage
	if json.Unmarshal(raw, &f) != nil || f == nil {
		return raw
	}
	f["entity_id"] = m.EntityID
	if m.EntityID == nil {
		f["entity_id"] = json.RawMessage(`""`)
	}
	for name, value := range map[string]json.RawMessage{"mutation_id": m.MutationID, "client_version": m.ClientVersion} {
		if f[name] == nil && value != nil {
			f[name] = value
		}
	}
	if whole, err := json.Marshal(f); err == nil {
		return whole
	}
	return raw
}

func (h *Handlers) replyJSON(c *session, frame any) error {
	b, err := json.Marshal(frame)
	if err == nil {
		c.reply(b)
	}
	return err
}
