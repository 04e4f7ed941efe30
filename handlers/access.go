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
	// Scopes are the values of the scope column that the client sees, as text in
	// any form that the column's type has. What is no value of that type shows
	// nothing. Defaults to none.
	Scopes []string
	// Actor names the client's user in the log. Defaults to nobody.
	Actor string
	// Expires is when a live connection is asked again at the latest; an Access
	// that has expired then ends it. Connections are asked again from time to time
	// anyway, see Config.Reauthorize. Defaults to never.
	Expires time.Time
}

// Authorize decides what the client of a request may do with an entity. It is
// asked on every pull and every subscription, also for names that are no entity.
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
	if h.log.Entity(entity) == nil || !access.Read {
		return trackers.Filter{}, Access{}, unknownEntity(entity)
	}
	f := trackers.Filter{Entity: entity, All: access.AllScopes}
	if !f.All {
		f.Scopes, err = h.log.Canonical(ctx, entity, access.Scopes)
	}
	return f, access, err
}

// mayConnect refuses those who may read nothing before they hold a connection. It
// gives the access to what may be read.
func (h *Handlers) mayConnect(ctx context.Context, who caller, hub *hub) (map[string]Access, error) {
	_, access, err := h.readable(ctx, who, hub, asked{every: true})
	if err == nil && len(access) == 0 {
		err = &apiError{status: http.StatusForbidden, Code: "forbidden", Message: "There is nothing here that you may read."}
	}
	return access, err
}

// readable finds what a client may have of what it asks for.
func (h *Handlers) readable(ctx context.Context, who caller, hub *hub, a asked) (request, map[string]Access, error) {
	r, access := request{form: a.form}, map[string]Access{}
	names := a.names
	if a.every {
		names = h.entityNames()
	}
	topics := 0
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		f, granted, err := h.filter(ctx, who, name)
		if err == nil && !hub.has(name) {
			err = unknownEntity(name)
		}
		var known *apiError
		if a.every && errors.As(err, &known) && known.Code == "unknown_entity" {
			continue // 'all' is all that may be read
		}
		if err != nil {
			return r, nil, err
		}
		topics += len(topicsOf([]trackers.Filter{f}))
		access[name] = granted
		r.filters = append(r.filters, f)
	}
	if most := h.counter.limits.Topics; a.form.noun != "" && most >= 0 && topics > most {
		return r, nil, &apiError{status: http.StatusTooManyRequests, Code: "too_many", Message: fmt.Sprintf("A connection can follow %d entities and scopes at most, not %d; name fewer entities.", most, topics)}
	}
	return r, access, nil
}

func (h *Handlers) authError(err error) error {
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
