package broker

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultLease is how long a node that is not heard of counts as alive.
const DefaultLease = 10 * time.Second

// cluster is a broker's part in a system of several nodes that share a store. What the nodes tell one another over the bus only makes
// haste; everything is found in the store as well:
//
//	lease.go        which nodes there are, and when one is dead
//	whereabouts.go  on which nodes a peer and a group are, and who holds a device
//	tell.go         what was accepted here reaches the nodes that hold its receivers
//	sequence.go     a group's messages and changes of members in their order, whoever tells of them
//	compare.go      what no note told: the ends of the logs, every 5 s
//	ask.go          questions from one node to another
//	drain.go        sessions that are asked to go on at other nodes
//	topics.go       {app}/topic/, with shares.go: one member of a shared subscription in the whole cluster
type cluster struct {
	b     *Broker
	bus   Bus
	inner Store // not fenced by the lease
	lease time.Duration
	base  time.Time    // what the lease is measured from
	until atomic.Int64 // nanoseconds since base until which this node may write
	self  atomic.Pointer[NodeID]
	// joined is closed when the node first may write.
	joined     chan struct{}
	joinedOnce sync.Once
	nodes      nodeTable
	learn      learner
	asks       asks
	drain      drain

	openingLock sync.Mutex
	opening     map[string]chan struct{} // by claim: sessions on their way

	shares shares
	heard  map[NodeID]bool // who has told this incarnation that it knows of it; of the goroutine that receives
	resync chan struct{}   // notes may have been lost
}

var errNotLeased = errors.New("this node's lease in the cluster ran out")

func newCluster(b *Broker, bus Bus, lease time.Duration, drainPerSecond int) *cluster {
	if drainPerSecond <= 0 {
		drainPerSecond = DefaultDrainPerSecond
	}
	if lease <= 0 {
		lease = DefaultLease
	}
	c := &cluster{b: b, bus: bus, inner: b.store, lease: lease, base: time.Now(), resync: make(chan struct{}, 1), joined: make(chan struct{})}
	c.opening = make(map[string]chan struct{})
	c.nodes.known = make(map[NodeID]*knownNode)
	c.learn.wake, c.shares.wake = make(chan struct{}, 1), make(chan struct{}, 1)
	c.drain.wake, c.drain.changed, c.drain.perSecond = make(chan struct{}, 1), make(chan struct{}, 1), drainPerSecond
	c.asks.open = make(map[uint64]chan []byte)
	c.asks.slots = make(chan struct{}, maxAnswering)
	c.begin()
	b.store = &fencedStore{b.store, c}
	return c
}

// run keeps the node in the cluster until ctx ends. A node that lost its lease ends its sessions, which others may hold by now, and
// comes back as a new incarnation.
func (c *cluster) run(ctx context.Context) {
	var work sync.WaitGroup
	work.Go(func() { c.learnLoop(ctx) })
	work.Go(func() { c.compareLoop(ctx) })
	work.Go(func() { c.drainLoop(ctx) })
	work.Go(func() { c.sharesLoop(ctx) })
	for ctx.Err() == nil {
		self := c.id()
		c.runAs(ctx, self)
		if ctx.Err() == nil {
			c.b.log.Error("the lease of this node ran out; its sessions end and may go on at other nodes", "node", self)
			c.b.endAll(ctx)
			c.begin()
			c.forgetAnnounced()
		}
	}
	work.Wait()
}

// runAs keeps one incarnation in the cluster until ctx ends or its lease is lost.
func (c *cluster) runAs(ctx context.Context, self NodeID) {
	inner, cancel := context.WithCancel(ctx)
	c.heard = make(map[NodeID]bool)
	var bus sync.WaitGroup
	bus.Go(func() {
		if err := c.bus.Run(inner, self, c); err != nil && inner.Err() == nil {
			c.b.log.Error("the bus ended; other nodes are heard through the store only", "err", err)
		}
	})
	c.live(ctx, self)
	cancel()
	bus.Wait() // it runs once at a time
}

// id returns this node's present incarnation.
func (c *cluster) id() NodeID { return *c.self.Load() }

// leased reports whether this node may write.
func (c *cluster) leased() bool { return int64(time.Since(c.base)) < c.until.Load() }

// Joined is closed when sessions can be opened: in a cluster when the node has its first lease, else from the beginning. Run must be
// running.
func (b *Broker) Joined() <-chan struct{} {
	if b.cluster != nil {
		return b.cluster.joined
	}
	at := make(chan struct{})
	close(at)
	return at
}

// fencedStore refuses commits of a node whose lease is not certain: others may already act as if it were dead.
type fencedStore struct {
	Store
	c *cluster
}

// Commit implements Store.
func (f *fencedStore) Commit(batch *Batch) {
	if f.c.leased() {
		f.Store.Commit(batch)
		return
	}
	// Behind what was committed before, as the order of Done asks.
	f.Store.Commit(&Batch{Lazy: true, Chain: batch.Chain, refusal: errNotLeased, Done: func(_ *Batch, err error) {
		if batch.Done != nil {
			batch.Done(batch, err)
		}
	}})
}

// Receive implements BusReceiver.
func (c *cluster) Receive(from NodeID, note []byte) {
	r := fieldReader{b: note}
	switch c.kindOf(&r) {
	case noteAlive:
		c.heardAlive(from)
	case noteMessage, noteEvent, noteGroup, noteTransient:
		if a, ok := decodeTold(note); ok {
			wakeAll(c.b.deliverHere(a, nil))
			return
		}
	case noteWhere:
		c.heardWhere(&r)
	case noteAsk:
		c.heardAsk(from, &r)
	case noteAnswer:
		c.heardAnswer(&r)
	case noteTopic:
		c.heardTopic(&r)
	case noteShares:
		notify(c.shares.wake)
	default:
		c.b.log.Warn("a note of another node is of no known kind", "from", from)
	}
}

// heardAlive has this node look for all that a node did before it knew of this one, and so did not tell it: what that node does from
// now on it tells.
func (c *cluster) heardAlive(from NodeID) {
	if c.heard[from] {
		return
	}
	maps.DeleteFunc(c.heard, func(id NodeID, _ bool) bool { return !c.isLive(id) })
	c.heard[from] = true
	c.Lost(from)
}

// Lost implements BusReceiver.
func (c *cluster) Lost(from NodeID) {
	c.b.log.Debug("notes were lost; looking at the store", "from", from)
	notify(c.resync)
}

// notify leaves a signal, unless one is there already.
func notify(signal chan struct{}) {
	select {
	case signal <- struct{}{}:
	default:
	}
}

func (c *cluster) kindOf(r *fieldReader) noteKind {
	if len(r.b) == 0 {
		return 0
	}
	k := noteKind(r.b[0])
	r.b = r.b[1:]
	return k
}

// endAll ends every session of this node and waits until they are gone, for a while.
func (b *Broker) endAll(ctx context.Context) {
	deadline := time.NewTimer(endDeadline)
	defer deadline.Stop()
	look := time.NewTicker(endPoll)
	defer look.Stop()
	b.closeSessions(CloseShutdown, func(*Session) bool { return true })
	for b.counters.sessions.Load() > 0 {
		select {
		case <-look.C:
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
