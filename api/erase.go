package api

import (
	"context"
	"net/http"

	"kith/broker"
)

// Erased tells what an erasure removed.
type Erased struct {
	Messages int `json:"messages" doc:"Messages that the peer had sent." example:"120"`
	Groups   int `json:"groups" doc:"Groups that it was a member of." example:"3"`
	Devices  int `json:"devices" doc:"Devices that were known." example:"2"`
}

func (s *Server) registerErase() {
	register(s, operation{
		id: "erase-peer", method: http.MethodDelete, path: "/v1/apps/{app}/peers/{peer}", tag: "peers", role: RoleAdmin,
		summary: "Erase a peer",
		description: "Ends its sessions and removes its queue, memberships, devices and all that it sent, also where it still waits for others. " +
			"What others sent to it stays theirs; a ban stays. After a 503 something may be left: erase it again.",
		errors: []broker.Code{broker.InvalidPeer}, answer: Erased{120, 3, 2},
	}, func(ctx context.Context, in *PeerPath) (*Answer[Erased], error) {
		peer, err := in.peer()
		if err != nil {
			return nil, err
		}
		erased, err := s.broker.ErasePeer(ctx, in.app(), peer)
		if err != nil {
			return nil, err
		}
		return answer(Erased(erased)), nil
	})
}
