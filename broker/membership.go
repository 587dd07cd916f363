package broker

import (
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
	unlock, err := b.lockGroup(ctx, k)
	if err != nil {
		return false, err
	}
	defer unlock()
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
	return false, b.change(ctx, k, g, batch.Writes[0].Value, by, members, true)
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
	unlock, err := b.lockGroup(ctx, k)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, raw, err := b.group(ctx, k)
	if err != nil {
		return nil, err
	}
	if g.Open {
		return nil, Errorf(InvalidTarget, "an open group is joined by each peer itself")
	}
	if added, err = b.split(ctx, k, peers, false); err != nil || len(added) == 0 {
		return added, err
	}
	if limit := app.cfg.Load().GroupMembers; g.Members+len(added) > limit {
		return nil, Errorf(GroupFull, "a group has at most %d members", limit)
	}
	return added, b.change(ctx, k, g, raw, by, added, true)
}

// removeMembers ends the membership of peers and returns those that were members.
func (b *Broker) removeMembers(ctx context.Context, k groupKey, by actor, peers []PeerID) (removed []PeerID, err error) {
	unlock, err := b.lockGroup(ctx, k)
	if err != nil {
		return nil, err
	}
	defer unlock()
	g, raw, err := b.group(ctx, k)
	if err != nil {
		return nil, err
	}
	if g.Open {
		return b.leaveOpen(ctx, k, peers)
	}
	if removed, err = b.split(ctx, k, peers, true); err != nil || len(removed) == 0 {
		return removed, err
	}
	return removed, b.change(ctx, k, g, raw, by, removed, false)
}

// split returns those of peers that are members, or those that are not.
func (b *Broker) split(ctx context.Context, k groupKey, peers []PeerID, members bool) ([]PeerID, error) {
	keys := make([]Key, len(peers))
	for i, p := range peers {
		keys[i] = memberKey(k, p)
	}
	values, err := b.store.Get(ctx, keys)
	if err != nil {
		return nil, err
	}
	chosen := []PeerID{}
	for i, p := range peers {
		if (values[i] != nil) == members {
			chosen = append(chosen, p)
		}
	}
	return chosen, nil
}

// maxNoticePeers is how many peers one change names, so that its notice fits a message.
const maxNoticePeers = 100

// change commits that peers join or leave. The group's change lock is held.
func (b *Broker) change(ctx context.Context, k groupKey, g *groupRecord, raw []byte, by actor, peers []PeerID, join bool) error {
	for part := range slices.Chunk(peers, maxNoticePeers) {
		if join {
			g.Members += len(part)
		} else {
			g.Members -= len(part)
		}
		next := mustJSON(g)
		batch := b.changeBatch(k, by, part, join)
		batch.Writes = append(batch.Writes, Write{Key: groupRecordKey(k), Value: next, If: IfEqual, Have: raw})
		if err := b.commitChange(ctx, k, batch, part, join); err != nil {
			return fmt.Errorf("change members of group %q: %w", k.group, err)
		}
		raw = next
	}
	return nil
}

func (b *Broker) changeBatch(k groupKey, by actor, peers []PeerID, join bool) *Batch {
	one := "joined"
	if !join {
		one = "left"
	}
	batch := &Batch{Appends: []Append{changeAppend(k, by, peers, join)}}
	now := b.now().UnixMilli()
	for _, p := range peers {
		except := DeviceID("")
		if p == by.peer {
			except = by.device
		}
		batch.Appends = append(batch.Appends, Append{
			App: k.app, EventPeer: p, Keep: maxWaitingEvents, Event: storedEvent(eventGroup, except, groupNotice{one, k.group, by.peer}),
		})
		member, membership := Write{Key: memberKey(k, p)}, Write{Key: membershipKey(k, p)}
		if join {
			member.Value = encodeTime(now)
			membership.Value, membership.Place = []byte{}, 1
		}
		batch.Writes = append(batch.Writes, member, membership)
	}
	return batch
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
func (b *Broker) commitChange(ctx context.Context, k groupKey, batch *Batch, peers []PeerID, join bool) error {
	done := make(chan error, 1)
	batch.Done = func(batch *Batch, err error) {
		if err == nil {
			if b.cluster == nil {
				b.applyChange(k, peers, join)
			}
			wakeAll(b.deliver(batch.Appends))
		}
		done <- err
	}
	b.store.Commit(batch)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
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
