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
	for _, r := range h.routes() {
		g.Add(r.method, r.path, h.bind(r.serve))
	}
	return nil
}

// serve answers one request of a caller. The path's parameters are its
// PathValues, so it knows nothing of Echo.
type serve func(w http.ResponseWriter, r *http.Request, who caller)

// route is one route below the group given to Mount.
type route struct {
	method, path string
	serve        serve
}

func (h *Handlers) routes() []route {
	return []route{
		{http.MethodGet, "/sync/client.js", h.script},
		{http.MethodGet, "/sync/field-client.js", h.script},
		{http.MethodGet, "/sync/ws", h.connect},
		{http.MethodGet, "/sync", h.pullSeveral},
		{http.MethodGet, "/sync/:entity", h.pullChanges},
		{http.MethodGet, "/field-sync/:entity", h.pullFields},
		{http.MethodGet, "/field-sync/:entity/:entity_id/latest", h.latest},
		{http.MethodPost, "/sync", h.pushSeveral},
		{http.MethodPost, "/sync/:entity", h.pushOne},
		{http.MethodPost, "/field-sync/:entity", h.pushFields},
	}
}

// bind turns a handler of net/http into one of Echo. What it needs of Echo is
// the path's parameters and the context for Authorize.
func (h *Handlers) bind(fn serve) echo.HandlerFunc {
	return func(c echo.Context) error {
		who := caller{authorize: func(entity string) (Access, error) { return h.cfg.Authorize(c, entity) }}
		for _, name := range c.ParamNames() {
			value, ok := decoded(c, name)
			if !ok {
				h.fail(c.Response(), unknownEntity(value))
				return nil
			}
			c.Request().SetPathValue(name, value)
		}
		fn(c.Response(), c.Request(), who)
		return nil
	}
}

// decoded gives a parameter of the path. Echo decodes the path before it matches,
// unless the path has a form of its own.
func decoded(c echo.Context, name string) (value string, ok bool) {
	value = c.Param(name)
	if c.Request().URL.RawPath == "" {
		return value, true
	}
	plain, err := url.PathUnescape(value)
	if err != nil {
		return value, false
	}
	return plain, true
}

func (h *Handlers) connect(w http.ResponseWriter, r *http.Request, who caller) {
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
func (h *Handlers) script(w http.ResponseWriter, r *http.Request, _ caller) {
	header := w.Header()
	header.Set("Content-Type", "text/javascript; charset=UTF-8")
	header.Set("Cache-Control", "public, no-cache") // asked for each time, sent once
	header.Set("ETag", client.ETag())
	if unchanged(r, client.ETag()) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(client.Script()) // the client is gone if this fails
}
