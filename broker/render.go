package broker

import (
	"slices"
	"strconv"
)

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
	own := s.sent(m)
	if own && s.keepsFrom(m) {
		return Out{}, renderSkip
	}
	next := Out{Kind: OutMessage, Message: m, ID: it.at.ID, Offline: it.at.N <= it.log.waited, Assigned: now}
	if m.Group == "" {
		next.To = s.peer
		if own {
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

// sent reports whether the peer of s sent m, and not to itself: the peer's devices get a copy.
func (s *Session) sent(m *Message) bool { return m.From == s.peer && !slices.Contains(m.To, s.peer) }

// keepsFrom reports whether this device of the sender gets no copy of m: it sent m, or no device is to have one.
func (s *Session) keepsFrom(m *Message) bool { return m.NoSync || m.Device == s.device }

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
	if o.Props != nil {
		props += o.Props.packetSize()
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
