package api

import (
	"context"
	"net/http"

	"kith/broker"
)

// QueueInput asks for a queue.
type QueueInput struct {
	PeerPath
	PageQuery
	Device string `query:"device" doc:"This device's queue; else that of the device with the most waiting." example:"phone"`
}

// Removed tells how much was removed.
type Removed struct {
	Removed int `json:"removed" doc:"How many." example:"3"`
}

func (s *Server) registerQueue() {
	register(s, operation{
		id: "get-queue", method: http.MethodGet, path: "/v1/apps/{app}/peers/{peer}/queue", tag: "peers", role: RoleViewer,
		summary: "Read an offline queue", description: "What waits for a device of the peer as it stands, oldest first. Reading it consumes nothing.",
		errors: []broker.Code{broker.InvalidPeer}, answer: Page[Message]{Items: []Message{exampleMessage()}, Next: queueList.cursor(exampleMessage().ID.String())},
	}, func(ctx context.Context, in *QueueInput) (*Answer[Page[Message]], error) {
		peer, err := in.peer()
		if err != nil {
			return nil, err
		}
		q := broker.QueueQuery{Limit: in.Limit + 1}
		if in.Device != "" {
			if q.Device, err = parseDevice("query.device", in.Device); err != nil {
				return nil, err
			}
		}
		if q.After, err = queueList.lastMessage(in.Cursor); err != nil {
			return nil, err
		}
		items, err := s.broker.Queue(ctx, in.app(), peer, q)
		if err != nil {
			return nil, err
		}
		return answer(pageOf(messagesOf(items), in.Limit, queueList, func(m *Message) string { return m.ID.String() })), nil
	})
	register(s, operation{
		id: "clear-queue", method: http.MethodDelete, path: "/v1/apps/{app}/peers/{peer}/queue", tag: "peers", role: RoleOperator,
		summary: "Empty an offline queue", description: "What waits for any device of the peer is not delivered any more. It stays in history.",
		errors: []broker.Code{broker.InvalidPeer}, answer: Removed{3},
	}, func(ctx context.Context, in *PeerPath) (*Answer[Removed], error) {
		peer, err := in.peer()
		if err != nil {
			return nil, err
		}
		n, err := s.broker.ClearQueue(ctx, in.app(), peer)
		if err != nil {
			return nil, err
		}
		return answer(Removed{n}), nil
	})
}
