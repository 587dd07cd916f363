package hooks

import (
	"bytes"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// connectBytes is a CONNECT with any flags, whose payload follows as it is.
func connectBytes(version, flags byte, payload ...[]byte) []byte {
	head := append(str("MQTT"), version, flags, 0, 60)
	return frame(0x10, append([][]byte{append(head, noProps(version)...)}, payload...)...)
}

// [MQTT-3.1.0-1] [MQTT3-3.1.0-1]
func TestTheFirstPacketIsConnect(t *testing.T) {
	ts := startNode(t)
	for _, in := range [][]byte{{0xC0, 0}, {0xE0, 0}, frame(0x30, str("demo/topic/a")), {0x20, 2, 0, 0}} {
		if out := ts.answers(t, in); len(out) != 0 {
			t.Errorf("% x is answered % x", in, out)
		}
	}
}

// [MQTT-3.1.0-2] [MQTT-3.2.0-2] [MQTT-4.13.1-1] [MQTT3-3.1.0-2] [MQTT3-4.8.0-1]
func TestASecondConnectEndsTheConnection(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		ts.refuses(t, version, 0x82, encodePacket(t, version, connectPacket(version, "alice")))
	})
}

// [MQTT-3.1.2-1] [MQTT-3.1.2-2] [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT3-3.1.2-1] [MQTT3-3.1.2-2] [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]
func TestProtocolNameAndVersion(t *testing.T) {
	ts := startNode(t)
	head := func(name string, version byte) []byte {
		return frame(0x10, str(name), []byte{version, 2, 0, 60}, noProps(version), str("alice"))
	}
	for name, c := range map[string]struct {
		in   []byte
		want []byte // from the type on, without the remaining length
	}{
		"MQIsdp": {head("MQIsdp", 3), []byte{0x20, 0, 1}}, "MQTT 3": {head("MQTT", 3), []byte{0x20, 0, 1}},
		"MQTT 6": {append(head("MQTT", 6), 0), []byte{0x20, 0, 0x84}}, "mqtt": {head("mqtt", 4), nil}, "AMQP": {head("AMQP", 5), nil},
	} {
		out := ts.answers(t, c.in)
		if len(c.want) == 0 && len(out) > 0 || len(c.want) > 0 && (len(out) < 4 || !bytes.Equal(c.want, []byte{out[0], out[2], out[3]})) {
			t.Errorf("%s is answered % x", name, out)
		}
	}
}

// A CONNECT whose flags and payload do not fit each other.
//
// [MQTT-3.1.2-3] [MQTT-3.1.2-9] [MQTT-3.1.2-11] [MQTT-3.1.2-12] [MQTT-3.1.2-13] [MQTT-3.1.2-16] [MQTT-3.1.2-17] [MQTT-3.1.2-18]
// [MQTT-3.1.2-19] [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.3-4] [MQTT-3.1.3-11] [MQTT-3.1.3-12] [MQTT-3.1.4-1] [MQTT-3.14.0-1]
// [MQTT3-3.1.2-3] [MQTT3-3.1.2-9] [MQTT3-3.1.2-11] [MQTT3-3.1.2-13] [MQTT3-3.1.2-14] [MQTT3-3.1.2-15] [MQTT3-3.1.2-18]
// [MQTT3-3.1.2-19] [MQTT3-3.1.2-20] [MQTT3-3.1.2-21] [MQTT3-3.1.2-22] [MQTT3-3.1.3-1] [MQTT3-3.1.3-3] [MQTT3-3.1.3-4] [MQTT3-3.1.3-10]
// [MQTT3-3.1.3-11] [MQTT3-3.1.4-1] [MQTT3-3.2.2-6]
func TestConnectThatDoesNotFit(t *testing.T) {
	id, user := str("alice"), str("demo")
	bad := []byte{0, 1, 0xff}
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		props := noProps(version)
		for name, in := range map[string][]byte{
			"reserved flag":                connectBytes(version, 0x83, id, user),
			"will qos 3":                   connectBytes(version, 0x9e, id, props, str("demo/topic/w"), str(""), user),
			"will qos without will":        connectBytes(version, 0x8a, id, user),
			"will retain without will":     connectBytes(version, 0xa2, id, user),
			"will without fields":          connectBytes(version, 0x06, id),
			"will without message":         connectBytes(version, 0x06, id, props, str("demo/topic/w")),
			"user name without flag":       connectBytes(version, 0x02, id, user),
			"flag without user name":       connectBytes(version, 0x82, id),
			"password without flag":        connectBytes(version, 0x82, id, user, str("{}")),
			"flag without password":        connectBytes(version, 0xc2, id, user),
			"no client id":                 connectBytes(version, 0x02),
			"client id not UTF-8":          connectBytes(version, 0x82, bad, user),
			"will topic not UTF-8":         connectBytes(version, 0x86, id, props, bad, str(""), user),
			"user name not UTF-8":          connectBytes(version, 0x82, id, bad),
			"user name with a null":        connectBytes(version, 0x82, id, str("de\x00mo")),
			"user name before client id's": connectBytes(version, 0x86, props, str("demo/topic/w"), str(""), id),
		} {
			out := ts.answers(t, in)
			if version == 4 && len(out) > 0 || version == 5 && (len(out) < 4 || out[0] != 0x20 || out[2] != 0 || out[3] != 0x81) {
				t.Errorf("%s is answered % x", name, out)
			}
		}
		if out := ts.answers(t, connectBytes(4, 0x42, id, str("p"))); len(out) > 0 {
			t.Errorf("a password alone is answered % x", out)
		}
	})
}

// What follows CONNECT waits for CONNACK, and is not looked at after a refusal.
//
// [MQTT-3.1.4-2] [MQTT-3.1.4-5] [MQTT-3.1.4-6] [MQTT-3.2.0-1] [MQTT-3.2.2-1] [MQTT-3.2.2-8] [MQTT-4.13.2-1] [MQTT3-3.1.4-4] [MQTT3-3.1.4-5] [MQTT3-3.2.0-1]
func TestConnackComesFirst(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		c := ts.dial(t, version)
		hasty := connectPacket(version, "hasty")
		hasty.Connect.Password, hasty.Connect.PasswordFlag = []byte(`{"receive":"messages"}`), true
		c.send(hasty, subscribePacket(1, packets.Subscription{Filter: "demo/topic/a"}), publishPacket(0, 0, "demo/topic/a", "1"))
		c.expect(packets.Connack)
		c.expect(packets.Suback)
		c.gets("a", "1")

		watch := ts.client(t, version, "watch")
		watch.sub("refused", 0)
		refused := connectPacket(version, "who")
		refused.Connect.Username = []byte("nosuchapp")
		c = ts.dial(t, version)
		c.send(refused, publishPacket(0, 0, "demo/topic/refused", ""))
		if ack := c.expect(packets.Connack); ack.ReasonCode == 0 || ack.SessionPresent {
			t.Errorf("%+v", ack)
		}
		c.expectEnd(0)
		watch.hearsNothing(ts.client(t, version, "other"))
	})
}

// [MQTT-3.1.3-5] [MQTT-3.1.3-8] [MQTT3-3.1.3-5] [MQTT3-3.1.3-8] [MQTT3-3.1.3-9]
func TestClientIDs(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		for _, id := range []string{"a", "0123456789abcdefghijkl", "mnopqrstuvwxyzABCDEFGHI", "JKLMNOPQRSTUVWXYZ"} {
			ts.client(t, version, id).ping()
		}
		for _, id := range []string{"", "a b", "a/b/c", "a#"} { // spec 2
			for _, clean := range []byte{0x80, 0x82} {
				out := ts.answers(t, connectBytes(version, clean, str(id), str("demo")))
				want := map[byte]byte{4: 2, 5: 0x85}[version]
				if len(out) < 4 || out[0] != 0x20 || out[2] != 0 || out[3] != want {
					t.Errorf("%q is answered % x", id, out)
				}
			}
		}
	})
}

// [MQTT-3.1.2-28]
func TestResponseInformationWhenAskedFor(t *testing.T) {
	ts := startNode(t)
	if _, ack := ts.clientAck(t, 5, "alice"); ack.Properties.ResponseInfo != "" {
		t.Errorf("%q without being asked", ack.Properties.ResponseInfo)
	}
	_, ack := ts.clientAck(t, 5, "bob", func(pk *packets.Packet) { pk.Properties.RequestResponseInfo = 1 })
	if ack.Properties.ResponseInfo != "demo/event/bob/" {
		t.Errorf("%q", ack.Properties.ResponseInfo)
	}
}

// [MQTT-4.12.0-1] [MQTT-4.12.0-6] [MQTT-4.12.0-7] [MQTT-3.15.1-1]
func TestNoEnhancedAuthentication(t *testing.T) {
	ts := startNode(t)
	method := append([]byte{9, packets.PropAuthenticationMethod}, str("SCRAM")...)
	method[0] = byte(len(method) - 1)
	out := ts.answers(t, frame(0x10, str("MQTT"), []byte{5, 0x82, 0, 60}, method, str("alice"), str("demo")))
	if len(out) < 4 || out[0] != 0x20 || out[3] != 0x8C {
		t.Errorf("answered % x", out)
	}
	if _, ack := ts.clientAck(t, 5, "alice"); ack.Properties.AuthenticationMethod != "" {
		t.Errorf("%+v", ack.Properties)
	}
	ts.refuses(t, 5, 0x82, []byte{0xF0, 0})
	ts.refuses(t, 5, 0x82, []byte{0xF0, 2, 0x18, 0})
	ts.refuses(t, 5, 0x81, []byte{0xF1, 0})
	ts.refuses(t, 4, 0, []byte{0xF0, 0})
}
