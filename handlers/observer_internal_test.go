package handlers

import (
	"sync/atomic"
	"time"
)

// countingObserver counts what the tests look at.
type countingObserver struct {
	NopObserver
	fell, pages, frames, reads, resets atomic.Int64
	closed                             [5000]atomic.Int64
	open                               atomic.Int64
}

func (c *countingObserver) Connected(_ string, delta int)          { c.open.Add(int64(delta)) }
func (c *countingObserver) Delivered(int, int, int, time.Duration) { c.frames.Add(1) }
func (c *countingObserver) LogRead(time.Duration, int)             { c.reads.Add(1) }
func (c *countingObserver) FellBehind()                            { c.fell.Add(1) }
func (c *countingObserver) CaughtUp(int)                           { c.pages.Add(1) }
func (c *countingObserver) Reset(string)                           { c.resets.Add(1) }
func (c *countingObserver) Closed(code int)                        { c.closed[code].Add(1) }
