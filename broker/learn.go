package broker

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// learnAtOnce is how many records are read together.
	learnAtOnce = 500
	// maxUntold bounds what waits for its receivers' whereabouts; past it nodes find it by their comparison.
	maxUntold = 16384
	// forgetAfter is how long, in seconds, the whereabouts of who is neither here nor watched are kept after they were used.
	forgetAfter = 60
)

// learner reads whereabouts: of peers that are here, watched from here or sent to from here, and of groups with members here or sent to.
// One goroutine reads, so that what was read later stands.
type learner struct {
	mu      sync.Mutex
	keys    map[Key]struct{}
	waiting []Append // to be told once it is known where to
	wake    chan struct{}
}

// add has a record read again.
func (l *learner) add(keys ...Key) {
	l.mu.Lock()
	if l.keys == nil {
		l.keys = make(map[Key]struct{})
	}
	for _, k := range keys {
		l.keys[k] = struct{}{}
	}
	l.mu.Unlock()
	notify(l.wake)
}

// await has a told again once keys were read.
func (l *learner) await(a Append, keys []Key) {
	l.mu.Lock()
	if len(l.waiting) < maxUntold {
		l.waiting = append(l.waiting, a)
	}
	l.mu.Unlock()
	l.add(keys...)
}

func (l *learner) take() (keys []Key, waiting []Append) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.keys {
		keys = append(keys, k)
	}
	l.keys = nil
	waiting, l.waiting = l.waiting, nil
	return keys, waiting
}

func (c *cluster) learnLoop(ctx context.Context) {
	for {
		select {
		case <-c.learn.wake:
		case <-ctx.Done():
			return
		}
		keys, waiting := c.learn.take()
		if err := c.learnAll(ctx, keys); err != nil && ctx.Err() == nil {
			c.b.log.Warn("whereabouts could not be read; trying again", "err", err)
			c.learn.add(keys...)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
		for i := range waiting {
			c.tellKnown(&waiting[i])
		}
	}
}

func (c *cluster) learnAll(ctx context.Context, keys []Key) error {
	for len(keys) > 0 {
		part := keys[:min(len(keys), learnAtOnce)]
		keys = keys[len(part):]
		ctx, cancel := context.WithTimeout(ctx, requestDeadline)
		values, err := c.b.store.Get(ctx, part)
		cancel()
		if err != nil {
			return err
		}
		for i, k := range part {
			if k.Name == "g" {
				c.learnedGroup(groupKey{k.App, GroupID(k.Owner)}, values[i])
			} else {
				c.learned(peerKey{k.App, PeerID(k.Owner)}, values[i])
			}
		}
	}
	return nil
}

// elsewhere returns the lines of other nodes that are not known to be gone.
func (c *cluster) elsewhere(value []byte) (away []held) { return c.notHere(decodeWhere(value)) }

func (c *cluster) notHere(list []held) (away []held) {
	for _, h := range list {
		if h.node != c.id() && !c.knownGone(h.node) {
			away = append(away, h)
		}
	}
	return away
}

// learned takes what a peer's whereabouts say.
func (c *cluster) learned(key peerKey, value []byte) {
	away := c.elsewhere(value)
	sh := c.b.shardOf(key)
	sh.mu.Lock()
	p := sh.peers[key]
	if p == nil {
		sh.mu.Unlock()
		return
	}
	p.away, p.known = away, true
	if len(p.sessions) > 0 {
		for _, h := range away {
			if !p.knows(h.device) {
				p.devices = append(p.devices, h.device)
			}
		}
	}
	var wake []*Session
	if len(away) > 0 || !c.isHere(value) { // a line of this node is a session on its way, or one whose end is held back
		wake = c.b.heardAway(sh, p, 0)
	}
	sh.mu.Unlock()
	wakeAll(wake)
}

// isHere reports whether this node holds a device of the peer.
func (c *cluster) isHere(value []byte) bool {
	return slices.ContainsFunc(decodeWhere(value), func(h held) bool { return h.node == c.id() })
}

// learnedGroup takes what a group's whereabouts say.
func (c *cluster) learnedGroup(k groupKey, value []byte) {
	var nodes []NodeID
	for _, h := range c.elsewhere(value) {
		nodes = append(nodes, h.node)
	}
	sh := c.b.groupShardOf(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if live := sh.groups[k]; live != nil {
		live.nodes, live.known = nodes, true
	}
}

// ensure makes sure that the whereabouts of peers are known, before they are watched.
func (c *cluster) ensure(ctx context.Context, app AppID, peers []PeerID) error {
	var keys []Key
	for _, p := range peers {
		key := peerKey{app, p}
		sh := c.b.shardOf(key)
		sh.mu.Lock()
		e := sh.get(key)
		e.used = c.seconds()
		if !e.known {
			keys = append(keys, whereKey(key))
		}
		sh.mu.Unlock()
	}
	for len(keys) > 0 {
		part := keys[:min(len(keys), learnAtOnce)]
		keys = keys[len(part):]
		values, err := c.b.store.Get(ctx, part)
		if err != nil {
			return err
		}
		for i, k := range part {
			key := peerKey{app, PeerID(k.Owner)}
			if !c.isKnown(key) { // else the learner read it since
				c.learned(key, values[i])
			}
		}
	}
	return nil
}

// ensureKnown does that where there is a cluster. What could not be read now is learned once the store answers.
func (b *Broker) ensureKnown(app AppID, peers []PeerID) {
	if b.cluster == nil || len(peers) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestDeadline)
	defer cancel()
	if err := b.cluster.ensure(ctx, app, peers); err != nil {
		b.log.Warn("whereabouts could not be read; trying again", "app", app, "err", err)
		for _, p := range peers {
			b.cluster.learn.add(whereKey(peerKey{app, p}))
		}
	}
}

func (c *cluster) isKnown(key peerKey) bool {
	sh := c.b.shardOf(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.peers[key]
	return p == nil || p.known
}

// seconds is the time for what is forgotten when unused.
func (c *cluster) seconds() int64 { return int64(time.Since(c.base)/time.Second) + 1 }

// forgetUnused drops whereabouts that nobody needed for a while, and this node from those of groups of which it holds nobody any more.
func (c *cluster) forgetUnused(ctx context.Context) {
	before := c.seconds() - forgetAfter
	for i := range c.b.shards {
		sh := &c.b.shards[i]
		sh.mu.Lock()
		for _, p := range sh.peers {
			if p.used != 0 && p.used < before {
				p.used = 0
				sh.release(p)
			}
		}
		sh.mu.Unlock()
	}
	var left []groupKey
	for i := range c.b.groups {
		sh := &c.b.groups[i]
		sh.mu.Lock()
		for k, live := range sh.groups {
			if len(live.sessions) > 0 || live.used >= before {
				continue
			}
			delete(sh.groups, k)
			if live.announced {
				left = append(left, k)
			}
		}
		sh.mu.Unlock()
	}
	for _, k := range left {
		if ctx.Err() != nil {
			return
		}
		c.withdraw(ctx, k)
	}
}

// forgetNode makes the peers of a node that is gone offline for who watches them here.
func (c *cluster) forgetNode(id NodeID) {
	for i := range c.b.shards {
		sh := &c.b.shards[i]
		var wake []*Session
		sh.mu.Lock()
		for _, p := range sh.peers {
			n := len(p.away)
			var left []held
			for _, h := range p.away {
				if h.node != id {
					left = append(left, h)
				}
			}
			if len(left) == n {
				continue
			}
			p.away = left
			hold := time.Duration(0)
			if cfg, ok := c.b.App(p.key.app); ok {
				hold = cfg.Presence.Grace
			}
			wake = append(wake, c.b.heardAway(sh, p, hold)...)
		}
		sh.mu.Unlock()
		wakeAll(wake)
	}
}
