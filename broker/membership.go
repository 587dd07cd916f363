package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

// A change of members is one commit: the change's entry in the group's log, which gives it a place among the group's messages, the
// events for the peers concerned, and the records. Changes of one group are made one at a time.

const (
	membersJoined = "members_joined"
	membersLeft   = "members_left"
	joinedNotice  = "joined"
	leftNotice    = "left"
)

// leaves reports whether m says that p left the group: to p nothing behind it is delivered.
func (m *Message) leaves(p PeerID) bool {
	c, ok := m.change()
	return ok && c.Event == membersLeft && slices.Contains(c.Peers, p)
}

// change returns the change of members that m tells of.
func (m *Message) change() (c membershipChange, ok bool) {
	if m.Kind != KindMembership {
		return c, false
	}
	return c, json.Unmarshal(m.Payload, &c) == nil
}

// changed returns whom a change of members concerns.
func (m *Message) changed() []PeerID {
	c, _ := m.change()
	return c.Peers
}

// actor is who changes a group: a session, or an operator when peer is empty.
type actor struct {
	peer   PeerID
	device DeviceID // that asked: it gets a reply and not the event
}

type membershipChange struct {
	Event string   `json:"event"`
	Group GroupID  `json:"group"`
	Peers []PeerID `json:"peers"`
	By    PeerID   `json:"by,omitempty"`
}

type groupNotice struct {
	Event string  `json:"event"`
	Group GroupID `json:"group"`
	By    PeerID  `json:"by,omitempty"`
}

// noticeOf returns what a stored event tells its peer of a group, if it does.
func noticeOf(event []byte) (n groupNotice, ok bool) {
	rest, ok := bytes.CutPrefix(event, []byte(eventGroup+"\x00"))
	if !ok {
		return n, false
	}
	_, body, ok := bytes.Cut(rest, []byte{0})
	return n, ok && json.Unmarshal(body, &n) == nil
}

// createGroup makes a group with its first members. An id that is taken is refused with exists true.
func (b *Broker) createGroup(ctx context.Context, app *app, g *groupRecord, by actor, members []PeerID) (exists bool, err error) {
	cfg := app.cfg.Load()
	if err := checkGroupFields(g.Name, g.Attributes); err != nil {
		return false, err
	}
	if !g.Open && len(members) > cfg.GroupMembers {
		return false, Errorf(GroupFull, "a group has at most %d members", cfg.GroupMembers)
	}
	k := groupKey{app.id, g.ID}
	lock, err := b.lockGroup(ctx, k)
	if err != nil {
		return false, err
	}
	defer lock.unlock()
	g.Created, g.Members = b.now().UnixMilli(), 0
	if len(g.Attributes) == 0 || string(g.Attributes) == "null" {
		g.Attributes = json.RawMessage("{}")
	}
	w := Write{Key: groupRecordKey(k), Value: mustJSON(g), If: IfAbsent}
	batch, err := b.commit(ctx, &Batch{Writes: []Write{w}})
	if err != nil {
		return false, err
	}
	if batch.Writes[0].Conflict {
		return true, nil
	}
	if g.Open {
		return false, nil
	}
	return false, b.change(ctx, lock, k, g, batch.Writes[0].Value, by, members, true)
}

func checkGroupFields(name string, attributes json.RawMessage) *Error {
	if len(name) > maxGroupName {
		return Errorf(LimitExceeded, "the name is over %d bytes", maxGroupName)
	}
	if len(attributes) > maxAttributes {
		return Errorf(LimitExceeded, "the attributes are over %d bytes of JSON", maxAttributes)
	}
	if len(attributes) > 0 && attributes[0] != '{' && string(attributes) != "null" {
		return Errorf(Malformed, "attributes is a JSON object")
	}
	return nil
}

// addMembers makes peers members and returns those that were not; joining is for oneself, inviting for others.
func (b *Broker) addMembers(ctx context.Context, app *app, k groupKey, by actor, peers []PeerID) (added []PeerID, err error) {
	lock, err := b.lockGroup(ctx, k)
	if err != nil {
		return nil, err
	}
	defer lock.unlock()
	g, raw, err := b.group(ctx, k)
	if err != nil {
		return nil, err
	}
	if g.Open {
		return nil, Errorf(InvalidTarget, "an open group is joined by each peer itself")
	}
	if added, err = b.split(ctx, k, g, peers, false); err != nil || len(added) == 0 {
		return added, err
	}
	if limit := app.cfg.Load().GroupMembers; g.Members+len(added) > limit {
		return nil, Errorf(GroupFull, "a group has at most %d members", limit)
	}
	return added, b.change(ctx, lock, k, g, raw, by, added, true)
}

// removeMembers ends the membership of peers and returns those that were members.
func (b *Broker) removeMembers(ctx context.Context, k groupKey, by actor, peers []PeerID) (removed []PeerID, err error) {
	lock, err := b.lockGroup(ctx, k)
	if err != nil {
		return nil, err
	}
	defer lock.unlock()
	g, raw, err := b.group(ctx, k)
	if err != nil {
		return nil, err
	}
	if g.Open {
		return b.leaveOpen(ctx, k, peers)
	}
	if removed, err = b.split(ctx, k, g, peers, true); err != nil || len(removed) == 0 {
		return removed, err
	}
	return removed, b.change(ctx, lock, k, g, raw, by, removed, false)
}

// split returns those of peers that are members, or those that are not. A peer whose last change was cut short between the group's part and
// the peer's is neither one nor the other: it is returned in both cases, so that to ask again completes what was asked, and g's count,
// which may be wrong then as well, is made to fit a change of those that are returned.
func (b *Broker) split(ctx context.Context, k groupKey, g *groupRecord, peers []PeerID, members bool) ([]PeerID, error) {
	keys := make([]Key, 0, 2*len(peers))
	for _, p := range peers {
		keys = append(keys, memberKey(k, p), membershipKey(k, p))
	}
	values, err := b.store.Get(ctx, keys)
	if err != nil {
		return nil, err
	}
	chosen, half := []PeerID{}, false
	for i, p := range peers {
		is, knows := values[2*i] != nil, values[2*i+1] != nil
		if is == members || knows == members {
			chosen = append(chosen, p)
		}
		half = half || is != knows
	}
	if !half {
		return chosen, nil
	}
	if g.Members, err = b.countMembers(ctx, k, chosen); members {
		g.Members += len(chosen)
	}
	return chosen, err
}

// countMembers counts the members of a group but for some.
func (b *Broker) countMembers(ctx context.Context, k groupKey, but []PeerID) (n int, err error) {
	for after := PeerID(""); ; {
		page, err := b.members(ctx, k, after, maxGroupsListed)
		if err != nil {
			return 0, err
		}
		for _, m := range page {
			after = m.Peer
			if !slices.Contains(but, m.Peer) {
				n++
			}
		}
		if len(page) < maxGroupsListed {
			return n, nil
		}
	}
}

// maxNoticePeers is how many peers one change names, so that its notice fits a message.
const maxNoticePeers = 100

// change commits that peers join or leave. The group's change lock is held; should it be lost meanwhile, nothing more is changed.
func (b *Broker) change(ctx context.Context, lock *groupLock, k groupKey, g *groupRecord, raw []byte, by actor, peers []PeerID, join bool) error {
	for part := range slices.Chunk(peers, maxNoticePeers) {
		if join {
			g.Members += len(part)
		} else {
			g.Members -= len(part)
		}
		next := mustJSON(g)
		c := b.newChange(lock, k, by, part, join)
		c.group.Writes = append(c.group.Writes, lock.guarded(Write{Key: groupRecordKey(k), Value: next, If: IfEqual, Have: raw}))
		if err := b.commitChange(ctx, c); err != nil {
			return fmt.Errorf("change members of group %q: %w", k.group, err)
		}
		raw = next
	}
	return nil
}

// memberChange is a change on its way to the store: what is the group's, and what is its peers'. In a cluster these are two batches, since
// the lock can guard the first alone.
type memberChange struct {
	key          groupKey
	names        []PeerID
	join         bool
	group, peers Batch
}

func (b *Broker) newChange(lock *groupLock, k groupKey, by actor, peers []PeerID, join bool) *memberChange {
	one := joinedNotice
	if !join {
		one = leftNotice
	}
	c := &memberChange{key: k, names: peers, join: join}
	c.group.Appends = []Append{lock.fenced(changeAppend(k, by, peers, join))}
	now := b.now().UnixMilli()
	for _, p := range peers {
		except := DeviceID("")
		if p == by.peer {
			except = by.device
		}
		c.peers.Appends = append(c.peers.Appends, Append{
			App: k.app, EventPeer: p, Keep: maxWaitingEvents, Event: storedEvent(eventGroup, except, groupNotice{one, k.group, by.peer}),
		})
		member, membership := Write{Key: memberKey(k, p)}, Write{Key: membershipKey(k, p)}
		if join {
			member.Value = encodeTime(now)
			membership.Value, membership.Place = []byte{}, 1
		}
		c.group.Writes = append(c.group.Writes, lock.guarded(member))
		c.peers.Writes = append(c.peers.Writes, membership)
	}
	return c
}

// changeAppend is a change's entry in the group's log.
func changeAppend(k groupKey, by actor, peers []PeerID, join bool) Append {
	notice := membersJoined
	if !join {
		notice = membersLeft
	}
	return Append{App: k.app, Message: &Message{
		App: k.app, Kind: KindMembership, Group: k.group, Conversation: ConversationID(k.group), From: by.peer, QoS: 1,
		Payload: mustJSON(membershipChange{notice, k.group, peers, by.peer}),
	}}
}

// commitChange commits a change and waits. Sessions enter or quit the group before any later message of it is delivered.
func (b *Broker) commitChange(ctx context.Context, c *memberChange) error {
	done := make(chan error, 1)
	if b.cluster == nil {
		c.group.Appends = append(c.group.Appends, c.peers.Appends...)
		c.group.Writes = append(c.group.Writes, c.peers.Writes...)
		c.group.Done = func(batch *Batch, err error) {
			if err == nil {
				b.applyChange(c.key, c.names, c.join)
				wakeAll(b.deliver(batch.Appends))
			}
			done <- err
		}
	} else {
		c.group.Done = func(batch *Batch, err error) {
			if err == nil && c.isLost() {
				err = errGroupBusy
			}
			if err != nil {
				done <- err
				return
			}
			c.place()
			b.store.Commit(&c.peers)
		}
		c.peers.Done = func(batch *Batch, err error) {
			if err == nil {
				wakeAll(b.deliver(slices.Concat(c.group.Appends, batch.Appends)))
			}
			done <- err
		}
	}
	b.store.Commit(&c.group)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isLost reports whether the group's part was not done, or not all of it, since the lock had gone.
func (c *memberChange) isLost() bool {
	return c.group.Appends[0].Refused || slices.ContainsFunc(c.group.Writes, func(w Write) bool { return w.Conflict })
}

// place puts the change's place in the group's log into the memberships.
func (c *memberChange) place() {
	at := encodePosition(Position{c.group.Appends[0].N, c.group.Appends[0].ID})
	for i := range c.peers.Writes {
		if w := &c.peers.Writes[i]; w.Place != 0 {
			w.Value, w.Place = at, 0
		}
	}
}

func (b *Broker) applyChange(k groupKey, peers []PeerID, join bool) {
	var buf [8]*Session
	for _, p := range peers {
		for _, s := range b.connected(peerKey{k.app, p}, buf[:0]) {
			if join {
				b.enterGroup(s, k, false)
			} else {
				b.quitGroup(s, k)
			}
		}
	}
}

// checkMember refuses who is not a member.
func (b *Broker) checkMember(ctx context.Context, k groupKey, g *groupRecord, p PeerID) error {
	if g.Open {
		for _, s := range b.connected(peerKey{k.app, p}, nil) {
			if s.inGroup(k.group) {
				return nil
			}
		}
		if b.cluster != nil {
			if in, err := b.isInOpen(ctx, peerKey{k.app, p}, k.group); in || err != nil {
				return err
			}
		}
		return errNotMember(k.group)
	}
	values, err := b.store.Get(ctx, []Key{memberKey(k, p)})
	if err != nil {
		return err
	}
	if values[0] == nil {
		return errNotMember(k.group)
	}
	return nil
}

func errNotMember(g GroupID) *Error { return Errorf(NotAMember, "not a member of group %s", g) }

func (s *Session) inGroup(g GroupID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, in := s.groups[g]
	return in
}
