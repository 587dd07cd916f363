package api

import (
	"context"
	"net/http"

	"kith/broker"
)

// Trace is a message's life: the answer to "did she get it?".
type Trace struct {
	ID           broker.MessageID      `json:"id" doc:"The message's id." example:"054s30bo800000000000"`
	Conversation broker.ConversationID `json:"conversation" doc:"Where it belongs." example:"bcd26a54e98687390b0abb4d83683d4b"`
	From         broker.PeerID         `json:"from" doc:"Who sent it." example:"u1234"`
	Group        broker.GroupID        `json:"group,omitempty" doc:"The group it went to." example:"team"`
	Accepted     int64                 `json:"accepted" doc:"When it was accepted, Unix milliseconds." example:"1416290728000"`
	Stored       bool                  `json:"stored" doc:"Whether it is durable: always, as nothing else has a trace." example:"true"`
	Queued       bool                  `json:"queued" doc:"Whether it waits for who is away; false for an open group, which queues for nobody, and for what was imported." example:"true"`
	ReceiptAt    int64                 `json:"receipt_at,omitempty" doc:"When its receiver had it, if a receipt was asked for; Unix milliseconds." example:"1416290728120"`
	Items        []ReceiverTrace       `json:"items" nullable:"false" doc:"Its receivers, in the order of their ids."`
	Next         string                `json:"next,omitempty" doc:"The cursor of the next page; absent on the last." example:"dHUwOTg4"`
}

// ReceiverTrace is what became of a message at one receiver.
type ReceiverTrace struct {
	Peer    broker.PeerID `json:"peer" doc:"The receiver." example:"u0988"`
	State   string        `json:"state" enum:"acknowledged,refused,sent,waiting,expired,skipped,gone" doc:"How far it came on the device that has it furthest." example:"acknowledged"`
	Devices []DeviceTrace `json:"devices" nullable:"false" doc:"The receiver's known devices."`
}

// DeviceTrace is what became of a message on one device.
type DeviceTrace struct {
	Device       broker.DeviceID `json:"device" doc:"The device's name." example:"phone"`
	Connected    bool            `json:"connected" doc:"Whether it is connected now." example:"true"`
	State        string          `json:"state" enum:"acknowledged,refused,sent,waiting,expired,skipped,gone" doc:"acknowledged: it has it; refused: its client said no; sent: written to a connection and not acknowledged; waiting: not sent yet; expired; skipped: never sent, as more waited than the queue keeps, or it was too large for the client." example:"acknowledged"`
	Sent         int64           `json:"sent,omitempty" doc:"When it was sent first, Unix milliseconds; absent: not, or nobody knows." example:"1416290728003"`
	Times        int             `json:"times,omitempty" doc:"How often it was sent, as far as is known." example:"1"`
	Acknowledged int64           `json:"acknowledged,omitempty" doc:"When it was acknowledged, Unix milliseconds; absent: not, or nobody knows." example:"1416290728119"`
}

func receiverTraceOf(r broker.ReceiverTrace) ReceiverTrace {
	t := ReceiverTrace{Peer: r.Peer, State: string(r.State), Devices: make([]DeviceTrace, 0, len(r.Devices))}
	for _, d := range r.Devices {
		t.Devices = append(t.Devices, DeviceTrace{d.Device, d.Connected, string(d.State), d.Sent, d.Times, d.Acknowledged})
	}
	return t
}

// TraceInput asks for the life of a message.
type TraceInput struct {
	MessagePath
	PageQuery
}

func (s *Server) registerTrace() {
	example := exampleMessage()
	register(s, operation{
		id: "trace-message", method: http.MethodGet, path: "/v1/apps/{app}/messages/{id}/trace", tag: "messages", role: RoleViewer,
		summary: "Trace a message",
		description: "What became of a message at each of its receivers and their devices. Times are kept for the queue's age where the app's " +
			"trace setting says so; without them a device that is past the message has acknowledged it. A group's receivers are " +
			"those of its members now that were members then; a page of a group may hold fewer than the limit. A transient message is kept nowhere and has no trace.",
		missing: true,
		answer: Trace{
			ID: example.ID, Conversation: example.Conversation, From: example.From, Accepted: example.TS, Stored: true, Queued: true,
			ReceiptAt: 1416290728120,
			Items: []ReceiverTrace{{"u0988", "acknowledged", []DeviceTrace{
				{"desk", false, "waiting", 0, 0, 0}, {"phone", true, "acknowledged", 1416290728003, 1, 1416290728119},
			}}},
		},
	}, func(ctx context.Context, in *TraceInput) (*Answer[Trace], error) {
		id, err := in.id()
		if err != nil {
			return nil, err
		}
		after, err := traceList.lastPeer(in.Cursor)
		if err != nil {
			return nil, err
		}
		found, ok, err := s.broker.Trace(ctx, in.app(), id, after, in.Limit)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, notFound("history has no such message: it was deleted, is older than history.age, or was transient and kept nowhere")
		}
		m := found.Message
		t := Trace{
			ID: m.ID, Conversation: m.Conversation, From: m.From, Group: m.Group, Accepted: m.TS, Stored: true, Queued: found.Queued,
			ReceiptAt: m.ReceiptAt, Items: make([]ReceiverTrace, 0, len(found.Receivers)),
		}
		for _, r := range found.Receivers {
			t.Items = append(t.Items, receiverTraceOf(r))
		}
		if found.Next != "" {
			t.Next = traceList.cursor(string(found.Next))
		}
		return answer(t), nil
	})
}
