package api

import (
	"context"
	"net/http"

	"kith/broker"
)

// Member is a member of a group (spec 13).
type Member struct {
	Peer   broker.PeerID `json:"peer" doc:"The peer's id." example:"alice"`
	Joined int64         `json:"joined" doc:"When it became a member, Unix milliseconds." example:"1416290728000"`
}

// MembersInput pages through members.
type MembersInput struct {
	GroupPath
	PageQuery
}

// MemberPath is a path to a member of a group.
type MemberPath struct {
	GroupPath
	Peer string `path:"peer" doc:"The peer's id, percent-encoded." example:"alice"`
}

func (p *MemberPath) member() (broker.GroupID, []broker.PeerID, error) {
	id, err := p.group()
	if err != nil {
		return "", nil, err
	}
	peer, err := parsePeer("path.peer", p.Peer)
	return id, []broker.PeerID{peer}, err
}

func (s *Server) registerMembers() {
	const path = "/v1/apps/{app}/groups/{group}/members"
	register(s, operation{
		id: "list-members", method: http.MethodGet, path: path, tag: "groups", role: RoleViewer,
		summary: "List a group's members", description: "In the order of their ids. An open group has a count and no list.",
		errors: []broker.Code{broker.GroupNotFound, broker.InvalidTarget},
		answer: Page[Member]{Items: []Member{{"alice", 1416290728000}}, Next: memberList.cursor("alice")},
	}, func(ctx context.Context, in *MembersInput) (*Answer[Page[Member]], error) {
		id, err := in.group()
		if err != nil {
			return nil, err
		}
		after, err := memberList.lastPeer(in.Cursor)
		if err != nil {
			return nil, err
		}
		found, err := s.broker.Members(ctx, in.app(), id, after, in.Limit+1)
		if err != nil {
			return nil, err
		}
		members := make([]Member, 0, len(found))
		for _, m := range found {
			members = append(members, Member(m))
		}
		return answer(pageOf(members, in.Limit, memberList, func(m *Member) string { return string(m.Peer) })), nil
	})
	register(s, operation{
		id: "add-member", method: http.MethodPut, path: path + "/{peer}", tag: "groups", role: RoleOperator,
		summary:     "Make a peer a member",
		description: "The group and the peer are told as over MQTT. Whoever is a member stays one. An open group is joined by the peer itself.",
		errors:      []broker.Code{broker.InvalidPeer, broker.GroupNotFound, broker.GroupFull, broker.InvalidTarget},
	}, func(ctx context.Context, in *MemberPath) (*struct{}, error) {
		id, peers, err := in.member()
		if err != nil {
			return nil, err
		}
		_, err = s.broker.AddMembers(ctx, in.app(), id, peers)
		return nil, err
	})
	register(s, operation{
		id: "remove-member", method: http.MethodDelete, path: path + "/{peer}", tag: "groups", role: RoleOperator,
		summary: "End a membership", description: "The group and the peer are told as over MQTT.",
		errors: []broker.Code{broker.InvalidPeer, broker.GroupNotFound}, missing: true,
	}, func(ctx context.Context, in *MemberPath) (*struct{}, error) {
		id, peers, err := in.member()
		if err != nil {
			return nil, err
		}
		removed, err := s.broker.RemoveMembers(ctx, in.app(), id, peers)
		if err == nil && len(removed) == 0 {
			err = notFound("this peer is not a member")
		}
		return nil, err
	})
}
