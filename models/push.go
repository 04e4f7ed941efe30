package models

// MaxName is how many characters a client id or a mutation id may have.
const MaxName = 64

// PushStatus tells how a pushed change ended. Every status but PushRetry is final.
type PushStatus string

const (
	// PushApplied says that the row is as the client wants it.
	PushApplied PushStatus = "applied"
	// PushMerged says that some fields are, and the others in the result's Conflicts.
	PushMerged PushStatus = "merged"
	// PushConflict says that nothing was applied, because somebody else's change stands.
	PushConflict PushStatus = "conflict"
	// PushRejected says that nothing was applied, because the change is not allowed or
	// not valid.
	PushRejected PushStatus = "rejected"
	// PushDuplicate says that the mutation was applied before. One that was refused before is
	// refused again with its own status.
	PushDuplicate PushStatus = "duplicate"
	// PushRetry says that the database was busy: nothing was applied, and the client
	// may send the change again.
	PushRetry PushStatus = "retry"
)

// Done reports whether the change is in the table, by this push or an earlier one.
func (s PushStatus) Done() bool {
	return s == PushApplied || s == PushMerged || s == PushDuplicate
}

// PushError says why a change was not applied.
type PushError struct {
	// Code is one of unknown_entity, forbidden, not_found, invalid, deleted, changed,
	// mutation_reused, atomic, internal and busy.
	Code string `json:"code"`
	// Message is a sentence for people.
	Message string `json:"message"`
	// Field is the column that it is about, or the part of the request such as "id";
	// empty for the whole row, and where the database does not say.
	Field string `json:"field,omitempty"`
}

// Error implements error.
func (e *PushError) Error() string { return e.Message }

// PushResult is the answer to one pushed change.
type PushResult struct {
	// Entity is there when one request may name several.
	Entity string `json:"entity,omitempty"`
	// ID is the row's entity id; for a key that the database made, the new one.
	ID string `json:"id"`
	// ClientRef is what the client sent as id where the database made the key.
	ClientRef  string     `json:"client_ref,omitempty"`
	MutationID string     `json:"mutation_id,omitempty"`
	Status     PushStatus `json:"status"`
	// Version is the row's newest version; nil if the row was not looked at, 0 if it
	// was never logged or is not the client's to see.
	Version *int64 `json:"version,omitempty"`
	// Data is the row as it now is, the JSON null if there is none that the client
	// may see; nil if the row was not looked at.
	Data JSON `json:"data,omitempty"`
	// Conflicts are the fields of which the client's value does not stand. An answer that
	// is given again has them too, as far as the client may still see them.
	Conflicts []Conflict `json:"conflicts,omitempty"`
	// Error is there unless the change was applied.
	Error *PushError `json:"error,omitempty"`
}

// PushResponse is the answer to a push.
type PushResponse struct {
	// Cursor is a place in the log behind the pushed changes, and Version the same
	// for the original clients. A client goes on from its own cursor, not from this
	// one: between the two lie other people's changes.
	Cursor  string `json:"cursor"`
	Version string `json:"version"`
	// Applied are the ids of the rows that are as the client wants them, and
	// Conflicts those of all others.
	Applied   []string `json:"applied"`
	Conflicts []string `json:"conflicts"`
	// Results are in the order of the request's changes.
	Results []PushResult `json:"results"`
}

// FieldPushResponse is the answer to a push of fields.
type FieldPushResponse struct {
	Cursor string `json:"cursor"`
	// Applied are the field changes as the log has them. A field that had the value
	// before comes with the change that gave it that, or with the ID 0 if the log has
	// not got it.
	Applied   []FieldChange `json:"applied"`
	Conflicts []Conflict    `json:"conflicts"`
	// Results are the answers to the fields, in the order of the request.
	Results []FieldPushResult `json:"results"`
}

// FieldPushResult is the answer to one pushed field.
type FieldPushResult struct {
	EntityID   string     `json:"entity_id"`
	Field      string     `json:"field"`
	MutationID string     `json:"mutation_id,omitempty"`
	Status     PushStatus `json:"status"`
	Version    int64      `json:"version"`
	Error      *PushError `json:"error,omitempty"`
}
