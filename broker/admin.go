package broker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
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
	online := b.onlinePeers(app, &q)
	if q.Online {
		return online, b.lastSeen(ctx, app, online)
	}
	known, err := b.knownPeers(ctx, app, &q)
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
func (b *Broker) onlinePeers(app AppID, q *PeersQuery) []PeerItem {
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
	return items
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
	st.Online = b.isOnline(peerKey{app, peer})
	if st.Groups, _, err = b.groupsOf(ctx, app, peer, "", maxGroupsListed); err != nil {
		return st, false, err
	}
	for _, s := range b.connected(peerKey{app, peer}, nil) {
		st.Sessions = append(st.Sessions, SessionInfo{
			Device: s.device, Connected: true, Node: b.node, Address: s.remote, Protocol: s.protocol(), Since: s.since, Watch: s.watchedPeers(),
		})
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
		ids, err := b.waitingIDs(ctx, app, peer, st.Sessions[i].Device)
		if err != nil {
			return st, false, err
		}
		st.Sessions[i].Waiting = len(ids)
		st.Waiting = max(st.Waiting, len(ids))
	}
	if len(st.Sessions) == 0 {
		ids, err := b.waitingIDs(ctx, app, peer, "")
		if err != nil {
			return st, false, err
		}
		st.Waiting = len(ids)
	}
	return st, st.LastSeen != 0 || st.Online || st.Waiting > 0 || b.isLeaving(peerKey{app, peer}), nil
}

// Queue returns what waits for a peer, oldest first: for the device, or, when that is empty, for the one with the most waiting.
func (b *Broker) Queue(ctx context.Context, app AppID, peer PeerID, device DeviceID) ([]HistoryItem, error) {
	if _, err := b.app(app); err != nil {
		return nil, err
	}
	devices := []DeviceID{device}
	if device == "" {
		records, err := b.store.List(ctx, ListQuery{Space: SpaceDevice, App: app, Owner: string(peer), Limit: maxDeviceRecords})
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			devices = append(devices, DeviceID(r.Key.Name))
		}
		if len(devices) > 1 {
			devices = devices[1:]
		}
	}
	var most []MessageID
	for _, d := range devices {
		ids, err := b.waitingIDs(ctx, app, peer, d)
		if err != nil {
			return nil, err
		}
		if len(ids) > len(most) {
			most = ids
		}
	}
	messages, err := b.store.Messages(ctx, app, most)
	if err != nil {
		return nil, err
	}
	now := b.now().UnixMilli()
	messages = slices.DeleteFunc(messages, func(m *Message) bool { return m == nil || m.Kind != KindMessage || m.Expired(now) })
	return b.historyItems(ctx, app, messages)
}

// waitingIDs returns what waits for a device, oldest first, as an open of it now would find. For a connected device it is what it has
// not acknowledged.
func (b *Broker) waitingIDs(ctx context.Context, app AppID, peer PeerID, device DeviceID) ([]MessageID, error) {
	a, err := b.app(app)
	if err != nil {
		return nil, err
	}
	probe := &Session{b: b, app: a, peer: peer, device: device, far: &furthest{}}
	joined, err := b.memberships(ctx, app, peer)
	if err != nil {
		return nil, err
	}
	probe.out.logs = []*logState{{id: LogID{LogInbox, app, string(peer)}, behind: true}}
	for g := range joined {
		probe.out.logs = append(probe.out.logs, &logState{id: groupLog(groupKey{app, GroupID(g)}), behind: true})
	}
	sh := b.shardOf(probe.key())
	sh.mu.Lock()
	var old *Session
	if p := sh.peers[probe.key()]; p != nil {
		old = p.sessionOf(device)
	}
	sh.mu.Unlock()
	st, err := b.deviceState(ctx, probe, old)
	if err != nil {
		return nil, err
	}
	st.joined = joined
	if err := b.plan(ctx, probe, st, false); err != nil {
		return nil, err
	}
	var ids []MessageID
	for _, l := range probe.out.logs {
		entries, err := b.remaining(ctx, l)
		if err != nil {
			return nil, err
		}
		ids = append(ids, entries...)
	}
	slices.SortFunc(ids, MessageID.Compare)
	return ids, nil
}

// remaining lists what a planned log still holds for its session.
func (b *Broker) remaining(ctx context.Context, l *logState) (ids []MessageID, err error) {
	from := l.loaded
	for from.N < l.head {
		if l.gap.from != 0 && from.N+1 >= l.gap.from && from.N < l.gap.to.N {
			from = l.gap.to
		}
		entries, err := b.store.Read(ctx, l.id, Range{After: from.ID, Limit: 1000})
		if err != nil || len(entries) == 0 {
			return ids, err
		}
		for _, e := range entries {
			if e.Kind != KindMessage {
				from = Position{e.N, e.ID}
				continue
			}
			if l.gap.from != 0 && e.N >= l.gap.from && e.N <= l.gap.to.N {
				break
			}
			ids = append(ids, e.ID)
			from = Position{e.N, e.ID}
		}
	}
	return ids, nil
}

// ClearQueue empties a peer's offline queue: all its devices, and a new one, start behind what waits. It returns how many waited.
func (b *Broker) ClearQueue(ctx context.Context, app AppID, peer PeerID) (int, error) {
	waiting, err := b.Queue(ctx, app, peer, "")
	if err != nil {
		return 0, err
	}
	joined, err := b.memberships(ctx, app, peer)
	if err != nil {
		return 0, err
	}
	logs := []LogID{{LogInbox, app, string(peer)}}
	for g := range joined {
		logs = append(logs, groupLog(groupKey{app, GroupID(g)}))
	}
	last, err := b.store.Last(ctx, logs)
	if err != nil {
		return 0, err
	}
	devices, err := b.store.List(ctx, ListQuery{Space: SpaceDevice, App: app, Owner: string(peer), Limit: maxDeviceRecords})
	if err != nil {
		return 0, err
	}
	a, err := b.app(app)
	if err != nil {
		return 0, err
	}
	expires := b.now().Add(2 * a.cfg.Load().Queue.Age).UnixMilli()
	sessions := b.connected(peerKey{app, peer}, nil)
	var writes []Write
	for i, log := range logs {
		end := Position{last[i].N, last[i].ID}
		writes = append(writes, Write{Key: cursorKey(app, peer, "", log), Value: encodePosition(end)})
		for _, d := range devices {
			writes = append(writes, Write{Key: cursorKey(app, peer, DeviceID(d.Key.Name), log), Value: encodePosition(end), Expires: expires})
		}
		for _, s := range sessions {
			s.skipTo(log, end)
		}
	}
	_, err = b.commit(ctx, &Batch{Writes: writes})
	return len(waiting), err
}

// skipTo moves the session past what it has not sent of a log.
func (s *Session) skipTo(id LogID, end Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.out.log(id)
	if l == nil || l.sent.N >= end.N {
		return
	}
	l.sent = end
	s.out.unload(l)
	l.head = max(l.head, end.N)
	l.behind = l.loaded.N < l.head
}

// Kick ends the peer's sessions, or that of one device; it returns how many. A CONNECT signed before is refused afterwards.
func (b *Broker) Kick(ctx context.Context, app AppID, peer PeerID, device DeviceID) (int, error) {
	if _, err := b.app(app); err != nil {
		return 0, err
	}
	if err := b.noteKick(ctx, app, peer); err != nil {
		return 0, err
	}
	return b.kickConnected(app, peer, device), nil
}

func (b *Broker) kickConnected(app AppID, peer PeerID, device DeviceID) (n int) {
	for _, s := range b.connected(peerKey{app, peer}, nil) {
		if device == "" || s.device == device {
			s.link.Close(CloseKicked)
			n++
		}
	}
	return n
}

func (b *Broker) noteKick(ctx context.Context, app AppID, peer PeerID) error {
	sig := (*b.apps.Load())[app].cfg.Load().Signature
	now := b.now()
	expires := now.Add(2*sig.Window + sig.Reuse).UnixMilli()
	_, err := b.commit(ctx, &Batch{Writes: []Write{{Key: kickedKey(app, peer), Value: encodeTime(now.UnixMilli())[:8], Expires: expires}}})
	return err
}

func banKey(app AppID, p PeerID) Key { return Key{Space: SpaceBan, App: app, Owner: string(p)} }

func (b *Broker) checkBan(ctx context.Context, app AppID, peer PeerID) error {
	values, err := b.store.Get(ctx, []Key{banKey(app, peer)})
	if err != nil {
		return err
	}
	if values[0] != nil {
		return Errorf(Banned, "the peer is banned")
	}
	return nil
}

// SetBan bans a peer and ends its sessions.
func (b *Broker) SetBan(ctx context.Context, app AppID, ban Ban) error {
	if _, err := b.app(app); err != nil {
		return err
	}
	w := Write{Key: banKey(app, ban.Peer), Value: mustJSON(ban), Expires: ban.Until}
	if _, err := b.commit(ctx, &Batch{Writes: []Write{w}}); err != nil {
		return err
	}
	if err := b.noteKick(ctx, app, ban.Peer); err != nil {
		return err
	}
	b.kickConnected(app, ban.Peer, "")
	return nil
}

// LiftBan lifts a ban; false: there was none.
func (b *Broker) LiftBan(ctx context.Context, app AppID, peer PeerID) (bool, error) {
	if _, err := b.app(app); err != nil {
		return false, err
	}
	values, err := b.store.Get(ctx, []Key{banKey(app, peer)})
	if err != nil || values[0] == nil {
		return false, err
	}
	_, err = b.commit(ctx, &Batch{Writes: []Write{{Key: banKey(app, peer)}}})
	return err == nil, err
}

// Bans lists the bans in force in the order of their peers.
func (b *Broker) Bans(ctx context.Context, app AppID, after PeerID, limit int) ([]Ban, error) {
	if _, err := b.app(app); err != nil {
		return nil, err
	}
	q := ListQuery{Space: SpaceBan, App: app, Limit: limit}
	if after != "" {
		q.After = banKey(app, after)
	}
	records, err := b.store.List(ctx, q)
	if err != nil {
		return nil, err
	}
	bans := make([]Ban, 0, len(records))
	for _, r := range records {
		var ban Ban
		if err := json.Unmarshal(r.Value, &ban); err != nil {
			return nil, err
		}
		bans = append(bans, ban)
	}
	return bans, nil
}

// Sign signs an open, a watch or a group action for a client with the app's master key (spec 11). Lists that the request would be
// refused for are not signed.
func (b *Broker) Sign(app AppID, r SignRequest) (Signed, error) {
	cfg, ok := b.App(app)
	if !ok {
		return Signed{}, Errorf(AppNotFound, "this server has no app of that id")
	}
	if _, err := parsePeerList("watch", r.Watch, min(cfg.Watch.PerCall, cfg.Watch.PerSession)); err != nil {
		return Signed{}, err
	}
	if _, err := parsePeerList("peers", r.Peers, cfg.Watch.PerCall); err != nil {
		return Signed{}, err
	}
	out := Signed{Timestamp: b.now().Unix(), Nonce: rand.Text()}
	switch r.Action {
	case "":
		out.Signature = SignOpen(cfg.MasterKey, app, r.Peer, r.Watch, out.Timestamp, out.Nonce, r.Super)
		pw := map[string]any{"timestamp": out.Timestamp, "nonce": out.Nonce, "signature": out.Signature}
		if r.Watch != nil {
			pw["watch"] = r.Watch
		}
		if r.Super {
			pw["super"] = true
		}
		out.Password = string(mustJSON(pw))
	case ActionJoin, ActionInvite, ActionKick:
		out.Signature = SignGroup(cfg.MasterKey, app, r.Peer, r.Group, r.Peers, out.Timestamp, out.Nonce, r.Action)
	default:
		return Signed{}, Errorf(Malformed, "action is join, invite or kick, or absent to sign an open or a watch")
	}
	return out, nil
}

// refusedByCode returns how often each code was given.
func (c *counters) refusedByCode() map[Code]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.refused)
}
