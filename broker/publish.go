package broker

import (
	"context"
	"slices"
	"strings"
	"time"
)

const (
	// maxProperties bounds all passed-through properties of a message together, in bytes (spec 5).
	maxProperties = 1024
	// maxSenderID bounds the sender's own id, in bytes (spec 5).
	maxSenderID = 64
	// onceFor is how long the sender's own id is remembered (spec 5).
	onceFor = 10 * time.Minute
)

// Publish takes a client's publish: it checks the rules and stages what is persistent for Submit. The acknowledgement comes out of
// Next, in the order of the calls. It is called by one goroutine, and waits while too much of the session is uncommitted or,
// for MQTT 3.1.1, while it is over its rate.
func (s *Session) Publish(p *Publish) {
	s.waitForRoom()
	if p.QoS == 2 && s.answeredBefore(p.Tag) {
		return
	}
	if string(p.Topic) != s.in.topic {
		s.in.topic = string(p.Topic)
		s.in.parsed = parseTopic(s.app.id, s.in.topic)
	}
	t, parsed := s.in.topic, s.in.parsed
	if parsed.kind == topicRequest {
		s.request(p, parsed)
		return
	}
	s.refused(p, t, s.publish(p, t, parsed))
}

// answeredBefore answers the repetition of a publish of QoS 2 that awaits its PUBREL [MQTT-4.3.3-10].
func (s *Session) answeredBefore(tag uint16) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, again := s.in.releases[tag]
	for i := range s.in.acks.all() {
		again = again || s.in.acks.at(i).out.QoS == 2 && s.in.acks.at(i).out.Tag == tag && !s.in.acks.at(i).silent
	}
	if again {
		s.answer(pendingAck{out: Out{Kind: OutAck, Tag: tag, QoS: 2}})
	}
	return again
}

// publish does what a publish asks for, or says why not. On success it has queued the acknowledgement.
func (s *Session) publish(p *Publish, t string, parsed topic) *Error {
	cfg := s.app.cfg.Load()
	if err := s.checkPublish(cfg, p, t, parsed); err != nil {
		return err
	}
	if err := s.takeRate(cfg, p.QoS, 1, len(p.Payload)); err != nil {
		return err
	}
	if parsed.kind == topicFree {
		return s.publishFree(p)
	}
	m := s.message(p, parsed)
	if p.QoS == 0 || p.Transient {
		m.Transient = true
		m.ID = s.b.ids.Next()
		s.b.counters.transient.Add(1)
		wakeAll(s.b.deliverTransient(m))
		s.acknowledge(p, m.ID)
		return nil
	}
	a := s.b.appendOf(m, p.SenderID, s.inboxesOf(m))
	s.mu.Lock()
	s.stage(a, pendingAck{out: Out{Kind: OutAck, Tag: p.Tag, QoS: p.QoS}})
	s.mu.Unlock()
	return nil
}

// publishFree publishes under {app}/topic/. What is retained is durable before it is acknowledged; while the store is away a client of
// MQTT 3.1.1 waits, and is closed after a while, unacknowledged (spec 10).
func (s *Session) publishFree(p *Publish) *Error {
	if p.Retain {
		s.Submit()
	}
	since := s.b.now()
	for {
		err := AsError(s.b.publishTopic(s, s.app.id, p))
		switch {
		case err == nil:
			s.acknowledge(p, MessageID{})
			return nil
		case err.Code != Internal || p.QoS == 0 || s.version >= 5:
			return err
		case s.b.now().Sub(since) > maxHeld:
			s.link.Close(CloseStoreAway)
			return nil
		}
		select {
		case <-time.After(heldRetry):
		case <-s.gone:
			return nil
		}
	}
}

func (s *Session) acknowledge(p *Publish, id MessageID) {
	if p.QoS == 0 {
		return
	}
	s.mu.Lock()
	s.answer(pendingAck{out: Out{Kind: OutAck, Tag: p.Tag, QoS: p.QoS, ID: id}})
	s.mu.Unlock()
}

// refused queues the refusal of a publish: in its acknowledgement, or, where that cannot carry it, in an error event before (spec 10).
func (s *Session) refused(p *Publish, t string, err *Error) {
	if err == nil {
		return
	}
	s.b.counters.refuse(err.Code)
	s.logRefused("publish", err.Code)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.QoS == 0 || s.version < 5 {
		s.out.ready.push(s.errorEvent(p, t, err))
	}
	if p.QoS > 0 {
		s.answer(pendingAck{out: Out{Kind: OutAck, Tag: p.Tag, QoS: p.QoS, Err: err}})
	}
}

// checkPublish is the gate for everything a client publishes, and for its will at open (spec 2, 3, 5).
func (s *Session) checkPublish(cfg *AppConfig, p *Publish, t string, parsed topic) *Error {
	if len(p.Payload) > cfg.MessageBytes {
		return Errorf(MessageTooLong, "the message has %d bytes, at most %d are allowed", len(p.Payload), cfg.MessageBytes)
	}
	if p.PropsTooLong || p.Props.Size() > maxProperties {
		return Errorf(LimitExceeded, "the properties of the message are over %d bytes", maxProperties)
	}
	if len(p.SenderID) > maxSenderID {
		return Errorf(LimitExceeded, "the id property is over %d bytes", maxSenderID)
	}
	if rt := p.Props.ResponseTopic; rt != "" && !strings.HasPrefix(rt, string(s.app.id)+"/") {
		return Errorf(InvalidTarget, "the response topic is not of this app")
	}
	switch parsed.kind {
	case topicPeer:
		return s.checkDirect(cfg, p, parsed)
	case topicGroup:
		return s.checkGroup(p, parsed)
	case topicFree:
		return s.checkFree(cfg, parsed)
	default:
		return Errorf(InvalidTarget, "%q takes no messages; publish to %s/peer/{to}/%s", clip(t), s.app.id, s.peer)
	}
}

func (s *Session) checkDirect(cfg *AppConfig, p *Publish, parsed topic) *Error {
	if parsed.second != string(s.peer) {
		return Errorf(InvalidTarget, "the last level of the topic is the sender's own id, %s", s.peer)
	}
	to, ok := ParsePeerID(parsed.first)
	if !ok {
		return Errorf(InvalidTarget, "the receiver's id is not of a peer's form")
	}
	if err := s.checkWatches(cfg, to); err != nil {
		return err
	}
	if p.Receipt && (p.QoS == 0 || p.Transient) {
		return Errorf(InvalidTarget, "a transient message gives no receipt")
	}
	return nil
}

// checkWatches refuses a receiver that the session does not watch, where the app asks for that (spec 3).
func (s *Session) checkWatches(cfg *AppConfig, to PeerID) *Error {
	if s.super || !cfg.RequireWatch {
		return nil
	}
	if !s.watches(to) {
		return Errorf(InvalidTarget, "watch %s before sending to it", to)
	}
	return nil
}

// checkGroup refuses who is not a member (spec 7). The store checks membership once more when the message gets its place in the log.
func (s *Session) checkGroup(p *Publish, parsed topic) *Error {
	if parsed.second != string(s.peer) {
		return Errorf(InvalidTarget, "the last level of the topic is the sender's own id, %s", s.peer)
	}
	id, ok := ParseGroupID(parsed.first)
	if !ok {
		return Errorf(GroupNotFound, "the group's id is not of a group's form")
	}
	if p.Receipt {
		return Errorf(InvalidTarget, "a message to a group gives no receipt")
	}
	return s.checkInGroup(id)
}

func (s *Session) checkInGroup(id GroupID) *Error {
	if s.inGroup(id) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestDeadline)
	defer cancel()
	k := groupKey{s.app.id, id}
	g, _, err := s.b.group(ctx, k)
	if err == nil {
		err = s.b.checkMember(ctx, k, g, s.peer)
	}
	return AsError(err)
}

const (
	maxTopicBytes  = 1024 // of a topic or filter behind {app}/topic/, and of the name of a shared subscription
	maxTopicLevels = 64   // of a whole topic or filter: an index has a node for each
)

// checkFree refuses {app}/topic/ where the app's topics setting does not allow it, and topics that take too much of an index.
func (s *Session) checkFree(cfg *AppConfig, parsed topic) *Error {
	if len(parsed.first) > maxTopicBytes {
		return Errorf(LimitExceeded, "a topic of over %d bytes", maxTopicBytes)
	}
	if strings.Count(parsed.first, "/")+3 > maxTopicLevels {
		return Errorf(LimitExceeded, "a topic of over %d levels", maxTopicLevels)
	}
	if s.b.topics != nil {
		for _, f := range cfg.Topics {
			if coversFilter(f, parsed.first) {
				return nil
			}
		}
	}
	return Errorf(InvalidTarget, "the topics setting of the app does not allow %s/topic/%s", s.app.id, clip(parsed.first))
}

// message makes the message of a publish that passed the gate. It keeps nothing of p.
func (s *Session) message(p *Publish, parsed topic) *Message {
	m := &Message{
		App: s.app.id, From: s.peer, Device: s.device, QoS: p.QoS, Receipt: p.Receipt,
		Transient: p.Transient, FromIP: s.remote, Props: p.Props, Payload: slices.Clone(p.Payload),
	}
	m.Props.CorrelationData = slices.Clone(p.Props.CorrelationData)
	m.Props.User = slices.Clone(p.Props.User)
	if parsed.kind == topicGroup {
		m.Group = GroupID(parsed.first)
		m.Conversation = ConversationID(m.Group)
		m.openGroup = s.inOpenGroup(m.Group)
		return m
	}
	to := PeerID(parsed.first)
	m.one[0] = to
	m.To = m.one[:]
	m.Conversation = s.conversationWith(to)
	return m
}

func (s *Session) conversationWith(to PeerID) ConversationID {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watch[to]
	if w == nil {
		return DirectConversation(s.peer, to)
	}
	if w.conversation == "" {
		w.conversation = DirectConversation(s.peer, to)
	}
	return w.conversation
}

// inboxesOf lists whose inboxes a direct message goes to: its receivers', and its sender's if that has other devices.
func (s *Session) inboxesOf(m *Message) []PeerID {
	if m.Group != "" || slices.Contains(m.To, s.peer) {
		return m.To
	}
	sh := s.b.shardOf(s.key())
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.peers[s.key()]; p != nil && len(p.devices) > 1 {
		return append(slices.Clone(m.To), s.peer)
	}
	return m.To
}

// appendOf returns the append of a persistent message.
func (b *Broker) appendOf(m *Message, senderID string, inboxes []PeerID) Append {
	a := Append{App: m.App, Message: m, Inboxes: inboxes}
	if m.Group != "" && !m.openGroup {
		a.Require = memberKey(groupKey{m.App, m.Group}, m.From)
	}
	if senderID != "" {
		a.Once = Key{Space: SpaceOnce, App: m.App, Owner: string(m.Conversation), Name: string(m.From) + "\x00" + senderID}
		a.OnceExpires = b.now().Add(onceFor).UnixMilli()
	}
	return a
}

// clip shortens what a client sent for an error message.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
