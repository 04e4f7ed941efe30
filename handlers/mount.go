package handlers

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/rhtmx/gormsync/client"
)

// Mount adds the routes to an Echo group. Whatever middleware the group has runs
// before them. Without an Authorize it returns an error.
func (h *Handlers) Mount(g *echo.Group) error {
	if h.cfg.Authorize == nil {
		return errors.New("gormsync: Config.Authorize is missing, so nobody could be let in; set it to a func(c echo.Context, entity string) (gormsync.Access, error) that looks at the request's user, or to gormsync.UnsafeAllowAll for a demonstration")
	}
	g.GET("/sync/client.js", h.bind(h.script))
	g.GET("/sync/field-client.js", h.bind(h.script))
	g.GET("/sync/ws", h.bind(h.connect))
	g.GET("/sync/:entity", h.bind(h.pullChanges))
	g.GET("/field-sync/:entity", h.bind(h.pullFields))
	return nil
}

// bind turns a handler of net/http into one of Echo. What it needs of Echo is
// the path's entity and the context for Authorize.
func (h *Handlers) bind(fn func(w http.ResponseWriter, r *http.Request, who caller, entity string)) echo.HandlerFunc {
	return func(c echo.Context) error {
		who := caller{authorize: func(entity string) (Access, error) { return h.cfg.Authorize(c, entity) }}
		entity, ok := decoded(c)
		if !ok {
			h.fail(c.Response(), unknownEntity(entity))
			return nil
		}
		fn(c.Response(), c.Request(), who, entity)
		return nil
	}
}

// decoded gives the path's entity. Echo decodes the path before it matches, unless
// the path has a form of its own.
func decoded(c echo.Context) (entity string, ok bool) {
	entity = c.Param("entity")
	if c.Request().URL.RawPath == "" {
		return entity, true
	}
	plain, err := url.PathUnescape(entity)
	if err != nil {
		return entity, false
	}
	return plain, true
}

func (h *Handlers) connect(w http.ResponseWriter, r *http.Request, who caller, _ string) {
	if err := h.mayConnect(r.Context(), who); err != nil {
		h.fail(w, err)
		return
	}
	if err := h.cfg.Start(r.Context()); err != nil {
		h.fail(w, err)
		return
	}
	h.socket.serve(w, r, who)
}

// script answers with the browser client.
func (h *Handlers) script(w http.ResponseWriter, r *http.Request, _ caller, _ string) {
	header := w.Header()
	header.Set("Content-Type", "text/javascript; charset=UTF-8")
	header.Set("Cache-Control", "public, no-cache") // asked for each time, sent once
	header.Set("ETag", client.ETag())
	if r.Header.Get("If-None-Match") == client.ETag() {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(client.Script()) // the client is gone if this fails
}
