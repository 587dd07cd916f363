package hooks

import (
	"github.com/mochi-mqtt/server/v2/packets"
)

// fault is why a connection is ended: the MQTT 5 reason code that DISCONNECT, or CONNACK before it, carries.
type fault struct {
	code byte
	text string
}

func (f *fault) Error() string { return f.text }

// What a client can do to the protocol [MQTT-4.13.1-1] [MQTT-4.8.0-1].
var (
	faultMalformed   = &fault{0x81, "malformed packet"}
	faultLength      = &fault{0x81, "malformed packet: remaining length"}
	faultFlags       = &fault{0x81, "malformed packet: fixed header flags"}
	faultQoS         = &fault{0x81, "malformed packet: qos 3"}
	faultProperty    = &fault{0x81, "malformed packet: properties"}
	faultRepeated    = &fault{0x82, "protocol error: a property came twice"}
	faultType        = &fault{0x82, "protocol error: a packet type that clients do not send"}
	faultPacketID    = &fault{0x82, "protocol error: packet identifier 0"}
	faultNoTopic     = &fault{0x82, "protocol error: neither topic nor alias"}
	faultAliasUnset  = &fault{0x82, "protocol error: unknown topic alias"}
	faultNoFilters   = &fault{0x82, "protocol error: no topic filter"}
	faultNoLocal     = &fault{0x82, "protocol error: no local on a shared subscription"}
	faultSubID       = &fault{0x82, "protocol error: subscription identifier 0"}
	faultReason      = &fault{0x82, "protocol error: reason code"}
	faultExpiry      = &fault{0x82, "protocol error: session expiry was 0"}
	faultAuth        = &fault{0x82, "protocol error: AUTH without an authentication method"}
	faultResponse    = &fault{0x82, "protocol error: response topic"}
	faultTopicName   = &fault{0x90, "topic name invalid"}
	faultReceiveMax  = &fault{0x93, "receive maximum exceeded"}
	faultAlias       = &fault{0x94, "topic alias invalid"}
	faultPacketSize  = &fault{0x95, "packet too large"}
	faultKeepAlive   = &fault{0x8D, "keep alive timeout"}
	faultAuthMethod  = &fault{0x8C, "bad authentication method"}
	faultVersion     = &fault{0x84, "unsupported protocol version; MQTT 3.1.1 and 5 are"}
	faultZero        = &fault{0x82, "protocol error: a maximum of 0"}
	faultUnspecified = &fault{0x80, "unspecified error"}
)

// What a client is told that goes on at another node; the second with the Server Reference.
var (
	faultMoved   = &fault{0x9C, "use another server"}
	faultMovedTo = &fault{0x9D, "server moved"}
)

// faultOf turns an error of the engine into a fault. Its texts name no payload.
func faultOf(err error) error {
	if code, ok := err.(packets.Code); ok && code.Code >= 0x80 { //nolint:errorlint // the engine returns it bare
		return &fault{code.Code, code.Reason}
	}
	return faultUnspecified
}
