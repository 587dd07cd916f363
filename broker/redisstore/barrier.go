package redisstore

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// barrier returns when as many replicas as Config.WaitReplicas asks for have all that was written before.
//
// WAIT speaks of what its own connection wrote. So a write goes before it: what has that one has all that other connections wrote
// earlier.
func (s *Store) barrier(ctx context.Context) error {
	if s.replicas == 0 {
		return nil
	}
	left := s.opts.Timeout
	if end, ok := ctx.Deadline(); ok {
		left = time.Until(end)
	}
	var answer *redis.Cmd
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Do(ctx, "SET", s.keys.ping(0), "", "EX", 60)
		answer = p.Do(ctx, "WAIT", s.replicas, (left * 3 / 4).Milliseconds()) // so that Redis still tells how many there were
		return nil
	})
	reached, _ := answer.Int()
	switch {
	case err != nil:
		return fmt.Errorf("wait for replicas: %w", s.explain(err))
	case reached < s.replicas:
		return fmt.Errorf("%d of %d replicas had it in time: bring them back, or lower store.redis.wait_replicas", reached, s.replicas)
	}
	return nil
}

// await fails what replicas do not have in time. It may be there: the same append under the same once key finds out.
func (s *Store) await(ctx context.Context, items []item) {
	if err := s.barrier(ctx); err != nil {
		for i := range items {
			items[i].fail(err)
		}
	}
}
