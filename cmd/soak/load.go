package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"kith/broker"
	"kith/cmd/kith/bench"
	"kith/cmd/torture/world"
)

const (
	app     broker.AppID = "soak"
	waiting              = 1000 // queue.messages: more than the rounds leave
	size                 = 256  // bytes of a message
	window               = 20
	clients              = 200
	probing              = 5 * time.Second // how long a rate is tried
	prompt               = 100 * time.Millisecond
	silence              = 10 * time.Second
)

// soakLoad is rounds of kith bench.
type soakLoad struct {
	target bench.Target
	rounds atomic.Int64

	mu      sync.Mutex
	latest  *bench.Percentiles // of the round of talk that ended last
	updated bool               // since it was asked for
}

func newLoad(n *world.Node) *soakLoad {
	return &soakLoad{target: bench.Target{Addr: n.Clients.Direct, App: app, Key: masterKey, Version: 5}}
}

func (l *soakLoad) options(prefix string) bench.Options {
	o := bench.Options{Target: l.target, QoS: 1, Size: size, Window: window, Drain: silence, Concurrency: 50}
	o.Target.Prefix = prefix
	return o
}

// half measures what the server can take, and returns half of it, in messages a second. It takes a rate when 99 of 100 messages arrive
// within prompt; the rates tried go down from what it acknowledges to clients that send as fast as they can.
func (l *soakLoad) half(ctx context.Context) (float64, error) {
	o := l.options("probe")
	o.Clients, o.Warmup, o.Duration = clients, time.Second, probing
	for ctx.Err() == nil {
		r, err := bench.Direct(ctx, o)
		if err != nil {
			return 0, fmt.Errorf("measure capacity: %w", err)
		}
		fmt.Printf("capacity: of %.0f messages/s, %.0f acknowledged, p99 %.0f ms\n", o.Rate, r.Acks, r.EndToEnd.P99)
		if o.Rate > 0 && r.EndToEnd.P99 <= float64(prompt.Milliseconds()) {
			return o.Rate / 2, nil
		}
		if o.Rate == 0 {
			o.Rate = r.Acks
		}
		o.Rate *= 0.8
	}
	return 0, ctx.Err()
}

// talk sends at the rate, in rounds of that length, until ctx ends.
func (l *soakLoad) talk(ctx context.Context, rate float64, each time.Duration) error {
	o := l.options("talk")
	o.Clients, o.Rate, o.Warmup, o.Duration = clients, rate, each/10, each
	return l.repeat(ctx, func(ctx context.Context) error {
		r, err := bench.Direct(ctx, o)
		if err == nil {
			l.mu.Lock()
			l.latest, l.updated = r.EndToEnd, true
			l.mu.Unlock()
		}
		return err
	})
}

// churn makes groups, leaves messages for absent peers, and opens and closes connections, in turn, until ctx ends.
func (l *soakLoad) churn(ctx context.Context) error {
	groups, away, crowd := l.options("group"), l.options("away"), l.options("crowd")
	groups.Groups, groups.Members, groups.Publishers, groups.Rate, groups.Duration = 2, 20, 1, 20, time.Second
	away.Receivers, away.Each = 50, 20
	crowd.Clients = clients
	return l.repeat(ctx, func(ctx context.Context) error {
		if _, err := bench.Fanout(ctx, groups); err != nil {
			return fmt.Errorf("groups: %w", err)
		}
		if _, err := bench.Offline(ctx, away); err != nil {
			return fmt.Errorf("absent peers: %w", err)
		}
		_, err := bench.Connect(ctx, crowd)
		return err
	})
}

// repeat does rounds until ctx ends. A round that has begun ends in order, so that its messages are all accounted for.
func (l *soakLoad) repeat(ctx context.Context, round func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := round(context.WithoutCancel(ctx)); err != nil {
			return err
		}
		l.rounds.Add(1)
	}
	return nil
}

// times are the delivery times of the last round, and nil where it was told already.
func (l *soakLoad) times() *bench.Percentiles {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.updated {
		return nil
	}
	l.updated = false
	return l.latest
}
