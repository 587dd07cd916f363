package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// sweepCount bounds a step of the sweep, so that nobody waits long behind one.
const sweepCount = 256

// sweeping is the goroutine that takes records that have expired off their lists. Redis removes the records themselves.
// Every node does it; they do not disturb each other.
type sweeping struct {
	cancel context.CancelFunc
	ended  chan struct{}
}

func (w *sweeping) start(s *Store) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.ended = cancel, make(chan struct{})
	go w.run(ctx, s)
}

func (w *sweeping) stop() {
	w.cancel()
	<-w.ended
}

func (w *sweeping) run(ctx context.Context, s *Store) {
	defer close(w.ended)
	if s.opts.SweepEvery < 0 {
		return
	}
	tick := time.NewTicker(s.opts.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		removed, err := s.Sweep(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.opts.Logger.Warn("removal of expired records failed", "error", err)
		case removed > 0:
			s.opts.Logger.Debug("expired records removed", "count", removed)
		}
	}
}

// Sweep takes records that have expired off their lists and says how many. The store does it by itself every
// Options.SweepEvery.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	removed := 0
	for shard := range s.keys.prefixes {
		for {
			n, more, err := s.sweepShard(ctx, shard)
			removed += n
			if err != nil {
				return removed, fmt.Errorf("sweep: %w", err)
			}
			if !more {
				break
			}
		}
	}
	return removed, nil
}

func (s *Store) sweepShard(ctx context.Context, shard int) (removed int, more bool, err error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return 0, false, err
	}
	defer cancel()
	now := strconv.FormatInt(s.opts.Now().UnixMilli(), 10)
	due := redis.NewStringSliceCmd(ctx, "zrangebyscore", s.keys.expiries(shard), "-inf", now, "limit", 0, sweepCount)
	if err := s.query(ctx, []redis.Cmder{due}); err != nil || len(due.Val()) == 0 {
		return 0, false, err
	}
	var cmds []redis.Cmder
	for _, p := range due.Val() {
		k, ok := parseExpiryPlace(p)
		if !ok {
			return 0, false, fmt.Errorf("expiries: %w", errCorrupt)
		}
		keys := []string{s.keys.expiries(shard), s.keys.record(shard, k), s.keys.list(shard, k.Space, k.App)}
		cmds = append(cmds, call(ctx, sweepScript, keys, p, place(k)))
	}
	if err := s.query(ctx, cmds); err != nil {
		return 0, false, err
	}
	for _, cmd := range cmds {
		n, _ := cmd.(*redis.Cmd).Int() //nolint:forcetypeassert // made above
		removed += n
	}
	// Where clocks differ, what is due here may live a moment longer there: the next sweep finds it.
	return removed, len(cmds) == sweepCount && removed > 0, nil
}
