package listener

import (
	"context"
	"math/rand/v2"
	"time"
)

// Poll rings every so often until ctx ends: it finds the changes that nobody
// announced. The pauses vary by a quarter around every, so that many servers do
// not ask at the same moment.
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

func jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(rand.Int64N(int64(d)/2+1))
}
