package handlers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// fieldPush is some fields that a client pushed. Those that share a mutation_id
// are one mutation; all others are one each.
type fieldPush struct {
	fields    []pushedField
	mutations []trackers.Mutation
	of        []int // the mutation of each field
}

// pushedField is one field of a push.
type pushedField struct {
	EntityID json.RawMessage `json:"entity_id"`
	Field    text            `json:"field"`
	Value    models.JSON     `json:"value"`
	Action   models.Action   `json:"action"`
	pushedTimes
}

// pushedTimes are what a change says of itself beside what it changes.
type pushedTimes struct {
	ClientVersion json.RawMessage `json:"client_version"`
	MutationID    json.RawMessage `json:"mutation_id"`
	Timestamp     json.RawMessage `json:"timestamp"`
}

// add reads one field.
func (p *fieldPush) add(raw json.RawMessage, entity string, w writer) {
	m := trackers.Mutation{Entity: entity, Filter: w.filter, Refused: w.refused}
	var f pushedField
	var why *models.PushError
	if json.Unmarshal(raw, &f) != nil {
		why = invalid("", "A change must be an object with entity_id, field, value and action.")
	} else {
		why = f.read(&m)
	}
	if why != nil { // the others of its mutation are done without it
		m.Refused, m.Unnamed = cmp.Or(m.Refused, why), true
	}
	p.fields = append(p.fields, f)
	if n := len(p.mutations); n > 0 && joins(&p.mutations[n-1], &m, string(f.Field)) {
		last := &p.mutations[n-1]
		last.Data[string(f.Field)] = m.Data[string(f.Field)]
		if m.At.After(last.At) {
			last.At = m.At
		}
	} else {
		p.mutations = append(p.mutations, m)
	}
	p.of = append(p.of, len(p.mutations)-1)
}

// joins tells whether a field is one more of the same mutation.
func joins(last, next *trackers.Mutation, field string) bool {
	_, twice := last.Data[field]
	return next.MutationID != "" && last.MutationID == next.MutationID && last.ID == next.ID &&
		!twice && last.Refused == next.Refused && !last.Unnamed && !next.Unnamed
}

func (f *pushedField) read(m *trackers.Mutation) *models.PushError {
	c := pushedChange{ID: f.EntityID, Action: json.RawMessage(`"update"`), pushedTimes: f.pushedTimes}
	if why := c.read(m); why != nil {
		if why.Field == "id" {
			why.Field = "entity_id"
		}
		return why
	}
	switch {
	case f.Field == "" || !isName(string(f.Field)):
		return invalid("field", "field must be the name of a column.")
	case f.Action == models.Delete:
		f.Value = nil
	case f.Action != models.Update:
		return invalid("action", "action must be update or delete.")
	}
	m.Data = map[string]models.JSON{string(f.Field): f.Value}
	return nil
}

// fieldWriter asks for the right to push fields of an entity.
func (h *Handlers) fieldWriter(ctx context.Context, who caller, entity string) (writer, error) {
	w, err := h.writer(ctx, who, entity)
	if err == nil && !h.log.Entity(entity).FieldLog {
		return writer{}, unknownEntity(entity)
	}
	return w, err
}

// pushFields answers POST /field-sync/:entity.
func (h *Handlers) pushFields(w http.ResponseWriter, r *http.Request, who caller) {
	entity := r.PathValue("entity")
	writer, err := h.fieldWriter(r.Context(), who, entity)
	if err != nil {
		h.fail(w, err)
		return
	}
	p, err := h.readPush(w, r)
	if err != nil {
		h.fail(w, err)
		return
	}
	p.writers[entity] = writer
	fields := fieldPush{}
	for _, raw := range p.Changes {
		fields.add(raw, entity, writer)
	}
	results, err := h.runCounted(r.Context(), p, fields.mutations)
	if err != nil {
		h.fail(w, err)
		return
	}
	answer, err := h.fieldAnswer(r.Context(), &fields, results)
	if err != nil {
		h.fail(w, err)
		return
	}
	answer.Cursor, _ = h.here(r.Context())
	h.json(w, answer)
}

// fieldAnswer tells what became of each field.
func (h *Handlers) fieldAnswer(ctx context.Context, p *fieldPush, results []models.PushResult) (models.FieldPushResponse, error) {
	a := models.FieldPushResponse{Applied: []models.FieldChange{}, Conflicts: []models.Conflict{}, Results: []models.FieldPushResult{}}
	logged, err := h.loggedFields(ctx, results)
	if err != nil {
		return a, err
	}
	for i := range results {
		a.Conflicts = append(a.Conflicts, results[i].Conflicts...)
	}
	for i, at := range p.of {
		r, field := &results[at], string(p.fields[i].Field)
		one := models.FieldPushResult{EntityID: r.ID, Field: field, MutationID: r.MutationID, Status: r.Status, Error: r.Error}
		if r.Version != nil {
			one.Version = *r.Version
		}
		lost := slices.ContainsFunc(r.Conflicts, func(c models.Conflict) bool { return c.Field == field })
		switch {
		case lost:
			one.Status = models.PushConflict
		case one.Status == models.PushMerged:
			one.Status = models.PushApplied
		}
		if one.Status.Done() {
			c, err := h.fieldChange(ctx, logged, p.mutations[at].Entity, field, r)
			if err != nil {
				return a, err
			}
			if one.Status != models.PushDuplicate || c.ID > 0 { // there is nothing to show of what is gone or hidden by now
				a.Applied = append(a.Applied, c)
			}
		}
		a.Results = append(a.Results, one)
	}
	return a, nil
}

// fieldsByVersion are rows of the field log.
type fieldsByVersion map[int64][]models.FieldChange

func (h *Handlers) loggedFields(ctx context.Context, results []models.PushResult) (fieldsByVersion, error) {
	var versions []int64
	for i := range results {
		if r := &results[i]; r.Status.Done() && r.Version != nil && *r.Version > 0 {
			versions = append(versions, *r.Version)
		}
	}
	return h.fields.Of(ctx, versions)
}

// fieldChange gives a field's change as it is in the log. That of a field which had the
// value before is an older one, and is made up if the log has not got it.
func (h *Handlers) fieldChange(ctx context.Context, logged fieldsByVersion, entity, field string, r *models.PushResult) (models.FieldChange, error) {
	c := models.FieldChange{Entity: entity, EntityID: r.ID, Field: field, Action: models.Delete}
	if r.Version != nil {
		c.Version = *r.Version
	}
	for _, row := range logged[c.Version] {
		if row.Field == field {
			return row, nil
		}
	}
	var data map[string]models.JSON
	if json.Unmarshal(r.Data, &data) == nil && data[field] != nil {
		c.Action, c.Value = models.Update, data[field]
	}
	if c.Version == 0 { // never logged, or not the client's to see
		return c, nil
	}
	older, err := h.fields.Newest(ctx, entity, r.ID, field)
	if err == nil && older != nil && bytes.Equal(older.Value, c.Value) {
		return *older, nil
	}
	if err != nil {
		return c, err
	}
	return c, nil
}

// latest answers GET /field-sync/:entity/:entity_id/latest.
func (h *Handlers) latest(w http.ResponseWriter, r *http.Request, who caller) {
	entity := r.PathValue("entity")
	filter, _, err := h.filter(r.Context(), who, entity)
	if err == nil && !h.log.Entity(entity).FieldLog {
		err = unknownEntity(entity)
	}
	if err != nil {
		h.fail(w, err)
		return
	}
	fields, err := h.fields.Latest(r.Context(), filter, r.PathValue("entity_id"))
	if err == nil && fields == nil {
		err = &apiError{status: http.StatusNotFound, Code: "not_found", Message: "There is no such row, or it is not yours."}
	}
	if err != nil {
		h.fail(w, err)
		return
	}
	h.json(w, fields)
}
