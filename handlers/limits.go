package handlers

import (
	"cmp"
	"context"
	"net/http"
	"sync"
	"time"
)

// Limits bound what clients may take of the server. A zero field has its default,
// -1 means no limit.
type Limits struct {
	// Connections is how many live connections one process holds. The next one is
	// answered 503. Defaults to 10,000.
	Connections int
	// ActorConnections is how many of them one Access.Actor may have; connections
	// without an actor are not counted. The next one is answered 429. Defaults to 20.
	ActorConnections int
	// Topics is how many entities, times their scopes, one connection may follow.
	// Defaults to 100.
	Topics int
	// MessageBytes is the largest message a client may send over a WebSocket; what
	// a gzip frame holds may be ten times as much. A larger one closes the
	// connection with 1009. Defaults to 64 KiB; there is always a limit.
	MessageBytes int
	// MessageRate is how many messages a second, pings too, are read from one
	// connection; MessageBurst is how many may come at once. Who sends more is read
	// more slowly, and who does not stop within 100 messages is closed with 4029.
	// Default to 10 and 20.
	MessageRate, MessageBurst int
}

// inflation is how many times its limit a message may grow when it is inflated.
const inflation = 10

func (l Limits) withDefaults() Limits {
	return Limits{
		Connections:      cmp.Or(l.Connections, 10_000),
		ActorConnections: cmp.Or(l.ActorConnections, 20),
		Topics:           cmp.Or(l.Topics, 100),
		MessageBytes:     cmp.Or(max(l.MessageBytes, 0), 64<<10),
		MessageRate:      cmp.Or(l.MessageRate, 10),
		MessageBurst:     cmp.Or(max(l.MessageBurst, 0), 20),
	}
}

// counter counts live connections.
type counter struct {
	limits Limits
	mu     sync.Mutex
	all    int
	actors map[string]int
}

// enter counts a connection in, or says why it may not be.
func (c *counter) enter(actor string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limits.Connections >= 0 && c.all >= c.limits.Connections {
		return &apiError{status: http.StatusServiceUnavailable, Code: "busy", Message: "The server holds as many connections as it may; come back later."}
	}
	if actor != "" && c.limits.ActorConnections >= 0 && c.actors[actor] >= c.limits.ActorConnections {
		return &apiError{status: http.StatusTooManyRequests, Code: "too_many", Message: "You have too many connections open; close some."}
	}
	if c.actors == nil {
		c.actors = map[string]int{}
	}
	c.all++
	c.actors[actor]++
	return nil
}

func (c *counter) leave(actor string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.actors[actor]--; c.actors[actor] <= 0 {
		delete(c.actors, actor)
	}
}

// maxStrikes is how many messages in a row may have to wait.
const maxStrikes = 100

// throttle is a token bucket that slows its owner down.
type throttle struct {
	rate, burst float64
	tokens      float64
	last        time.Time
	strikes     int // messages that had to wait since the bucket was full
}

func newThrottle(l Limits) *throttle {
	return &throttle{rate: float64(l.MessageRate), burst: float64(l.MessageBurst), tokens: float64(l.MessageBurst), last: time.Now()}
}

// wait lets one message through when its time has come; false when the client has
// not stopped to send too much, or ctx ends.
func (t *throttle) wait(ctx context.Context) bool {
	if t.rate < 0 {
		return true
	}
	now := time.Now()
	t.tokens += now.Sub(t.last).Seconds() * t.rate
	t.last = now
	if t.tokens >= t.burst {
		t.tokens, t.strikes = t.burst, 0
	}
	t.tokens--
	if t.tokens >= 0 {
		return true
	}
	if t.strikes++; t.strikes > maxStrikes {
		return false
	}
	timer := time.NewTimer(time.Duration(-t.tokens / t.rate * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
