package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

// A group that is moved in comes silently: no events wait for its members. Their joining has its place in the group's log, as any, and
// they get what is sent behind it.

// ImportGroup makes a group as it was elsewhere, with its id, creator and time; its count of members is not taken over. One of that id
// stays as it is: created is then false.
func (b *Broker) ImportGroup(ctx context.Context, app AppID, g Group) (created bool, err error) {
	if _, err := b.app(app); err != nil {
		return false, err
	}
	if _, ok := ParseGroupID(string(g.ID)); !ok {
		return false, Errorf(Malformed, "it has no group id: 1-64 of A-Z a-z 0-9 _ . - and not 32 hex digits")
	}
	if _, ok := ParsePeerID(string(g.Creator)); !ok && g.Creator != "" {
		return false, Errorf(InvalidPeer, "its creator is not a peer id")
	}
	if perr := checkGroupFields(g.Name, g.Attributes); perr != nil {
		return false, perr
	}
	if g.Created <= 0 {
		g.Created = b.now().UnixMilli()
	}
	if len(g.Attributes) == 0 || string(g.Attributes) == "null" {
		g.Attributes = json.RawMessage("{}")
	}
	g.Members = 0
	k := groupKey{app, g.ID}
	lock, err := b.lockGroup(ctx, k)
	if err != nil {
		return false, err
	}
	defer lock.unlock()
	batch, err := b.commit(ctx, &Batch{Writes: []Write{{Key: groupRecordKey(k), Value: mustJSON(groupRecord{Group: g}), If: IfAbsent}}})
	if err != nil {
		return false, err
	}
	return !batch.Writes[0].Conflict, nil
}

// ImportMembers makes peers members of a group, with the times of their joining (0: now), and returns how many were not.
func (b *Broker) ImportMembers(ctx context.Context, app AppID, id GroupID, members []Member) (joined int, err error) {
	a, err := b.app(app)
	if err != nil {
		return 0, err
	}
	for _, m := range members {
		if _, ok := ParsePeerID(string(m.Peer)); !ok {
			return 0, Errorf(InvalidPeer, "a member is not a peer id: 1-50 characters without control characters, spaces and / + # : $")
		}
	}
	k := groupKey{app, id}
	lock, err := b.lockGroup(ctx, k)
	if err != nil {
		return 0, err
	}
	defer lock.unlock()
	for part := range slices.Chunk(members, maxNoticePeers) {
		n, err := b.importMembers(ctx, a, lock, k, part)
		joined += n
		if err != nil {
			return joined, err
		}
	}
	return joined, nil
}

// importMembers makes members. The group's change lock is held.
func (b *Broker) importMembers(ctx context.Context, a *app, lock *groupLock, k groupKey, members []Member) (int, error) {
	g, raw, err := b.group(ctx, k)
	if err != nil {
		return 0, err
	}
	if g.Open {
		return 0, Errorf(InvalidTarget, "an open group has no list of members")
	}
	added, err := b.notMembers(ctx, k, g, members)
	if err != nil || len(added) == 0 {
		return 0, err
	}
	if limit := a.cfg.Load().GroupMembers; g.Members+len(added) > limit {
		return 0, Errorf(GroupFull, "it has more than %d members: raise group_members", limit)
	}
	g.Members += len(added)
	now := b.now().UnixMilli()
	c := &memberChange{key: k, join: true}
	for _, m := range added {
		if m.Joined <= 0 {
			m.Joined = now
		}
		c.names = append(c.names, m.Peer)
		c.group.Writes = append(c.group.Writes, lock.guarded(Write{Key: memberKey(k, m.Peer), Value: encodeTime(m.Joined)}))
		c.peers.Writes = append(c.peers.Writes, Write{Key: membershipKey(k, m.Peer), Value: []byte{}, Place: 1})
	}
	c.group.Appends = []Append{lock.fenced(changeAppend(k, actor{}, c.names, true))}
	c.group.Writes = append(c.group.Writes, lock.guarded(Write{Key: groupRecordKey(k), Value: mustJSON(g), If: IfEqual, Have: raw})) // last, as in change
	if err := b.commitChange(ctx, c); err != nil {
		return 0, fmt.Errorf("import members of group %q: %w", k.group, err)
	}
	return len(added), nil
}

// notMembers returns those that are not members, each once.
func (b *Broker) notMembers(ctx context.Context, k groupKey, g *groupRecord, members []Member) (added []Member, err error) {
	peers := make([]PeerID, 0, len(members))
	joined := make(map[PeerID]int64, len(members))
	for _, m := range members {
		if _, again := joined[m.Peer]; !again {
			joined[m.Peer] = m.Joined
			peers = append(peers, m.Peer)
		}
	}
	absent, err := b.split(ctx, k, g, peers, false)
	for _, p := range absent {
		added = append(added, Member{p, joined[p]})
	}
	return added, err
}
