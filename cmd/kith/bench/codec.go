package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The packets of MQTT that a client of this package sends or takes, by the first byte's high half.
const (
	packetConnect    = 1 << 4
	packetConnack    = 2 << 4
	packetPublish    = 3 << 4
	packetPuback     = 4 << 4
	packetPingreq    = 12 << 4
	packetPingresp   = 13 << 4
	packetDisconnect = 14 << 4
)

// maxPacket is more than a Kith server ever sends.
const maxPacket = 1 << 20

// propReasonString is the MQTT 5 property that says in words why something was refused.
const propReasonString = 0x1F

var errMalformed = errors.New("the server sent what is not MQTT")

func appendLength(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n)) //nolint:gosec // below 0x80
}

// length reads a variable byte integer; size is 0 while bytes are missing.
func length(b []byte) (n, size int, err error) {
	for i := range 4 {
		if i == len(b) {
			return 0, 0, nil
		}
		n |= int(b[i]&0x7F) << (7 * i)
		if b[i] < 0x80 {
			return n, i + 1, nil
		}
	}
	return 0, 0, errMalformed
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...) //nolint:gosec // texts of this package are short
}

// splitPacket takes the first packet off b; size is 0 while bytes are missing.
func splitPacket(b []byte) (first byte, body []byte, size int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	n, used, err := length(b[1:])
	switch {
	case err != nil || used == 0:
		return 0, nil, 0, err
	case n > maxPacket:
		return 0, nil, 0, fmt.Errorf("a packet of %d bytes: %w", n, errMalformed)
	case len(b) < 1+used+n:
		return 0, nil, 0, nil
	}
	return b[0], b[1+used : 1+used+n], 1 + used + n, nil
}

// connectPacket is a CONNECT with clean start. In MQTT 5 the session ends with the connection.
func connectPacket(version byte, clientID, user string, password []byte, keepAlive uint16) []byte {
	flags := byte(0x82) // user name, clean start
	if len(password) > 0 {
		flags |= 0x40
	}
	body := appendText(nil, "MQTT")
	body = binary.BigEndian.AppendUint16(append(body, version, flags), keepAlive)
	if version == 5 {
		body = append(body, 0)
	}
	body = appendText(body, clientID)
	body = appendText(body, user)
	if len(password) > 0 {
		body = appendText(body, string(password))
	}
	return append(appendLength([]byte{packetConnect}, len(body)), body...)
}

// publishPacket is a PUBLISH to be sent many times: tag and payload are where its packet identifier (-1 at QoS 0) and its
// payload begin.
func publishPacket(version byte, topic string, qos byte, payload []byte) (packet []byte, tag, at int) {
	n := 2 + len(topic) + len(payload)
	if qos > 0 {
		n += 2
	}
	if version == 5 {
		n++
	}
	packet = appendText(appendLength([]byte{packetPublish | qos<<1}, n), topic)
	tag = -1
	if qos > 0 {
		tag = len(packet)
		packet = append(packet, 0, 0)
	}
	if version == 5 {
		packet = append(packet, 0)
	}
	return append(packet, payload...), tag, len(packet)
}

func appendPuback(b []byte, tag uint16) []byte {
	return binary.BigEndian.AppendUint16(append(b, packetPuback, 2), tag)
}

// arrival is a PUBLISH that came; it points into the read buffer.
type arrival struct {
	topic   []byte
	payload []byte
	tag     uint16 // 0 at QoS 0
	again   bool   // DUP
}

func parsePublish(version, first byte, body []byte) (p arrival, err error) {
	if len(body) < 2 {
		return p, errMalformed
	}
	at := 2 + int(binary.BigEndian.Uint16(body))
	if len(body) < at+2 && (first&6 != 0 || len(body) < at) {
		return p, errMalformed
	}
	p.topic, p.again = body[2:at], first&8 != 0
	if first&6 != 0 {
		p.tag = binary.BigEndian.Uint16(body[at:])
		at += 2
	}
	if version == 5 {
		n, size, err := length(body[at:])
		if err != nil || size == 0 || len(body) < at+size+n {
			return p, errMalformed
		}
		at += size + n
	}
	p.payload = body[at:]
	return p, nil
}

// parsePuback returns the reason code too: 0 for an acknowledgement without one.
func parsePuback(version byte, body []byte) (tag uint16, code byte, err error) {
	if len(body) < 2 {
		return 0, 0, errMalformed
	}
	if version == 5 && len(body) > 2 {
		code = body[2]
	}
	return binary.BigEndian.Uint16(body), code, nil
}

// reasonString finds the reason in a CONNACK, PUBACK or DISCONNECT's properties, which begin at b.
func reasonString(b []byte) string {
	n, size, err := length(b)
	if err != nil || size == 0 || len(b) < size+n {
		return ""
	}
	for b = b[size : size+n]; len(b) > 2; {
		id, rest := b[0], b[1:]
		skip := propertySize(id, rest)
		if skip < 0 || skip > len(rest) {
			return ""
		}
		if id == propReasonString {
			return string(rest[2:skip])
		}
		b = rest[skip:]
	}
	return ""
}

// propertySize is how many bytes the value of a property takes; -1 for one that a server does not send.
func propertySize(id byte, b []byte) int {
	text := func(b []byte) int {
		if len(b) < 2 {
			return 2
		}
		return 2 + int(binary.BigEndian.Uint16(b))
	}
	switch id {
	case 0x24, 0x25, 0x28, 0x29, 0x2A:
		return 1
	case 0x13, 0x21, 0x22:
		return 2
	case 0x11, 0x27:
		return 4
	case 0x12, 0x1A, 0x1C, propReasonString:
		return text(b)
	case 0x26:
		n := text(b)
		if n > len(b) {
			return n
		}
		return n + text(b[n:])
	}
	return -1
}
