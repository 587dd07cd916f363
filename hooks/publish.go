package hooks

import (
	"bytes"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

const (
	// maxPassed is how many bytes of properties pass through (spec 5).
	maxPassed = 1 << 10
	// maxUserProperties bounds how many there are, since an empty one counts no bytes.
	maxUserProperties = 256
	// maxSenderID is one byte more than an id may have, so that the broker sees that it is too long.
	maxSenderID = 65
	// aliasMaximum is the Topic Alias Maximum told in CONNACK.
	aliasMaximum = 32
)

// aliases are the topic aliases that a client has set on this connection; nil until it sets one.
type aliases [aliasMaximum + 1][]byte

// publishDecoder decodes a client's PUBLISH packets.
type publishDecoder struct {
	v5      bool
	now     func() time.Time // Options.Now
	aliases *aliases
}

// decode fills p from a packet. Topic and Payload point into body, or into an alias; the properties are copies.
func (d *publishDecoder) decode(p *broker.Publish, first byte, body []byte) error {
	f := fields{b: body}
	*p = broker.Publish{QoS: first >> 1 & 3, Dup: first&8 != 0, Retain: first&1 != 0}
	p.Topic = f.text()
	if p.QoS > 0 {
		if p.Tag = f.u16(); p.Tag == 0 && !f.bad {
			return faultPacketID // [MQTT-2.2.1-3]
		}
	}
	alias, given := 0, false
	if d.v5 && !f.bad {
		list := f.properties(1 << packets.Publish)
		if alias, given = passed(p, &list, d.now); list.fault != nil {
			return list.fault
		}
	}
	if f.bad {
		return faultMalformed
	}
	if bytes.IndexByte(p.Topic, '+') >= 0 || bytes.IndexByte(p.Topic, '#') >= 0 {
		return faultTopicName // [MQTT-3.3.2-2]
	}
	p.Payload = f.b
	if given {
		return d.resolve(p, alias)
	}
	if len(p.Topic) == 0 {
		return faultNoTopic // [MQTT-4.7.3-1]
	}
	return nil
}

// resolve sets or uses a topic alias [MQTT-3.3.2-8] to [MQTT-3.3.2-12].
func (d *publishDecoder) resolve(p *broker.Publish, alias int) error {
	if alias == 0 || alias > aliasMaximum {
		return faultAlias
	}
	if len(p.Topic) == 0 {
		if d.aliases == nil || d.aliases[alias] == nil {
			return faultAliasUnset
		}
		p.Topic = d.aliases[alias]
		return nil
	}
	if d.aliases == nil {
		d.aliases = new(aliases)
	}
	if !bytes.Equal(d.aliases[alias], p.Topic) {
		d.aliases[alias] = bytes.Clone(p.Topic)
	}
	return nil
}

// passed sorts a publish's or a will's properties: the server's own names are taken out (spec 5), the rest passes through. An expiry counts from now.
func passed(p *broker.Publish, list *propertyList, now func() time.Time) (alias int, given bool) {
	size := 0
	room := func(n int) bool {
		size += n
		p.PropsTooLong = p.PropsTooLong || size > maxPassed
		return !p.PropsTooLong
	}
	for v := (property{}); list.next(&v); {
		switch v.id {
		case packets.PropPayloadFormat:
			p.Props.TextFormat = v.num == 1
		case packets.PropMessageExpiryInterval:
			p.Props.Expires = now().UnixMilli() + int64(v.num)*1000
		case packets.PropContentType:
			if room(len(v.data)) {
				p.Props.ContentType = string(v.data)
			}
		case packets.PropResponseTopic:
			if len(v.data) == 0 || bytes.ContainsAny(v.data, "+#") {
				list.fault = faultResponse // [MQTT-3.3.2-14]
			} else if room(len(v.data)) {
				p.Props.ResponseTopic = string(v.data)
			}
		case packets.PropCorrelationData:
			if room(len(v.data)) {
				p.Props.CorrelationData = bytes.Clone(v.data)
			}
		case packets.PropTopicAlias:
			alias, given = int(v.num), true
		case packets.PropUser:
			if own(p, &v) {
				continue
			}
			p.PropsTooLong = p.PropsTooLong || len(p.Props.User) == maxUserProperties
			if room(len(v.name) + len(v.data)) {
				p.Props.User = append(p.Props.User, broker.UserProperty{Name: string(v.name), Value: string(v.data)})
			}
		}
		if list.fault != nil {
			return 0, false
		}
	}
	if p.PropsTooLong {
		p.Props = broker.Properties{Expires: p.Props.Expires, TextFormat: p.Props.TextFormat}
	}
	return alias, given
}

// own takes out the names that are the server's.
func own(p *broker.Publish, v *property) bool {
	switch string(v.name) {
	case "id":
		p.SenderID = string(v.data[:min(len(v.data), maxSenderID)])
	case "receipt":
		p.Receipt = string(v.data) == "true"
	case "transient":
		p.Transient = string(v.data) == "true"
	case "ts", "offline", "to", "conversation":
	default:
		return false
	}
	return true
}

// decodeAck reads PUBACK, PUBREC, PUBREL or PUBCOMP. Its properties are checked and not kept.
func decodeAck(v5 bool, kind byte, body []byte) (tag uint16, reason byte, err error) {
	f := fields{b: body}
	tag = f.u16()
	if v5 && len(f.b) > 0 {
		reason = f.u8()
		if len(f.b) > 0 {
			list := f.properties(1 << kind)
			for v := (property{}); list.next(&v); {
			}
			if list.fault != nil {
				return 0, 0, list.fault
			}
		}
	}
	switch {
	case f.bad || len(f.b) != 0:
		return 0, 0, faultMalformed
	case tag == 0:
		return 0, 0, faultPacketID // [MQTT-2.2.1-5]
	}
	return tag, reason, nil
}
