package redisbus

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// sendPause is waited for after a pipeline that failed, so that a Redis that is away is not asked all the time.
const sendPause = 100 * time.Millisecond

// send sends what gathers until ctx ends, then what is left once more.
func (b *Bus) send(ctx context.Context) {
	failing := false
	for {
		select {
		case <-ctx.Done():
			_, _ = b.flush(ctx) // counted
			return
		case <-b.outbox.wake:
		}
		for ctx.Err() == nil {
			sent, err := b.flush(ctx)
			if !sent {
				break
			}
			if err != nil {
				if !failing {
					b.opts.Logger.Warn("bus cannot send", "err", err)
				}
				pause(ctx, sendPause)
			} else if failing {
				b.opts.Logger.Info("bus sends again")
			}
			failing = err != nil
		}
	}
}

// flush sends one frame to each node that has one, and tells whether there was any. It ends within the timeout, not with ctx.
func (b *Bus) flush(ctx context.Context) (sent bool, err error) {
	b.parcels = b.outbox.take(b.parcels[:0])
	if len(b.parcels) == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.opts.Timeout)
	defer cancel()
	pipe := b.client.Pipeline()
	heard := make([]*redis.IntCmd, len(b.parcels))
	for i, p := range b.parcels {
		if b.sharded {
			heard[i] = pipe.SPublish(ctx, p.channel, p.bytes)
		} else {
			heard[i] = pipe.Publish(ctx, p.channel, p.bytes)
		}
	}
	_, err = pipe.Exec(ctx)
	b.meter.pipelines.Add(1)
	for i, p := range b.parcels {
		b.meter.published(p.frame, heard[i])
		p.free()
	}
	clear(b.parcels)
	return true, err
}

// pause waits, not past the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
