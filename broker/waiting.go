package broker

import (
	"context"
	"slices"
)

// waitingPage is how many waiting messages are in memory at once where they are only counted.
const waitingPage = 250

// QueueQuery selects what of a peer's queue is read.
type QueueQuery struct {
	Device DeviceID  // empty: the one with the most waiting
	After  MessageID // messages behind this one
	Limit  int
}

// Queue returns a page of what waits for a peer, oldest first.
func (b *Broker) Queue(ctx context.Context, app AppID, peer PeerID, q QueueQuery) ([]HistoryItem, error) {
	var err error
	if q.Device == "" {
		if q.Device, err = b.fullestDevice(ctx, app, peer); err != nil {
			return nil, err
		}
	}
	var found []*Message
	err = b.eachWaiting(ctx, app, peer, q.Device, q.After, func(page []*Message) (more bool) {
		found = append(found, page[:min(len(page), q.Limit-len(found))]...)
		return len(found) < q.Limit
	})
	if err != nil {
		return nil, err
	}
	return b.historyItems(ctx, app, found)
}

// CountQueue counts what waits for the peer's device that has the most; of one conversation, unless that is empty.
func (b *Broker) CountQueue(ctx context.Context, app AppID, peer PeerID, only ConversationID) (int, error) {
	device, err := b.fullestDevice(ctx, app, peer)
	if err != nil {
		return 0, err
	}
	return b.countFor(ctx, app, peer, device, only)
}

func (b *Broker) countFor(ctx context.Context, app AppID, peer PeerID, device DeviceID, only ConversationID) (n int, err error) {
	err = b.eachWaiting(ctx, app, peer, device, MessageID{}, func(page []*Message) bool {
		for _, m := range page {
			if only == "" || m.Conversation == only {
				n++
			}
		}
		return true
	})
	return n, err
}

// fullestDevice returns the peer's device with the most waiting; empty where none is known.
func (b *Broker) fullestDevice(ctx context.Context, app AppID, peer PeerID) (fullest DeviceID, err error) {
	if _, err := b.app(app); err != nil {
		return "", err
	}
	records, err := b.store.List(ctx, ListQuery{Space: SpaceDevice, App: app, Owner: string(peer), Limit: maxDeviceRecords})
	if err != nil || len(records) == 0 {
		return "", err
	}
	if len(records) == 1 {
		return DeviceID(records[0].Key.Name), nil
	}
	most := -1
	for _, r := range records {
		device := DeviceID(r.Key.Name)
		n, err := b.countFor(ctx, app, peer, device, "")
		if err != nil {
			return "", err
		}
		if n > most {
			fullest, most = device, n
		}
	}
	return fullest, nil
}

// eachWaiting calls do with what waits for a device behind after, page by page, oldest first, until it says that it wants no more.
func (b *Broker) eachWaiting(ctx context.Context, app AppID, peer PeerID, device DeviceID, after MessageID, do func([]*Message) (more bool)) error {
	ids, err := b.waitingIDs(ctx, app, peer, device)
	if err != nil {
		return err
	}
	ids = slices.DeleteFunc(ids, func(id MessageID) bool { return id.Compare(after) <= 0 })
	of := &Session{peer: peer, device: device}
	for part := range slices.Chunk(ids, waitingPage) {
		messages, err := b.deliverable(ctx, app, of, part)
		if err != nil {
			return err
		}
		if !do(messages) {
			return nil
		}
	}
	return nil
}

// deliverable returns those of the messages in the logs of s that come to it.
func (b *Broker) deliverable(ctx context.Context, app AppID, s *Session, ids []MessageID) ([]*Message, error) {
	messages, err := b.store.Messages(ctx, app, ids)
	if err != nil {
		return nil, err
	}
	now := b.now().UnixMilli()
	return slices.DeleteFunc(messages, func(m *Message) bool { return !s.gets(m, now) }), nil
}

// gets reports whether a message in the session's logs comes to it: what expired does not, nor what its device sent itself, which
// lies there for others.
func (s *Session) gets(m *Message, now int64) bool {
	return m != nil && m.Kind == KindMessage && !m.Expired(now) && (!s.sent(m) || !s.keepsFrom(m))
}

// countWaiting counts the messages that waited for a session whose logs are planned. It reads what the pump is to send first, for the
// pump; of more than a page, what will turn out not to be deliverable is counted along.
func (s *Session) countWaiting() (n uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.out
	n = o.sentAgain()
	behind := uint64(0)
	for _, l := range o.logs {
		behind += l.waiting()
	}
	if behind == 0 || behind > pageSize {
		return n + behind, nil
	}
	for range o.logs { // a page of each at most
		l := o.nextBehind()
		if l == nil {
			break
		}
		if !s.load(l) {
			return 0, errStoreAway
		}
	}
	now := s.b.now().UnixMilli()
	for _, it := range o.pending.all() {
		if it.log.id.Kind != LogEvents && it.at.N <= it.log.waited && s.gets(it.msg, now) {
			n++
		}
	}
	for _, l := range o.logs { // behind a page of events
		n += l.waiting()
	}
	return n, nil
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
		if to, ok := l.gaps.over(from.N + 1); ok {
			from = to
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
			if _, gap := l.gaps.over(e.N); gap {
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
	waiting, err := b.CountQueue(ctx, app, peer, "")
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
	if _, err := b.commit(ctx, &Batch{Writes: writes}); err != nil || b.cluster == nil {
		return waiting, err
	}
	q := &question{App: app, Peer: peer}
	for i, log := range logs {
		q.Skip = append(q.Skip, skippedLog{log.short(), Position{last[i].N, last[i].ID}})
	}
	nodes, _, err := b.cluster.nodesHolding(ctx, whereKey(peerKey{app, peer}))
	if err == nil {
		err = b.cluster.askAll(ctx, nodes, askSkip, q, func(*reply) {})
	}
	return waiting, err
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
