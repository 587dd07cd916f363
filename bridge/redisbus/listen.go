package redisbus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

const (
	// pingEvery and silence find a dead connection: it answers no ping.
	pingEvery = time.Second
	silence   = 3 * time.Second
	// Between two attempts to subscribe.
	shortPause, longPause = 50 * time.Millisecond, time.Second
)

var (
	errUnsubscribed = errors.New("redis ended the subscription")
	errTooOld       = errors.New("this Redis Cluster has no sharded pub/sub: nodes on a Redis Cluster need Redis 7 or later")
)

// listen keeps a subscription until ctx ends. It returns an error only for what no waiting mends.
func (b *Bus) listen(ctx context.Context, self broker.NodeID, r broker.BusReceiver) error {
	in := newInbox(r, &b.meter)
	wait, failing := shortPause, false
	for {
		confirmed := b.meter.subscribed.Load()
		err := b.subscription(ctx, b.channel(self), in, failing)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end of ctx is what failed
		case errors.Is(err, errTooOld):
			return err
		case b.meter.subscribed.Load() != confirmed:
			wait, failing = shortPause, false
		}
		if !failing {
			b.opts.Logger.Warn("bus is not subscribed", "err", err)
		}
		failing = true
		if cluster, ok := b.client.(*redis.ClusterClient); ok {
			cluster.ReloadState(ctx) // the channel's shard may have another master
		}
		pause(ctx, wait)
		wait = min(2*wait, longPause)
	}
}

// subscription reads one connection to its end. Any error ends it, a deadline above all: behind a read that was cut off, the
// connection's bytes cannot be trusted. (The client would subscribe again by itself, and read on.)
func (b *Bus) subscription(ctx context.Context, channel string, in *inbox, failing bool) error {
	ctx, cancel := context.WithCancel(ctx)
	subscription := b.subscribe(ctx, channel)
	var pinging sync.WaitGroup
	pinging.Go(func() { ping(ctx, subscription) })
	closed := make(chan struct{})
	context.AfterFunc(ctx, func() { // ends a read
		_ = subscription.Close() // nothing is written to it
		close(closed)
	})
	defer func() {
		cancel()
		pinging.Wait()
		<-closed
	}()
	var frame []byte
	for {
		message, err := subscription.ReceiveTimeout(ctx, silence)
		if err != nil {
			return b.explain(err)
		}
		switch message := message.(type) {
		case *redis.Message:
			frame = append(frame[:0], message.Payload...)
			in.take(frame)
		case *redis.Subscription:
			if strings.HasSuffix(message.Kind, "unsubscribe") { // its slot moves to another shard
				return errUnsubscribed
			}
			b.meter.subscribed.Add(1)
			if failing {
				b.opts.Logger.Info("bus is subscribed again")
			}
			in.lost("")
		}
	}
}

// subscribe asks for a subscription. What fails shows when it is read.
func (b *Bus) subscribe(ctx context.Context, channel string) *redis.PubSub {
	if b.sharded {
		return b.client.SSubscribe(ctx, channel)
	}
	return b.client.Subscribe(ctx, channel)
}

// ping keeps the connection from being silent. What fails shows when it is read.
func ping(ctx context.Context, subscription *redis.PubSub) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_ = subscription.Ping(ctx)
		}
	}
}

// explain tells what no waiting mends: of all that a subscription says, a Redis Cluster before 7 does not know SSUBSCRIBE alone.
func (b *Bus) explain(err error) error {
	if b.sharded && redis.HasErrorPrefix(err, "unknown command") {
		return fmt.Errorf("%w: %w", errTooOld, err)
	}
	return err
}
