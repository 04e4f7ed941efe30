package models

import "time"

// Strategy settles a field that a client and somebody else both changed.
type Strategy string

const (
	// LastWriteWins lets the later edit stand, by the time when it was made; of two
	// at the same time the one of the client whose id sorts last. A client's time
	// counts as the server's now when it lies ahead.
	LastWriteWins Strategy = "last_write_wins"
	// ServerWins lets the value on the server stand.
	ServerWins Strategy = "server_wins"
	// ClientWins lets the pushed value stand.
	ClientWins Strategy = "client_wins"
	// KeepBoth lets the value on the server stand and tells the client both, so that
	// its user can choose.
	KeepBoth Strategy = "keep_both"
	// Custom marks a conflict that a function of the application has settled. It is
	// not to be configured.
	Custom Strategy = "custom"
)

// Valid reports whether an entity may be configured with s; empty means
// LastWriteWins.
func (s Strategy) Valid() bool {
	switch s {
	case "", LastWriteWins, ServerWins, ClientWins, KeepBoth:
		return true
	}
	return false
}

// Conflict is one field that a client and somebody else both changed, and of
// which the client's value does not stand.
type Conflict struct {
	Entity   string `json:"entity"`
	EntityID string `json:"entity_id"`
	// Field is the column's name.
	Field string `json:"field"`
	// ServerValue is the value on the server before the push, as in Change.Data. In an
	// answer that is given again when the log does not reach back to it, it is the
	// value that stands now, and ServerTimestamp is the zero time.
	ServerValue JSON `json:"server_value"`
	// ServerTimestamp is when that value was set; the zero time if nobody knows.
	ServerTimestamp time.Time `json:"server_timestamp"`
	ClientValue     JSON      `json:"client_value"`
	// ClientTimestamp is when the client says it made its edit, but never later than
	// the server's now; the server's now if it does not say.
	ClientTimestamp time.Time `json:"client_timestamp"`
	// Resolution tells how the conflict was settled.
	Resolution Strategy `json:"resolution"`
}
