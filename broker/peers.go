package broker

import (
	"context"
	"slices"
	"strings"
)

func seenKey(app AppID, p PeerID) Key {
	return Key{Space: SpacePeer, App: app, Owner: string(p), Name: seenName}
}

const seenName = "seen"

// Peers returns known peers in the order of their ids: those that ever opened a session.
func (b *Broker) Peers(ctx context.Context, app AppID, q PeersQuery) ([]PeerItem, error) {
	if _, err := b.app(app); err != nil {
		return nil, err
	}
	if q.Limit <= 0 {
		return []PeerItem{}, nil
	}
	switch {
	case q.Online == nil:
		return b.allPeers(ctx, app, &q)
	case *q.Online:
		online, err := b.onlinePeers(ctx, app, &q)
		if err != nil {
			return nil, err
		}
		return online, b.lastSeen(ctx, app, online)
	}
	return b.offlinePeers(ctx, app, q)
}

// offlinePeers returns the first q.Limit peers behind q.After that are known and not online. It passes over all that are.
func (b *Broker) offlinePeers(ctx context.Context, app AppID, q PeersQuery) ([]PeerItem, error) {
	items, limit := []PeerItem{}, q.Limit
	q.Limit = max(limit, offlinePage)
	for {
		page, err := b.allPeers(ctx, app, &q)
		if err != nil {
			return nil, err
		}
		more := len(page) == q.Limit
		if more {
			q.After = page[len(page)-1].Peer
		}
		items = append(items, slices.DeleteFunc(page, func(p PeerItem) bool { return p.Online })...)
		if !more || len(items) >= limit {
			return items[:min(len(items), limit)], nil
		}
	}
}

// offlinePage is how many peers are looked at at once for those offline: each look visits all that are connected.
const offlinePage = 1000

// allPeers returns the first q.Limit peers behind q.After.
func (b *Broker) allPeers(ctx context.Context, app AppID, q *PeersQuery) ([]PeerItem, error) {
	online, err := b.onlinePeers(ctx, app, q)
	if err != nil {
		return nil, err
	}
	known, err := b.knownPeers(ctx, app, q)
	if err != nil {
		return nil, err
	}
	// That a peer was seen is stored lazily: those that just came are not among the known yet.
	for _, p := range online {
		i, found := slices.BinarySearchFunc(known, p, comparePeers)
		if found {
			known[i].Online = true
		} else {
			known = slices.Insert(known, i, p)
		}
	}
	return known[:min(len(known), q.Limit)], nil
}

func comparePeers(x, y PeerItem) int { return cmpString(x.Peer, y.Peer) }

// knownPeers returns the first q.Limit peers behind q.After that the store knows.
func (b *Broker) knownPeers(ctx context.Context, app AppID, q *PeersQuery) ([]PeerItem, error) {
	items := []PeerItem{}
	after := Key{}
	if q.After != "" {
		after = seenKey(app, q.After)
	}
	for {
		page, err := b.store.List(ctx, ListQuery{Space: SpacePeer, App: app, Prefix: q.Prefix, After: after, Limit: max(q.Limit, pageSize)})
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			after = r.Key
			if r.Key.Name != seenName {
				continue
			}
			items = append(items, PeerItem{Peer: PeerID(r.Key.Owner), LastSeen: decodeTime(r.Value)})
			if len(items) == q.Limit {
				return items, nil
			}
		}
		if len(page) < max(q.Limit, pageSize) {
			return items, nil
		}
	}
}

// onlinePeers returns the first q.Limit peers behind q.After that are online. It visits all that are connected, but holds and sorts no
// more than two pages of them.
func (b *Broker) onlinePeers(ctx context.Context, app AppID, q *PeersQuery) ([]PeerItem, error) {
	if b.cluster != nil {
		return b.cluster.onlinePeers(ctx, app, q)
	}
	items := []PeerItem{}
	keep := func() {
		slices.SortFunc(items, comparePeers)
		items = items[:min(len(items), q.Limit)]
	}
	last := PeerID("") // of a whole page; what is behind it is of no interest
	for i := range b.shards {
		sh := &b.shards[i]
		sh.mu.Lock()
		for key, p := range sh.peers {
			if !p.online || key.app != app || key.peer <= q.After || last != "" && key.peer > last || !strings.HasPrefix(string(key.peer), q.Prefix) {
				continue
			}
			items = append(items, PeerItem{Peer: key.peer, Online: true, LastSeen: p.changed})
			if len(items) >= 2*q.Limit {
				keep()
				last = items[len(items)-1].Peer
			}
		}
		sh.mu.Unlock()
	}
	keep()
	return items, nil
}

// onlinePeers does that for all nodes, from their whereabouts.
func (c *cluster) onlinePeers(ctx context.Context, app AppID, q *PeersQuery) ([]PeerItem, error) {
	items := []PeerItem{}
	after := Key{}
	if q.After != "" {
		after = whereKey(peerKey{app, q.After})
	}
	limit := max(q.Limit, pageSize)
	for {
		page, err := c.b.store.List(ctx, ListQuery{Space: SpaceWhere, App: app, Prefix: q.Prefix, After: after, Limit: limit})
		if err != nil {
			return nil, err
		}
		for _, r := range page {
			after = r.Key
			if r.Key.Name == "p" && slices.ContainsFunc(decodeWhere(r.Value), func(h held) bool { return !c.knownGone(h.node) }) {
				if items = append(items, PeerItem{Peer: PeerID(r.Key.Owner), Online: true}); len(items) == q.Limit {
					return items, c.b.lastSeen(ctx, app, items)
				}
			}
		}
		if len(page) < limit {
			return items, c.b.lastSeen(ctx, app, items)
		}
	}
}

// lastSeen puts in when peers were last seen, as far as the store knows.
func (b *Broker) lastSeen(ctx context.Context, app AppID, items []PeerItem) error {
	if len(items) == 0 {
		return nil
	}
	keys := make([]Key, len(items))
	for i, p := range items {
		keys[i] = seenKey(app, p.Peer)
	}
	values, err := b.store.Get(ctx, keys)
	for i, v := range values {
		if v != nil {
			items[i].LastSeen = decodeTime(v)
		}
	}
	return err
}

// Peer returns what is known of one peer; false: it was never seen and nothing waits for it.
func (b *Broker) Peer(ctx context.Context, app AppID, peer PeerID) (PeerStatus, bool, error) {
	st := PeerStatus{Peer: peer, Sessions: []SessionInfo{}, Groups: []GroupID{}}
	if _, err := b.app(app); err != nil {
		return st, false, err
	}
	values, err := b.store.Get(ctx, []Key{seenKey(app, peer)})
	if err != nil {
		return st, false, err
	}
	st.LastSeen = decodeTime(values[0])
	online, err := b.Online(ctx, app, []PeerID{peer})
	if err != nil {
		return st, false, err
	}
	st.Online = len(online) > 0
	if st.Groups, _, err = b.groupsOf(ctx, app, peer, "", maxGroupsListed); err != nil {
		return st, false, err
	}
	if st.Sessions, err = b.sessionsEverywhere(ctx, peerKey{app, peer}); err != nil {
		return st, false, err
	}
	records, err := b.store.List(ctx, ListQuery{Space: SpaceDevice, App: app, Owner: string(peer), Limit: maxDeviceRecords})
	if err != nil {
		return st, false, err
	}
	for _, r := range records {
		device := DeviceID(r.Key.Name)
		rec := decodeDevice(r.Value)
		if rec == nil || slices.ContainsFunc(st.Sessions, func(i SessionInfo) bool { return i.Device == device }) {
			continue
		}
		st.Sessions = append(st.Sessions, SessionInfo{
			Device: device, Address: rec.Address, Protocol: rec.Protocol, Since: rec.Since, Watch: append([]PeerID{}, rec.Watch...),
		})
	}
	for i := range st.Sessions {
		waiting, err := b.countFor(ctx, app, peer, st.Sessions[i].Device, "")
		if err != nil {
			return st, false, err
		}
		st.Sessions[i].Waiting = waiting
		st.Waiting = max(st.Waiting, waiting)
	}
	if len(st.Sessions) == 0 {
		if st.Waiting, err = b.countFor(ctx, app, peer, "", ""); err != nil {
			return st, false, err
		}
	}
	return st, st.LastSeen != 0 || st.Online || st.Waiting > 0 || b.isLeaving(peerKey{app, peer}), nil
}

// sessionInfos describes the peer's sessions that are connected here.
func (b *Broker) sessionInfos(key peerKey) []SessionInfo {
	infos := []SessionInfo{}
	for _, s := range b.connected(key, nil) {
		infos = append(infos, SessionInfo{
			Device: s.device, Connected: true, Node: b.node, Address: s.remote, Protocol: s.protocol(), Since: s.since, Watch: s.watchedPeers(),
		})
	}
	return infos
}

// sessionsEverywhere describes those that are connected to any node.
func (b *Broker) sessionsEverywhere(ctx context.Context, key peerKey) ([]SessionInfo, error) {
	infos := b.sessionInfos(key)
	if b.cluster == nil {
		return infos, nil
	}
	nodes, _, err := b.cluster.nodesHolding(ctx, whereKey(key))
	if err != nil {
		return nil, err
	}
	err = b.cluster.askAll(ctx, nodes, askSessions, &question{App: key.app, Peer: key.peer}, func(r *reply) {
		infos = append(infos, r.Sessions...)
	})
	return infos, err
}
