package broker

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
)

// What operators do with groups over REST (spec 11): the same changes, with the same notices, as over MQTT, by nobody.

// NewGroup is a group to be made. An empty ID asks the server for one.
type NewGroup struct {
	ID         GroupID
	Name       string
	Open       bool
	Attributes json.RawMessage // a JSON object, or nil
	Members    []PeerID
}

// GroupPatch changes a group; nil fields stay. Attributes replace those of the same name, null removes one.
type GroupPatch struct {
	Name       *string
	Attributes map[string]json.RawMessage
	// Match, when not empty, must be the group's tag, else nothing is changed.
	Match string
}

// tag differs, too, from those of an earlier group of the same id.
func (g *groupRecord) tag() string {
	return strconv.FormatInt(g.Created, 36) + "-" + strconv.FormatUint(g.Rev, 36)
}

// Groups returns an app's groups in the order of their ids, behind after.
func (b *Broker) Groups(ctx context.Context, app AppID, after GroupID, limit int) ([]Group, error) {
	if _, err := b.app(app); err != nil {
		return nil, err
	}
	q := ListQuery{Space: SpaceGroup, App: app, Limit: limit}
	if after != "" {
		q.After = groupRecordKey(groupKey{app, after})
	}
	records, err := b.store.List(ctx, q)
	if err != nil {
		return nil, err
	}
	groups := make([]Group, 0, len(records))
	for _, r := range records {
		var g groupRecord
		if err := json.Unmarshal(r.Value, &g); err != nil {
			return nil, err
		}
		if g.Open {
			if g.Members, err = b.countOpen(ctx, groupKey{app, g.ID}); err != nil {
				return nil, err
			}
		}
		groups = append(groups, g.Group)
	}
	return groups, nil
}

// GroupsOf returns the groups that a peer is a member of, in the order of their ids, behind after. Open groups, which have no list
// of members, are not among them.
func (b *Broker) GroupsOf(ctx context.Context, app AppID, peer PeerID, after GroupID, limit int) ([]Group, error) {
	if _, err := b.app(app); err != nil {
		return nil, err
	}
	q := ListQuery{Space: SpaceMembership, App: app, Owner: string(peer), Limit: limit}
	if after != "" {
		q.After = membershipKey(groupKey{app, after}, peer)
	}
	joined, err := b.store.List(ctx, q)
	if err != nil || len(joined) == 0 {
		return []Group{}, err
	}
	keys := make([]Key, len(joined))
	for i, r := range joined {
		keys[i] = groupRecordKey(groupKey{app, GroupID(r.Key.Name)})
	}
	values, err := b.store.Get(ctx, keys)
	if err != nil {
		return nil, err
	}
	groups := make([]Group, 0, len(values))
	for _, v := range values {
		if v == nil {
			continue // deleted meanwhile
		}
		var g groupRecord
		if err := json.Unmarshal(v, &g); err != nil {
			return nil, err
		}
		groups = append(groups, g.Group)
	}
	return groups, nil
}

// Group returns a group and its tag, which changes with its name and attributes.
func (b *Broker) Group(ctx context.Context, app AppID, id GroupID) (Group, string, error) {
	if _, err := b.app(app); err != nil {
		return Group{}, "", err
	}
	g, _, err := b.group(ctx, groupKey{app, id})
	if err != nil {
		return Group{}, "", err
	}
	if g.Open {
		g.Members, err = b.countOpen(ctx, groupKey{app, id})
	}
	return g.Group, g.tag(), err
}

// CreateGroup makes a group; exists reports that the id is taken.
func (b *Broker) CreateGroup(ctx context.Context, app AppID, n NewGroup) (g Group, exists bool, err error) {
	a, err := b.app(app)
	if err != nil {
		return g, false, err
	}
	if n.ID == "" {
		n.ID = b.newGroupID()
	}
	rec := &groupRecord{Group: Group{ID: n.ID, Name: n.Name, Open: n.Open, Attributes: n.Attributes}}
	if n.Open && len(n.Members) > 0 {
		return g, false, Errorf(InvalidTarget, "an open group is joined by each peer itself")
	}
	exists, err = b.createGroup(ctx, a, rec, actor{}, n.Members)
	return rec.Group, exists, err
}

// PatchGroup changes a group's name and attributes; matched is false when the tag did not match.
func (b *Broker) PatchGroup(ctx context.Context, app AppID, id GroupID, p GroupPatch) (g Group, tag string, matched bool, err error) {
	if _, err := b.app(app); err != nil {
		return g, "", false, err
	}
	k := groupKey{app, id}
	lock, err := b.lockGroup(ctx, k)
	if err != nil {
		return g, "", false, err
	}
	defer lock.unlock()
	rec, raw, err := b.group(ctx, k)
	if err != nil {
		return g, "", false, err
	}
	if p.Match != "" && p.Match != rec.tag() {
		return rec.Group, rec.tag(), false, nil
	}
	if p.Name != nil {
		rec.Name = *p.Name
	}
	if rec.Attributes, err = merged(rec.Attributes, p.Attributes); err != nil {
		return g, "", false, err
	}
	if err := checkGroupFields(rec.Name, rec.Attributes); err != nil {
		return g, "", false, err
	}
	rec.Rev++
	w := lock.guarded(Write{Key: groupRecordKey(k), Value: mustJSON(rec), If: IfEqual, Have: raw})
	batch, err := b.commit(ctx, &Batch{Writes: []Write{w}})
	if err == nil && batch.Writes[0].Conflict {
		err = errGroupBusy
	}
	if err != nil {
		return g, "", false, err
	}
	return rec.Group, rec.tag(), true, nil
}

func merged(old json.RawMessage, patch map[string]json.RawMessage) (json.RawMessage, error) {
	if patch == nil {
		return old, nil
	}
	all := map[string]json.RawMessage{}
	if len(old) > 0 {
		if err := json.Unmarshal(old, &all); err != nil {
			return nil, err
		}
	}
	for k, v := range patch {
		if string(v) == "null" {
			delete(all, k)
		} else {
			all[k] = v
		}
	}
	return mustJSON(all), nil
}

// DeleteGroup ends a group: all its members leave. Its messages stay in history.
func (b *Broker) DeleteGroup(ctx context.Context, app AppID, id GroupID) error {
	if _, err := b.app(app); err != nil {
		return err
	}
	k := groupKey{app, id}
	g, _, err := b.group(ctx, k)
	if err != nil {
		return err
	}
	if g.Open {
		sessions, _ := b.liveSessions(k)
		var peers []PeerID
		for _, s := range sessions {
			if !slices.Contains(peers, s.peer) {
				peers = append(peers, s.peer)
			}
		}
		if _, err := b.leaveOpen(ctx, k, peers); err != nil {
			return err
		}
		if b.cluster != nil {
			if err := b.cluster.tellOpenGroup(ctx, peerKey{app: app}, id, false); err != nil {
				return err
			}
		}
	}
	for {
		if err := b.removeAll(ctx, k); err != nil {
			return err
		}
		if done, err := b.deleteEmpty(ctx, k); done || err != nil {
			return err
		}
	}
}

// deleteEmpty removes a group's record unless somebody joined meanwhile.
func (b *Broker) deleteEmpty(ctx context.Context, k groupKey) (done bool, err error) {
	lock, err := b.lockGroup(ctx, k)
	if err != nil {
		return false, err
	}
	defer lock.unlock()
	g, raw, err := b.group(ctx, k)
	if err != nil || !g.Open && g.Members > 0 {
		return false, err
	}
	batch, err := b.commit(ctx, &Batch{Writes: []Write{lock.guarded(Write{Key: groupRecordKey(k), If: IfEqual, Have: raw})}})
	return err == nil && !batch.Writes[0].Conflict, err
}

// removeAll ends the membership of all members of a group.
func (b *Broker) removeAll(ctx context.Context, k groupKey) error {
	for {
		members, err := b.members(ctx, k, "", maxGroupsListed)
		if err != nil || len(members) == 0 {
			return err
		}
		peers := make([]PeerID, len(members))
		for i, m := range members {
			peers[i] = m.Peer
		}
		if _, err := b.removeMembers(ctx, k, actor{}, peers); err != nil {
			return err
		}
	}
}

// Members returns a group's members in the order of their ids, behind after. An open group has no list.
func (b *Broker) Members(ctx context.Context, app AppID, id GroupID, after PeerID, limit int) ([]Member, error) {
	if _, err := b.app(app); err != nil {
		return nil, err
	}
	k := groupKey{app, id}
	g, _, err := b.group(ctx, k)
	if err != nil {
		return nil, err
	}
	if g.Open {
		count, err := b.countOpen(ctx, k)
		if err != nil {
			return nil, err
		}
		return nil, Errorf(InvalidTarget, "an open group has no list of members, only a count: %d", count)
	}
	return b.members(ctx, k, after, limit)
}

// AddMembers makes peers members and returns those that were not.
func (b *Broker) AddMembers(ctx context.Context, app AppID, id GroupID, peers []PeerID) ([]PeerID, error) {
	a, err := b.app(app)
	if err != nil {
		return nil, err
	}
	return b.addMembers(ctx, a, groupKey{app, id}, actor{}, peers)
}

// RemoveMembers ends the membership of peers and returns those that were members.
func (b *Broker) RemoveMembers(ctx context.Context, app AppID, id GroupID, peers []PeerID) ([]PeerID, error) {
	if _, err := b.app(app); err != nil {
		return nil, err
	}
	return b.removeMembers(ctx, groupKey{app, id}, actor{}, peers)
}
