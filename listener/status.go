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
// mode; it is about delay. It does not say whether the log can be read: when that
// fails, bells may go on to arrive, and LastError tells.
type Status struct {
	Mode Mode `json:"mode"`
	// Since is when the mode began.
	Since time.Time `json:"since"`
	// Reason says in words why the mode is not Listening, what to do, and in
	// parentheses what the error was. Empty while listening.
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

// set changes the state, and says so if bells cease or are back.
func (l *Listener) set(mode Mode, reason string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if mode != l.status.Mode {
		l.status.Mode, l.status.Since = mode, time.Now()
		signal(l.changed)
	}
	l.blame(err)
	l.status.Reason = reason
	if err != nil && !strings.Contains(reason, l.status.LastError) {
		l.status.Reason += " (" + l.status.LastError + ")"
	}
	switch {
	case mode == Listening && l.tell(""):
		l.cfg.Logger.Info("gormsync: bells of other processes arrive again")
	case err != nil && l.tell(reason):
		l.cfg.Logger.Warn("gormsync: bells of other processes do not arrive: "+reason, "meanwhile", l.meanwhile(), "error", err)
	}
}

// quietFor is how long a state is not logged again, once it was: a connection that
// comes and goes would fill the log.
const quietFor = time.Minute

// tell reports whether a state is to be logged: it is another one than was logged
// last, and was not logged for a while. A state that lasts is set again and again,
// so the log ends with the one that holds. l.mu is held.
func (l *Listener) tell(state string) bool {
	if state == l.told || time.Since(l.toldAt[state]) < quietFor {
		return false
	}
	l.told, l.toldAt[state] = state, time.Now()
	return true
}

// mute notes that others cannot be told of changes.
func (l *Listener) mute(err error) {
	const state = "mute"
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blame(err)
	if time.Since(l.toldAt[state]) < quietFor {
		return
	}
	l.toldAt[state] = time.Now()
	l.cfg.Logger.Warn("gormsync: other processes cannot be told of changes; they find them by polling", "error", err)
}

// Failed notes, for Status, what went wrong without a change of mode: such as that
// the log cannot be read though bells arrive.
func (l *Listener) Failed(err error) {
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
