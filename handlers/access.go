package handlers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/rhtmx/gormsync/trackers"
)

// Access is what one client may do with one entity.
type Access struct {
	// Read lets the client see the entity's rows. Without it the entity does not
	// exist for the client. Defaults to false.
	Read bool
	// Write lets the client push changes to an entity that is Writable. Defaults to false.
	Write bool
	// AllScopes shows every row, whatever its scope. An entity without a scope
	// column is seen with AllScopes only. Defaults to false.
	AllScopes bool
	// Scopes are the values of the scope column that the client sees, and in which it
	// may change rows with Write, as text in
	// any form that the column's type has. What is no value of that type shows
	// nothing. Defaults to none.
	Scopes []string
	// Actor names the client's user in the log. Requests that name another one as
	// the parameter user, as pages with data-user do, are answered with 401; they are
	// of a page that was made before somebody else signed in. Defaults to nobody,
	// for whom no request is refused.
	Actor string
	// Expires is when a live connection is asked again at the latest; an Access
	// that has expired then ends it. Connections are asked again from time to time
	// anyway, see Config.Reauthorize. Defaults to never.
	Expires time.Time
}

// Authorize decides what the client of a request may do with an entity. It is
// asked on every pull, push and subscription, also for names that are no entity.
// An *echo.HTTPError is answered with its own status, any other error with 500.
type Authorize func(c echo.Context, entity string) (Access, error)

// UnsafeAllowAll lets everybody see and change everything. INSECURE: for
// demonstrations and tests only.
func UnsafeAllowAll(echo.Context, string) (Access, error) {
	return Access{Read: true, Write: true, AllScopes: true}, nil
}

// caller is who stands behind one request.
type caller struct {
	authorize func(entity string) (Access, error)
	// through leads a request through the application's middleware to our routes.
	through http.Handler
}

// filter gives what the client may see of an entity. Entities that do not exist
// and those that it may not read answer alike.
func (h *Handlers) filter(ctx context.Context, who caller, entity string) (trackers.Filter, Access, error) {
	access, err := who.authorize(entity)
	if err != nil {
		return trackers.Filter{}, Access{}, h.authError(err)
	}
	tracked := h.log.Entity(entity)
	if tracked == nil || !access.Read {
		return trackers.Filter{}, Access{}, unknownEntity(entity)
	}
	f := trackers.Filter{Entity: entity, All: access.AllScopes, Generation: tracked.Generation}
	if !f.All {
		f.Scopes, err = h.log.Canonical(ctx, entity, access.Scopes)
	}
	return f, access, err
}

// ofUser refuses the requests of a page that was made for another user than the
// one who is signed in now: in another tab somebody signed out and somebody else
// in. The page names its user as the parameter user; that is no proof of anything,
// so only a difference matters.
func ofUser(fn serve) serve {
	return func(w http.ResponseWriter, r *http.Request, who caller) {
		if user := r.URL.Query().Get("user"); user != "" {
			ask := who.authorize
			who.authorize = func(entity string) (Access, error) {
				access, err := ask(entity)
				if err == nil && access.Actor != "" && access.Actor != user {
					err = errOtherUser
				}
				return access, err
			}
		}
		fn(w, r, who)
	}
}

var errOtherUser = &apiError{
	status: http.StatusUnauthorized, Code: "unauthorized",
	Message: "The user who is signed in is not the one that this page was made for; load it anew. (The page's data-user has to be the Actor that Authorize gives.)",
}

var errNothing = &apiError{status: http.StatusForbidden, Code: "forbidden", Message: "There is nothing here that you may read."}

// readable is an entity that a caller may read.
type readable struct {
	filter trackers.Filter
	access Access
}

// readable gives the named entities in the order of their names, or all that the
// caller may read if none is named.
func (h *Handlers) readable(ctx context.Context, who caller, names []string) ([]readable, error) {
	every := len(names) == 0
	if every {
		names = h.entityNames()
	}
	if len(names) > maxEntities && !every {
		return nil, &apiError{status: http.StatusBadRequest, Code: "bad_request", Message: fmt.Sprintf("At most %d entities can be named at once.", maxEntities)}
	}
	var found []readable
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		filter, access, err := h.filter(ctx, who, name)
		var known *apiError
		if every && errors.As(err, &known) && known.Code == "unknown_entity" {
			continue // 'all' is all that may be read
		}
		if err != nil {
			return nil, err
		}
		found = append(found, readable{filter, access})
	}
	if len(found) == 0 { // no filter at all would let everything through
		return nil, errNothing
	}
	return found, nil
}

// followable is what of the readable entities a hub has: the request to follow
// them, and the access by which it is decided.
func (h *Handlers) followable(ctx context.Context, who caller, hub *hub, a asked) (request, map[string]Access, error) {
	r, access := request{form: a.form}, map[string]Access{}
	found, err := h.readable(ctx, who, a.names)
	for _, e := range found {
		if !hub.has(e.filter.Entity) {
			if len(a.names) > 0 {
				return r, nil, unknownEntity(e.filter.Entity)
			}
			continue
		}
		access[e.filter.Entity] = e.access
		r.filters = append(r.filters, e.filter)
	}
	if err == nil && len(r.filters) == 0 {
		err = errNothing
	}
	return r, access, err
}

// fits refuses more topics than one connection may follow.
func (l Limits) fits(filters []trackers.Filter) error {
	topics := len(topicsOf(filters))
	if l.Topics < 0 || topics <= l.Topics {
		return nil
	}
	return &apiError{
		status: http.StatusTooManyRequests, Code: "too_many",
		Message: fmt.Sprintf("A connection can follow %d entities and scopes at most, not %d; name fewer entities.", l.Topics, topics),
	}
}

// mayConnect refuses those who may read nothing before they hold a connection. It
// gives the access to what may be read.
func (h *Handlers) mayConnect(ctx context.Context, who caller, hub *hub) (map[string]Access, error) {
	_, access, err := h.followable(ctx, who, hub, asked{})
	return access, err
}

func (h *Handlers) authError(err error) error {
	if errors.Is(err, errOtherUser) {
		return err
	}
	var he *echo.HTTPError
	var other interface{ StatusCode() int }
	status := 0
	if errors.As(err, &he) {
		status = he.Code
	} else if errors.As(err, &other) {
		status = other.StatusCode()
	}
	if status < 400 || status > 599 {
		h.logger.Error("gormsync: Config.Authorize failed", "error", err)
		return &apiError{status: http.StatusInternalServerError, Code: "internal", Message: "The server could not decide on access; its log says why."}
	}
	return statusError(status)
}

func statusError(status int) error {
	switch status {
	case http.StatusUnauthorized:
		return &apiError{status: status, Code: "unauthorized", Message: "Sign in first."}
	case http.StatusForbidden:
		return &apiError{status: status, Code: "forbidden", Message: "You have no access to this entity."}
	}
	return &apiError{status: status, Code: "refused", Message: http.StatusText(status)}
}
