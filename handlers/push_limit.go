package handlers

import (
	"net/http"
	"sync"
)

// maxPushes is how many pushes of one actor may be under way over HTTP: one client
// must not take all of the database's connections.
const maxPushes = 8

// pushLimit counts the pushes that are under way.
type pushLimit struct {
	mu    sync.Mutex
	count map[string]int // by actor
}

var errManyPushes = &apiError{status: http.StatusTooManyRequests, Code: "too_many", Message: "Too many pushes at once; wait for the answers and send the changes again."}

// begin counts a push of an actor. Where the application names no actor there is
// nobody to count for.
func (l *pushLimit) begin(actor string) (end func(), err error) {
	if actor == "" {
		return func() {}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[actor] >= maxPushes {
		return nil, errManyPushes
	}
	if l.count == nil {
		l.count = map[string]int{}
	}
	l.count[actor]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.count[actor]--; l.count[actor] == 0 {
			delete(l.count, actor)
		}
	}, nil
}
