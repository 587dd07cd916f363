package broker

import (
	"context"
	"errors"
	"slices"
	"time"
)

// announce tells, in the background, that members of groups are connected to this node.
func (c *cluster) announce(keys []groupKey) {
	var fresh []Key
	for _, k := range keys {
		sh := c.b.groupShardOf(k)
		sh.mu.Lock()
		if live := sh.groups[k]; live != nil && !live.announced {
			live.announced = true
			fresh = append(fresh, groupWhereKey(k))
		}
		sh.mu.Unlock()
	}
	if len(fresh) > 0 {
		go c.announceAll(fresh)
	}
}

// forgetAnnounced has groups announced again: an earlier incarnation of this node was in their records.
func (c *cluster) forgetAnnounced() {
	for i := range c.b.groups {
		sh := &c.b.groups[i]
		sh.mu.Lock()
		for _, live := range sh.groups {
			live.announced = false
		}
		sh.mu.Unlock()
	}
}

func (c *cluster) announceAll(keys []Key) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	self := c.id()
	mine := held{node: self, claim: string(self) + "\x02"}
	for len(keys) > 0 {
		part := keys[:min(len(keys), learnAtOnce)]
		if err := c.enterAll(ctx, part, mine); err != nil {
			if ctx.Err() != nil || errors.Is(err, ErrStoreClosed) {
				c.b.log.Warn("groups here could not be told to other nodes; messages of others come with a delay", "err", err)
				return
			}
			c.b.log.Debug("groups here could not be told to other nodes yet", "err", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		keys = keys[len(part):]
	}
}

// enterAll adds this node's line to records of groups, and looks for what came meanwhile.
func (c *cluster) enterAll(ctx context.Context, keys []Key, mine held) error {
	values, err := c.b.store.Get(ctx, keys)
	if err != nil {
		return err
	}
	left := keys
	for len(left) > 0 {
		var writes []Write
		for i, k := range left {
			list := decodeWhere(values[i])
			if slices.ContainsFunc(list, func(h held) bool { return h.node == mine.node }) {
				continue
			}
			list = slices.DeleteFunc(list, func(h held) bool { return c.knownGone(h.node) })
			writes = append(writes, condition(k, values[i], encodeWhere(append(list, mine))))
		}
		if len(writes) == 0 {
			break
		}
		batch, err := c.b.commit(ctx, &Batch{Writes: writes})
		if err != nil {
			return err
		}
		left, values = nil, nil
		for _, w := range batch.Writes {
			if w.Conflict {
				left, values = append(left, w.Key), append(values, w.Current)
			}
		}
	}
	c.learn.add(keys...)
	for _, k := range keys {
		c.tellWhere(k)
		g := groupKey{k.App, GroupID(k.Owner)}
		if live := c.b.liveHere(g); live != nil {
			live.sequence.mu.Lock()
			c.b.catchUpGroup(g, live)
			live.sequence.mu.Unlock()
		}
	}
	return nil
}

// withdraw takes this node's line out of a group's record.
func (c *cluster) withdraw(ctx context.Context, k groupKey) {
	ctx, cancel := context.WithTimeout(ctx, requestDeadline)
	defer cancel()
	self := c.id()
	err := c.changeWhere(ctx, groupWhereKey(k), func(list []held) ([]held, bool) {
		if c.b.liveHere(k) != nil {
			return nil, false // somebody came in again
		}
		n := len(list)
		list = slices.DeleteFunc(list, func(h held) bool { return h.node == self })
		return list, len(list) < n
	})
	if err != nil && !errors.Is(err, ErrStoreClosed) {
		c.b.log.Warn("whereabouts of a group could not be stored", "app", k.app, "group", k.group, "err", err)
	}
	sh := c.b.groupShardOf(k)
	sh.mu.Lock()
	live := sh.groups[k]
	if live != nil { // in the instant between, when the line was still there and looked announced
		live.announced = false
	}
	sh.mu.Unlock()
	if live != nil {
		c.announce([]groupKey{k})
	}
}

// tellOpenGroup has the other nodes that a peer is connected to take it into an open group, or out of it; of an open group that ends all
// nodes are told, with no peer. It returns when they did. A node that does not answer is passed over: what it holds comes back
// in, or not, when it connects again.
func (c *cluster) tellOpenGroup(ctx context.Context, key peerKey, g GroupID, in bool) error {
	nodes := c.others()
	if key.peer != "" {
		var err error
		if nodes, _, err = c.nodesHolding(ctx, whereKey(key)); err != nil { // what is learned may lag behind
			return err
		}
	}
	q := &question{App: key.app, Peer: key.peer, Group: g, In: in}
	if err := c.askAll(ctx, nodes, askOpenGroup, q, func(*reply) {}); err != nil {
		c.b.log.Warn("another node could not be told about an open group", "app", key.app, "group", g, "err", err)
	}
	return nil
}

// changeOpenGroup answers tellOpenGroup.
func (b *Broker) changeOpenGroup(key peerKey, k groupKey, in bool) {
	if in {
		b.enterOpen(key, k)
		return
	}
	var sessions []*Session
	if key.peer == "" {
		sessions, _ = b.liveSessions(k)
	} else {
		sessions = b.connected(key, nil)
	}
	for _, s := range sessions {
		b.quitGroup(s, k)
	}
}
