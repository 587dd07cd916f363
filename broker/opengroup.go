package broker

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
)

// An open group is known by who is connected: a count, no list, no notices, no queue (spec 7). That a peer is in one is a single
// record of the peer's, which lets it rejoin.

// openMembership is the open group a peer is in.
type openMembership struct {
	Group GroupID `json:"group"`
	Until int64   `json:"until,omitempty"` // Unix milliseconds; 0 while the peer is connected
}

func openKey(app AppID, p PeerID) Key {
	return Key{Space: SpacePeer, App: app, Owner: string(p), Name: "open"}
}

// joinOpen makes the peer of s a member of an open group, and of no other.
func (b *Broker) joinOpen(ctx context.Context, s *Session, k groupKey) error {
	_, err := b.commit(ctx, &Batch{Lazy: true, Writes: []Write{{Key: openKey(k.app, s.peer), Value: mustJSON(openMembership{Group: k.group})}}})
	if err != nil {
		return err
	}
	b.enterOpen(s.key(), k)
	if b.cluster != nil {
		return b.cluster.tellOpenGroup(ctx, s.key(), k.group, true)
	}
	return nil
}

// enterOpen makes the peer's sessions here hear an open group, and no other.
func (b *Broker) enterOpen(key peerKey, k groupKey) {
	for _, o := range b.connected(key, nil) {
		for _, g := range o.openGroups() {
			if g != k.group {
				b.quitGroup(o, groupKey{k.app, g})
			}
		}
		b.enterGroup(o, k, true)
	}
	if b.cluster != nil {
		b.cluster.announce([]groupKey{k})
	}
}

// countOpen counts the members of an open group: the peers that are connected.
func (b *Broker) countOpen(ctx context.Context, k groupKey) (int, error) {
	n := b.openCount(k)
	if b.cluster == nil {
		return n, nil
	}
	nodes, _, err := b.cluster.nodesHolding(ctx, groupWhereKey(k))
	if err != nil {
		return 0, err
	}
	err = b.cluster.askAll(ctx, nodes, askCount, &question{App: k.app, Group: k.group}, func(r *reply) { n += r.Count })
	return n, err
}

// openCount counts those that are connected here. A peer that is at several nodes counts at the first of them.
func (b *Broker) openCount(k groupKey) (n int) {
	sh := b.groupShardOf(k)
	sh.mu.Lock()
	live := sh.groups[k]
	if live == nil {
		sh.mu.Unlock()
		return 0
	}
	if b.cluster == nil {
		defer sh.mu.Unlock()
		return len(live.peers)
	}
	peers := slices.Collect(maps.Keys(live.peers))
	sh.mu.Unlock()
	for _, p := range peers {
		if b.cluster.isFirst(peerKey{k.app, p}) {
			n++
		}
	}
	return n
}

// leaveOpen takes peers out of an open group.
func (b *Broker) leaveOpen(ctx context.Context, k groupKey, peers []PeerID) (left []PeerID, err error) {
	left = []PeerID{}
	var writes []Write
	for _, p := range peers {
		was, err := b.leaveOpenElsewhere(ctx, peerKey{k.app, p}, k.group)
		if err != nil {
			return nil, err
		}
		for _, s := range b.connected(peerKey{k.app, p}, nil) {
			if s.inGroup(k.group) {
				was = true
				b.quitGroup(s, k)
			}
		}
		if was {
			left = append(left, p)
			writes = append(writes, Write{Key: openKey(k.app, p)})
		}
	}
	if len(writes) > 0 {
		_, err = b.commit(ctx, &Batch{Lazy: true, Writes: writes})
	}
	return left, err
}

// leaveOpenElsewhere does that for the peer's sessions at other nodes; it reports whether the peer is in the group there.
func (b *Broker) leaveOpenElsewhere(ctx context.Context, key peerKey, g GroupID) (was bool, err error) {
	if b.cluster == nil {
		return false, nil
	}
	in, err := b.isInOpen(ctx, key, g)
	if err != nil || !in {
		return false, err
	}
	return true, b.cluster.tellOpenGroup(ctx, key, g, false)
}

// isInOpen reports whether a peer is in an open group and connected to any node.
func (b *Broker) isInOpen(ctx context.Context, key peerKey, g GroupID) (bool, error) {
	if err := b.cluster.ensure(ctx, key.app, []PeerID{key.peer}); err != nil {
		return false, err
	}
	values, err := b.store.Get(ctx, []Key{openKey(key.app, key.peer)})
	if err != nil || values[0] == nil {
		return false, err
	}
	var m openMembership
	if err := json.Unmarshal(values[0], &m); err != nil {
		return false, err
	}
	return m.Group == g && b.isOnline(key), nil
}

func (s *Session) inOpenGroup(g GroupID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.groups[g]
}

func (s *Session) openGroups() (groups []GroupID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g, open := range s.groups {
		if open {
			groups = append(groups, g)
		}
	}
	return groups
}

// rejoinOpen lets a session of a peer that was in an open group, lately or on another device, be in it again.
func (b *Broker) rejoinOpen(ctx context.Context, s *Session) error {
	values, err := b.store.Get(ctx, []Key{openKey(s.app.id, s.peer)})
	if err != nil || values[0] == nil {
		return err
	}
	var m openMembership
	if err := json.Unmarshal(values[0], &m); err != nil {
		return err
	}
	if m.Until != 0 && m.Until < b.now().UnixMilli() {
		return nil
	}
	k := groupKey{s.app.id, m.Group}
	if g, _, err := b.group(ctx, k); err != nil || !g.Open {
		return nil //nolint:nilerr // the group is gone: there is nothing to rejoin
	}
	b.enterGroup(s, k, true)
	if b.cluster != nil {
		b.cluster.announce([]groupKey{k})
	}
	if m.Until != 0 {
		b.commitLazily(&Batch{Writes: []Write{{Key: openKey(s.app.id, s.peer), Value: mustJSON(openMembership{Group: m.Group})}}}, nil)
	}
	return nil
}

// openEnded notes, with a peer's last connection, until when it may rejoin.
func (b *Broker) openEnded(s *Session) []Write {
	groups := s.openGroups()
	if len(groups) == 0 || len(b.connected(s.key(), nil)) > 0 || b.cluster != nil && b.cluster.isAway(s.key()) {
		return nil
	}
	until := b.now().Add(rejoinFor).UnixMilli()
	return []Write{{Key: openKey(s.app.id, s.peer), Value: mustJSON(openMembership{groups[0], until}), Expires: until}}
}
