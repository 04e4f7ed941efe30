package listener

import (
	"fmt"
	"strings"
	"time"
)

// Mode is how changes of other processes are noticed.
type Mode string

// The modes.
const (
	// Off: not started, or closed.
	Off Mode = "off"
	// Listening: bells arrive; PostgreSQL's were seen to.
	Listening Mode = "listening"
	// Degraded: bells do not arrive at present. The log is polled, and listening
	// is tried again.
	Degraded Mode = "degraded"
	// Polling: bells cannot arrive in this configuration. The log is polled.
	Polling Mode = "polling"
)

// Status tells how changes of other processes are noticed. None is missed in any
// mode; it is about delay.
type Status struct {
	Mode Mode `json:"mode"`
	// Since is when the mode began.
	Since time.Time `json:"since"`
	// Reason says in words why the mode is not Listening, and what to do. Empty
	// while listening.
	Reason string `json:"reason,omitempty"`
	// LastError is the last thing that went wrong, also when it is over; empty if
	// nothing did.
	LastError string `json:"last_error,omitempty"`
	// LastErrorAt is when that was.
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// LastBell is when another process was heard last; zero if none was. On SQLite
	// it is when the file was seen to change last, whoever changed it.
	LastBell time.Time `json:"last_bell,omitzero"`
}

// Status tells the present state. It never blocks.
func (l *Listener) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// set changes the state, and says so once if bells cease or are back.
func (l *Listener) set(mode Mode, reason string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if mode != l.status.Mode {
		l.status.Mode, l.status.Since = mode, time.Now()
		signal(l.changed)
	}
	l.status.Reason = reason
	l.blame(err)
	switch {
	case mode == Listening && l.logged != "":
		l.logged = ""
		l.cfg.Logger.Info("gormsync: bells of other processes arrive again")
	case err != nil && reason != l.logged:
		l.logged = reason
		l.cfg.Logger.Warn("gormsync: bells of other processes do not arrive: "+reason, "meanwhile", l.meanwhile(), "error", err)
	}
}

// failed notes what went wrong without a change of mode.
func (l *Listener) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blame(err)
}

// blame notes an error. l.mu is held.
func (l *Listener) blame(err error) {
	if err == nil {
		return
	}
	l.status.LastError = strings.ReplaceAll(err.Error(), "\n", "; ")
	l.status.LastErrorAt = time.Now()
}

// heard notes that another process was heard.
func (l *Listener) heard() {
	l.mu.Lock()
	l.status.LastBell = time.Now()
	l.mu.Unlock()
	l.ring()
}

func (l *Listener) meanwhile() string {
	if l.cfg.Poll <= 0 {
		return "nothing looks for their changes, because Config.Poll is -1"
	}
	return fmt.Sprintf("the log is looked at every %v", min(l.cfg.Poll, fastPoll))
}
