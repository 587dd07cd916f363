package broker

import (
	"context"
	"slices"
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
		err = s.takeRate(s.app.cfg.Load(), p.QoS, max(1, len(m.To)))
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
		s.queueReply(r.to, map[string]any{"ok": false, "code": err.Code, "error": err.Code.Name(), "message": err.Message})
		return
	}
	s.queueReply(r.to, map[string]any{"ok": true, "message_id": id, "ts": id.Time(), "conversation": r.conversation})
}

func (s *Session) messageOfRequest(r *requestBody) (*Message, *Error) {
	if (r.Message == nil) == (r.Data == nil) {
		return nil, Errorf(Malformed, "send takes message (text) or data (base64)")
	}
	if r.Group != nil {
		return nil, Errorf(GroupNotFound, "there is no such group")
	}
	req := SendRequest{From: s.peer, Payload: r.Data, Transient: r.Transient, Receipt: r.Receipt, SenderID: r.ClientID, FromIP: s.remote}
	if r.Message != nil {
		req.Payload = []byte(*r.Message)
	}
	var err *Error
	if req.To, err = parsePeerList("to", r.To, maxReceivers); err != nil {
		return nil, err
	}
	cfg := s.app.cfg.Load()
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

// directMessage makes the message of a request that passes the rules that do not depend on a session.
func directMessage(cfg *AppConfig, r *SendRequest) (*Message, *Error) {
	if len(r.To) == 0 {
		return nil, Errorf(Malformed, "to names no receiver")
	}
	if len(r.To) > maxReceivers {
		return nil, Errorf(LimitExceeded, "a message has at most %d receivers", maxReceivers)
	}
	if len(r.Payload) > cfg.MessageBytes {
		return nil, Errorf(MessageTooLong, "the message has %d bytes, at most %d are allowed", len(r.Payload), cfg.MessageBytes)
	}
	if len(r.SenderID) > maxSenderID {
		return nil, Errorf(LimitExceeded, "client_id is over %d bytes", maxSenderID)
	}
	if r.Receipt && (len(r.To) != 1 || r.Transient) {
		return nil, Errorf(InvalidTarget, "a receipt is for a persistent message to one receiver")
	}
	return &Message{
		App: cfg.ID, From: r.From, To: r.To, Payload: r.Payload, QoS: 1, Receipt: r.Receipt, Transient: r.Transient,
		FromIP: r.FromIP, Conversation: DirectConversation(append(slices.Clone(r.To), r.From)...),
	}, nil
}

// Send sends a message as any peer (REST). It returns when the message is durable, or with a refusal as *Error.
func (b *Broker) Send(ctx context.Context, id AppID, r SendRequest) (SendResult, error) {
	a, err := b.app(id)
	if err != nil {
		return SendResult{}, err
	}
	if r.Group != "" {
		return SendResult{}, Errorf(GroupNotFound, "there is no such group")
	}
	m, merr := directMessage(a.cfg.Load(), &r)
	if merr != nil {
		b.counters.refuse(merr.Code)
		return SendResult{}, merr
	}
	if m.Transient {
		m.ID = b.ids.Next()
		b.counters.transient.Add(1)
		wakeAll(b.deliverTransient(m))
		return SendResult{m.ID, m.ID.Time(), m.Conversation}, nil
	}
	inboxes := m.To
	if !slices.Contains(m.To, m.From) {
		devices, err := b.store.List(ctx, ListQuery{Space: SpaceDevice, App: id, Owner: string(m.From), Limit: 1})
		if err != nil {
			return SendResult{}, err
		}
		if len(devices) > 0 {
			inboxes = append(slices.Clone(m.To), m.From)
		}
	}
	type outcome struct {
		id  MessageID
		err error
	}
	done := make(chan outcome, 1)
	b.appendAndDeliver(b.appendOf(m, r.SenderID, inboxes), func(a *Append, err error) { done <- outcome{a.ID, err} })
	select {
	case o := <-done:
		if o.err != nil {
			return SendResult{}, o.err
		}
		return SendResult{o.id, o.id.Time(), m.Conversation}, nil
	case <-ctx.Done():
		return SendResult{}, ctx.Err()
	}
}

// appendReceipt tells a message's sender, once, that its receiver has it (spec 8).
func (b *Broker) appendReceipt(m *Message, to PeerID) {
	a := Append{
		App: m.App, EventPeer: m.From, Keep: maxWaitingEvents,
		Event: storedEvent(eventReceipt, struct {
			MessageID MessageID `json:"message_id"`
			To        PeerID    `json:"to"`
		}{m.ID, to}),
		Once: receiptKey(m.App, m.ID),
	}
	b.appendAndDeliver(a, func(_ *Append, err error) {
		if err != nil {
			b.log.Error("receipt could not be stored", "app", m.App, "peer", m.From, "err", err)
		}
	})
}

func receiptKey(app AppID, id MessageID) Key {
	return Key{Space: SpaceReceipt, App: app, Owner: id.String()}
}
