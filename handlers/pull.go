package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// streamPage is how many changes of a complete answer are read at once.
const streamPage = 10000

// streamBytes is about how much of an answer is written at once.
const streamBytes = 64 << 10

// maxLimit is the most changes of one answer with a limit; without one the
// answer is complete and streamed.
const maxLimit = 10000

// appender is a row of either log as JSON.
type appender[T any] interface {
	*T
	AppendJSON([]byte) []byte
}

// pull is one GET, for one entity or for several.
type pull struct {
	filters  []trackers.Filter
	cursor   models.Cursor
	limit    int  // 0: everything
	original bool // of an original client, which knows no 410
	reset    bool
	anew     []string // entities of several that need a snapshot
}

func (p *pull) size() int {
	if p.limit > 0 {
		return p.limit
	}
	return streamPage
}

// parsePull reads since and limit of a pull of one entity. An expired position of
// an original client, which cannot be told so, becomes a snapshot.
func parsePull(filter trackers.Filter, query url.Values) (pull, error) {
	p := pull{filters: []trackers.Filter{filter}}
	var err error
	if p.limit, err = parseLimit(query); err != nil {
		return p, err
	}
	since := query.Get("since")
	if isOriginal(since) {
		p.reset = true
		return p, nil
	}
	if p.cursor, p.original, err = models.ParseCursor(since); err != nil {
		return p, err
	}
	if !p.cursor.IsZero() && !p.cursor.HasCover(filter.Cover()) {
		return p, p.expired()
	}
	return p, nil
}

// parseLimit reads limit; 0 means everything.
func parseLimit(query url.Values) (int, error) {
	s := query.Get("limit")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, &apiError{status: http.StatusBadRequest, Code: "bad_request", Message: "limit must be a whole number above 0."}
	}
	return min(n, maxLimit), nil
}

// expired gives the answer to a cursor that cannot be followed: of another
// database, from before the horizon, or one that has not followed this entity
// under these scopes.
func (p *pull) expired() error {
	if !p.original || p.reset {
		return models.ErrCursorExpired
	}
	p.cursor, p.reset = models.Cursor{}, true
	return nil
}

// isOriginal reports whether since is a version of the original server.
func isOriginal(since string) bool {
	_, err := strconv.ParseUint(since, 10, 64)
	return err == nil && since != "0"
}

// pullChanges answers GET /sync/:entity.
func (h *Handlers) pullChanges(w http.ResponseWriter, r *http.Request, who caller) {
	entity := r.PathValue("entity")
	filter, _, err := h.filter(r.Context(), who, entity)
	if err != nil {
		h.fail(w, err)
		return
	}
	p, err := parsePull(filter, r.URL.Query())
	if err != nil {
		h.fail(w, err)
		return
	}
	read := func(ctx context.Context, c models.Cursor) (trackers.Page[models.Change], error) {
		if c.IsZero() || c.Page != nil {
			return h.changes.Snapshot(ctx, filter, c, p.limit)
		}
		return h.changes.Read(ctx, []trackers.Filter{filter}, c, p.size())
	}
	stream[models.Change, *models.Change](h, w, r, p, read)
}

// pullFields answers GET /field-sync/:entity. From nothing it tells the field
// log from its beginning.
func (h *Handlers) pullFields(w http.ResponseWriter, r *http.Request, who caller) {
	entity := r.PathValue("entity")
	filter, _, err := h.filter(r.Context(), who, entity)
	if err == nil && !h.log.Entity(entity).FieldLog {
		err = unknownEntity(entity)
	}
	if err != nil {
		h.fail(w, err)
		return
	}
	p, err := parsePull(filter, r.URL.Query())
	if err != nil {
		h.fail(w, err)
		return
	}
	read := func(ctx context.Context, c models.Cursor) (trackers.Page[models.FieldChange], error) {
		return h.fields.Read(ctx, []trackers.Filter{filter}, c, p.size())
	}
	stream[models.FieldChange, *models.FieldChange](h, w, r, p, read)
}

// stream writes the pages of a pull as one JSON object. A page is read whole, and
// its connection given back, before it is written: a slow client must not hold a
// connection of the pool.
func stream[T any, P appender[T]](h *Handlers, w http.ResponseWriter, r *http.Request, p pull, read func(context.Context, models.Cursor) (trackers.Page[T], error)) {
	page, err := read(r.Context(), p.cursor)
	if errors.Is(err, models.ErrCursorExpired) {
		if err = p.expired(); err == nil {
			page, err = read(r.Context(), p.cursor)
		}
	}
	if err != nil {
		h.fail(w, err)
		return
	}
	w.Header().Set("Cache-Control", "private, no-cache")
	if p.idle(w, r, page.Cursor, len(page.Entries) == 0 && !page.More) {
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	b := append(make([]byte, 0, 1024), p.head()...)
	b = append(b, `,"changes":[`...)
	for rows := 0; ; {
		if b, err = writeRows[T, P](w, b, page.Entries, rows > 0); err != nil {
			return // the client is gone
		}
		rows += len(page.Entries)
		if !page.More || p.limit > 0 {
			break
		}
		if page, err = read(r.Context(), page.Cursor); err != nil {
			if r.Context().Err() == nil { // not because the client has gone
				h.logger.Error("gormsync: a pull broke off", "entities", namesOf(p.filters), "error", err)
			}
			panic(http.ErrAbortHandler) // the client sees a broken answer, not a short one
		}
	}
	page.Cursor.Covers = coversOf(p.filters)
	b = models.AppendString(append(b, `],"cursor":`...), page.Cursor.String())
	b = models.AppendString(append(b, `,"version":`...), page.Cursor.Version())
	b = strconv.AppendBool(append(b, `,"has_more":`...), page.More)
	_, _ = w.Write(append(b, '}')) // the client is gone if this fails
}

// head begins the answer, up to its changes.
func (p *pull) head() []byte {
	if p.anew != nil {
		return appendNames(append(appendNames([]byte(`{"entities":`), namesOf(p.filters)), `,"reset":`...), p.anew)
	}
	b := models.AppendString([]byte(`{"entity":`), p.filters[0].Entity)
	return strconv.AppendBool(append(b, `,"reset":`...), p.reset)
}

// idle answers a client that asks again for nothing new: the cursor of an idle log
// stays the same, so it serves as the answer's tag.
func (p *pull) idle(w http.ResponseWriter, r *http.Request, next models.Cursor, nothing bool) bool {
	if !nothing || p.reset || len(p.anew) > 0 || p.cursor.Position().String() != next.Position().String() {
		return false
	}
	tag := `"` + next.Position().String() + `"`
	w.Header().Set("ETag", tag)
	if !unchanged(r, tag) {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

// writeRows appends the entries to b, and writes it out as often as it is full. It
// gives what is left to write.
func writeRows[T any, P appender[T]](w http.ResponseWriter, b []byte, entries []trackers.Entry[T], follows bool) ([]byte, error) {
	for i := range entries {
		if follows || i > 0 {
			b = append(b, ',')
		}
		if b = P(&entries[i].Row).AppendJSON(b); len(b) < streamBytes {
			continue
		}
		if _, err := w.Write(b); err != nil {
			return nil, err
		}
		b = b[:0]
	}
	return b, nil
}
