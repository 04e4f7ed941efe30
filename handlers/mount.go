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

// Client is who stands behind one request to a Route.
type Client struct {
	// Authorize decides as Config.Authorize does, for the request at hand. An error
	// with a method StatusCode() int is answered with that status, any other with
	// 500. Required.
	Authorize func(entity string) (Access, error)
	// Through leads a request through the application's middleware to the routes,
	// by its URL.Path: the router. Live connections are asked again through it.
	// Required.
	Through http.Handler
}

// Route is one route of the API, for routers other than Echo v4. All of them have
// to be added, in this order, below one path.
type Route struct {
	// Method and Path are the route's; parameters in Path stand as :name.
	Method, Path string
	serve        serve
}

// Serve answers one request. The parameters of the path must be its PathValues,
// decoded.
func (r Route) Serve(w http.ResponseWriter, req *http.Request, c Client) {
	r.serve(w, req, caller{authorize: c.Authorize, through: c.Through})
}

// Routes gives all routes, for routers other than Echo v4.
func (h *Handlers) Routes() []Route {
	var out []Route
	for _, r := range h.routes() {
		out = append(out, Route{r.method, r.path, r.serve})
	}
	return out
}

func (h *Handlers) routes() []route {
	routes := []route{
		{http.MethodGet, "/sync/client.js", h.script},
		{http.MethodHead, "/sync/client.js", h.script},
		{http.MethodGet, "/sync/field-client.js", h.script},
		{http.MethodHead, "/sync/field-client.js", h.script},
		{http.MethodGet, "/sync/ws", h.connect},
		{http.MethodGet, "/field-sync/ws", h.connectFields},
		{http.MethodGet, againPath, h.again},
		{http.MethodGet, "/sync/events", h.events},
		{http.MethodGet, "/sync", h.pullSeveral},
		{http.MethodGet, "/sync/:entity", h.pullChanges},
		{http.MethodGet, "/field-sync/:entity", h.pullFields},
		{http.MethodGet, "/field-sync/:entity/:entity_id/latest", h.latest},
		{http.MethodPost, "/sync", h.pushSeveral},
		{http.MethodPost, "/sync/:entity", h.pushOne},
		{http.MethodPost, "/field-sync/:entity", h.pushFields},
	}
	for i := range routes {
		routes[i].serve = ofUser(routes[i].serve)
	}
	return routes
}

// bind turns a handler of net/http into one of Echo. What it needs of Echo is
// the path's parameters and the context for Authorize.
func (h *Handlers) bind(fn serve) echo.HandlerFunc {
	return func(c echo.Context) error {
		who := caller{authorize: func(entity string) (Access, error) { return h.cfg.Authorize(c, entity) }, through: c.Echo()}
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

// connect answers GET /sync/ws.
func (h *Handlers) connect(w http.ResponseWriter, r *http.Request, who caller) {
	h.upgrade(w, r, who, h.hub, "/sync/ws")
}

// connectFields answers GET /field-sync/ws.
func (h *Handlers) connectFields(w http.ResponseWriter, r *http.Request, who caller) {
	h.upgrade(w, r, who, h.fieldHub, "/field-sync/ws")
}

// upgrade makes a WebSocket of a request, or says why not.
func (h *Handlers) upgrade(w http.ResponseWriter, r *http.Request, who caller, hub *hub, route string) {
	if err := h.tryUpgrade(w, r, who, hub, route); err != nil {
		h.fail(w, err)
	}
}

func (h *Handlers) tryUpgrade(w http.ResponseWriter, r *http.Request, who caller, hub *hub, route string) error {
	revoked := h.revoked.Load()
	access, err := h.mayConnect(r.Context(), who, hub)
	if err != nil {
		return err
	}
	if err := h.cfg.Start(r.Context()); err != nil {
		return err
	}
	if err := h.startHub(r.Context(), hub); err != nil {
		return err
	}
	if err := h.upgradable(r); err != nil {
		return err
	}
	l, err := h.newLive(r, hub, who, "websocket", route, access)
	if err != nil {
		return err
	}
	c := &conn{live: l, socket: h.socket, throttle: newThrottle(h.counter.limits), revoked: revoked}
	l.fail = func(why closeCode) { go c.end(why) }
	if err := h.socket.serve(w, r, c); err != nil {
		l.ended()
		return err
	}
	return nil
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
