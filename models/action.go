package models

// Action says what happened to a row or, in the field log, to a field.
type Action string

const (
	// Create is a row that came into being, or came back from a soft delete.
	Create Action = "create"
	// Update is a row whose values changed; in the field log, a field that got a value.
	Update Action = "update"
	// Delete is a row that went, also by soft delete; in the field log, a field
	// that became NULL or whose row went.
	Delete Action = "delete"
)

// Valid reports whether a is one of the three actions.
func (a Action) Valid() bool { return a == Create || a == Update || a == Delete }

// Move marks the log rows of a change that moved its row to another scope.
type Move string

const (
	// MoveNone is an ordinary change.
	MoveNone Move = ""
	// MoveLeave is the row written under the old scope: whoever sees only that
	// scope has to drop the row.
	MoveLeave Move = "leave"
	// MoveEnter is the change itself, under the new scope: for whoever sees only
	// that scope the row is new.
	MoveEnter Move = "enter"
)
