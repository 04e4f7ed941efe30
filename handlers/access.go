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
	// Actor names the client's user in the log. Defaults to nobody.
	Actor string
	// Expires ends live connections, which may then come back and be asked
	// again. Defaults to never.
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

// mayConnect refuses those who may read nothing before they hold a connection.
func (h *Handlers) mayConnect(ctx context.Context, who caller) error {
	err := error(errNothing)
	for _, entity := range h.entityNames() {
		_, _, why := h.filter(ctx, who, entity)
		if why == nil {
			return nil
		}
		var known *apiError
		if errors.As(why, &known) && known.Code != "unknown_entity" {
			err = why
		}
	}
	return err
}

func (h *Handlers) authError(err error) error {
	var he *echo.HTTPError
	if !errors.As(err, &he) || he.Code < 400 || he.Code > 599 {
		h.logger.Error("gormsync: Config.Authorize failed", "error", err)
		return &apiError{status: http.StatusInternalServerError, Code: "internal", Message: "The server could not decide on access; its log says why."}
	}
	switch he.Code {
	case http.StatusUnauthorized:
		return &apiError{status: he.Code, Code: "unauthorized", Message: "Sign in first."}
	case http.StatusForbidden:
		return &apiError{status: he.Code, Code: "forbidden", Message: "You have no access to this entity."}
	}
	return &apiError{status: he.Code, Code: "refused", Message: http.StatusText(he.Code)}
}
