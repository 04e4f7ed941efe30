package handlers

import "time"

// Observer is told what delivery does, for metrics. Its methods are called often,
// from many goroutines at once and under locks: they must return at once. Embed
// NopObserver to implement some of them.
type Observer interface {
	// Connected tells that a connection began (delta 1) or ended (-1); transport
	// is "websocket" or "sse".
	Connected(transport string, delta int)
	// Delivered tells that a frame with changes was handed to a connection: how
	// many changes, how many bytes, about how many changes the connection was behind
	// the log then, and how long ago the last of the changes was logged. Answers to
	// sync messages do not count: they are of any age.
	Delivered(changes, bytes, behind int, lag time.Duration)
	// Answered tells that a connection took a frame with changes that answers a sync
	// message: how many changes and how many bytes.
	Answered(changes, bytes int)
	// LogRead tells that the hub read the log: how long it took and how many
	// changes it gave.
	LogRead(took time.Duration, changes int)
	// FellBehind tells that a connection reads the log, since what it needs is no
	// longer in memory.
	FellBehind()
	// CaughtUp tells that a page of the log was read for connections that fell
	// behind or came back.
	CaughtUp(changes int)
	// Reset tells that a client was told to take a new snapshot, and why:
	// "cursor_expired" or "access_changed".
	Reset(reason string)
	// Closed tells that the server ended a connection, with the WebSocket close code.
	Closed(code int)
}

// NopObserver is an Observer that does nothing.
type NopObserver struct{}

var _ Observer = NopObserver{}

// Connected implements Observer.
func (NopObserver) Connected(string, int) {}

// Delivered implements Observer.
func (NopObserver) Delivered(int, int, int, time.Duration) {}

// Answered implements Observer.
func (NopObserver) Answered(int, int) {}

// LogRead implements Observer.
func (NopObserver) LogRead(time.Duration, int) {}

// FellBehind implements Observer.
func (NopObserver) FellBehind() {}

// CaughtUp implements Observer.
func (NopObserver) CaughtUp(int) {}

// Reset implements Observer.
func (NopObserver) Reset(string) {}

// Closed implements Observer.
func (NopObserver) Closed(int) {}
