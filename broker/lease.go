package broker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A node is alive while its record changes. Every node renews its own several times within a lease and looks at all of them once a
// second; whose record has not changed for a whole lease, by the looker's own clock, is declared dead in that record, by
// compare-and-set against the last value seen. The dead node's next renewal then conflicts. A node that could not renew writes nothing
// any more well before the lease ends, so wall clocks need not agree.

const (
	maxNodes = 1000
	// deadFor is how long the record of a dead node is kept: longer than any device that it left is remembered.
	deadFor = 32 * 24 * time.Hour
)

// nodeRecord is a node as it is stored, under SpaceNode.
type nodeRecord struct {
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	Started  int64  `json:"started"` // Unix milliseconds
	Sessions int64  `json:"sessions"`
	Ready    bool   `json:"ready"`
	Draining bool   `json:"draining,omitempty"`
	Beat     uint64 `json:"beat"`             // counts its renewals
	Gone     int64  `json:"gone,omitempty"`   // Unix milliseconds when it was declared dead, or left
	Left     bool   `json:"left,omitempty"`   // by itself: its clients are on their way to other nodes
	Buried   bool   `json:"buried,omitempty"` // what it left behind is cleared away
}

// knownNode is a node as this one sees it.
type knownNode struct {
	rec     nodeRecord
	value   []byte
	changed time.Time // when this node saw it change
	gone    bool      // its peers are no longer online through it
	burying bool      // this node clears away what it left behind
}

// nodeTable is what this node knows of all.
type nodeTable struct {
	mu     sync.Mutex
	known  map[NodeID]*knownNode
	looked time.Time // the last time all were read; zero after this node's own look failed
	live   atomic.Pointer[[]NodeID]
}

func nodeKey(id NodeID) Key { return Key{Space: SpaceNode, Owner: string(id)} }

// begin makes a new incarnation.
func (c *cluster) begin() {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	id := NodeID(c.b.node + "#" + hex.EncodeToString(b[:]))
	c.self.Store(&id)
}

func (c *cluster) record(beat uint64) nodeRecord {
	draining := c.drain.on.Load()
	return nodeRecord{
		Name: c.b.node, Version: c.b.version, Started: c.b.started, Sessions: c.b.counters.sessions.Load(),
		Ready: !c.b.stopped.Load() && !draining, Draining: draining, Beat: beat,
	}
}

// live renews the lease of self and looks at the other nodes, until ctx ends or the lease is lost.
func (c *cluster) live(ctx context.Context, self NodeID) {
	var held []byte
	beat := uint64(0)
	tick := time.NewTicker(c.lease / 10)
	defer tick.Stop()
	next := time.Time{}
	for {
		if now := time.Now(); !now.Before(next) {
			beat++
			lost := false
			if held, lost = c.renew(ctx, self, held, mustJSON(c.record(beat))); lost {
				c.until.Store(0)
				return
			}
			if held != nil {
				next = now.Add(c.lease / 5)
			}
			if beat == 1 {
				go c.supersede(ctx, self)
			}
		}
		if err := c.look(ctx); err != nil && ctx.Err() == nil {
			c.b.log.Warn("the nodes could not be read", "err", err)
			c.nodes.mu.Lock()
			c.nodes.looked = time.Time{}
			c.nodes.mu.Unlock()
		}
		for _, id := range c.others() {
			c.bus.Send(id, []byte{byte(noteAlive)})
		}
		select {
		case <-tick.C:
		case <-c.drain.changed:
			next = time.Time{}
		case <-ctx.Done():
			c.leave(self, held)
			return
		}
	}
}

// renew writes the node's record over the one it wrote last, and returns what stands now. The lease counts from when it began.
func (c *cluster) renew(ctx context.Context, self NodeID, held, value []byte) (now []byte, lost bool) {
	ctx, cancel := context.WithTimeout(ctx, c.lease/2)
	defer cancel()
	began := time.Since(c.base)
	w := Write{Key: nodeKey(self), Value: value, If: IfAbsent}
	if held != nil {
		w.If, w.Have = IfEqual, held
	}
	batch, err := commitTo(ctx, c.inner, &Batch{Writes: []Write{w}})
	if err != nil {
		if ctx.Err() == nil {
			c.b.log.Warn("the lease could not be renewed", "err", err)
		}
		return held, false
	}
	if w = batch.Writes[0]; w.Conflict {
		// An answer that got lost may have left the write of before.
		var rec nodeRecord
		if w.Current == nil || json.Unmarshal(w.Current, &rec) != nil || rec.Gone != 0 {
			return held, held != nil
		}
		return w.Current, false
	}
	c.until.Store(int64(began + c.lease*4/5))
	c.joinedOnce.Do(func() { close(c.joined) })
	return value, false
}

// leave tells the other nodes that this one is gone. What its clients held moves with them; who does not come back within a lease is
// then offline.
func (c *cluster) leave(self NodeID, held []byte) {
	if held == nil {
		return
	}
	c.until.Store(0)
	ctx, cancel := context.WithTimeout(context.Background(), c.lease/5)
	defer cancel()
	rec := c.record(0)
	rec.Gone, rec.Left = c.b.now().UnixMilli(), true
	w := Write{Key: nodeKey(self), Value: mustJSON(rec), If: IfEqual, Have: held, Expires: c.b.now().Add(deadFor).UnixMilli()}
	if _, err := commitTo(ctx, c.inner, &Batch{Writes: []Write{w}}); err != nil {
		c.b.log.Warn("the other nodes could not be told that this one leaves; they find out when its lease ends", "err", err)
	}
}

// look reads the records of all nodes and acts on what changed.
func (c *cluster) look(ctx context.Context) error {
	t := &c.nodes
	t.mu.Lock()
	defer t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, c.lease/4)
	defer cancel()
	records, err := c.inner.List(ctx, ListQuery{Space: SpaceNode, Limit: maxNodes})
	if err != nil {
		return err
	}
	now := time.Now()
	blind := now.Sub(t.looked) > c.lease/2 // the store was away, or this node stood still: others may not have been able to renew
	t.looked = now
	present := make(map[NodeID]bool, len(records))
	for _, r := range records {
		id := NodeID(r.Key.Owner)
		present[id] = true
		n := t.known[id]
		if n == nil {
			n = &knownNode{}
			t.known[id] = n
		}
		if blind || string(n.value) != string(r.Value) {
			n.rec = nodeRecord{}
			if err := json.Unmarshal(r.Value, &n.rec); err != nil {
				c.b.log.Warn("the record of a node does not parse", "node", id, "err", err)
			}
			n.value, n.changed = r.Value, now
		}
		if n.rec.Gone == 0 && id != c.id() && now.Sub(n.changed) >= c.lease {
			c.declare(ctx, id, n)
		}
	}
	for id, n := range t.known {
		if !present[id] {
			n.rec.Gone = max(n.rec.Gone, 1)
		}
	}
	c.settleNodes(now, present)
	return nil
}

// declare writes that a node is dead. t.mu is held.
func (c *cluster) declare(ctx context.Context, id NodeID, n *knownNode) {
	rec := n.rec
	rec.Gone = c.b.now().UnixMilli()
	w := Write{Key: nodeKey(id), Value: mustJSON(rec), If: IfEqual, Have: n.value, Expires: c.b.now().Add(deadFor).UnixMilli()}
	batch, err := commitTo(ctx, c.inner, &Batch{Writes: []Write{w}})
	if err != nil || batch.Writes[0].Conflict {
		return // looked at again in a moment
	}
	n.rec, n.value = rec, w.Value
	c.b.log.Warn("a node is dead: its lease ran out", "node", id)
}

// settleNodes takes leave of the nodes that are gone, and notes which are alive. t.mu is held.
func (c *cluster) settleNodes(now time.Time, present map[NodeID]bool) {
	var live []NodeID
	for id, n := range c.nodes.known {
		if n.rec.Gone == 0 {
			live = append(live, id)
			continue
		}
		if !n.gone && (!n.rec.Left || now.Sub(n.changed) >= c.lease) {
			n.gone = true
			go c.forgetNode(id)
			notify(c.resync) // of what it told last something may not have come
		}
		if !present[id] && n.gone {
			delete(c.nodes.known, id)
		}
	}
	slices.Sort(live)
	c.nodes.live.Store(&live)
	if len(live) > 0 && live[0] == c.id() {
		c.buryGone(present)
	}
}

// buryGone clears away what the nodes that are gone left behind. That is for the first of the live nodes; should it die over it, the next
// one begins again: every step can be done twice, and that all are done is written last. t.mu is held.
func (c *cluster) buryGone(present map[NodeID]bool) {
	for id, n := range c.nodes.known {
		if n.gone && !n.rec.Buried && !n.burying && present[id] {
			n.burying = true
			go c.bury(id, n)
		}
	}
}

// bury publishes the wills of a node that is gone, ends what its sessions left and clears its whereabouts away. What cannot be done is tried again with the next look.
func (c *cluster) bury(id NodeID, n *knownNode) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	dead := func(of string) bool { return of == string(id) }
	err := c.b.publishLeftWills(ctx, dead)
	if err == nil {
		err = c.b.endLeft(ctx, dead, c.goneAt(id))
	}
	if err == nil {
		err = c.clearWhereabouts(ctx, id)
	}
	c.nodes.mu.Lock()
	defer c.nodes.mu.Unlock()
	if err == nil {
		err = c.markBuried(ctx, id, n)
	}
	if err != nil && !errors.Is(err, ErrStoreClosed) {
		c.b.log.Warn("what a dead node left could not be cleared away; trying again", "node", id, "err", err)
	}
	n.burying = false
}

// markBuried writes that nothing is left of a node. The lock of the table is held.
func (c *cluster) markBuried(ctx context.Context, id NodeID, n *knownNode) error {
	ctx, cancel := context.WithTimeout(ctx, c.lease/4)
	defer cancel()
	rec := n.rec
	rec.Buried = true
	w := Write{Key: nodeKey(id), Value: mustJSON(rec), If: IfEqual, Have: n.value, Expires: c.b.now().Add(deadFor).UnixMilli()}
	batch, err := commitTo(ctx, c.inner, &Batch{Writes: []Write{w}})
	if err == nil && !batch.Writes[0].Conflict { // else another node did
		n.rec, n.value = rec, w.Value
	}
	return err
}

// supersede declares former incarnations under this node's name dead at once if they do not answer: the usual restart after a crash
// need not wait for the lease.
func (c *cluster) supersede(ctx context.Context, self NodeID) {
	const patience = 2 * time.Second
	if err := c.ping(ctx, self, patience); err != nil {
		return // the bus does not work: silence says nothing
	}
	for _, id := range c.others() {
		c.nodes.mu.Lock()
		n := c.nodes.known[id]
		same := n != nil && n.rec.Gone == 0 && n.rec.Name == c.b.node
		c.nodes.mu.Unlock()
		if !same || c.ping(ctx, id, patience) == nil {
			continue
		}
		c.nodes.mu.Lock()
		if n.rec.Gone == 0 {
			c.declare(ctx, id, n)
		}
		c.nodes.mu.Unlock()
	}
}

// others returns the live nodes but this one.
func (c *cluster) others() []NodeID {
	live := c.nodes.live.Load()
	if live == nil {
		return nil
	}
	self := c.id()
	return slices.DeleteFunc(slices.Clone(*live), func(id NodeID) bool { return id == self })
}

// isLive reports whether a node is alive as far as this one knows; one it never heard of may just have started.
func (c *cluster) isLive(id NodeID) bool {
	if id == c.id() {
		return true
	}
	live := c.nodes.live.Load()
	if live == nil {
		return false
	}
	_, found := slices.BinarySearch(*live, id)
	return found
}

// isGone reports whether a node is certainly gone: dead, left, or an earlier incarnation of which there is no record.
func (c *cluster) isGone(ctx context.Context, id NodeID) bool {
	if c.isLive(id) {
		return false
	}
	if err := c.look(ctx); err != nil {
		return false
	}
	return !c.isLive(id)
}

// goneAt returns when a node went, in Unix milliseconds; 0: not known.
func (c *cluster) goneAt(id NodeID) int64 {
	c.nodes.mu.Lock()
	defer c.nodes.mu.Unlock()
	if n := c.nodes.known[id]; n != nil {
		return n.rec.Gone
	}
	return 0
}

// Nodes lists the nodes that are up, in the order of their names.
func (b *Broker) Nodes(ctx context.Context) []NodeInfo {
	here := b.Node()
	here.Ready = b.Ready(ctx) == nil
	if b.cluster == nil {
		return []NodeInfo{here}
	}
	t := &b.cluster.nodes
	t.mu.Lock()
	defer t.mu.Unlock()
	list := []NodeInfo{here}
	for id, n := range t.known {
		if n.rec.Gone == 0 && id != b.cluster.id() {
			list = append(list, NodeInfo{n.rec.Name, n.rec.Version, n.rec.Started, n.rec.Sessions, n.rec.Ready, n.rec.Draining})
		}
	}
	slices.SortFunc(list, func(x, y NodeInfo) int { return cmpString(x.Name, y.Name) })
	return list
}

// commitTo commits batch to a store and waits for it, or for ctx: the batch may then still take effect.
func commitTo(ctx context.Context, s Store, batch *Batch) (*Batch, error) {
	done := make(chan error, 1)
	batch.Done = func(_ *Batch, err error) { done <- err }
	s.Commit(batch)
	select {
	case err := <-done:
		if err != nil {
			return nil, fmt.Errorf("commit: %w", err)
		}
		return batch, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
