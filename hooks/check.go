package hooks

import (
	"strings"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The checks below see a packet before the engine's decoder does: that one trusts lengths and indexes past the end of a
// SUBSCRIBE without its option byte (upstream #501), reads properties beyond their announced length, and ignores what
// follows a packet's last field.

// checkBody checks the body of a packet that goes to the engine.
func checkBody(v5 bool, kind byte, body []byte) error {
	switch kind {
	case packets.Subscribe:
		return checkSubscribe(v5, body)
	case packets.Unsubscribe:
		return checkUnsubscribe(v5, body)
	case packets.Pingreq:
		if len(body) != 0 {
			return faultMalformed
		}
	}
	return nil
}

func checkSubscribe(v5 bool, body []byte) error {
	f := fields{b: body}
	if err := checkHead(v5, packets.Subscribe, &f); err != nil {
		return err
	}
	reserved := byte(0xFC) // [MQTT-3.8.3-4] of 3.1.1
	if v5 {
		reserved = 0xC0 // [MQTT-3.8.3-5]
	}
	for len(f.b) > 0 {
		filter, options := f.text(), f.u8()
		if f.bad || len(filter) == 0 || options&reserved != 0 || options&3 == 3 || options>>4&3 == 3 {
			return faultMalformed // [MQTT-4.7.3-1] [MQTT-3.8.3-1]
		}
	}
	return nil
}

func checkUnsubscribe(v5 bool, body []byte) error {
	f := fields{b: body}
	if err := checkHead(v5, packets.Unsubscribe, &f); err != nil {
		return err
	}
	for len(f.b) > 0 {
		if filter := f.text(); f.bad || len(filter) == 0 {
			return faultMalformed // [MQTT-3.10.3-1]
		}
	}
	return nil
}

// checkHead reads packet identifier and properties, and leaves the filters.
func checkHead(v5 bool, kind byte, f *fields) error {
	if id := f.u16(); id == 0 && !f.bad {
		return faultPacketID // [MQTT-2.2.1-3]
	}
	if v5 && !f.bad {
		list := f.properties(1 << kind)
		for p := (property{}); list.next(&p); {
			if p.id == packets.PropSubscriptionIdentifier && p.num == 0 {
				return faultSubID
			}
		}
		if list.fault != nil {
			return list.fault
		}
	}
	switch {
	case f.bad:
		return faultMalformed
	case len(f.b) == 0:
		return faultNoFilters // [MQTT-3.8.3-2] [MQTT-3.10.3-2]
	}
	return nil
}

// disconnect is what a client's DISCONNECT says.
type disconnect struct {
	reason byte
	expiry uint32
	given  bool // expiry was
}

// decodeDisconnect reads a DISCONNECT, also one whose reason code stands alone, which the engine overlooks.
func decodeDisconnect(v5 bool, body []byte) (d disconnect, err error) {
	if len(body) == 0 {
		return d, nil
	}
	if !v5 {
		return d, faultMalformed // [MQTT-3.14.1-1]
	}
	f := fields{b: body}
	d.reason = f.u8()
	if len(f.b) > 0 {
		list := f.properties(1 << packets.Disconnect)
		for p := (property{}); list.next(&p); {
			if p.id == packets.PropSessionExpiryInterval {
				d.expiry, d.given = p.num, true
			}
		}
		if list.fault != nil {
			return d, list.fault
		}
	}
	if f.bad || len(f.b) != 0 {
		return d, faultMalformed
	}
	switch d.reason { // MQTT 5, table 3-13: those a client sends
	case 0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99:
		return d, nil
	}
	return d, faultReason
}

// maxLevels bounds the depth of a filter or topic, since the engine's index makes a node for each level.
const maxLevels = 64

// filterFault judges the form of a topic filter: 0x8F when it has none, 0x97 when it is too deep, else 0.
func filterFault(filter string) byte {
	if rest, shared := strings.CutPrefix(filter, "$share/"); shared {
		group, topic, found := strings.Cut(rest, "/")
		if !found || group == "" || topic == "" || strings.ContainsAny(group, "+#") {
			return packets.ErrTopicFilterInvalid.Code // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
		}
		filter = topic
	}
	if !utf8.ValidString(filter) || filter == "" {
		return packets.ErrTopicFilterInvalid.Code
	}
	levels := 0
	for level := range strings.SplitSeq(filter, "/") {
		if levels++; levels > maxLevels {
			return packets.ErrQuotaExceeded.Code
		}
		if level != "+" && level != "#" && strings.ContainsAny(level, "+#") {
			return packets.ErrTopicFilterInvalid.Code // [MQTT-4.7.1-2] [MQTT-4.7.1-3]
		}
	}
	if i := strings.IndexByte(filter, '#'); i >= 0 && i != len(filter)-1 {
		return packets.ErrTopicFilterInvalid.Code // [MQTT-4.7.1-1]
	}
	return 0
}
