package handlers

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// pullSeveral answers GET /sync?entities=…: several entities with one cursor.
// since=now gives the cursor of this moment and no change; a client takes it
// before its first snapshots, and follows from it after them.
func (h *Handlers) pullSeveral(w http.ResponseWriter, r *http.Request, who caller) {
	p, err := h.parseSeveral(r.Context(), who, r.URL.Query())
	if err != nil {
		h.fail(w, err)
		return
	}
	read := func(ctx context.Context, c models.Cursor) (trackers.Page[models.Change], error) {
		if !c.IsZero() {
			return h.changes.Read(ctx, p.filters, c, p.size())
		}
		here, err := h.log.Position(ctx)
		return trackers.Page[models.Change]{Cursor: here}, err
	}
	stream[models.Change, *models.Change](h, w, r, p, read)
}

// parseSeveral reads the query. An entity that the cursor has not followed, or
// not under these scopes, needs a snapshot; the others go on. From nothing, all
// need one. The answer's cursor is from before those snapshots, so it is good for
// all.
func (h *Handlers) parseSeveral(ctx context.Context, who caller, query url.Values) (pull, error) {
	p := pull{anew: []string{}}
	var names []string
	if text := query.Get("entities"); text != "" {
		names = strings.Split(text, ",")
	}
	readable, err := h.readable(ctx, who, names)
	if err != nil {
		return p, err
	}
	for _, e := range readable {
		p.filters = append(p.filters, e.filter)
	}
	if p.limit, err = parseLimit(query); err != nil {
		return p, err
	}
	since := query.Get("since")
	if since == "now" {
		return p, nil
	}
	if !isOriginal(since) {
		if p.cursor, _, err = models.ParseCursor(since); err != nil {
			return p, err
		}
	}
	for _, f := range p.filters {
		if !p.cursor.HasCover(f.Cover()) {
			p.anew = append(p.anew, f.Entity)
		}
	}
	return p, nil
}
