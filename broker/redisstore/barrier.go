package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// barrier returns when as many replicas as Config.WaitReplicas asks for have all that was written before; with Config.WaitDisk when
// they and the server have it on their disks.
//
// WAIT and WAITAOF speak of what their own connection wrote. So a write goes before it: what has that one has all that other connections wrote
// earlier.
func (s *Store) barrier(ctx context.Context) error {
	if s.replicas == 0 && !s.disk {
		return nil
	}
	left := s.opts.Timeout
	if end, ok := ctx.Deadline(); ok {
		left = time.Until(end)
	}
	var answer *redis.Cmd
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Do(ctx, "SET", s.keys.ping(0), "", "EX", 60)
		patience := (left * 3 / 4).Milliseconds() // so that Redis still tells how many there were
		if s.disk {
			answer = p.Do(ctx, "WAITAOF", 1, s.replicas, patience)
		} else {
			answer = p.Do(ctx, "WAIT", s.replicas, patience)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("wait for replicas: %w", s.explain(err))
	}
	synced, reached := s.reached(answer)
	switch {
	case !synced:
		return errors.New("redis had not synced it in time: its disk is slow or fails, or appendfsync is no")
	case reached < s.replicas:
		return fmt.Errorf("%d of %d replicas had it in time: bring them back, or lower store.redis.wait_replicas", reached, s.replicas)
	}
	return nil
}

// reached takes the answer of WAIT, or of WAITAOF: whether the server has synced all, and how many replicas have it.
func (s *Store) reached(answer *redis.Cmd) (synced bool, replicas int) {
	if !s.disk {
		n, _ := answer.Int()
		return true, n
	}
	both, err := answer.Int64Slice()
	if err != nil || len(both) != 2 {
		return false, 0
	}
	return both[0] > 0, int(both[1])
}

// await fails what replicas do not have in time. It may be there: the same append under the same once key finds out.
func (s *Store) await(ctx context.Context, items []item) {
	if err := s.barrier(ctx); err != nil {
		for i := range items {
			items[i].fail(err)
		}
	}
}
