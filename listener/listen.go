package listener

import (
	"context"
	"errors"
	"time"
)

const (
	// minWait and maxWait bound the pauses between attempts to listen.
	minWait = 200 * time.Millisecond
	maxWait = 2 * time.Second
	// deafWait is the pause after an attempt that only another configuration, or
	// the end of a failover, can make succeed.
	deafWait = 30 * time.Second
)

// listen keeps a connection listening until ctx ends, through everything.
func (l *Listener) listen(ctx context.Context) {
	wait := minWait
	for ctx.Err() == nil {
		began := time.Now()
		heard, err := l.listenOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		l.deafen(err)
		switch {
		case heard && time.Since(began) > minWait:
			wait = minWait
			continue // it worked until just now
		case !heard && (errors.Is(err, errDeaf) || hopeless(err)):
			pause(ctx, jitter(deafWait))
		default:
			pause(ctx, jitter(wait))
			wait = min(2*wait, maxWait)
		}
	}
}

// listenOnce tries every target until bells arrive at one, and stays there. It
// tells whether bells arrived, and why they do no more.
func (l *Listener) listenOnce(ctx context.Context) (heard bool, err error) {
	targets, err := l.targets(ctx)
	if err != nil {
		return false, err
	}
	var errs []error
	for _, t := range targets {
		heard, err := l.session(ctx, t)
		if l.refused(err) {
			heard, err = l.session(ctx, t)
		}
		if heard || ctx.Err() != nil {
			return heard, err
		}
		errs = append(errs, err)
	}
	return false, errors.Join(errs...)
}

// arrive notes that bells arrive at a target.
func (l *Listener) arrive(t target) {
	l.mu.Lock()
	l.good = t
	l.mu.Unlock()
	l.set(Listening, "", nil)
}

// deafen notes that bells do not arrive, and why.
func (l *Listener) deafen(err error) {
	mode, reason := Degraded, "the listening connection failed and is tried again; is the server up, and do Config.ListenDSN and its password fit?"
	switch {
	case errors.Is(err, errDeaf):
		reason = errDeaf.Error() + ": a transaction pooler stands between, or two servers are meant, or two databases; set Config.ListenDSN to a direct connection or a session pooler, or Config.NoNotify"
	case errors.Is(err, errNotSent):
		reason = errNotSent.Error() + ", so it is not known whether bells arrive; it is tried again"
	case errors.Is(err, errNoAddress):
		mode, reason = Polling, errNoAddress.Error()+"; set Config.ListenDSN"
	case errors.Is(err, errPromise):
		mode, reason = Polling, errPromise.Error()
	case errors.Is(err, errRefused):
		mode, reason = Polling, errRefused.Error()+": unset the variable for this process and say in the DSN what it says, or set Config.NoNotify"
	}
	l.set(mode, reason, err)
}
