package handlers

import (
	"runtime"
	"sync"
	"syscall"
)

// shards are the goroutines that write, one for each processor. They begin with
// the first connection.
type shards struct {
	goroutines sync.WaitGroup // and those that wait for clients that do not read
	mu         sync.Mutex
	all        []*shard
	stop       chan struct{}
	turn       int
}

// next gives a new connection its shard.
func (p *shards) next() *shard {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.stop = make(chan struct{})
		for range runtime.GOMAXPROCS(0) {
			sh := &shard{of: p, wake: make(chan struct{}, 1)}
			p.all = append(p.all, sh)
			p.goroutines.Go(func() { sh.run(p.stop) })
		}
	}
	p.turn++
	return p.all[p.turn%len(p.all)]
}

// end stops them. All connections have ended.
func (p *shards) end() {
	p.mu.Lock()
	if p.all != nil {
		close(p.stop)
		p.all = nil
	}
	p.mu.Unlock()
	p.goroutines.Wait()
}

// shard writes the frames of some of the connections, one after the other.
type shard struct {
	of    *shards
	wake  chan struct{}
	mu    sync.Mutex
	queue []*wire

	frame []byte // what try writes, and what came of it
	n     int
	err   error
}

func (sh *shard) add(w *wire) {
	sh.mu.Lock()
	sh.queue = append(sh.queue, w)
	sh.mu.Unlock()
	select {
	case sh.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

func (sh *shard) run(stop <-chan struct{}) {
	var queue []*wire
	for {
		select {
		case <-stop:
			return
		case <-sh.wake:
		}
		for {
			sh.mu.Lock()
			queue, sh.queue = sh.queue, queue[:0]
			sh.mu.Unlock()
			if len(queue) == 0 {
				break
			}
			for i, w := range queue {
				queue[i] = nil
				w.pump()
			}
		}
	}
}

// write gives the kernel as much of a frame as it takes at once.
func (sh *shard) write(raw syscall.RawConn, frame []byte) (int, error) {
	sh.frame, sh.n = frame, 0
	if err := raw.Write(sh.try); err != nil { // it was not tried
		sh.err = err
	}
	sh.frame = nil
	return sh.n, sh.err
}

func (sh *shard) try(fd uintptr) bool {
	sh.n, sh.err = writeNow(fd, sh.frame)
	return true
}
