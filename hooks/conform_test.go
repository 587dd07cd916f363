package hooks

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// The tests in the files conform_…_test.go hold a running listener to the normative statements of MQTT 5, tagged [MQTT-…], and of MQTT
// 3.1.1, tagged [MQTT3-…]. docs/conformance.md is made from the tags. They work below demo/topic/, which is ordinary MQTT.

// inVersions runs a test with clients of MQTT 3.1.1 and with those of MQTT 5, each on a node of its own.
func inVersions(t *testing.T, test func(t *testing.T, ts *testServer, version byte)) {
	t.Helper()
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprintf("version %d", version), func(t *testing.T) { test(t, startNode(t), version) })
	}
}

// tweak changes a CONNECT before it is sent.
type tweak func(*packets.Packet)

// resuming asks for the session that is there, and for one that is kept.
func resuming(pk *packets.Packet) {
	pk.Connect.Clean = false
	pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
}

// keeping asks for a new session that is kept. MQTT 3.1.1 cannot.
func keeping(pk *packets.Packet) {
	resuming(pk)
	pk.Connect.Clean = true
}

// withWill gives CONNECT a will on a topic below demo/topic/.
func withWill(topic, payload string, qos byte, more ...tweak) tweak {
	return func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload, pk.Connect.WillQos = true, "demo/topic/"+topic, []byte(payload), qos
		for _, f := range more {
			f(pk)
		}
	}
}

// client opens a session that hears nothing but what it subscribes to.
func (ts *testServer) client(t testing.TB, version byte, id string, tweaks ...tweak) *rawClient {
	t.Helper()
	c, _ := ts.clientAck(t, version, id, tweaks...)
	return c
}

// clientAck is client, with CONNACK.
func (ts *testServer) clientAck(t testing.TB, version byte, id string, tweaks ...tweak) (*rawClient, packets.Packet) {
	t.Helper()
	c := ts.dial(t, version)
	pk := connectPacket(version, id)
	pk.Connect.PasswordFlag, pk.Connect.Password = true, []byte(`{"receive":"messages"}`)
	for _, f := range tweaks {
		f(&pk)
	}
	c.send(pk)
	ack := c.expect(packets.Connack)
	if ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x %q", ack.ReasonCode, ack.Properties.ReasonString)
	}
	return c, ack
}

// sub subscribes to a filter below demo/topic/, and returns SUBACK's code.
func (c *rawClient) sub(filter string, qos byte, options ...func(*packets.Subscription)) byte {
	c.t.Helper()
	s := packets.Subscription{Filter: "demo/topic/" + filter, Qos: qos}
	for _, f := range options {
		f(&s)
	}
	ack := c.subscribe(s)
	if len(ack.ReasonCodes) != 1 {
		c.t.Fatalf("SUBACK % x", ack.ReasonCodes)
	}
	return ack.ReasonCodes[0]
}

func shared(group string) func(*packets.Subscription) {
	return func(s *packets.Subscription) { s.Filter = "$share/" + group + "/" + s.Filter }
}

// pub publishes below demo/topic/ and completes the exchange.
func (c *rawClient) pub(topic, payload string, qos byte, tweaks ...tweak) {
	c.t.Helper()
	pk := publishPacket(qos, uint16(qos)*7, "demo/topic/"+topic, payload)
	for _, f := range tweaks {
		f(&pk)
	}
	c.send(pk)
	switch qos {
	case 1:
		if ack := c.expect(packets.Puback); ack.ReasonCode != 0 || ack.PacketID != pk.PacketID {
			c.t.Fatalf("PUBACK %d %#x %q", ack.PacketID, ack.ReasonCode, ack.Properties.ReasonString)
		}
	case 2:
		if ack := c.expect(packets.Pubrec); ack.ReasonCode != 0 || ack.PacketID != pk.PacketID {
			c.t.Fatalf("PUBREC %d %#x %q", ack.PacketID, ack.ReasonCode, ack.Properties.ReasonString)
		}
		c.send(ackPacket(packets.Pubrel, pk.PacketID, 0))
		if ack := c.expect(packets.Pubcomp); ack.ReasonCode != 0 || ack.PacketID != pk.PacketID {
			c.t.Fatalf("PUBCOMP %d %#x", ack.PacketID, ack.ReasonCode)
		}
	}
}

func retain(pk *packets.Packet) { pk.FixedHeader.Retain = true }

func ackPacket(kind byte, id uint16, code byte) packets.Packet {
	return packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id, ReasonCode: code}
}

// gets expects a delivery below demo/topic/ and leaves it unacknowledged.
func (c *rawClient) gets(topic, payload string) packets.Packet {
	c.t.Helper()
	pk := c.expect(packets.Publish)
	if pk.TopicName != "demo/topic/"+topic || string(pk.Payload) != payload {
		c.t.Fatalf("got %q on %s, want %q on %s", pk.Payload, pk.TopicName, payload, topic)
	}
	return pk
}

// takes expects a delivery and completes its exchange.
func (c *rawClient) takes(topic, payload string) packets.Packet {
	c.t.Helper()
	pk := c.gets(topic, payload)
	c.complete(pk)
	return pk
}

// complete acknowledges a delivery.
func (c *rawClient) complete(pk packets.Packet) {
	c.t.Helper()
	switch pk.FixedHeader.Qos {
	case 1:
		c.send(ackPacket(packets.Puback, pk.PacketID, 0))
	case 2:
		c.send(ackPacket(packets.Pubrec, pk.PacketID, 0))
		if rel := c.expect(packets.Pubrel); rel.PacketID != pk.PacketID || rel.ReasonCode != 0 {
			c.t.Fatalf("PUBREL %d %#x", rel.PacketID, rel.ReasonCode)
		}
		c.send(ackPacket(packets.Pubcomp, pk.PacketID, 0))
	}
}

// hearsNothing shows that nothing is on its way: what from publishes now to a topic of c's own comes next.
func (c *rawClient) hearsNothing(from *rawClient) {
	c.t.Helper()
	c.sub("nothing/else", 0)
	from.pub("nothing/else", "", 0)
	c.gets("nothing/else", "")
}

// ping shows that the connection lives.
func (c *rawClient) ping() {
	c.t.Helper()
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	c.expect(packets.Pingresp)
}

// drop ends the connection without DISCONNECT.
func (c *rawClient) drop() { _ = c.nc.Close() }

// leave ends it with DISCONNECT and waits until the server has closed.
func (c *rawClient) leave(tweaks ...tweak) {
	c.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}
	for _, f := range tweaks {
		f(&pk)
	}
	c.send(pk)
	c.expectEnd(0)
}

// refuses sends bytes on a new session, which must end it: with DISCONNECT and the code in MQTT 5, without a word in 3.1.1.
func (ts *testServer) refuses(t *testing.T, version, code byte, in []byte) {
	t.Helper()
	c := ts.client(t, version, "refused")
	c.raw(in...)
	if version == 4 {
		code = 0
	}
	c.expectEnd(code)
}

// answers returns what the server says to bytes in place of CONNECT, until it closes.
func (ts *testServer) answers(t *testing.T, in []byte) []byte {
	t.Helper()
	c := ts.dial(t, 4)
	c.raw(in...)
	var out bytes.Buffer
	_ = c.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := out.ReadFrom(c.nc); err != nil {
		t.Fatalf("after % x: %v", out.Bytes(), err)
	}
	return out.Bytes()
}

// frame puts a fixed header before the parts of a packet.
func frame(first byte, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	return append(appendVarint([]byte{first}, len(body)), body...)
}

// str is a string as MQTT has it.
func str(s string) []byte { return appendText(nil, s) }

// noProps is an empty property list, of MQTT 5 only.
func noProps(version byte) []byte {
	if version == 5 {
		return []byte{0}
	}
	return nil
}
