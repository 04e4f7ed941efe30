package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"unicode/utf8"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

const (
	// maxBody is how many bytes the body of a push may have.
	maxBody = 1 << 20
	// maxChanges is how many changes one push may have.
	maxChanges = 1000
)

// pushOne answers POST /sync/:entity.
func (h *Handlers) pushOne(w http.ResponseWriter, r *http.Request, who caller) {
	entity := r.PathValue("entity")
	writer, err := h.writer(r.Context(), who, entity)
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
	mutations := make([]trackers.Mutation, len(p.Changes))
	for i, raw := range p.Changes {
		mutations[i] = parseMutation(raw, entity, writer)
	}
	h.answerPush(w, r, p, mutations, false)
}

// pushSeveral answers POST /sync, where each change names its entity.
func (h *Handlers) pushSeveral(w http.ResponseWriter, r *http.Request, who caller) {
	p, err := h.readPush(w, r)
	if err != nil {
		h.fail(w, err)
		return
	}
	mutations := make([]trackers.Mutation, len(p.Changes))
	for i, raw := range p.Changes {
		if mutations[i], err = h.parseNamed(r.Context(), who, p, raw); err != nil {
			h.fail(w, err)
			return
		}
	}
	h.answerPush(w, r, p, mutations, true)
}

// parseNamed reads a change that names its entity. An entity that may not be
// written refuses that change only.
func (h *Handlers) parseNamed(ctx context.Context, who caller, p *push, raw json.RawMessage) (trackers.Mutation, error) {
	var named struct {
		Entity text `json:"entity"`
	}
	_ = json.Unmarshal(raw, &named) // parseMutation says what is wrong
	entity := string(named.Entity)
	writer, asked := p.writers[entity]
	if !asked {
		var err error
		writer, err = h.writer(ctx, who, entity)
		var known *apiError
		if errors.As(err, &known) && known.status < http.StatusInternalServerError && known.status != http.StatusUnauthorized {
			writer = writer.refuse(known)
		} else if err != nil {
			return trackers.Mutation{}, err
		}
		p.writers[entity] = writer
	}
	return parseMutation(raw, entity, writer), nil
}

// writer is what a client may change of an entity.
type writer struct {
	filter  trackers.Filter
	actor   string
	refused *models.PushError // why nothing; nil if something
	unknown bool              // nobody said who the actor is
}

// refuse is a writer that may write nothing. Who may not even read is nobody that is
// known: so an entity that does not exist answers as one that others may read.
func (w writer) refuse(why *apiError) writer {
	w.refused = &models.PushError{Code: why.Code, Message: why.Message}
	w.unknown = w.filter.Entity == ""
	return w
}

// writer asks for the right to change an entity. What the client may not read does
// not exist for it; what it may read but not write is forbidden.
func (h *Handlers) writer(ctx context.Context, who caller, entity string) (writer, error) {
	filter, access, err := h.filter(ctx, who, entity)
	if err != nil {
		return writer{}, err
	}
	w := writer{filter: filter, actor: access.Actor}
	if !access.Write || !h.log.Entity(entity).Writable {
		return w, &apiError{status: http.StatusForbidden, Code: "forbidden", Message: "You may read this entity, but not change it."}
	}
	return w, nil
}

// push is the body of a request.
type push struct {
	ClientID string            `json:"client_id"`
	Atomic   bool              `json:"atomic"`
	Changes  []json.RawMessage `json:"changes"`

	writers map[string]writer // by entity, of those that were asked for
}

// readPush reads the body and refuses what is too much.
func (h *Handlers) readPush(w http.ResponseWriter, r *http.Request) (*push, error) {
	p := &push{writers: map[string]writer{}}
	if !h.sameOrigin(r) {
		return nil, errPushOrigin
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	err := d.Decode(p)
	if err == nil && d.More() {
		return nil, errPushBody
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &apiError{status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "The body has more than 1 MiB; send fewer changes at once."}
	case err != nil:
		return nil, errPushBody
	case len(p.Changes) > maxChanges:
		return nil, &apiError{status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: "At most 1000 changes can be sent at once."}
	case utf8.RuneCountInString(p.ClientID) > models.MaxName || !isName(p.ClientID):
		return nil, errClientID
	}
	return p, nil
}

var (
	errPushBody   = &apiError{status: http.StatusBadRequest, Code: "bad_request", Message: `The body must be one JSON object such as {"changes":[{"id":"1","action":"update","data":{}}]}.`}
	errClientID   = &apiError{status: http.StatusUnprocessableEntity, Code: "invalid", Message: "client_id can have 64 characters of text at most."}
	errPushOrigin = &apiError{status: http.StatusForbidden, Code: "forbidden", Message: "This origin may not change anything; name it in Config.AllowedOrigins."}
)

// answerPush runs the mutations and answers with their results.
func (h *Handlers) answerPush(w http.ResponseWriter, r *http.Request, p *push, mutations []trackers.Mutation, named bool) {
	results, err := h.runCounted(r.Context(), p, mutations)
	if err != nil {
		h.fail(w, err)
		return
	}
	answer := models.PushResponse{Applied: []string{}, Conflicts: []string{}, Results: results}
	for i := range results {
		if named {
			results[i].Entity = mutations[i].Entity
		}
		if results[i].Status.Done() {
			answer.Applied = append(answer.Applied, results[i].ID)
		} else {
			answer.Conflicts = append(answer.Conflicts, results[i].ID)
		}
	}
	answer.Cursor, answer.Version = h.here(r.Context())
	h.json(w, answer)
}

// runCounted does the mutations of a request, unless the actor has too many under
// way. What an original client sent and was not done at all is an error.
func (h *Handlers) runCounted(ctx context.Context, p *push, mutations []trackers.Mutation) ([]models.PushResult, error) {
	if len(mutations) > 0 {
		end, err := h.pushes.begin(p.author(mutations).Actor)
		if err != nil {
			return nil, err
		}
		defer end()
	}
	results := h.run(ctx, p, mutations)
	if unheard(mutations, results) {
		return nil, errBusy
	}
	return results, nil
}

// run does the mutations. Authorize names the actor for each entity, so those of
// one actor in a row run together; an atomic push has one.
func (h *Handlers) run(ctx context.Context, p *push, mutations []trackers.Mutation) []models.PushResult {
	results := make([]models.PushResult, 0, len(mutations))
	if len(mutations) == 0 {
		return results
	}
	if p.Atomic {
		return h.log.Push(ctx, p.author(mutations), mutations, true)
	}
	for first := 0; first < len(mutations); {
		by, end := p.author(mutations[first:first+1]), first+1
		for end < len(mutations) && p.author(mutations[end:end+1]) == by {
			end++
		}
		results = append(results, h.log.Push(ctx, by, mutations[first:end], false)...)
		first = end
	}
	return results
}

// author is the actor of the first mutation that has one.
func (p *push) author(mutations []trackers.Mutation) trackers.Author {
	for i := range mutations {
		if w := p.writers[mutations[i].Entity]; !w.unknown {
			return trackers.Author{Actor: w.actor, Client: p.ClientID}
		}
	}
	return trackers.Author{Client: p.ClientID, Unknown: true}
}

var errBusy = &apiError{status: http.StatusServiceUnavailable, Code: "busy", Message: "The database was busy; send the changes again."}

// unheard: an original client looks at the status of the answer only, and what was
// not done at all must stay in its queue.
func unheard(mutations []trackers.Mutation, results []models.PushResult) bool {
	for i := range results {
		if results[i].Status != models.PushRetry || mutations[i].MutationID != "" {
			return false
		}
	}
	return len(results) > 0
}

// here gives a place in the log behind what was just written; empty when the log
// cannot be read, since the changes are made all the same. It covers no entity, so
// that no client can go on from it and miss what others did before.
func (h *Handlers) here(ctx context.Context) (cursor, version string) {
	c, err := h.log.Position(ctx)
	if err != nil && ctx.Err() == nil {
		h.logger.Warn("gormsync: the cursor behind a push could not be read", "error", err)
	}
	if err != nil {
		return "", ""
	}
	return c.String(), c.Version()
}

func (h *Handlers) json(w http.ResponseWriter, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		h.fail(w, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", "application/json; charset=UTF-8")
	header.Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // the client is gone if this fails
}
