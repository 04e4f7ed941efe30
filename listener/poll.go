package listener

import (
	"context"
	"math/rand/v2"
	"time"
)

// fastPoll is how often the log is looked at when bells of other processes do not
// arrive. A look by one who has everything takes PostgreSQL half a millisecond.
const fastPoll = 500 * time.Millisecond

// Poll rings every so often until ctx ends. The pauses vary by a quarter around
// every, so that many servers do not ask at the same moment.
func Poll(ctx context.Context, every time.Duration, ring func()) {
	timer := time.NewTimer(jitter(every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			ring()
			timer.Reset(jitter(every))
		}
	}
}

// poll finds the changes that nobody announced.
func (l *Listener) poll(ctx context.Context) {
	timer := time.NewTimer(jitter(l.pollEvery()))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.changed:
		case <-timer.C:
			l.ring()
		}
		timer.Reset(jitter(l.pollEvery()))
	}
}

func (l *Listener) pollEvery() time.Duration {
	if l.cfg.NoNotify || l.Status().Mode == Listening {
		return l.cfg.Poll
	}
	return min(l.cfg.Poll, fastPoll)
}

func jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(rand.Int64N(int64(d)/2+1))
}
