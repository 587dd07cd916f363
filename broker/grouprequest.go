package broker

import (
	"context"
	"slices"
)

// The group verbs of spec 6.

// signedGroup checks the signature of a group request where the app asks for one, before the group is looked up (spec 13).
func (s *Session) signedGroup(ctx context.Context, r *requestBody, group GroupID, peers []PeerID, action string) error {
	if !s.app.cfg.Load().Signature.Required {
		return nil
	}
	p := r.proof()
	text := groupText(s.app.id, s.peer, group, peers, p.timestamp, p.nonce, action)
	return s.b.verify(ctx, s.app, &p, text, s.peer, s.clientID, action, reuseNever)
}

func (r *requestBody) groupID() (GroupID, *Error) {
	if r.Group == nil {
		return "", Errorf(Malformed, "group is missing")
	}
	g, ok := ParseGroupID(*r.Group)
	if !ok {
		return "", Errorf(Malformed, "group is not of a group id's form")
	}
	return g, nil
}

func requestJoin(ctx context.Context, s *Session, r *requestBody) (map[string]any, error) {
	if r.Group == nil || *r.Group == "" {
		return s.create(ctx, r)
	}
	id, perr := r.groupID()
	if perr != nil {
		return nil, perr
	}
	if err := s.signedGroup(ctx, r, id, nil, ActionJoin); err != nil {
		return nil, err
	}
	k := groupKey{s.app.id, id}
	g, _, err := s.b.group(ctx, k)
	if err != nil {
		return nil, err
	}
	if g.Open {
		err = s.b.joinOpen(ctx, s, k)
	} else {
		_, err = s.b.addMembers(ctx, s.app, k, actor{s.peer, s.device}, []PeerID{s.peer})
	}
	return map[string]any{"group": id}, err
}

func (s *Session) create(ctx context.Context, r *requestBody) (map[string]any, error) {
	if err := s.signedGroup(ctx, r, "", nil, ActionJoin); err != nil {
		return nil, err
	}
	g := &groupRecord{Group: Group{ID: s.b.newGroupID(), Name: r.Name, Open: r.Open, Creator: s.peer, Attributes: r.Attributes}}
	if _, err := s.b.createGroup(ctx, s.app, g, actor{s.peer, s.device}, []PeerID{s.peer}); err != nil {
		return nil, err
	}
	if g.Open {
		if err := s.b.joinOpen(ctx, s, groupKey{s.app.id, g.ID}); err != nil {
			return nil, err
		}
	}
	return map[string]any{"group": g.ID}, nil
}

func requestLeave(ctx context.Context, s *Session, r *requestBody) (map[string]any, error) {
	id, perr := r.groupID()
	if perr != nil {
		return nil, perr
	}
	left, err := s.b.removeMembers(ctx, groupKey{s.app.id, id}, actor{s.peer, s.device}, []PeerID{s.peer})
	if err != nil {
		return nil, err
	}
	if len(left) == 0 {
		return nil, errNotMember(id)
	}
	return map[string]any{"group": id}, nil
}

func requestInvite(ctx context.Context, s *Session, r *requestBody) (map[string]any, error) {
	k, peers, err := s.memberRequest(ctx, r, ActionInvite)
	if err != nil {
		return nil, err
	}
	added, err := s.b.addMembers(ctx, s.app, k, actor{s.peer, s.device}, peers)
	return map[string]any{"group": k.group, "peers": added}, err
}

func requestKick(ctx context.Context, s *Session, r *requestBody) (map[string]any, error) {
	k, peers, err := s.memberRequest(ctx, r, ActionKick)
	if err != nil {
		return nil, err
	}
	removed, err := s.b.removeMembers(ctx, k, actor{s.peer, s.device}, peers)
	return map[string]any{"group": k.group, "peers": removed}, err
}

// memberRequest checks what inviting and kicking have in common: form, signature, group, membership.
func (s *Session) memberRequest(ctx context.Context, r *requestBody, action string) (groupKey, []PeerID, error) {
	id, perr := r.groupID()
	if perr != nil {
		return groupKey{}, nil, perr
	}
	peers, perr := parsePeerList("peers", r.Peers, s.app.cfg.Load().Watch.PerCall)
	if perr != nil {
		return groupKey{}, nil, perr
	}
	if len(peers) == 0 {
		return groupKey{}, nil, Errorf(Malformed, "peers is empty")
	}
	if err := s.signedGroup(ctx, r, id, peers, action); err != nil {
		return groupKey{}, nil, err
	}
	k := groupKey{s.app.id, id}
	g, _, err := s.b.group(ctx, k)
	if err != nil {
		return k, nil, err
	}
	return k, peers, s.b.checkMember(ctx, k, g, s.peer)
}

func requestGroups(ctx context.Context, s *Session, r *requestBody) (map[string]any, error) {
	groups, next, err := s.b.groupsOf(ctx, s.app.id, s.peer, r.Cursor, maxGroupsListed)
	answer := map[string]any{"groups": groups}
	if next != "" {
		answer["next"] = next
	}
	return answer, err
}

func requestMembers(ctx context.Context, s *Session, r *requestBody) (map[string]any, error) {
	id, perr := r.groupID()
	if perr != nil {
		return nil, perr
	}
	k := groupKey{s.app.id, id}
	g, _, err := s.b.group(ctx, k)
	if err != nil {
		return nil, err
	}
	if err := s.b.checkMember(ctx, k, g, s.peer); err != nil {
		return nil, err
	}
	if g.Open {
		count, err := s.b.countOpen(ctx, k)
		return map[string]any{"count": count}, err
	}
	members, err := s.b.members(ctx, k, PeerID(r.Cursor), maxGroupsListed+1)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"count": g.Members}
	if len(members) > maxGroupsListed {
		members = members[:maxGroupsListed]
		answer["next"] = members[maxGroupsListed-1].Peer
	}
	ids := make([]PeerID, len(members))
	for i, m := range members {
		ids[i] = m.Peer
	}
	answer["members"] = ids
	return answer, nil
}

func (b *Broker) newGroupID() GroupID { return GroupID(b.ids.Next().String()) }

// groupsOf lists a peer's groups in the order of their ids, its open group, if any, first.
func (b *Broker) groupsOf(ctx context.Context, app AppID, p PeerID, after string, limit int) (groups []GroupID, next string, err error) {
	groups = []GroupID{}
	q := ListQuery{Space: SpaceMembership, App: app, Owner: string(p), Limit: limit + 1}
	if after != "" {
		q.After = membershipKey(groupKey{app, GroupID(after)}, p)
	} else {
		for _, s := range b.connected(peerKey{app, p}, nil) {
			for _, g := range s.openGroups() {
				if !slices.Contains(groups, g) {
					groups = append(groups, g)
				}
			}
		}
	}
	records, err := b.store.List(ctx, q)
	if err != nil {
		return nil, "", err
	}
	for i, r := range records {
		if i == limit {
			return groups, string(groups[len(groups)-1]), nil
		}
		groups = append(groups, GroupID(r.Key.Name))
	}
	return groups, "", nil
}

// members lists a group's members in the order of their ids.
func (b *Broker) members(ctx context.Context, k groupKey, after PeerID, limit int) ([]Member, error) {
	q := ListQuery{Space: SpaceMember, App: k.app, Owner: string(k.group), Limit: limit}
	if after != "" {
		q.After = memberKey(k, after)
	}
	records, err := b.store.List(ctx, q)
	if err != nil {
		return nil, err
	}
	members := make([]Member, len(records))
	for i, r := range records {
		members[i] = Member{PeerID(r.Key.Name), decodeTime(r.Value)}
	}
	return members, nil
}
