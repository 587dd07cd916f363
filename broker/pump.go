package broker

import (
	"context"
	"slices"
	"strconv"
	"time"
)

// The pump moves a session's cursors over its logs: it reads what the session is behind with (catch-up), takes what is
// offered in order (live), and sends within the window. Next is its turn; it runs on the link's writing goroutine.

const storeReadDeadline = 10 * time.Second

// Next appends what should be sent now to out, up to its capacity, and returns it; nothing appended means that there is nothing until
// the next Link.Wake. It is called by one goroutine at a time and may read the store.
func (s *Session) Next(out []Out) []Out {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.out
	if !o.started || s.ended {
		return out
	}
	for {
		for o.ready.len() > 0 && len(out) < cap(out) {
			out = append(out, *o.ready.at(0))
			o.ready.drop(1)
		}
		out = s.nextMissed(out)
		out = s.nextPresence(out)
		out = s.nextVolatile(out)
		out = s.nextResend(out)
		if o.resend.len() == 0 { // what is sent again comes before what is new
			out = s.nextPending(out)
		}
		if o.missed > 0 && len(out) < cap(out) {
			out = s.nextMissed(out)
		}
		if len(out) == cap(out) || s.ended || o.pending.len() > 0 || o.resend.len() > 0 || !o.windowOpen() {
			return out
		}
		log := o.nextBehind()
		if log == nil {
			return out
		}
		if !s.load(log) {
			return out
		}
	}
}

// nextBehind returns the log to be read next: the one that is furthest behind in time, so that what waited in several logs
// comes roughly in the order in which it was accepted.
func (o *outbound) nextBehind() (next *logState) {
	for _, l := range o.logs {
		if l.behind && !l.held && (next == nil || l.loaded.ID.Compare(next.loaded.ID) < 0) {
			next = l
		}
	}
	return next
}

// load reads the next page of a log into pending. It unlocks s.mu while it reads, and reports whether it got anywhere.
func (s *Session) load(l *logState) bool {
	if l.gap.holds(l.loaded.N + 1) {
		s.passGap(l)
	}
	from := l.loaded
	more := l.more
	l.more = false // set again by a change of members that comes during the read
	s.mu.Unlock()
	items, err := s.b.readItems(l, from, pageSize)
	s.mu.Lock()
	if err != nil {
		l.more = l.more || more
		s.b.log.Warn("log could not be read; trying again", "app", s.app.id, "peer", s.peer, "err", err)
		time.AfterFunc(time.Second, s.link.Wake)
		return false
	}
	if l.loaded != from || l.held || s.out.log(l.id) != l {
		l.more = l.more || more
		return true // stopped, moved on, or the peer left the group meanwhile
	}
	l.more = l.more || more && len(items) == pageSize
	for i, it := range items {
		if it.msg != nil && it.msg.leaves(s.peer) {
			l.more, l.head = false, l.loaded.N // the log ends here for this peer, and is about to be dropped
			break
		}
		if l.gap.holds(it.at.N) {
			if i == 0 {
				s.passGap(l)
			}
			break
		}
		s.out.push(it)
		l.head = max(l.head, it.at.N)
	}
	if len(items) == 0 { // emptied by an operator
		l.loaded.N = max(l.loaded.N, l.head)
	}
	l.behind = l.loaded.N < l.head || l.more
	return true
}

// passGap goes to the end of a log's gap.
func (s *Session) passGap(l *logState) {
	l.loaded = l.gap.to
	if s.out.pending.len() == 0 && s.out.flights.len() == 0 {
		l.sent = l.loaded
	}
}

// readItems reads entries behind from, with their messages.
func (b *Broker) readItems(l *logState, from Position, limit int) ([]item, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeReadDeadline)
	defer cancel()
	entries, err := b.store.Read(ctx, l.id, Range{After: from.ID, Limit: limit})
	if err != nil {
		return nil, err
	}
	items := make([]item, len(entries))
	var ids []MessageID
	for i, e := range entries {
		items[i] = item{log: l, at: Position{e.N, e.ID}, event: e.Value}
		if l.id.Kind != LogEvents {
			ids = append(ids, e.ID)
		}
	}
	if len(ids) == 0 {
		return items, nil
	}
	messages, err := b.store.Messages(ctx, l.id.App, ids)
	if err != nil {
		return nil, err
	}
	for i, m := range messages {
		items[i].msg = m
	}
	return items, nil
}

// nextPending sends from pending while the window and out have room.
func (s *Session) nextPending(out []Out) []Out {
	o := &s.out
	now := int64(0)
	for o.pending.len() > 0 && len(out) < cap(out) {
		it := o.pending.at(0)
		if it.log.held {
			o.unload(it.log)
			continue
		}
		if now == 0 {
			now = s.b.now().UnixMilli()
		}
		next, verdict := s.render(it, now, false)
		switch verdict {
		case renderHold:
			it.log.held = true
			o.unload(it.log)
			continue
		case renderMiss:
			o.miss(1, it.at.ID.Time())
			fallthrough
		case renderSkip:
			it.log.sent = it.at
			s.markDirty()
			o.pop()
			continue
		case renderSend:
		}
		if next.QoS > 0 && !o.windowOpen() {
			return out
		}
		it.log.sent = it.at
		if next.QoS == 0 {
			o.atOnce = append(o.atOnce, position{it.log, it.at})
		} else {
			next.Tag = o.tag()
			f := flight{tag: next.Tag, qos: next.QoS, log: it.log, at: it.at, attempts: s.attemptsOf(it) + 1}
			if it.msg != nil && it.msg.Receipt && s.isReceiver(it.msg) {
				f.receipt = it.msg
			}
			o.fly(f)
		}
		s.b.counters.delivered.Add(1)
		out = append(out, next)
		o.pop()
	}
	return out
}

func (s *Session) isReceiver(m *Message) bool { return len(m.To) == 1 && m.To[0] == s.peer }

func (s *Session) attemptsOf(it *item) int {
	if len(s.attempts) == 0 {
		return 0
	}
	return s.attempts[attempt{it.log.id, it.at.N}]
}

type verdict byte

const (
	renderSend verdict = iota
	renderSkip         // not for this session: done with
	renderMiss         // cannot be delivered to this session: done with, and counted
	renderHold         // delivery was stopped: it waits
)

// render turns an entry into what is sent, with QoS set and Tag not. What is sent again is not stopped by an UNSUBSCRIBE that came
// after it was sent first [MQTT-3.10.4-3].
func (s *Session) render(it *item, now int64, again bool) (Out, verdict) {
	if it.log.id.Kind == LogEvents {
		return s.renderEvent(it, again)
	}
	m := it.msg
	if m == nil || m.Expired(now) {
		return Out{}, renderSkip
	}
	if m.Kind == KindMembership {
		return s.renderMembership(it, again)
	}
	own := m.From == s.peer
	if own && m.Device == s.device && !slices.Contains(m.To, s.peer) {
		return Out{}, renderSkip // the sending device's own copy
	}
	next := Out{Kind: OutMessage, Message: m, ID: it.at.ID, Offline: it.at.N <= it.log.waited, Assigned: now}
	if m.Group == "" {
		next.To = s.peer
		if own && !slices.Contains(m.To, s.peer) {
			next.To = m.To[0]
		}
	}
	g := s.granted(m, next.To)
	if g.stopped && !again {
		return Out{}, renderHold
	}
	if s.attemptsOf(it) >= maxConnections {
		return Out{}, renderMiss
	}
	next.QoS = min(m.QoS, g.qos)
	next.SubIDs = g.ids
	if s.envelope {
		next.Payload, next.Wrapped = s.wrapped(m, &next), true
	}
	if s.maxPacket != 0 && s.packetSize(&next) > int(s.maxPacket) {
		return Out{}, renderMiss
	}
	return next, renderSend
}

func (s *Session) wrapped(m *Message, o *Out) []byte {
	if o.Offline {
		return wrap(m, o.ID, true)
	}
	return m.envelope()
}

// packetSize is the size of a delivery's packet to an MQTT 5 client (no other names a maximum), at QoS 1 or 2.
func (s *Session) packetSize(o *Out) int {
	topic, payload, props := len(o.Topic), len(o.Payload), 0
	for _, id := range o.SubIDs {
		props += 1 + varintSize(int(id))
	}
	if m := o.Message; m != nil {
		topic = len(s.app.id) + len("/peer//") + len(o.To) + len(m.From)
		if m.Group != "" {
			topic = len(s.app.id) + len("/group//") + len(m.Group) + len(m.From)
		}
		if !o.Wrapped {
			payload = len(m.Payload)
		}
		props += userSize("id", idText.EncodedLen(len(o.ID))) + userSize("ts", len(strconv.FormatInt(o.ID.Time(), 10))) + m.Props.packetSize()
		if o.Offline {
			props += userSize("offline", len("true"))
		}
		if m.Transient {
			props += userSize("transient", len("true"))
		}
		if m.Group == "" && len(m.To) > 1 {
			for _, to := range m.To {
				props += userSize("to", len(to))
			}
			props += userSize("conversation", len(m.Conversation))
		}
	}
	n := 2 + topic + 2 + varintSize(props) + props + payload
	return 1 + varintSize(n) + n
}

// packetSize is what the properties take in a packet.
func (p *Properties) packetSize() (n int) {
	if p.TextFormat {
		n += 2
	}
	if p.Expires != 0 {
		n += 5
	}
	if p.ContentType != "" {
		n += 3 + len(p.ContentType)
	}
	if p.ResponseTopic != "" {
		n += 3 + len(p.ResponseTopic)
	}
	if p.CorrelationData != nil {
		n += 3 + len(p.CorrelationData)
	}
	for i := range p.User {
		n += userSize(p.User[i].Name, len(p.User[i].Value))
	}
	return n
}

// userSize is what an MQTT 5 user property takes in a packet.
func userSize(name string, value int) int { return 5 + len(name) + value }

// varintSize is the length of a variable byte integer.
func varintSize(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// nextPresence sends the last state of watched peers; several changes of one peer that wait are one.
func (s *Session) nextPresence(out []Out) []Out {
	o := &s.out
	for o.order.len() > 0 && len(out) < cap(out) {
		peer := *o.order.at(0)
		state, ok := o.presence[peer]
		if !ok {
			o.order.drop(1)
			continue
		}
		next, ok := s.renderPresence(peer, state)
		if ok {
			if next.QoS > 0 {
				if !o.windowOpen() {
					return out
				}
				next.Tag = o.tag()
				o.fly(flight{tag: next.Tag, qos: next.QoS, presence: true})
			}
			out = append(out, next)
		}
		delete(o.presence, peer)
		o.order.drop(1)
	}
	return out
}

// nextVolatile sends what is kept nowhere.
func (s *Session) nextVolatile(out []Out) []Out {
	o := &s.out
	for o.volatile.len() > 0 && len(out) < cap(out) {
		next := *o.volatile.at(0)
		if next.QoS > 0 {
			if !o.windowOpen() {
				return out
			}
			next.Tag = o.tag()
			o.fly(flight{tag: next.Tag, qos: next.QoS, presence: true})
		}
		out = append(out, next)
		o.volatile.drop(1)
	}
	return out
}

// nextResend sends again, first of all and under the same packet identifiers, what the connection before left
// unacknowledged [MQTT-4.4.0-1].
func (s *Session) nextResend(out []Out) []Out {
	o := &s.out
	for o.resend.len() > 0 && len(out) < cap(out) {
		f := *o.resend.at(0)
		if f.received {
			o.fly(f)
			out = append(out, Out{Kind: OutRelease, Tag: f.tag})
			o.resend.drop(1)
			continue
		}
		if f.qos > 0 && !o.windowOpen() {
			return out // [MQTT-3.3.4-9]: the Receive Maximum is that of this connection
		}
		l := f.log
		s.mu.Unlock()
		items, err := s.b.readItems(l, before(f.at), 1)
		s.mu.Lock()
		if err != nil {
			s.b.log.Warn("log could not be read; trying again", "app", s.app.id, "peer", s.peer, "err", err)
			time.AfterFunc(time.Second, s.link.Wake)
			return out
		}
		if o.resend.len() == 0 || o.resend.at(0).log != l || o.resend.at(0).at != f.at {
			continue // the peer left the group meanwhile
		}
		o.resend.drop(1)
		if len(items) != 1 || items[0].at.ID != f.at.ID {
			delete(o.tags, f.tag)
			s.markDirty()
			continue
		}
		next, verdict := s.render(&items[0], s.b.now().UnixMilli(), true)
		if verdict == renderMiss {
			o.miss(1, f.at.ID.Time())
		}
		if verdict != renderSend {
			delete(o.tags, f.tag)
			s.markDirty()
			continue
		}
		next.Tag, next.QoS, next.Dup = f.tag, f.qos, f.qos > 0
		if f.qos == 0 { // returned by Next on the connection before, and not written
			o.atOnce = append(o.atOnce, position{l, f.at})
			out = append(out, next)
			continue
		}
		f.attempts++
		if m := items[0].msg; m != nil && m.Receipt && s.isReceiver(m) {
			f.receipt = m
		}
		o.fly(f)
		out = append(out, next)
	}
	return out
}

// Written says that everything Next returned so far was written to the connection: deliveries at QoS 0 then count as
// acknowledged (spec 2).
func (s *Session) Written() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.out.atOnce) > 0 {
		clear(s.out.atOnce)
		s.out.atOnce = s.out.atOnce[:0]
		s.markDirty()
	}
}

// Acked takes the client's PUBACK or PUBCOMP.
func (s *Session) Acked(tag uint16) { s.settleDelivery(tag, true) }

// Rejected takes the client's PUBACK or PUBREC that refuses (0x80 and above): the delivery is over, and its sender gets no receipt.
func (s *Session) Rejected(tag uint16) { s.settleDelivery(tag, false) }

func (s *Session) settleDelivery(tag uint16, arrived bool) {
	s.mu.Lock()
	f := s.out.ack(tag)
	if f == nil {
		s.mu.Unlock()
		return
	}
	wake := s.out.pending.len() > 0 || s.out.resend.len() > 0 || s.out.order.len() > 0 || s.out.volatile.len() > 0 || s.out.nextBehind() != nil
	if !f.presence {
		s.markDirty()
	}
	s.mu.Unlock()
	if !f.presence && arrived {
		s.b.counters.acknowledged.Add(1)
	}
	if f.receipt != nil && arrived {
		s.b.appendReceipt(f.receipt, s.peer)
	}
	if wake {
		s.link.Wake()
	}
}

// Received takes the client's PUBREC; its PUBREL comes out of Next.
func (s *Session) Received(tag uint16) {
	s.mu.Lock()
	unknown := true
	for i := range s.out.flights.all() {
		if f := s.out.flights.at(i); f.tag == tag && !f.done {
			f.received, unknown = true, false
			break
		}
	}
	s.out.ready.push(Out{Kind: OutRelease, Tag: tag, Unknown: unknown})
	s.mu.Unlock()
	s.link.Wake()
}
