package models

import "errors"

// Errors that callers tell apart with errors.Is.
var (
	// ErrBadCursor is a cursor that no feed has given out: damaged, cut short, or
	// of another version of the format.
	ErrBadCursor = errors.New("gormsync: the cursor is not one that this server gave out; start again without a cursor")
	// ErrCursorExpired is a cursor that was good once: it is of another database
	// or older than the log. Take a new snapshot.
	ErrCursorExpired = errors.New("gormsync: the cursor has expired; take a new snapshot by asking without a cursor")
	// ErrBadID is an entity id that does not fit the entity's primary key.
	ErrBadID = errors.New("gormsync: the entity id does not fit the primary key")
)
