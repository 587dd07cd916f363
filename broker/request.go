package broker

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

const (
	// maxRequestBytes bounds a request's body (spec 13).
	maxRequestBytes = 16 << 10
	// requestDeadline bounds what a request waits for the store.
	requestDeadline = 10 * time.Second
	maxRequestID    = 64
)

// replyTo is where a request's answer goes.
type replyTo struct {
	topic       string
	correlation []byte
	id          json.RawMessage
}

// requestBody is what requests take; each verb uses its part (spec 6).
type requestBody struct {
	ID         json.RawMessage `json:"id"`
	Timestamp  seconds         `json:"timestamp"`
	Nonce      string          `json:"nonce"`
	Signature  string          `json:"signature"`
	Peers      []string        `json:"peers"`
	To         []string        `json:"to"`
	Group      *string         `json:"group"`
	Message    *string         `json:"message"`
	Data       []byte          `json:"data"`
	Transient  bool            `json:"transient"`
	Receipt    bool            `json:"receipt"`
	ClientID   string          `json:"client_id"`
	Peer       string          `json:"peer"`
	Convers    string          `json:"conversation"`
	Before     string          `json:"before"`
	Limit      *int            `json:"limit"`
	Open       bool            `json:"open"`
	Name       string          `json:"name"`
	Attributes json.RawMessage `json:"attributes"`
	Cursor     string          `json:"cursor"`
}

func (r *requestBody) proof() proof {
	return proof{timestamp: string(r.Timestamp), nonce: r.Nonce, signature: r.Signature}
}

type verb func(ctx context.Context, s *Session, r *requestBody) (map[string]any, error)

var verbs = map[string]verb{
	"watch":   requestWatch,
	"unwatch": requestUnwatch,
	"status":  requestStatus,
	"history": requestHistory,
	"join":    requestJoin,
	"leave":   requestLeave,
	"invite":  requestInvite,
	"kick":    requestKick,
	"groups":  requestGroups,
	"members": requestMembers,
}

// request takes a publish to {app}/request/{self}/{verb}. Its acknowledgement only says that it arrived; its outcome is a reply.
func (s *Session) request(p *Publish, parsed topic) {
	if parsed.first != string(s.peer) {
		s.refused(p, string(p.Topic), Errorf(InvalidTarget, "requests are published to %s/request/%s/{verb}", s.app.id, s.peer))
		return
	}
	to := replyTo{topic: s.eventTopic(eventReply), correlation: slices.Clone(p.Props.CorrelationData)}
	name := strings.Clone(parsed.second)
	body, err := s.parseRequest(p, &to)
	if err == nil && name == "send" {
		s.requestSend(p, body, to)
		return
	}
	s.acknowledge(p, MessageID{})
	s.Submit() // what was published before comes first
	if err != nil {
		s.replyError(to, err)
		return
	}
	run := verbs[name]
	if run == nil {
		s.replyError(to, Errorf(Malformed, "there is no verb %q", clip(name)))
		return
	}
	if err := s.takeRate(s.app.cfg.Load(), p.QoS, 1, len(p.Payload)); err != nil {
		s.replyError(to, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestDeadline)
	defer cancel()
	answer, rerr := run(ctx, s, body)
	if rerr != nil {
		s.replyError(to, AsError(rerr))
		return
	}
	s.reply(to, answer)
}

// parseRequest returns what a request asks for. What is said of one that is refused goes where its answer would, with its id.
func (s *Session) parseRequest(p *Publish, to *replyTo) (*requestBody, *Error) {
	terr := s.answerOn(p.Props.ResponseTopic, to)
	if len(p.Payload) > maxRequestBytes {
		return nil, Errorf(MessageTooLong, "a request has at most %d bytes", maxRequestBytes)
	}
	r := &requestBody{}
	perr := decodeObject(p.Payload, r)
	if perr != nil {
		r.ID = requestID(p.Payload)
	}
	if len(r.ID) > 0 {
		if c := r.ID[0]; len(r.ID) > maxRequestID || c == '{' || c == '[' {
			return nil, Errorf(Malformed, "id is a string or a number of at most %d bytes", maxRequestID)
		}
		to.id = r.ID
	}
	switch {
	case p.PropsTooLong:
		return nil, Errorf(LimitExceeded, "the properties of the request are over %d bytes", maxProperties)
	case perr != nil:
		return nil, Errorf(Malformed, "%s", perr)
	}
	return r, terr
}

// answerOn has the answer go to a Response Topic; an empty one changes nothing.
func (s *Session) answerOn(topic string, to *replyTo) *Error {
	if topic == "" {
		return nil
	}
	rest, ok := strings.CutPrefix(topic, s.eventTopic(""))
	if !ok || rest == "" || hasWildcard(rest) {
		return Errorf(InvalidTarget, "the response topic must lie under %s", s.eventTopic(""))
	}
	to.topic = strings.Clone(topic)
	return nil
}

// requestID finds the id of a request with a field at fault, behind which nothing was read; none in JSON that does not parse.
func requestID(body []byte) json.RawMessage {
	var r struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(body, &r) != nil {
		return nil
	}
	return r.ID
}

func (s *Session) replyError(to replyTo, err *Error) {
	s.b.counters.refuse(err.Code)
	s.logRefused("request", err.Code)
	s.sendReply(to, refusal(err))
}

// refusal is the answer to a request that is refused.
func refusal(err *Error) map[string]any {
	return map[string]any{"ok": false, "code": err.Code, "error": err.Code.Name(), "message": err.Message}
}

func (s *Session) reply(to replyTo, answer map[string]any) {
	if answer == nil {
		answer = map[string]any{}
	}
	answer["ok"] = true
	s.sendReply(to, answer)
}

// sendReply queues an answer for this connection.
func (s *Session) sendReply(to replyTo, answer map[string]any) {
	s.mu.Lock()
	s.queueReply(to, answer)
	s.mu.Unlock()
	s.link.Wake()
}

// queueReply queues an answer, or, where the client does not take one of its size, what to do about that. s.mu is held.
func (s *Session) queueReply(to replyTo, answer map[string]any) {
	out := s.replyOf(to, answer)
	if s.maxPacket != 0 && s.packetSize(&out) > int(s.maxPacket) {
		out = s.replyOf(to, refusal(Errorf(LimitExceeded, "the answer is over the client's Maximum Packet Size, %d bytes; ask for less", s.maxPacket)))
	}
	s.out.ready.push(out)
}

func (s *Session) replyOf(to replyTo, answer map[string]any) Out {
	if to.id != nil {
		answer["id"] = to.id
	}
	g := s.grantFor(to.topic, true)
	out := Out{Kind: OutPublish, Topic: to.topic, Payload: mustJSON(answer), SubIDs: g.ids}
	if to.correlation != nil {
		out.Props = &Properties{CorrelationData: to.correlation}
	}
	return out
}

func requestWatch(ctx context.Context, s *Session, r *requestBody) (map[string]any, error) {
	cfg := s.app.cfg.Load()
	peers, perr := parsePeerList("peers", r.Peers, cfg.Watch.PerCall)
	if perr != nil {
		return nil, perr
	}
	s.mu.Lock()
	have, fresh := len(s.watch), 0
	for _, p := range peers {
		if s.watch[p] == nil {
			fresh++
		}
	}
	s.mu.Unlock()
	if err := checkWatchRoom(cfg, have, fresh); err != nil {
		return nil, err
	}
	if p := r.proof(); cfg.Signature.Required {
		text := openText(s.app.id, s.peer, joinSorted(peers), p.timestamp, p.nonce, false)
		if err := s.b.verify(ctx, s.app, &p, text, s.peer, s.clientID, "watch", reuseNever); err != nil {
			return nil, err
		}
	}
	online := s.watchByRequest(peers)
	s.b.storeWatch(s)
	return map[string]any{"online": online}, nil
}

func requestUnwatch(_ context.Context, s *Session, r *requestBody) (map[string]any, error) {
	peers, perr := parsePeerList("peers", r.Peers, s.app.cfg.Load().Watch.PerCall)
	if perr != nil {
		return nil, perr
	}
	s.unwatch(peers)
	s.b.storeWatch(s)
	return nil, nil
}

// storeWatch keeps the session's watch list through a crash of the server.
func (b *Broker) storeWatch(s *Session) {
	if s.expiry > 0 {
		batch := b.openedBatch(s)
		b.commitLazily(batch, func() { s.closeIfLost(batch) })
	}
}

func requestStatus(ctx context.Context, s *Session, r *requestBody) (map[string]any, error) {
	const most = 100
	peers, perr := parsePeerList("peers", r.Peers, most)
	if perr != nil {
		return nil, perr
	}
	online, err := s.b.Online(ctx, s.app.id, peers)
	return map[string]any{"online": online}, err
}

func requestHistory(ctx context.Context, s *Session, r *requestBody) (map[string]any, error) {
	q := HistoryQuery{Limit: 100}
	if r.Limit != nil {
		if *r.Limit < 1 || *r.Limit > 1000 {
			return nil, Errorf(Malformed, "limit is 1-1000")
		}
		q.Limit = *r.Limit
	}
	if r.Before != "" {
		id, err := ParseMessageID(r.Before)
		if err != nil {
			return nil, Errorf(Malformed, "before is a message id")
		}
		q.Cursor = id
	}
	named := 0
	if r.Peer != "" {
		with, ok := ParsePeerID(r.Peer)
		if !ok {
			return nil, Errorf(Malformed, "peer is not of a peer's form")
		}
		q.Conversation = DirectConversation(s.peer, with)
		named++
	}
	if r.Convers != "" {
		q.Conversation = ConversationID(r.Convers)
		named++
	}
	if r.Group != nil {
		q.Conversation = ConversationID(*r.Group)
		named++
	}
	if named != 1 {
		return nil, Errorf(Malformed, "history takes one of peer, group and conversation")
	}
	page, err := s.b.PeerHistory(ctx, s.app.id, s.peer, q)
	if err != nil {
		return nil, err
	}
	return map[string]any{"messages": page.Items}, nil
}
