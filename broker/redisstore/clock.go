package redisstore

import (
	"strconv"
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

// longestLife is the most ms that a record is said to live, which is as good as for ever: Redis refuses what overflows its clock.
const longestLife = 1 << 52

// lifetime is how many ms are left until expires (Unix milliseconds by this node's clock), as scripts take it: at least one, 0 for ever.
// Redis counts them, so that clocks of nodes that differ, from each other or from Redis's, cut short or prolong nothing.
func (s *Store) lifetime(expires int64) string {
	if expires <= 0 {
		return "0"
	}
	return strconv.FormatInt(min(max(expires-s.opts.Now().UnixMilli(), 1), longestLife), 10)
}

func (c *clock) observe(seen uint64) {
	c.mu.Lock()
	c.last = max(c.last, seen)
	c.mu.Unlock()
}
