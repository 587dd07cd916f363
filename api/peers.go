package api

import (
	"context"
	"net/http"

	"kith/broker"
)

// Peer is a peer in a list (spec 13).
type Peer struct {
	Peer     broker.PeerID `json:"peer" doc:"The peer's id." example:"alice"`
	Online   bool          `json:"online" doc:"Whether one of its devices is connected." example:"true"`
	LastSeen int64         `json:"last_seen,omitempty" doc:"When it was last connected, Unix milliseconds." example:"1416290728000"`
}

// PeerStatus is all there is to know of a peer (spec 11).
type PeerStatus struct {
	Peer     broker.PeerID    `json:"peer" doc:"The peer's id." example:"alice"`
	Online   bool             `json:"online" doc:"Whether one of its devices is connected." example:"true"`
	LastSeen int64            `json:"last_seen,omitempty" doc:"When it was last connected, Unix milliseconds." example:"1416290728000"`
	Sessions []Session        `json:"sessions" nullable:"false" doc:"Its devices, those that are away too."`
	Groups   []broker.GroupID `json:"groups" nullable:"false" doc:"The groups it is a member of." example:"[\"team\"]"`
	Waiting  int              `json:"waiting" doc:"Messages in the queue of its device that has the most." example:"3"`
}

// Session is one device of a peer.
type Session struct {
	Device    broker.DeviceID `json:"device" doc:"The device's name." example:"default"`
	Connected bool            `json:"connected" doc:"Whether it is connected now." example:"true"`
	Node      string          `json:"node,omitempty" doc:"The node it is connected to." example:"kith-1"`
	Address   string          `json:"address,omitempty" doc:"Where it is connected from." example:"192.0.2.7"`
	Protocol  string          `json:"protocol,omitempty" doc:"What it speaks." example:"mqtt 5 tcp"`
	Since     int64           `json:"since" doc:"When it was connected, or went away; Unix milliseconds." example:"1416290728000"`
	Watch     []broker.PeerID `json:"watch" nullable:"false" doc:"Whom it watches." example:"[\"bob\"]"`
	Waiting   int             `json:"waiting" doc:"Messages in its queue." example:"3"`
}

func sessionOf(i broker.SessionInfo) Session {
	i.Watch = orEmpty(i.Watch)
	return Session(i)
}

func statusOf(p broker.PeerStatus) PeerStatus {
	status := PeerStatus{
		Peer: p.Peer, Online: p.Online, LastSeen: p.LastSeen,
		Sessions: make([]Session, 0, len(p.Sessions)), Groups: orEmpty(p.Groups), Waiting: p.Waiting,
	}
	for _, i := range p.Sessions {
		status.Sessions = append(status.Sessions, sessionOf(i))
	}
	return status
}

// orEmpty makes a list that is written as [] and not as null.
func orEmpty[E any](list []E) []E {
	if list == nil {
		return []E{}
	}
	return list
}

// PeersInput selects peers.
type PeersInput struct {
	AppPath
	Online OptionalBool `query:"online" doc:"true: only those online now; false: only those who are not." example:"true"`
	Prefix string       `query:"prefix" doc:"Only those whose id starts with this." example:"al"`
	PageQuery
}

// OnlineBody asks who of some peers is online.
type OnlineBody struct {
	Peers []string `json:"peers" nullable:"false" doc:"At most 1000 peers." example:"[\"alice\",\"bob\"]"`
}

// OnlineInput is a request for presence.
type OnlineInput struct {
	AppPath
	Body OnlineBody
}

// OnlineAnswer tells who is online.
type OnlineAnswer struct {
	Online []broker.PeerID `json:"online" nullable:"false" doc:"Those who are online, in the order asked." example:"[\"alice\"]"`
}

const (
	maxStatusPeers = 1000
	// maxStatusBody lets a thousand of the longest ids pass (50 characters of 4 bytes, quoted), which maxBody would not.
	maxStatusBody = 256 << 10
)

func (s *Server) registerPeers() {
	register(s, operation{
		id: "list-peers", method: http.MethodGet, path: "/v1/apps/{app}/peers", tag: "peers", role: RoleViewer,
		summary: "List peers", description: "Peers that were ever connected, in the order of their ids.",
		answer: Page[Peer]{Items: []Peer{{"alice", true, 1416290728000}}, Next: peerList.cursor("alice")},
	}, func(ctx context.Context, in *PeersInput) (*Answer[Page[Peer]], error) {
		after, err := peerList.lastPeer(in.Cursor)
		if err != nil {
			return nil, err
		}
		found, err := s.broker.Peers(ctx, in.app(), broker.PeersQuery{
			Prefix: in.Prefix, Online: in.Online.pointer(), After: after, Limit: in.Limit + 1,
		})
		if err != nil {
			return nil, err
		}
		peers := make([]Peer, 0, len(found))
		for _, p := range found {
			peers = append(peers, Peer(p))
		}
		return answer(pageOf(peers, in.Limit, peerList, func(p *Peer) string { return string(p.Peer) })), nil
	})
	register(s, operation{
		id: "get-peer", method: http.MethodGet, path: "/v1/apps/{app}/peers/{peer}", tag: "peers", role: RoleViewer,
		summary: "Read a peer's status", description: "Its devices, groups and what waits for it.",
		errors: []broker.Code{broker.InvalidPeer}, missing: true, answer: examplePeerStatus(),
	}, func(ctx context.Context, in *PeerPath) (*Answer[PeerStatus], error) {
		peer, err := in.peer()
		if err != nil {
			return nil, err
		}
		status, found, err := s.broker.Peer(ctx, in.app(), peer)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, notFound("this peer was never seen")
		}
		return answer(statusOf(status)), nil
	})
	register(s, operation{
		id: "get-presence", method: http.MethodPost, path: "/v1/apps/{app}/peers/status", tag: "peers", role: RoleViewer,
		summary: "Ask who is online", description: "Of up to 1000 peers, those who are online now.",
		errors: []broker.Code{broker.LimitExceeded}, body: maxStatusBody, reads: true,
		request: OnlineBody{Peers: []string{"alice", "bob"}},
		answer:  OnlineAnswer{Online: []broker.PeerID{"alice"}},
	}, func(ctx context.Context, in *OnlineInput) (*Answer[OnlineAnswer], error) {
		if n := len(in.Body.Peers); n > maxStatusPeers {
			return nil, broker.Errorf(broker.LimitExceeded, "peers holds %d ids, at most %d are allowed", n, maxStatusPeers)
		}
		peers, err := parsePeers("body.peers", in.Body.Peers)
		if err != nil {
			return nil, err
		}
		online, err := s.broker.Online(ctx, in.app(), peers)
		if err != nil {
			return nil, err
		}
		return answer(OnlineAnswer{Online: orEmpty(online)}), nil
	})
}

func examplePeerStatus() PeerStatus {
	const at = 1416290728000
	return PeerStatus{
		Peer: "alice", Online: true, LastSeen: at, Groups: []broker.GroupID{"team"},
		Sessions: []Session{{
			Device: broker.DefaultDevice, Connected: true, Node: "kith-1", Address: "192.0.2.7", Protocol: "mqtt 5 tcp",
			Since: at, Watch: []broker.PeerID{"bob"},
		}},
	}
}
