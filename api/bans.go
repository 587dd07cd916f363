package api

import (
	"context"
	"net/http"

	"kith/broker"
)

// Ban keeps a peer out (spec 13).
type Ban struct {
	Peer   broker.PeerID `json:"peer" doc:"The peer's id." example:"mallory"`
	Until  int64         `json:"until,omitempty" doc:"When it ends, Unix milliseconds; absent: when it is lifted." example:"4102444800000"`
	Reason string        `json:"reason" doc:"Why, for operators." example:"spam"`
}

// BanBody says how a peer is banned.
type BanBody struct {
	Until  int64  `json:"until,omitempty" minimum:"1" doc:"When it ends, Unix milliseconds; absent: when it is lifted." example:"4102444800000"`
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why, for operators." example:"spam"`
}

// BanInput is a request to ban; the body may be left out.
type BanInput struct {
	PeerPath
	Body *BanBody
}

// BansInput pages through bans.
type BansInput struct {
	AppPath
	PageQuery
}

func (s *Server) registerBans() {
	register(s, operation{
		id: "list-bans", method: http.MethodGet, path: "/v1/apps/{app}/bans", tag: "bans", role: RoleViewer,
		summary: "List bans", description: "The bans that hold now, in the order of peer ids.",
		answer: Page[Ban]{Items: []Ban{{"mallory", 4102444800000, "spam"}}, Next: banList.cursor("mallory")},
	}, func(ctx context.Context, in *BansInput) (*Answer[Page[Ban]], error) {
		after, err := banList.lastPeer(in.Cursor)
		if err != nil {
			return nil, err
		}
		found, err := s.broker.Bans(ctx, in.app(), after, in.Limit+1)
		if err != nil {
			return nil, err
		}
		bans := make([]Ban, 0, len(found))
		for _, b := range found {
			bans = append(bans, Ban(b))
		}
		return answer(pageOf(bans, in.Limit, banList, func(b *Ban) string { return string(b.Peer) })), nil
	})
	register(s, operation{
		id: "ban-peer", method: http.MethodPut, path: "/v1/apps/{app}/bans/{peer}", tag: "bans", role: RoleOperator,
		summary: "Ban a peer", description: "Ends the peer's connections and refuses it from now on. Another ban replaces an earlier one.",
		errors:  []broker.Code{broker.InvalidPeer},
		request: BanBody{Until: 4102444800000, Reason: "spam"},
		answer:  Ban{"mallory", 4102444800000, "spam"},
	}, func(ctx context.Context, in *BanInput) (*Answer[Ban], error) {
		peer, err := in.peer()
		if err != nil {
			return nil, err
		}
		ban := broker.Ban{Peer: peer}
		if in.Body != nil {
			ban.Until, ban.Reason = in.Body.Until, in.Body.Reason
		}
		if ban.Until != 0 && ban.Until <= s.now().UnixMilli() {
			return nil, malformed("body.until is in the past (Unix milliseconds)")
		}
		if err := s.broker.SetBan(ctx, in.app(), ban); err != nil {
			return nil, err
		}
		return answer(Ban(ban)), nil
	})
	register(s, operation{
		id: "lift-ban", method: http.MethodDelete, path: "/v1/apps/{app}/bans/{peer}", tag: "bans", role: RoleOperator,
		summary: "Lift a ban", description: "The peer may connect again.",
		errors: []broker.Code{broker.InvalidPeer}, missing: true,
	}, func(ctx context.Context, in *PeerPath) (*struct{}, error) {
		peer, err := in.peer()
		if err != nil {
			return nil, err
		}
		lifted, err := s.broker.LiftBan(ctx, in.app(), peer)
		if err == nil && !lifted {
			err = notFound("this peer is not banned")
		}
		return nil, err
	})
}
