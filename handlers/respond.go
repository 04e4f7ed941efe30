package handlers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/rhtmx/gormsync/models"
)

// apiError is an answer that says what went wrong, as the wire contract has it.
type apiError struct {
	status  int
	Code    string `json:"error"`
	Message string `json:"message"`
	Reset   bool   `json:"reset,omitempty"`
}

var errUnread = &apiError{status: http.StatusServiceUnavailable, Code: "busy", Message: "The server cannot read its database now; try again soon."}

// Error implements error.
func (e *apiError) Error() string { return e.Code + ": " + e.Message }

func unknownEntity(entity string) *apiError {
	return &apiError{status: http.StatusNotFound, Code: "unknown_entity", Message: fmt.Sprintf("There is no entity %q here; name the table of a tracked model.", clip(entity))}
}

// clip keeps a client's text short enough to send back.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// asAPIError gives an error its answer. What is none of the client's business
// is told to the log only.
func (h *Handlers) asAPIError(err error) *apiError {
	var known *apiError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, models.ErrBadCursor), errors.Is(err, models.ErrBadID):
		return &apiError{status: http.StatusBadRequest, Code: "bad_cursor", Message: "The cursor is none that this server gave out; ask without since."}
	case errors.Is(err, models.ErrCursorExpired):
		return &apiError{status: http.StatusGone, Code: "cursor_expired", Message: "The cursor has expired; take a new snapshot by asking without since.", Reset: true}
	}
	if errors.Is(err, ErrClosed) {
		return &apiError{status: http.StatusServiceUnavailable, Code: "busy", Message: closeRestart.reason}
	}
	if !errors.Is(err, context.Canceled) { // the client left
		h.logger.Error("gormsync: a request failed", "error", err)
	}
	return errUnread
}

func (h *Handlers) fail(w http.ResponseWriter, err error) {
	e := h.asAPIError(err)
	header := w.Header()
	header.Set("Content-Type", "application/json; charset=UTF-8")
	header.Set("Cache-Control", "no-store")
	if e.status == http.StatusServiceUnavailable {
		header.Set("Retry-After", strconv.Itoa(1))
	}
	body, err := json.Marshal(e)
	if err != nil { // three plain fields cannot fail
		body = []byte(`{"error":"internal"}`)
	}
	w.WriteHeader(e.status)
	_, _ = w.Write(body) // the client is gone if this fails
}

// unchanged tells whether a client has what a tag stands for. Proxies make tags
// weak when they compress, so the comparison is the weak one of RFC 9110.
func unchanged(r *http.Request, tag string) bool {
	for _, header := range r.Header.Values("If-None-Match") {
		for known := range strings.SplitSeq(header, ",") {
			if known = strings.TrimSpace(known); known == "*" || strings.TrimPrefix(known, "W/") == tag {
				return true
			}
		}
	}
	return false
}
