package broker

import "context"

const maxGroupsOfPeer = 10_000

// loadGroups makes a session that opens a member of its peer's groups, and gives it a log for each until the plan has shown in
// which of them anything waits. The logs are there before the session enters a group: what is offered then only raises their heads.
func (b *Broker) loadGroups(ctx context.Context, s *Session, st *restored) error {
	if err := b.rejoinOpen(ctx, s); err != nil {
		return err
	}
	joined, err := b.memberships(ctx, s.app.id, s.peer)
	if err != nil || len(joined) == 0 {
		return err
	}
	if s.mode != receiveNone {
		s.addGroupLogs(joined)
	}
	keys := make([]groupKey, 0, len(joined))
	for g := range joined {
		k := groupKey{s.app.id, GroupID(g)}
		b.enterGroup(s, k, false)
		keys = append(keys, k)
	}
	if b.cluster != nil {
		if err := b.placeGroups(b.unplaced(keys)); err != nil {
			return err
		}
		b.cluster.announce(keys)
	}
	// A membership that ended in between was not there to be quit: look once more.
	again, err := b.memberships(ctx, s.app.id, s.peer)
	if err != nil {
		return err
	}
	for g := range joined {
		if _, still := again[g]; !still {
			b.quitGroup(s, groupKey{s.app.id, GroupID(g)})
			delete(joined, g)
		}
	}
	st.joined = joined
	return nil
}

func (s *Session) addGroupLogs(joined map[string]Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range joined {
		id := groupLog(groupKey{s.app.id, GroupID(g)})
		if l := s.out.log(id); l == nil {
			s.out.logs = append(s.out.logs, &logState{id: id, behind: true})
		} else { // joined on another device a moment ago: the plan sets it to the join
			s.out.unload(l)
			*l = logState{id: id, head: l.head, behind: true}
		}
	}
}

func (b *Broker) memberships(ctx context.Context, app AppID, p PeerID) (map[string]Position, error) {
	records, err := b.store.List(ctx, ListQuery{Space: SpaceMembership, App: app, Owner: string(p), Limit: maxGroupsOfPeer})
	if err != nil || len(records) == 0 {
		return nil, err
	}
	joined := make(map[string]Position, len(records))
	for _, r := range records {
		joined[r.Key.Name] = decodePosition(r.Value)
	}
	return joined, nil
}
