package hooks

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

// encoder writes what a session sends as packets. It allocates nothing once its scratch has grown.
type encoder struct {
	v5          bool
	problemInfo bool   // acknowledgements may carry properties [MQTT-3.1.2-29]
	maximum     uint32 // the client's Maximum Packet Size; 0: none
	app         string
	now         func() time.Time // Options.Now
}

// scratch is the working room of who writes, shared by connections through a pool.
type scratch struct {
	outs  []broker.Out
	buf   []byte
	props []byte
	sender
}

// out appends the packet of o to s.buf. It reports false, with nothing appended, for one that the client does not take
// in its size [MQTT-3.1.2-24] [MQTT-3.1.2-25].
func (e *encoder) out(s *scratch, o *broker.Out) bool {
	start := len(s.buf)
	switch o.Kind {
	case broker.OutAck:
		s.buf = e.ack(s, o)
		return true
	case broker.OutComplete:
		s.buf = e.short(s.buf, packets.Pubcomp<<4, o)
		return true
	case broker.OutRelease:
		s.buf = e.short(s.buf, packets.Pubrel<<4|2, o) // [MQTT-3.6.1-1]
		return true
	case broker.OutMessage:
		if !shareable(o) {
			e.message(s, o)
		} else {
			e.shared(s, o)
		}
	case broker.OutPublish:
		e.publish(s, o)
	}
	if e.maximum > 0 && len(s.buf)-start > int(e.maximum) {
		s.buf = s.buf[:start]
		return false
	}
	return true
}

// short appends PUBCOMP or PUBREL.
func (e *encoder) short(b []byte, first byte, o *broker.Out) []byte {
	if e.v5 && o.Unknown {
		return append(appendU16(append(b, first, 3), int(o.Tag)), packets.ErrPacketIdentifierNotFound.Code)
	}
	return appendU16(append(b, first, 2), int(o.Tag))
}

// ack appends PUBACK or PUBREC. MQTT 3.1.1 has no refusals: the broker told the client in an error event.
func (e *encoder) ack(s *scratch, o *broker.Out) []byte {
	first := packets.Puback << 4
	if o.QoS == 2 {
		first = packets.Pubrec << 4
	}
	code := byte(0)
	if o.Err != nil {
		code = reasonsOf(o.Err).publish
	}
	if e.v5 && e.problemInfo {
		p := s.props[:0]
		if o.Err != nil {
			p = appendText(append(p, packets.PropReasonString), o.Err.Error())
		} else if !o.ID.IsZero() {
			p = appendTime(appendID(p, o.ID), o.ID.Time())
		}
		s.props = p
		if rest := 3 + varintLen(len(p)) + len(p); len(p) > 0 && (e.maximum == 0 || rest+5 <= int(e.maximum)) { // [MQTT-3.4.2-2]
			b := appendVarint(append(s.buf, first), rest)
			b = append(appendU16(b, int(o.Tag)), code)
			return append(appendVarint(b, len(p)), p...)
		}
	}
	if e.v5 && code != 0 {
		return append(appendU16(append(s.buf, first, 3), int(o.Tag)), code)
	}
	return appendU16(append(s.buf, first, 2), int(o.Tag))
}

// shareable reports whether the packet of o is the same for every member of its group, but for the packet identifier.
func shareable(o *broker.Out) bool {
	return o.Message.Group != "" && !o.Offline && !o.Dup && !o.Retain && len(o.SubIDs) == 0 && o.Message.Props.Expires == 0
}

// shared appends the PUBLISH of a group message, encoded once for each version, QoS and format.
func (e *encoder) shared(s *scratch, o *broker.Out) {
	slot := int(o.QoS)
	if e.v5 {
		slot += 3
	}
	if o.Wrapped {
		slot += 6
	}
	start := len(s.buf)
	if f := o.Message.Frame(slot); f != nil {
		s.buf = append(s.buf, f.Bytes...)
		if f.Tag != 0 {
			binary.BigEndian.PutUint16(s.buf[start+f.Tag:], o.Tag)
		}
		return
	}
	e.message(s, o)
	f := &broker.Frame{Bytes: bytes.Clone(s.buf[start:])}
	if o.QoS > 0 {
		_, used := binary.Uvarint(f.Bytes[1:])
		topic := 1 + used
		f.Tag = topic + 2 + int(binary.BigEndian.Uint16(f.Bytes[topic:]))
	}
	o.Message.KeepFrame(slot, f)
}

// message appends the PUBLISH of a message.
func (e *encoder) message(s *scratch, o *broker.Out) {
	m, id := o.Message, o.ID
	if id.IsZero() {
		id = m.ID
	}
	s.props = s.props[:0]
	if e.v5 {
		p := appendTime(appendID(s.props, id), id.Time())
		if o.Offline {
			p = appendUser(p, "offline", "true")
		}
		if m.Transient {
			p = appendUser(p, "transient", "true")
		}
		if m.Group == "" && len(m.To) > 1 {
			for _, to := range m.To {
				p = appendUser(p, "to", string(to))
			}
			p = appendUser(p, "conversation", string(m.Conversation))
		}
		s.props = e.passed(p, &m.Props, o.Assigned)
	}
	space, name := "/peer/", string(o.To)
	if m.Group != "" {
		space, name = "/group/", string(m.Group)
	}
	payload := m.Payload
	if o.Wrapped {
		payload = o.Payload
	}
	topic := len(e.app) + len(space) + len(name) + 1 + len(m.From)
	b := e.head(s, o, topic, len(payload))
	b = append(b, e.app...)
	b = append(b, space...)
	b = append(b, name...)
	b = append(b, '/')
	b = append(b, m.From...)
	s.buf = append(e.tail(b, s, o), payload...)
}

// publish appends the PUBLISH of an event, of presence or of a topic.
func (e *encoder) publish(s *scratch, o *broker.Out) {
	s.props = s.props[:0]
	if e.v5 {
		if o.TS != 0 {
			s.props = appendTime(s.props, o.TS)
		}
		if o.Props != nil {
			s.props = e.passed(s.props, o.Props, o.Assigned)
		}
	}
	b := e.head(s, o, len(o.Topic), len(o.Payload))
	b = append(b, o.Topic...)
	s.buf = append(e.tail(b, s, o), o.Payload...)
}

// head appends the fixed header and the length of the topic, which follows. The properties of o but its subscription
// identifiers are in s.props already.
func (e *encoder) head(s *scratch, o *broker.Out, topic, payload int) []byte {
	remaining := 2 + topic + payload
	if e.v5 {
		for _, id := range o.SubIDs {
			s.props = appendVarint(append(s.props, packets.PropSubscriptionIdentifier), int(id)) // [MQTT-3.3.4-3]
		}
		remaining += varintLen(len(s.props)) + len(s.props)
	}
	first := packets.Publish<<4 | o.QoS<<1
	if o.QoS > 0 {
		remaining += 2
		if o.Dup {
			first |= 8 // never at QoS 0 [MQTT-3.3.1-2]
		}
	}
	if o.Retain {
		first |= 1
	}
	return appendU16(appendVarint(append(s.buf, first), remaining), topic)
}

// tail appends packet identifier and properties.
func (e *encoder) tail(b []byte, s *scratch, o *broker.Out) []byte {
	if o.QoS > 0 {
		b = appendU16(b, int(o.Tag)) // [MQTT-2.2.1-2]
	}
	if e.v5 {
		b = append(appendVarint(b, len(s.props)), s.props...)
	}
	return b
}

// passed appends the properties that pass through, unaltered and in order [MQTT-3.3.2-4] [MQTT-3.3.2-15]
// [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20], with what remains of the expiry at now (Unix milliseconds; 0: read the
// clock) [MQTT-3.3.2-6].
func (e *encoder) passed(b []byte, p *broker.Properties, now int64) []byte {
	if p.TextFormat {
		b = append(b, packets.PropPayloadFormat, 1)
	}
	if p.Expires != 0 {
		if now == 0 {
			now = e.now().UnixMilli()
		}
		left := uint32(min(max((p.Expires-now+999)/1000, 1), 1<<32-1))
		b = binary.BigEndian.AppendUint32(append(b, packets.PropMessageExpiryInterval), left)
	}
	if p.ContentType != "" {
		b = appendText(append(b, packets.PropContentType), p.ContentType)
	}
	if p.ResponseTopic != "" {
		b = appendText(append(b, packets.PropResponseTopic), p.ResponseTopic)
	}
	if p.CorrelationData != nil {
		b = appendText(append(b, packets.PropCorrelationData), p.CorrelationData)
	}
	for i := range p.User {
		b = appendUser(b, p.User[i].Name, p.User[i].Value)
	}
	return b
}

func appendUser(b []byte, name, value string) []byte {
	return appendText(appendText(append(b, packets.PropUser), name), value)
}

func appendID(b []byte, id broker.MessageID) []byte {
	b = appendText(append(b, packets.PropUser), "id")
	at := len(b)
	b, _ = id.AppendText(append(b, 0, 0)) // its error is always nil
	b[at+1] = byte(len(b) - at - 2)       //nolint:gosec // 20 characters
	return b
}

// appendTime appends the user property ts, Unix milliseconds.
func appendTime(b []byte, ms int64) []byte {
	b = appendText(append(b, packets.PropUser), "ts")
	at := len(b)
	b = strconv.AppendInt(append(b, 0, 0), ms, 10)
	b[at+1] = byte(len(b) - at - 2) //nolint:gosec // at most 20 characters
	return b
}

// appendDisconnect appends a DISCONNECT with a reason string that the client has room for [MQTT-3.14.2-3]; reference is where a client is
// told to go that is moved.
func appendDisconnect(b []byte, f *fault, reference string, maximum uint32) []byte {
	props := appendText([]byte{packets.PropReasonString}, f.text)
	if f == faultMovedTo {
		props = appendText(append(props, packets.PropServerReference), reference)
	}
	if rest := 1 + varintLen(len(props)) + len(props); maximum == 0 || rest+2 <= int(maximum) {
		b = append(appendVarint(append(b, packets.Disconnect<<4), rest), f.code)
		return append(appendVarint(b, len(props)), props...)
	}
	return append(b, packets.Disconnect<<4, 1, f.code)
}
