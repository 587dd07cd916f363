package api

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"kith/broker"
)

// The types of live events.
const (
	eventMessage  = "message"
	eventPresence = "presence"
	eventSkipped  = "skipped"
)

// LiveInput selects live events.
type LiveInput struct {
	AppPath
	Types        []string `query:"types" enum:"message,presence" nullable:"false" doc:"Which events, separated by commas; else all that the other filters allow." example:"[\"message\",\"presence\"]"`
	Peer         string   `query:"peer" doc:"Direct messages this peer sent or received, group messages it sent, and its presence." example:"u1234"`
	Group        string   `query:"group" doc:"Messages to this group; no presence." example:"team"`
	Conversation string   `query:"conversation" doc:"Messages of this conversation; no presence." example:"bcd26a54e98687390b0abb4d83683d4b"`
	LastEventID  string   `header:"Last-Event-ID" doc:"The id of the last message that was read: those behind it come first." example:"054s30bo800000000000"`
}

// query is what the broker is asked for.
func (in *LiveInput) query() (q broker.LiveQuery, err error) {
	conversation := in.Group != "" || in.Conversation != ""
	q.Messages = len(in.Types) == 0 || slices.Contains(in.Types, eventMessage)
	q.Presence = slices.Contains(in.Types, eventPresence)
	switch {
	case conversation && in.Peer != "" || in.Group != "" && in.Conversation != "":
		return q, malformed("peer, group and conversation exclude each other")
	case conversation && q.Presence:
		return q, malformed("presence is of peers: leave group or conversation out, or presence out of types")
	}
	q.Presence = q.Presence || len(in.Types) == 0 && !conversation
	if in.LastEventID != "" {
		if q.After, err = broker.ParseMessageID(in.LastEventID); err != nil {
			return q, malformed("Last-Event-ID is not the id of a message")
		}
	}
	switch {
	case in.Peer != "":
		q.Peer, err = parsePeer("query.peer", in.Peer)
	case in.Group != "":
		var group broker.GroupID
		group, err = parseGroup("query.group", in.Group)
		q.Conversation = broker.ConversationID(group)
	case in.Conversation != "":
		q.Conversation, err = parseConversation(in.Conversation)
	}
	return q, err
}

const liveExample = `: live

id: 054s30bo800000000000
event: message
data: {"id":"054s30bo800000000000","conversation":"bcd26a54e98687390b0abb4d83683d4b","from":"u1234","to":["u0988"],"ts":1416290728000,"message":"hello"}

event: presence
data: {"peer":"u1234","status":"offline","ts":1416290730000}

event: skipped
data: {"of":"presence","count":12,"since":1416290728000}

`

func (s *Server) registerLive() {
	register(s, operation{
		id: "live", method: http.MethodGet, path: "/v1/apps/{app}/live", tag: "messages", role: RoleViewer,
		summary: "Follow messages and presence",
		description: "Server-sent events, as they happen: message with an item of history, presence with peer, status and ts. " +
			"A lost connection goes on behind the message that Last-Event-ID names, so that nothing is left out that history has; " +
			"transient messages and presence have no history. A reader too slow for presence, or away for longer than history.age, gets " +
			"skipped with what, how many (where that is known) and since when. A comment comes every 15 s.",
		errors: []broker.Code{broker.InvalidPeer},
		stream: "text/event-stream", answer: liveExample,
	}, func(ctx context.Context, in *LiveInput) (*huma.StreamResponse, error) {
		q, err := in.query()
		if err != nil {
			return nil, err
		}
		leave, err := s.streams.begin(in.app())
		if err != nil {
			return nil, err
		}
		live, err := s.broker.Live(ctx, in.app(), q)
		if err != nil {
			leave()
			return nil, err
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			defer leave()
			defer live.Close()
			s.stream(ctx, in.app(), live)
		}}, nil
	})
}

// stream writes what a live reader finds, until one side ends it, or the reader's credentials do not open the app any more.
func (s *Server) stream(hctx huma.Context, app broker.AppID, live *broker.Live) {
	r, w := humachi.Unwrap(hctx)
	ctx, cancel := s.streams.while(hctx.Context())
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies that heed it pass events on at once
	w.WriteHeader(http.StatusOK)
	out := &eventStream{w: w}
	out.comment("live")
	for out.flush() == nil {
		events, err := nextEvents(ctx, live)
		switch {
		case ctx.Err() != nil, !s.guard.stillMay(r, app):
			return
		case errors.Is(err, context.DeadlineExceeded):
			out.comment("heartbeat")
		case err != nil:
			// The headers are gone: to end the stream is all that is left. The reader comes back.
			_ = problemOf(ctx, s.log, err)
			return
		}
		if err := out.events(&events); err != nil {
			s.log.Error("live event could not be written", "err", err)
			return
		}
	}
}

// nextEvents waits for events for as long as a stream may be silent.
func nextEvents(ctx context.Context, live *broker.Live) (broker.LiveEvents, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	return live.Next(ctx)
}

// events adds live events. A message that came late, behind a newer one, carries no id: a reader goes on from the newest.
func (s *eventStream) events(e *broker.LiveEvents) error {
	for _, skip := range e.Skipped {
		if err := s.event(eventSkipped, "", skip); err != nil {
			return err
		}
	}
	for _, p := range e.Presence {
		if err := s.event(eventPresence, "", p); err != nil {
			return err
		}
	}
	for i := range e.Messages {
		id := ""
		if m := e.Messages[i].ID; m.Compare(s.newest) > 0 {
			s.newest, id = m, m.String()
		}
		if err := s.event(eventMessage, id, Message(e.Messages[i])); err != nil {
			return err
		}
	}
	return nil
}
