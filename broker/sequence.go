package broker

import (
	"context"
	"sync"
	"time"
)

// Entries of a group's log come to a node from its own commits and from those of other nodes, in any order. Changes of members take no
// number, so numbers alone do not show that one is missing: each entry tells the one before it. Who is connected here is offered them in
// the order of the log; what is missing is read from it.

// sequence is how far a group's log was offered to its members here.
type sequence struct {
	mu      sync.Mutex // held while an entry is offered; taken before all other locks
	at      MessageID
	placed  bool // at is known
	reading bool
	again   bool // more came while the log was read
}

// readers bounds the groups that are read at once.
var readers = make(chan struct{}, 32)

// deliverInOrder offers an entry of a group's log to the members here once all before it were offered.
func (b *Broker) deliverInOrder(a *Append, wake []*Session) []*Session {
	k := groupKey{a.App, a.Message.Group}
	live := b.liveHere(k)
	if live == nil {
		return append(wake, b.firstMembers(k, a)...)
	}
	q := &live.sequence
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case a.Message.openGroup: // without a place that anybody comes back to
		return b.deliverGroup(a, wake)
	case q.placed && a.ID.Compare(q.at) <= 0:
		if len(a.Message.changed()) > 0 { // it was read before somebody here came into the group
			go b.reconcile(k.app, a.Message.changed())
		}
		return wake
	case q.placed && a.Previous == q.at:
		return b.offerNext(live, a, wake)
	}
	b.catchUpGroup(k, live)
	return wake
}

// firstMembers lets sessions here enter a group of which there was nobody, by the entry with which they joined.
func (b *Broker) firstMembers(k groupKey, a *Append) (wake []*Session) {
	c, ok := a.Message.change()
	if !ok || c.Event != membersJoined {
		return nil
	}
	for _, p := range c.Peers {
		for _, s := range b.connected(peerKey{k.app, p}, nil) {
			b.enterGroup(s, k, false)
			s.startLog(groupLog(k), Position{a.N, a.ID.before()})
			wake = append(wake, s)
		}
	}
	if live := b.liveHere(k); live != nil {
		live.sequence.mu.Lock()
		if !live.sequence.placed {
			live.sequence.placed, live.sequence.at = true, a.ID
		}
		live.sequence.mu.Unlock()
		b.cluster.announce([]groupKey{k})
	}
	return wake
}

// offerNext offers the next entry. The sequence is locked.
func (b *Broker) offerNext(live *liveGroup, a *Append, wake []*Session) []*Session {
	live.sequence.at = a.ID
	if a.Message.Kind == KindMembership {
		b.applyEntry(groupKey{a.App, a.Message.Group}, a.Message)
	}
	return b.deliverGroup(a, wake)
}

// catchUpGroup reads what of a group's log was not offered here. The sequence is locked.
func (b *Broker) catchUpGroup(k groupKey, live *liveGroup) {
	q := &live.sequence
	if q.reading {
		q.again = true
		return
	}
	q.reading = true
	go func() {
		readers <- struct{}{}
		defer func() { <-readers }()
		for b.readGroup(k, live) {
		}
	}()
}

// readGroup offers a page of a group's log and reports whether to go on.
func (b *Broker) readGroup(k groupKey, live *liveGroup) (more bool) {
	q := &live.sequence
	q.mu.Lock()
	l, from, placed := &logState{id: groupLog(k)}, Position{ID: q.at}, q.placed
	q.again = false
	q.mu.Unlock()
	var items []item
	var err error
	if placed {
		items, err = b.readItems(l, from, pageSize)
	} else {
		err = b.placeGroups([]groupKey{k})
	}
	if err != nil {
		b.log.Warn("log of a group could not be read; trying again", "app", k.app, "group", k.group, "err", err)
	}
	wake, more := b.offerRead(k, live, items, err)
	wakeAll(wake)
	return more
}

// offerRead offers what was read of a group's log.
func (b *Broker) offerRead(k groupKey, live *liveGroup, items []item, err error) (wake []*Session, more bool) {
	q := &live.sequence
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range items {
		it := &items[i]
		switch {
		case it.at.ID.Compare(q.at) <= 0: // offered meanwhile
		case it.msg == nil: // removed from history: its number is passed over
			q.at = it.at.ID
			wake = b.raiseGroup(k, it.at, wake)
		default:
			wake = b.offerNext(live, &Append{App: k.app, Message: it.msg, ID: it.at.ID, N: it.at.N}, wake)
		}
	}
	switch {
	case err != nil && !b.stopped.Load():
		q.reading = false
		time.AfterFunc(time.Second, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			b.catchUpGroup(k, live)
		})
		return wake, false
	case err != nil, len(items) < pageSize && !q.again:
		q.reading = false
		return wake, false
	}
	return wake, true
}

// placeGroups finds where the logs of groups end that have just come to this node. Members that come in from here on read in their own
// catch-up what lies before.
func (b *Broker) placeGroups(keys []groupKey) error {
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeReadDeadline)
	defer cancel()
	logs := make([]LogID, len(keys))
	for i, k := range keys {
		logs[i] = groupLog(k)
	}
	last, err := b.store.Last(ctx, logs)
	if err != nil {
		return err
	}
	var wake []*Session
	for i, k := range keys {
		live := b.liveHere(k)
		if live == nil {
			continue
		}
		live.sequence.mu.Lock()
		if !live.sequence.placed {
			live.sequence.placed, live.sequence.at = true, last[i].ID
			wake = b.raiseGroup(k, Position{last[i].N, last[i].ID}, wake)
		}
		live.sequence.mu.Unlock()
	}
	wakeAll(wake)
	return nil
}

// unplaced returns those of groups with members here of which it is not known how far they were offered.
func (b *Broker) unplaced(keys []groupKey) (fresh []groupKey) {
	for _, k := range keys {
		if live := b.liveHere(k); live != nil {
			live.sequence.mu.Lock()
			if !live.sequence.placed {
				fresh = append(fresh, k)
			}
			live.sequence.mu.Unlock()
		}
	}
	return fresh
}

// offered reports whether a group's log was offered here up to a place in it.
func (b *Broker) offered(k groupKey, at MessageID) bool {
	live := b.liveHere(k)
	if live == nil {
		return false
	}
	live.sequence.mu.Lock()
	defer live.sequence.mu.Unlock()
	return live.sequence.placed && at.Compare(live.sequence.at) <= 0
}

// raiseGroup lets the members here look for themselves up to a place in the log.
func (b *Broker) raiseGroup(k groupKey, at Position, wake []*Session) []*Session {
	sessions, _ := b.liveSessions(k)
	for _, s := range sessions {
		if s.raise(groupLog(k), at.N) {
			wake = append(wake, s)
		}
	}
	return wake
}

// raise notes that a log goes to n at least; it reports whether to wake the link.
func (s *Session) raise(id LogID, n uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.out.log(id)
	if s.ended || l == nil || n <= l.head {
		return false
	}
	l.head, l.behind = n, true
	return !l.held && s.out.unacked < s.out.window
}

// agrees reports whether the session is in the group that an event tells the peer joined, or not in the one that it left. s.mu is held.
func (s *Session) agrees(event []byte) bool {
	notice, ok := noticeOf(event)
	if !ok {
		return true
	}
	_, in := s.groups[notice.Group]
	return in == (notice.Event == joinedNotice)
}

// misses reports whether some of the events up to number n may tell of groups what the session does not know, and takes it that they are
// looked at now.
func (s *Session) misses(id LogID, n uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.out.log(id)
	if s.ended || l == nil || n <= l.heard {
		return false
	}
	l.heard = n
	return true
}

// liveHere returns a group that has members here, nil where there is none.
func (b *Broker) liveHere(k groupKey) *liveGroup {
	sh := b.groupShardOf(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if live := sh.groups[k]; live != nil && len(live.sessions) > 0 {
		return live
	}
	return nil
}

// applyEntry lets sessions here enter or quit a group as a change of its members says.
func (b *Broker) applyEntry(k groupKey, m *Message) {
	if c, ok := m.change(); ok {
		b.applyChange(k, c.Peers, c.Event == membersJoined)
	}
}

// reconcile compares the groups of peers, as they are stored, with those that their sessions here are in: where a change of members
// reached this node out of its order, or not at all.
func (b *Broker) reconcile(app AppID, peers []PeerID) {
	ctx, cancel := context.WithTimeout(context.Background(), requestDeadline)
	defer cancel()
	for _, p := range peers {
		sessions := b.connected(peerKey{app, p}, nil)
		if len(sessions) == 0 {
			continue
		}
		joined, err := b.memberships(ctx, app, p)
		if err != nil {
			b.log.Warn("groups of a peer could not be read", "app", app, "peer", p, "err", err)
			continue
		}
		for _, s := range sessions {
			b.reconcileSession(s, joined)
		}
	}
}

func (b *Broker) reconcileSession(s *Session, joined map[string]Position) {
	s.mu.Lock()
	var gone []GroupID
	for g, open := range s.groups {
		if _, still := joined[string(g)]; !still && !open {
			gone = append(gone, g)
		}
	}
	fresh := make(map[GroupID]Position)
	for g, at := range joined {
		if _, in := s.groups[GroupID(g)]; !in {
			fresh[GroupID(g)] = at
		}
	}
	s.mu.Unlock()
	for _, g := range gone {
		b.quitGroup(s, groupKey{s.app.id, g})
	}
	var unplaced []groupKey
	for g, at := range fresh {
		k := groupKey{s.app.id, g}
		b.enterGroup(s, k, false)
		s.startLog(groupLog(k), Position{at.N, at.ID.before()})
		unplaced = append(unplaced, k)
	}
	if len(unplaced) == 0 {
		return
	}
	if err := b.placeGroups(unplaced); err != nil {
		b.log.Warn("logs of groups could not be read", "app", s.app.id, "peer", s.peer, "err", err)
	}
	b.cluster.announce(unplaced)
	s.link.Wake()
}

// startLog gives the session a log from a place on, all of it still to be read.
func (s *Session) startLog(id LogID, at Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.mode == receiveNone || s.out.log(id) != nil {
		return
	}
	s.out.logs = append(s.out.logs, &logState{id: id, cursor: at, sent: at, loaded: at, head: at.N, behind: true, more: true})
}
