package api

import (
	"context"
	"net/http"

	"kith/broker"
)

// Message is an item of history (spec 11).
type Message struct {
	ID           broker.MessageID      `json:"id" doc:"Sorts by time." example:"054s30bo800000000000"`
	Conversation broker.ConversationID `json:"conversation" doc:"md5 of the participants, or the group's id." example:"bcd26a54e98687390b0abb4d83683d4b"`
	From         broker.PeerID         `json:"from" doc:"Who sent it." example:"u1234"`
	To           []broker.PeerID       `json:"to,omitempty" nullable:"false" doc:"Its receivers, unless it went to a group." example:"[\"u0988\"]"`
	Group        broker.GroupID        `json:"group,omitempty" doc:"The group it went to." example:"team"`
	TS           int64                 `json:"ts" doc:"When it was accepted, Unix milliseconds." example:"1416290728000"`
	Message      *string               `json:"message,omitempty" doc:"What was sent, when it is UTF-8 text." example:"hello"`
	Data         []byte                `json:"data,omitempty" doc:"What was sent, base64, when it is not text." example:"AP8="`
	ContentType  string                `json:"content_type,omitempty" doc:"As the sender said it." example:"text/plain"`
	ReceiptAt    int64                 `json:"receipt_at,omitempty" doc:"When the receiver had it, if a receipt was asked for; Unix milliseconds." example:"1416290728120"`
	FromIP       string                `json:"from_ip,omitempty" doc:"The address it was sent from." example:"192.0.2.7"`
	Original     string                `json:"original_id,omitempty" doc:"Its id where it came from, if it was imported." example:"vdkGm4dtRNmhQ5gqUTFBiA"`
}

func messagesOf(items []broker.HistoryItem) []Message {
	messages := make([]Message, 0, len(items))
	for _, i := range items {
		messages = append(messages, Message(i))
	}
	return messages
}

// HistoryInput selects messages.
type HistoryInput struct {
	AppPath
	Conversation string   `query:"conversation" doc:"Messages of this conversation." example:"bcd26a54e98687390b0abb4d83683d4b"`
	Group        string   `query:"group" doc:"Messages to this group." example:"team"`
	Peers        []string `query:"peers" doc:"Messages of the conversation between exactly these peers, separated by commas." nullable:"false" example:"[\"u0988\",\"u1234\"]"`
	From         string   `query:"from" doc:"Messages this peer sent." example:"u1234"`
	Peer         string   `query:"peer" doc:"Direct messages this peer sent or received, and group messages it sent." example:"u1234"`
	Since        int64    `query:"since" minimum:"0" doc:"Not before this time, Unix milliseconds." example:"1416290728000"`
	Until        int64    `query:"until" minimum:"0" doc:"Before this time, Unix milliseconds." example:"1416377128000"`
	Order        string   `query:"order" enum:"asc,desc" default:"desc" doc:"desc: newest first." example:"desc"`
	PageQuery
}

// query is what the broker is asked for.
func (in *HistoryInput) query() (q broker.HistoryQuery, err error) {
	q = broker.HistoryQuery{Since: in.Since, Until: in.Until, Ascending: in.Order == "asc", Limit: in.Limit}
	selectors := 0
	choose := func(given bool, set func() error) {
		if given && err == nil {
			selectors++
			err = set()
		}
	}
	choose(in.Conversation != "", func() (err error) {
		q.Conversation, err = parseConversation(in.Conversation)
		return err
	})
	choose(in.Group != "", func() error {
		group, err := parseGroup("query.group", in.Group)
		q.Conversation = broker.ConversationID(group)
		return err
	})
	choose(len(in.Peers) > 0, func() error {
		peers, err := parsePeers("query.peers", in.Peers)
		q.Conversation = broker.DirectConversation(peers...)
		return err
	})
	choose(in.From != "", func() (err error) {
		q.From, err = parsePeer("query.from", in.From)
		return err
	})
	choose(in.Peer != "", func() (err error) {
		q.Peer, err = parsePeer("query.peer", in.Peer)
		return err
	})
	if err != nil {
		return q, err
	}
	if selectors > 1 {
		return q, malformed("conversation, group, peers, from and peer exclude each other")
	}
	q.Cursor, err = messageList.lastMessage(in.Cursor)
	return q, err
}

func parseConversation(s string) (broker.ConversationID, error) {
	conversation, ok := broker.ParseConversationID(s)
	if !ok {
		return "", malformed("query.conversation is not a conversation: 32 lower-case hex digits or a group id")
	}
	return conversation, nil
}

// MessagePath is a path to a message.
type MessagePath struct {
	AppPath
	ID string `path:"id" doc:"The message's id." example:"054s30bo800000000000"`
}

func (p *MessagePath) id() (broker.MessageID, error) {
	id, err := broker.ParseMessageID(p.ID)
	if err != nil {
		return id, malformed("path.id is not a message id")
	}
	return id, nil
}

func (s *Server) registerMessages() {
	register(s, operation{
		id: "list-messages", method: http.MethodGet, path: "/v1/apps/{app}/messages", tag: "messages", role: RoleViewer,
		summary:     "Read history",
		description: "Persistent messages, newest first: of a conversation, a group, between peers, from a peer, of a peer, or of the whole app.",
		errors:      []broker.Code{broker.InvalidPeer},
		answer:      Page[Message]{Items: []Message{exampleMessage()}, Next: messageList.cursor(exampleMessage().ID.String())},
	}, func(ctx context.Context, in *HistoryInput) (*Answer[Page[Message]], error) {
		q, err := in.query()
		if err != nil {
			return nil, err
		}
		found, err := s.broker.History(ctx, in.app(), q)
		if err != nil {
			return nil, err
		}
		page := Page[Message]{Items: messagesOf(found.Items)}
		if !found.Next.IsZero() {
			page.Next = messageList.cursor(found.Next.String())
		}
		return answer(page), nil
	})
	register(s, operation{
		id: "get-message", method: http.MethodGet, path: "/v1/apps/{app}/messages/{id}", tag: "messages", role: RoleViewer,
		summary: "Read one message", description: "A message of history by its id.",
		missing: true, answer: exampleMessage(),
	}, func(ctx context.Context, in *MessagePath) (*Answer[Message], error) {
		id, err := in.id()
		if err != nil {
			return nil, err
		}
		item, found, err := s.broker.Message(ctx, in.app(), id)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, notFound("there is no such message")
		}
		return answer(Message(item)), nil
	})
	register(s, operation{
		id: "delete-message", method: http.MethodDelete, path: "/v1/apps/{app}/messages/{id}", tag: "messages", role: RoleAdmin,
		summary: "Delete a message", description: "Removes a message from history, and from queues where it still waits.",
		missing: true,
	}, func(ctx context.Context, in *MessagePath) (*struct{}, error) {
		id, err := in.id()
		if err != nil {
			return nil, err
		}
		deleted, err := s.broker.DeleteMessage(ctx, in.app(), id)
		if err == nil && !deleted {
			err = notFound("there is no such message")
		}
		return nil, err
	})
}

func exampleMessage() Message {
	text, at := "hello", int64(1416290728000)
	return Message{
		ID:           broker.FirstIDAt(at),
		Conversation: broker.DirectConversation("u1234", "u0988"),
		From:         "u1234",
		To:           []broker.PeerID{"u0988"},
		TS:           at,
		Message:      &text,
		FromIP:       "192.0.2.7",
	}
}
