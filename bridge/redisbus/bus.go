package redisbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// Options are what the program gives the bus, none of it a setting of the operator. The zero value is useful.
type Options struct {
	// Logger gets lost and regained connections; nil discards.
	Logger *slog.Logger
	// Timeout bounds a pipeline of frames, from its first byte to its answer; 0 is 3 s.
	Timeout time.Duration
	// QueueBytes bounds what waits for one node; 0 is 4 MiB. Sixteen times as much may wait for all nodes together.
	QueueBytes int
	// FrameBytes bounds one PUBLISH, and with it a note; 0 is 1 MiB.
	FrameBytes int
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Second
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 4 << 20
	}
	if o.FrameBytes == 0 {
		o.FrameBytes = 1 << 20
	}
	return o
}

// Bus carries notes over Redis. It implements broker.Bus; see the package comment for what it promises.
type Bus struct {
	client  redis.UniversalClient
	sharded bool // pub/sub of a Redis Cluster
	prefix  string
	opts    Options
	outbox  outbox
	meter   meter

	parcels []parcel // the sending goroutine's
}

var _ broker.Bus = (*Bus)(nil)

// New returns a bus over a client that retries nothing (MaxRetries -1) and heeds deadlines (ContextTimeoutEnabled), as
// redisstore's does. The client stays the caller's, to be closed after Run has returned. Nodes hear each other that share prefix.
func New(client redis.UniversalClient, prefix string, opts Options) *Bus {
	b := &Bus{client: client, prefix: prefix, opts: opts.withDefaults()}
	_, b.sharded = client.(*redis.ClusterClient)
	b.outbox = outbox{
		queueBytes: b.opts.QueueBytes, frameBytes: b.opts.FrameBytes, channel: b.channel,
		wake: make(chan struct{}, 1), to: map[broker.NodeID]*destination{},
	}
	return b
}

// channel is where a node listens.
func (b *Bus) channel(node broker.NodeID) string { return b.prefix + ":bus:" + string(node) }

// Send implements broker.Bus. The note is copied. It is dropped while no Run is going.
func (b *Bus) Send(to broker.NodeID, note []byte) {
	if !b.outbox.add(to, note) {
		b.meter.dropped.Add(1)
	}
}

// Run implements broker.Bus. The receiver hears Lost of nobody in particular whenever the subscription is confirmed, the first
// time too. When ctx ends, what waits is sent once more, within the timeout. Run returns an error only for what no waiting mends:
// a name that is empty or longer than 255 bytes, a Run that is going already, a Redis Cluster older than 7.
func (b *Bus) Run(ctx context.Context, self broker.NodeID, r broker.BusReceiver) error {
	if self == "" || len(self) > maxNodeID {
		return fmt.Errorf("run bus as %q: a node's name has 1 to %d bytes", self, maxNodeID)
	}
	if !b.outbox.open(self) {
		return errors.New("run bus: it runs already")
	}
	ctx, cancel := context.WithCancel(ctx)
	var sending sync.WaitGroup
	sending.Go(func() { b.send(ctx) })
	err := b.listen(ctx, self, r)
	cancel()
	sending.Wait()
	b.meter.dropped.Add(b.outbox.close())
	if err != nil {
		return fmt.Errorf("run bus: %w", err)
	}
	return nil
}
