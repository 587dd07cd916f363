package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// begin checks that the store is open and gives a call its deadline.
func (s *Store) begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if s.closed.Load() {
		return nil, nil, broker.ErrStoreClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	return ctx, cancel, nil
}

// explain turns the client's own words into the contract's.
func (s *Store) explain(err error) error {
	if errors.Is(err, redis.ErrClosed) {
		return broker.ErrStoreClosed
	}
	return err
}

// errUnasked is the outcome of a command until Redis has answered it. The client leaves commands without any where a new connection is
// refused what it needs, as by a server that is loading its data.
var errUnasked = errors.New("redis gave no answer")

// exec sends commands in one pipeline and sets the outcome of each. Those that a node of a cluster says it did not do, because
// their slot is moving or was moved, are sent again in their order; nothing else is.
func (s *Store) exec(ctx context.Context, cmds []redis.Cmder) {
	for len(cmds) > 0 {
		p := s.client.Pipeline()
		for _, cmd := range cmds {
			cmd.SetErr(errUnasked)
			_ = p.Process(ctx, cmd) // queues it
		}
		_, err := p.Exec(ctx)
		for _, cmd := range cmds {
			if err != nil && errors.Is(cmd.Err(), errUnasked) {
				cmd.SetErr(fmt.Errorf("%w: %w", errUnasked, err))
			}
		}
		if cmds = undone(cmds); len(cmds) == 0 {
			return
		}
		if cluster, ok := s.client.(*redis.ClusterClient); ok {
			cluster.ReloadState(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// undone returns the commands that were surely not done, because of where their keys are.
func undone(cmds []redis.Cmder) (again []redis.Cmder) {
	for _, cmd := range cmds {
		var refusal redis.Error
		if err := cmd.Err(); err == nil || !errors.As(err, &refusal) {
			continue
		}
		switch word, _, _ := strings.Cut(refusal.Error(), " "); word {
		case "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN":
			again = append(again, cmd)
		}
	}
	return again
}

// query is exec for commands that only read: what the connection lost is asked once more.
func (s *Store) query(ctx context.Context, cmds []redis.Cmder) error {
	for try := 0; ; try++ {
		if err := s.gather(ctx, cmds); err != nil {
			return err
		}
		var failed error
		for _, cmd := range cmds {
			if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
				failed = err
				break
			}
		}
		var refusal redis.Error
		if failed == nil || try > 0 || ctx.Err() != nil || errors.As(failed, &refusal) || errors.Is(failed, redis.ErrClosed) {
			if failed != nil && ctx.Err() != nil {
				failed = fmt.Errorf("%w: %w", ctx.Err(), failed)
			}
			return s.explain(failed)
		}
		for _, cmd := range cmds {
			cmd.SetErr(nil)
		}
	}
}

// call makes the command that runs a script.
func call(ctx context.Context, sc script, keys []string, args ...any) *redis.Cmd {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, "evalsha", sc.sha, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	return redis.NewCmd(ctx, append(all, args...)...)
}
