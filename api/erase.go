package api

import (
	"context"
	"net/http"

	"kith/broker"
)

// Erased is the receipt of an erasure.
type Erased struct {
	Peer     broker.PeerID `json:"peer" doc:"Who was erased." example:"u1234"`
	At       int64         `json:"at" doc:"When it was done, Unix milliseconds." example:"1416290728000"`
	Sessions int           `json:"sessions" doc:"Connections that were ended." example:"1"`
	Messages int           `json:"messages" doc:"Messages that the peer had sent." example:"120"`
	Waiting  int           `json:"waiting" doc:"Messages in the queue of its device that had the most; those of others stay in history." example:"4"`
	Events   int           `json:"events" doc:"Events that waited for it." example:"2"`
	Groups   int           `json:"groups" doc:"Groups that it was a member of." example:"3"`
	Devices  int           `json:"devices" doc:"Devices that were known." example:"2"`
}

func (s *Server) registerErase() {
	register(s, operation{
		id: "erase-peer", method: http.MethodDelete, path: "/v1/apps/{app}/peers/{peer}", tag: "peers", role: RoleAdmin,
		summary: "Erase a peer",
		description: "Ends its sessions and removes its queue, memberships, devices and all that it sent, also where it still waits for others. " +
			"What others sent to it stays theirs; a ban stays. The answer is a receipt of what was removed. After a 503 something may be left: erase it again.",
		errors: []broker.Code{broker.InvalidPeer}, answer: Erased{"u1234", 1416290728000, 1, 120, 4, 2, 3, 2},
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
