package api

import (
	"context"
	"net/http"

	"kith/broker"
)

// SendBody is a message to send (spec 11).
type SendBody struct {
	From      string   `json:"from" doc:"Who it is from: any peer of the app." example:"u1234"`
	To        []string `json:"to,omitempty" nullable:"false" doc:"Its receivers, at most 20; or group." example:"[\"u0988\"]"`
	Group     string   `json:"group,omitempty" doc:"The group it goes to; or to." example:"team"`
	Message   *string  `json:"message,omitempty" doc:"What to send, as text; or data." example:"hello"`
	Data      []byte   `json:"data,omitempty" doc:"What to send, as base64; or message." example:"AP8="`
	Transient bool     `json:"transient,omitempty" doc:"Only for those online now; kept nowhere." example:"false"`
	Receipt   bool     `json:"receipt,omitempty" doc:"Tell the sender when it arrived. For one receiver, not transient." example:"true"`
	ClientID  string   `json:"client_id,omitempty" doc:"The sender's own id: said again within 10 minutes, the message is delivered once." example:"order-7"`
}

// Sent tells what became of a message.
type Sent struct {
	MessageID    broker.MessageID      `json:"message_id" doc:"The message's id." example:"054s30bo800000000000"`
	TS           int64                 `json:"ts" doc:"When it was accepted, Unix milliseconds." example:"1416290728000"`
	Conversation broker.ConversationID `json:"conversation" doc:"Where it belongs." example:"bcd26a54e98687390b0abb4d83683d4b"`
}

// SendInput is a request to send.
type SendInput struct {
	AppPath
	Body SendBody
}

// request checks the form of a message; the rules are the broker's.
func (b *SendBody) request() (r broker.SendRequest, err error) {
	if (len(b.To) > 0) == (b.Group != "") {
		return r, malformed("give either to or group")
	}
	if (b.Message != nil) == (b.Data != nil) {
		return r, malformed("give either message or data")
	}
	r = broker.SendRequest{Payload: b.Data, Transient: b.Transient, Receipt: b.Receipt, SenderID: b.ClientID}
	if b.Message != nil {
		r.Payload = []byte(*b.Message)
	}
	if r.From, err = parsePeer("body.from", b.From); err != nil {
		return r, err
	}
	if b.Group != "" {
		r.Group, err = parseGroup("body.group", b.Group)
		return r, err
	}
	r.To, err = parsePeers("body.to", b.To)
	return r, err
}

func (s *Server) registerSend() {
	text, sent := "hello", exampleMessage()
	register(s, operation{
		id: "send-message", method: http.MethodPost, path: "/v1/apps/{app}/messages", tag: "messages", role: RoleOperator,
		summary:     "Send a message",
		description: "Sends as any peer, to peers or to a group, watched or not. It is durable when this answers, unless transient.",
		errors: []broker.Code{
			broker.InvalidPeer, broker.MessageTooLong, broker.LimitExceeded, broker.GroupNotFound, broker.RejectedByApp,
			broker.NotAMember, broker.InvalidTarget,
		},
		routine: true,
		request: SendBody{From: "u1234", To: []string{"u0988"}, Message: &text, Receipt: true},
		answer:  Sent{MessageID: sent.ID, TS: sent.TS, Conversation: sent.Conversation},
	}, func(ctx context.Context, in *SendInput) (*Answer[Sent], error) {
		r, err := in.Body.request()
		if err != nil {
			return nil, err
		}
		if addr := callerOf(ctx).addr; addr.IsValid() {
			r.FromIP = addr.String()
		}
		sent, err := s.broker.Send(ctx, in.app(), r)
		if err != nil {
			return nil, err
		}
		callerOf(ctx).target = sent.MessageID.String()
		return answer(Sent(sent)), nil
	})
}
