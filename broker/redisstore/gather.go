package redisstore

import (
	"context"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Reads that come while others are under way share pipelines. When thousands of clients return at once each of them reads several
// times: a turn on a connection and its system calls for every read would be most of the work, and who waits for a turn runs out of time.

const (
	// maxReads is how many pipelines of reads are under way at once. The rest of Options.Connections is for commits.
	maxReads = 8
	// maxGathered is about how many commands of several reads share a pipeline: what an answer of 256 records takes to parse.
	maxGathered = 256
)

// gathered is where reads wait for a pipeline.
type gathered struct {
	mu      sync.Mutex
	running int // pipelines, at most maxReads
	waiting []*read
}

// read is one call's commands. They are its pipeline's from when it waits until done is closed.
type read struct {
	ctx  context.Context //nolint:containedctx // of the call that waits
	cmds []redis.Cmder
	done chan struct{}
}

// gather is exec for commands that only read. While few reads are under way it is exec itself; else they wait, and share pipelines.
// It fails when ctx is done first: then the commands must not be touched any more.
func (s *Store) gather(ctx context.Context, cmds []redis.Cmder) error {
	g := &s.gathered
	g.mu.Lock()
	if g.running < maxReads {
		g.running++
		g.mu.Unlock()
		s.exec(ctx, cmds)
		if share := g.next(); share != nil {
			go s.readAll(share) //nolint:gosec // of other calls, which this one's end must not end
		}
		return nil
	}
	r := &read{ctx, cmds, make(chan struct{})}
	g.waiting = append(g.waiting, r)
	g.mu.Unlock()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readAll does one share after the other until nobody waits.
func (s *Store) readAll(share []*read) {
	for ; share != nil; share = s.gathered.next() {
		var cmds []redis.Cmder
		for _, r := range share {
			cmds = append(cmds, r.cmds...)
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.opts.Timeout)
		s.exec(ctx, cmds)
		cancel()
		for _, r := range share {
			close(r.done)
		}
	}
}

// next takes the reads of a pipeline's next turn, nil when none waits: then the turn is over.
func (g *gathered) next() (share []*read) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, took := 0, 0
	for ; took < len(g.waiting) && n < maxGathered; took++ {
		if r := g.waiting[took]; r.ctx.Err() == nil {
			share = append(share, r)
			n += len(r.cmds)
		}
	}
	g.waiting = slices.Delete(g.waiting, 0, took)
	if share == nil {
		g.running--
	}
	return share
}
