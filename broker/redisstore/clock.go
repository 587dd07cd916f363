package redisstore

import (
	"sync"
	"time"
)

// clock proposes the clocks of ids: 48 bits of Unix milliseconds and 16 that count within one. It goes with the wall clock
// and never back, and goes ahead of every clock that a shard has told of.
type clock struct {
	mu   sync.Mutex
	last uint64
	now  func() time.Time
}

func (c *clock) next() uint64 {
	at := uint64(c.now().UnixMilli()) << 16
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(at, c.last+1)
	return c.last
}

func (c *clock) observe(seen uint64) {
	c.mu.Lock()
	c.last = max(c.last, seen)
	c.mu.Unlock()
}
