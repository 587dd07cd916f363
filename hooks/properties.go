package hooks

import "github.com/mochi-mqtt/server/v2/packets"

// The kinds of value that a property has (MQTT 5, table 2-4).
const (
	kindByte = iota + 1
	kindU16
	kindU32
	kindVarint
	kindText
	kindBinary
	kindPair
)

// inWill stands for the will properties of CONNECT where other bits stand for a packet type.
const inWill = 1 << 0

// propertySpec says what a property holds and in which packets of a client it may stand.
type propertySpec struct {
	kind byte
	in   uint16 // bits of packet types
}

const inEveryAck = 1<<packets.Puback | 1<<packets.Pubrec | 1<<packets.Pubrel | 1<<packets.Pubcomp

// propertySpecs lists what a client may send; anything else is malformed.
var propertySpecs = [...]propertySpec{
	packets.PropPayloadFormat:          {kindByte, 1<<packets.Publish | inWill},
	packets.PropMessageExpiryInterval:  {kindU32, 1<<packets.Publish | inWill},
	packets.PropContentType:            {kindText, 1<<packets.Publish | inWill},
	packets.PropResponseTopic:          {kindText, 1<<packets.Publish | inWill},
	packets.PropCorrelationData:        {kindBinary, 1<<packets.Publish | inWill},
	packets.PropSubscriptionIdentifier: {kindVarint, 1 << packets.Subscribe}, // not in a client's PUBLISH [MQTT-3.3.4-6]
	packets.PropSessionExpiryInterval:  {kindU32, 1<<packets.Connect | 1<<packets.Disconnect},
	packets.PropAuthenticationMethod:   {kindText, 1<<packets.Connect | 1<<packets.Auth},
	packets.PropAuthenticationData:     {kindBinary, 1<<packets.Connect | 1<<packets.Auth},
	packets.PropRequestProblemInfo:     {kindByte, 1 << packets.Connect},
	packets.PropWillDelayInterval:      {kindU32, inWill},
	packets.PropRequestResponseInfo:    {kindByte, 1 << packets.Connect},
	packets.PropReasonString:           {kindText, inEveryAck | 1<<packets.Disconnect | 1<<packets.Auth},
	packets.PropReceiveMaximum:         {kindU16, 1 << packets.Connect},
	packets.PropTopicAliasMaximum:      {kindU16, 1 << packets.Connect},
	packets.PropTopicAlias:             {kindU16, 1 << packets.Publish},
	packets.PropMaximumPacketSize:      {kindU32, 1 << packets.Connect},
	packets.PropUser: {kindPair, inEveryAck | inWill | 1<<packets.Connect | 1<<packets.Publish | 1<<packets.Subscribe |
		1<<packets.Unsubscribe | 1<<packets.Disconnect | 1<<packets.Auth},
}

// property is one property of a packet: num for the number kinds, data for text and binary, name and data for a pair.
type property struct {
	id         byte
	num        uint32
	name, data []byte
}

// propertyList walks the properties of one packet.
type propertyList struct {
	f     fields
	in    uint16 // the packet's bit
	seen  uint64 // the properties met, which may not come again
	fault *fault
}

// properties reads the property length and returns the list; the fields continue after it.
func (f *fields) properties(in uint16) propertyList {
	return propertyList{f: fields{b: f.take(f.varint())}, in: in}
}

// next reads the next property, and returns false at the end or after a fault.
func (l *propertyList) next(p *property) bool {
	if len(l.f.b) == 0 {
		return false
	}
	*p = property{id: l.f.u8()}
	if int(p.id) >= len(propertySpecs) || propertySpecs[p.id].in&l.in == 0 {
		l.fault = faultProperty
		return false
	}
	if once := uint64(1) << p.id; p.id != packets.PropUser {
		if l.seen&once != 0 {
			l.fault = faultRepeated // "it is a Protocol Error to include … more than once"
			return false
		}
		l.seen |= once
	}
	switch propertySpecs[p.id].kind {
	case kindByte:
		p.num = uint32(l.f.u8())
		if p.num > 1 { // all byte properties that a client sends are 0 or 1
			l.fault = faultProperty
		}
	case kindU16:
		p.num = uint32(l.f.u16())
	case kindU32:
		p.num = l.f.u32()
	case kindVarint:
		p.num = uint32(l.f.varint()) //nolint:gosec // 28 bits
	case kindText:
		p.data = l.f.text()
	case kindBinary:
		p.data = l.f.bin()
	case kindPair:
		p.name = l.f.text()
		p.data = l.f.text()
	}
	if l.f.bad {
		l.fault = faultProperty
	}
	return l.fault == nil
}
