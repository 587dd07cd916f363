package broker

import (
	"context"
	"errors"
	"slices"
	"time"
)

const maxReceivers = 20

// sendReply is a "send" request whose message is not durable yet.
type sendReply struct {
	to           replyTo
	conversation ConversationID
}

// requestSend does the send request: one message to many peers, and ids and receipts for MQTT 3.1.1 (spec 6).
func (s *Session) requestSend(p *Publish, r *requestBody, to replyTo) {
	s.acknowledge(p, MessageID{})
	m, err := s.messageOfRequest(r)
	if err == nil {
		err = s.takeRate(s.app.cfg.Load(), p.QoS, max(1, len(m.To)), len(m.Payload))
	}
	if err != nil {
		s.Submit()
		s.replyError(to, err)
		return
	}
	if m.Transient {
		m.ID = s.b.ids.Next()
		s.b.counters.transient.Add(1)
		wakeAll(s.b.deliverTransient(m))
		s.reply(to, map[string]any{"message_id": m.ID, "ts": m.ID.Time(), "conversation": m.Conversation})
		return
	}
	a := s.b.appendOf(m, r.ClientID, s.inboxesOf(m))
	s.mu.Lock()
	s.stage(a, pendingAck{silent: true, request: &sendReply{to: to, conversation: m.Conversation}})
	s.mu.Unlock()
}

// replySend answers a send request whose message was stored, or was not. s.mu is held.
func (s *Session) replySend(r *sendReply, id MessageID, err *Error) {
	if err != nil {
		s.queueReply(r.to, refusal(err))
		return
	}
	s.queueReply(r.to, map[string]any{"ok": true, "message_id": id, "ts": id.Time(), "conversation": r.conversation})
}

func (s *Session) messageOfRequest(r *requestBody) (*Message, *Error) {
	if (r.Message == nil) == (r.Data == nil) {
		return nil, Errorf(Malformed, "send takes message (text) or data (base64)")
	}
	req := SendRequest{From: s.peer, Payload: r.Data, Transient: r.Transient, Receipt: r.Receipt, SenderID: r.ClientID, FromIP: s.remote}
	if r.Message != nil {
		req.Payload = []byte(*r.Message)
	}
	cfg := s.app.cfg.Load()
	var err *Error
	if req.To, err = parsePeerList("to", r.To, maxReceivers); err != nil {
		return nil, err
	}
	if r.Group != nil {
		return s.groupMessageOfRequest(cfg, r, &req)
	}
	m, err := directMessage(cfg, &req)
	if err != nil {
		return nil, err
	}
	for _, to := range m.To {
		if err := s.checkWatches(cfg, to); err != nil {
			return nil, err
		}
	}
	m.Device = s.device
	return m, nil
}

func (s *Session) groupMessageOfRequest(cfg *AppConfig, r *requestBody, req *SendRequest) (*Message, *Error) {
	id, err := r.groupID()
	if err != nil {
		return nil, err
	}
	req.Group = id
	m, err := groupMessage(cfg, req)
	if err == nil {
		err = s.checkInGroup(id)
	}
	if err != nil {
		return nil, err
	}
	m.Device, m.openGroup = s.device, s.inOpenGroup(id)
	return m, nil
}

// groupMessage makes the message of a request to a group that passes the rules that do not depend on a session.
func groupMessage(cfg *AppConfig, r *SendRequest) (*Message, *Error) {
	switch {
	case len(r.To) > 0:
		return nil, Errorf(Malformed, "a message has receivers or a group, not both")
	case r.Receipt:
		return nil, Errorf(InvalidTarget, "a message to a group gives no receipt")
	}
	if err := checkSizes(cfg, r); err != nil {
		return nil, err
	}
	return &Message{
		App: cfg.ID, From: r.From, Group: r.Group, Conversation: ConversationID(r.Group), Payload: r.Payload, QoS: 1,
		Transient: r.Transient, NoSync: r.NoSync, FromIP: r.FromIP,
	}, nil
}

func checkSizes(cfg *AppConfig, r *SendRequest) *Error {
	if len(r.Payload) > cfg.MessageBytes {
		return Errorf(MessageTooLong, "the message has %d bytes, at most %d are allowed", len(r.Payload), cfg.MessageBytes)
	}
	if len(r.SenderID) > maxSenderID {
		return Errorf(LimitExceeded, "client_id is over %d bytes", maxSenderID)
	}
	return nil
}

// directMessage makes the message of a request that passes the rules that do not depend on a session.
func directMessage(cfg *AppConfig, r *SendRequest) (*Message, *Error) {
	if len(r.To) == 0 {
		return nil, Errorf(Malformed, "to names no receiver")
	}
	if len(r.To) > maxReceivers {
		return nil, Errorf(LimitExceeded, "a message has at most %d receivers", maxReceivers)
	}
	if err := checkSizes(cfg, r); err != nil {
		return nil, err
	}
	if r.Receipt && (len(r.To) != 1 || r.Transient) {
		return nil, Errorf(InvalidTarget, "a receipt is for a persistent message to one receiver")
	}
	return &Message{
		App: cfg.ID, From: r.From, To: r.To, Payload: r.Payload, QoS: 1, Receipt: r.Receipt, Transient: r.Transient,
		NoSync: r.NoSync, FromIP: r.FromIP, Conversation: DirectConversation(append(slices.Clone(r.To), r.From)...),
	}, nil
}

// Send sends a message as any peer (REST). It returns when the message is durable, or with a refusal as *Error.
func (b *Broker) Send(ctx context.Context, id AppID, r SendRequest) (SendResult, error) {
	a, err := b.app(id)
	if err != nil {
		return SendResult{}, err
	}
	m, inboxes, err := b.admitSend(ctx, a, &r)
	if err != nil {
		b.counters.refuse(AsError(err).Code)
		return SendResult{}, err
	}
	if m.Transient {
		m.ID = b.ids.Next()
		b.counters.transient.Add(1)
		wakeAll(b.deliverTransient(m))
		return SendResult{m.ID, m.ID.Time(), m.Conversation}, nil
	}
	type outcome struct {
		a   *Append
		err error
	}
	done := make(chan outcome, 1)
	b.appendAndDeliver(b.appendOf(m, r.SenderID, inboxes), func(a *Append, err error) { done <- outcome{a, err} })
	select {
	case o := <-done:
		switch {
		case o.err != nil:
			return SendResult{}, o.err
		case o.a.Refused:
			return SendResult{}, errNotMember(r.Group)
		}
		return SendResult{o.a.ID, o.a.ID.Time(), m.Conversation}, nil
	case <-ctx.Done():
		return SendResult{}, ctx.Err()
	}
}

// admitSend makes the message of a REST send and says whose inboxes it goes to. An operator sends as any peer, unwatched, but to a group
// only as a member, unless it is an open one.
func (b *Broker) admitSend(ctx context.Context, a *app, r *SendRequest) (*Message, []PeerID, error) {
	cfg := a.cfg.Load()
	if r.Group != "" {
		m, merr := groupMessage(cfg, r)
		if merr != nil {
			return nil, nil, merr
		}
		k := groupKey{a.id, r.Group}
		g, _, err := b.group(ctx, k)
		if err != nil {
			return nil, nil, err
		}
		m.openGroup = g.Open
		if g.Open {
			return m, nil, nil
		}
		return m, nil, b.checkMember(ctx, k, g, r.From)
	}
	if _, err := parsePeerList("to", r.To, maxReceivers); err != nil {
		return nil, nil, err
	}
	m, merr := directMessage(cfg, r)
	if merr != nil {
		return nil, nil, merr
	}
	if slices.Contains(m.To, m.From) || m.Transient || m.NoSync {
		return m, m.To, nil
	}
	devices, err := b.store.List(ctx, ListQuery{Space: SpaceDevice, App: a.id, Owner: string(m.From), Limit: 1})
	if err != nil || len(devices) == 0 {
		return m, m.To, err
	}
	return m, append(slices.Clone(m.To), m.From), nil
}

// appendReceipt tells a message's sender, once, that its receiver has it (spec 8).
func (b *Broker) appendReceipt(m *Message, to PeerID) {
	a := Append{
		App: m.App, EventPeer: m.From, Keep: maxWaitingEvents,
		Event: storedEvent(eventReceipt, "", struct {
			MessageID MessageID `json:"message_id"`
			To        PeerID    `json:"to"`
		}{m.ID, to}),
		Once: receiptKey(m.App, m.ID),
	}
	b.storeReceipt(a, true)
}

// maxReceiptsHeld bounds the receipts that are tried again while the store is away; those past it are lost.
const maxReceiptsHeld = 1 << 16

// storeReceipt stores a receipt, again and again while the store is away: the receiver has acknowledged, and does so once.
func (b *Broker) storeReceipt(a Append, first bool) {
	b.appendAndDeliver(a, func(_ *Append, err error) {
		if !first {
			b.receiptsHeld.Add(-1)
		}
		if err == nil || errors.Is(err, ErrStoreClosed) {
			return
		}
		if b.receiptsHeld.Add(1) > maxReceiptsHeld {
			b.receiptsHeld.Add(-1)
			b.log.Error("receipt could not be stored", "app", a.App, "peer", a.EventPeer, "err", err)
			return
		}
		if first {
			b.log.Warn("receipt could not be stored; trying again", "app", a.App, "peer", a.EventPeer, "err", err)
		}
		time.AfterFunc(heldRetry, func() { b.storeReceipt(a, false) })
	})
}

func receiptKey(app AppID, id MessageID) Key {
	return Key{Space: SpaceReceipt, App: app, Owner: id.String()}
}
