package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// A node that is drained takes no new sessions and asks those that it has to go on at other nodes, some each second, so that the others
// are not stormed. A session that is moved keeps its line in the whereabouts until its client comes back at another node, or for a lease:
// its watchers see nothing of the move.

// DefaultDrainPerSecond is how many sessions a drained node moves in a second: 10,000 in 20 s.
const DefaultDrainPerSecond = 500

const (
	// drainLook is how often a drained node looks whether sessions are left, or came in at the last moment.
	drainLook = 100 * time.Millisecond
	// drainTell is how often the log says how far it is.
	drainTell = 5 * time.Second
)

// ErrDraining refuses a session at a node that is drained: another takes it.
var ErrDraining = Errorf(Internal, "this server is being drained; connect to another")

// What DrainNode refuses.
var (
	ErrNoNode    = errors.New("there is no node of that name")
	ErrManyNodes = errors.New("several nodes have that name; give each its own in node.name")
	ErrNoRefuge  = errors.New("no other node is ready to take the clients over")
)

// drain is a node's own part of it.
type drain struct {
	on        atomic.Bool
	wake      chan struct{} // on changed: for the goroutine that moves
	changed   chan struct{} // the same, for the one that tells the other nodes
	perSecond int
}

// DrainNode has a node of the cluster drained, or ends that, and returns how it stands. To ask again changes nothing and tells how far it
// is. Errors are ErrNoNode, ErrManyNodes, ErrNoRefuge, or that the node does not answer.
func (b *Broker) DrainNode(ctx context.Context, name string, on bool) (NodeInfo, error) {
	if name == b.node {
		return b.drainHere(on)
	}
	if b.cluster == nil {
		return NodeInfo{}, ErrNoNode
	}
	ids := b.cluster.named(name)
	switch {
	case len(ids) == 0:
		return NodeInfo{}, ErrNoNode
	case len(ids) > 1:
		return NodeInfo{}, ErrManyNodes
	}
	ctx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	kind := askDrain
	if !on {
		kind = askUndrain
	}
	r, err := b.cluster.ask(ctx, ids[0], kind, &question{})
	switch {
	case err != nil:
		return NodeInfo{}, fmt.Errorf("ask node %s: %w", name, err)
	case r.Node == nil:
		return NodeInfo{}, ErrNoRefuge
	}
	b.cluster.heardDrain(ids[0], on)
	return *r.Node, nil
}

// heardDrain takes up what a node answered before its record tells it.
func (c *cluster) heardDrain(id NodeID, on bool) {
	c.nodes.mu.Lock()
	defer c.nodes.mu.Unlock()
	if n := c.nodes.known[id]; n != nil {
		n.rec.Draining, n.rec.Ready = on, !on
	}
}

// Drain asks the sessions of this node to go on at others, and returns when none is left or ctx ended. Without another node that is ready
// it returns ErrNoRefuge at once.
func (b *Broker) Drain(ctx context.Context) error {
	if _, err := b.drainHere(true); err != nil {
		return err
	}
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for b.counters.sessions.Load() > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (b *Broker) drainHere(on bool) (NodeInfo, error) {
	c := b.cluster
	switch {
	case c == nil && on, on && !c.drain.on.Load() && !c.hasRefuge():
		return NodeInfo{}, ErrNoRefuge
	case c != nil && c.drain.on.CompareAndSwap(!on, on):
		b.log.Info("draining", "on", on, "sessions", b.counters.sessions.Load())
		notify(c.drain.wake)
		notify(c.drain.changed)
	}
	n := b.Node()
	n.Ready = !on
	return n, nil
}

// draining reports whether this node is being drained, or was.
func (b *Broker) draining() bool { return b.cluster != nil && b.cluster.drain.on.Load() }

// drainLoop moves sessions while the node is drained.
func (c *cluster) drainLoop(ctx context.Context) {
	for {
		select {
		case <-c.drain.wake:
		case <-ctx.Done():
			return
		}
		c.moveAll(ctx)
	}
}

func (c *cluster) moveAll(ctx context.Context) {
	pace := rate.NewLimiter(rate.Limit(c.drain.perSecond), max(1, c.drain.perSecond/10))
	look := time.NewTicker(drainLook)
	defer look.Stop()
	moved, told, done := 0, time.Now(), false
	for c.drain.on.Load() {
		for _, s := range c.b.allSessions() {
			if s.moving.Load() {
				continue
			}
			if pace.Wait(ctx) != nil || !c.drain.on.Load() {
				return
			}
			s.moving.Store(true)
			s.link.Close(CloseMoved)
			moved, done = moved+1, false
			if time.Since(told) >= drainTell {
				told = time.Now()
				c.b.log.Info("draining goes on", "moved", moved, "left", c.b.counters.sessions.Load())
			}
		}
		if !done && c.b.counters.sessions.Load() == 0 {
			done = true
			c.b.log.Info("drained", "moved", moved)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// hasRefuge reports whether another node could take sessions over.
func (c *cluster) hasRefuge() bool {
	c.nodes.mu.Lock()
	defer c.nodes.mu.Unlock()
	for id, n := range c.nodes.known {
		if id != c.id() && n.rec.Gone == 0 && n.rec.Ready {
			return true
		}
	}
	return false
}

// named returns the other live nodes of a name.
func (c *cluster) named(name string) (ids []NodeID) {
	c.nodes.mu.Lock()
	defer c.nodes.mu.Unlock()
	for id, n := range c.nodes.known {
		if id != c.id() && n.rec.Gone == 0 && n.rec.Name == name {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
