package hooks

import "github.com/mochi-mqtt/server/v2/packets"

// maxPacket is the largest packet taken, its fixed header included (spec 13).
const maxPacket = 256 << 10

// splitFrame finds the first packet in b: its first byte, its body, and its whole size, which is 0 while bytes are missing.
// What can be judged from the fixed header alone is judged as soon as it is there, so that a bad packet is never waited for.
func splitFrame(b []byte) (first byte, body []byte, size int, err error) {
	if len(b) == 0 {
		return 0, nil, 0, nil
	}
	first = b[0]
	if f := checkFirst(first); f != nil {
		return first, nil, 0, f
	}
	remaining, n := varint(b[1:])
	switch {
	case n < 0:
		return first, nil, 0, faultLength
	case n == 0:
		return first, nil, 0, nil
	case 1+n+remaining > maxPacket:
		return first, nil, 0, faultPacketSize
	case len(b) < 1+n+remaining:
		return first, nil, 0, nil
	}
	size = 1 + n + remaining
	return first, b[1+n : size], size, nil
}

// checkFirst judges packet type and flags [MQTT-2.1.3-1] [MQTT-3.3.1-2] [MQTT-3.3.1-4] [MQTT-3.8.1-1] [MQTT-3.10.1-1].
func checkFirst(first byte) *fault {
	flags := first & 0x0f
	switch first >> 4 {
	case packets.Publish:
		switch qos := flags >> 1 & 3; {
		case qos == 3:
			return faultQoS
		case qos == 0 && flags&8 != 0:
			return faultFlags
		}
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		if flags != 2 {
			return faultFlags
		}
	case packets.Connect, packets.Puback, packets.Pubrec, packets.Pubcomp, packets.Pingreq, packets.Disconnect, packets.Auth:
		if flags != 0 {
			return faultFlags
		}
	default: // 0, and what only servers send
		return faultType
	}
	return nil
}
