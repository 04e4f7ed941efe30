package handlers

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/rhtmx/gormsync/models"
	"github.com/rhtmx/gormsync/trackers"
)

// maxEntities is how many entities one message may name.
const maxEntities = 100

// subscribe answers the message of that type.
func (c *conn) subscribe(ctx context.Context, who caller, m inbound) error {
	if m.Compress != "" && m.Compress != "gzip" {
		return &apiError{Code: "bad_request", Message: "compress can be gzip, or left out."}
	}
	if utf8.RuneCountInString(m.ClientID) > models.MaxName || !isName(m.ClientID) {
		return errClientID
	}
	c.session.client = m.ClientID
	a := asked{names: m.Entities, form: form{noun: c.hub.source.noun(), batch: m.Batch, gzip: m.Compress == "gzip"}}
	return c.follow(ctx, who, a, m.Since)
}

// follow lets the connection follow what it asks for, as far as it may.
func (l *live) follow(ctx context.Context, who caller, a asked, from since) error {
	r, access, err := l.h.followable(ctx, who, l.hub, a)
	if err != nil {
		return err
	}
	if err := l.h.counter.limits.fits(r.filters); err != nil {
		return err
	}
	for _, f := range r.filters {
		if err := r.place(f, from.of(f.Entity)); err != nil {
			return err
		}
	}
	a.names = slices.Clone(a.names)
	l.asked = a
	l.decided(access)
	l.session.subscribe(r)
	if l.timer != nil {
		l.timer.Reset(l.due())
	}
	return nil
}

// place puts an entity into the span of its cursor: entities with the same cursor
// are read together, so that their transactions stay whole.
func (r *request) place(f trackers.Filter, text string) error {
	if isOriginal(text) { // a snapshot is needed
		r.reset = append(r.reset, f.Entity)
		return nil
	}
	c, _, err := models.ParseCursor(text)
	switch {
	case err != nil:
		return err
	case c.IsZero(): // live from now on
		return nil
	case !c.HasCover(f.Cover()):
		r.reset = append(r.reset, f.Entity)
		return nil
	}
	c = c.Position()
	for i := range r.spans {
		if samePlace(r.spans[i].from, c) {
			r.spans[i].filters = append(r.spans[i].filters, f)
			return nil
		}
	}
	r.spans = append(r.spans, span{filters: []trackers.Filter{f}, from: c})
	return nil
}
