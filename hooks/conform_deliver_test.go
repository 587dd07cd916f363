package hooks

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// window gives CONNECT a Receive Maximum.
func window(n uint16) tweak { return func(pk *packets.Packet) { pk.Properties.ReceiveMaximum = n } }

// [MQTT-2.2.1-4] [MQTT-3.3.1-3] [MQTT-3.8.4-8] [MQTT-4.3.1-1] [MQTT-4.3.2-1] [MQTT-4.3.2-2] [MQTT-4.3.3-1] [MQTT-4.3.3-2] [MQTT-4.3.3-4]
// [MQTT3-2.3.1-4] [MQTT3-3.3.1-3] [MQTT3-3.8.4-6] [MQTT3-4.3.1-1] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1]
func TestDeliveriesAtTheLowerQoS(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		c := ts.client(t, version, "alice")
		for granted := range byte(3) {
			watch := ts.client(t, version, "bob")
			if code := watch.sub("a", granted); code != granted {
				t.Fatalf("asked for %d, granted %d", granted, code)
			}
			ids := map[uint16]bool{}
			for qos := range byte(3) {
				for range 2 {
					tweaks := []tweak{dup}
					if qos == 0 {
						tweaks = nil
					}
					c.pub("a", "x", qos, tweaks...)
					pk := watch.gets("a", "x")
					if h := pk.FixedHeader; h.Qos != min(qos, granted) || h.Dup || h.Retain || (h.Qos > 0) != (pk.PacketID > 0) || ids[pk.PacketID] && h.Qos > 0 {
						t.Errorf("published at %d, granted %d: %+v, identifier %d", qos, granted, h, pk.PacketID)
					}
					ids[pk.PacketID] = true
					watch.complete(pk)
				}
			}
		}
	})
}

// [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT3-4.6.0-5] [MQTT3-4.6.0-6]
func TestDeliveriesInOrder(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		c, watch := ts.client(t, version, "alice"), ts.client(t, version, "bob")
		watch.sub("+", 2)
		for qos := range byte(3) {
			for i := range 20 {
				c.pub("a", fmt.Sprint(i), qos)
			}
			for i := range 20 {
				watch.gets("a", fmt.Sprint(i))
			}
		}
	})
}

// [MQTT-3.3.4-9] [MQTT-3.3.4-10] [MQTT-4.9.0-1] [MQTT-4.9.0-2] [MQTT-4.9.0-3] [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.3.3-5]
func TestReceiveMaximumOfAClient(t *testing.T) {
	ts := startNode(t)
	c := ts.client(t, 5, "alice")
	for qos := byte(1); qos < 3; qos++ {
		watch := ts.client(t, 5, "bob", window(2))
		watch.sub("a", 2)
		for i := range 4 {
			c.pub("a", fmt.Sprint(i), qos)
		}
		first, second := watch.gets("a", "0"), watch.gets("a", "1")
		watch.ping() // two are open: no third, but everything else goes on
		watch.sub("b", 0)
		watch.pub("b", "own", 1)
		watch.pub("c", "own", 2)
		watch.ping()
		if qos == 2 {
			watch.send(ackPacket(packets.Pubrec, second.PacketID, 0))
			watch.expect(packets.Pubrel)
			watch.ping() // PUBREC gives nothing back
			watch.send(ackPacket(packets.Pubcomp, second.PacketID, 0))
		} else {
			watch.complete(second)
		}
		third := watch.gets("a", "2")
		watch.ping()
		watch.complete(first)
		fourth := watch.gets("a", "3")
		watch.gets("b", "own")
		watch.complete(third)
		watch.complete(fourth)
	}
}

// [MQTT-4.4.0-2] [MQTT-4.8.2-6]
func TestRefusedDeliveryIsOver(t *testing.T) {
	ts := startNode(t)
	c := ts.client(t, 5, "alice")
	one := ts.client(t, 5, "one", window(1), keeping)
	one.sub("a", 2)
	for qos, kind := range map[byte]byte{1: packets.Puback, 2: packets.Pubrec} {
		c.pub("a", "refused", qos)
		c.pub("a", "next", qos)
		pk := one.gets("a", "refused")
		one.send(ackPacket(kind, pk.PacketID, 0x97))
		one.takes("a", "next")
	}
	one.ping() // the last PUBCOMP has come
	one.drop()
	one = ts.present(t, 5, "one", true, resuming)
	one.hearsNothing(c)

	member := ts.client(t, 5, "member")
	member.sub("s", 1, shared("g"))
	other := ts.client(t, 5, "other")
	c.pub("s", "refused", 1)
	other.sub("s", 1, shared("g"))
	member.send(ackPacket(packets.Puback, member.gets("s", "refused").PacketID, 0x80))
	member.ping()
	other.hearsNothing(c)
}

// Messages to a peer wait for it, and are what is sent again.
//
// [MQTT-3.3.1-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.4.0-1] [MQTT3-3.3.1-1] [MQTT3-4.4.0-1] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1]
func TestMessagesAreSentAgainToAResumedSession(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		watching := func(pk *packets.Packet) { pk.Connect.Password = []byte(`{"receive":"messages","watch":["bob"]}`) }
		c, bob := ts.client(t, version, "alice", watching), ts.client(t, version, "bob", resuming)
		bob.subscribe(packets.Subscription{Filter: "demo/peer/bob/+", Qos: 2})
		message := func(qos byte, text string) {
			pk := publishPacket(qos, 5, "demo/peer/bob/alice", text)
			c.send(pk)
			if qos == 1 {
				c.expect(packets.Puback)
				return
			}
			c.expect(packets.Pubrec)
			c.send(ackPacket(packets.Pubrel, 5, 0))
			c.expect(packets.Pubcomp)
		}
		message(1, "one")
		message(2, "two")
		message(2, "three")
		one, two, three := bob.expect(packets.Publish), bob.expect(packets.Publish), bob.expect(packets.Publish)
		bob.send(ackPacket(packets.Pubrec, two.PacketID, 0))
		bob.expect(packets.Pubrel)
		bob.ping() // and nothing is sent again without a reconnect
		bob.drop()
		bob = ts.present(t, version, "bob", true, resuming)
		again := bob.expect(packets.Publish)
		if again.PacketID != one.PacketID || string(again.Payload) != "one" || !again.FixedHeader.Dup || again.FixedHeader.Qos != 1 {
			t.Errorf("%d %q %+v", again.PacketID, again.Payload, again.FixedHeader)
		}
		bob.complete(again)
		if rel := bob.expect(packets.Pubrel); rel.PacketID != two.PacketID {
			t.Errorf("PUBREL %d", rel.PacketID)
		}
		bob.send(ackPacket(packets.Pubcomp, two.PacketID, 0))
		again = bob.expect(packets.Publish)
		if again.PacketID != three.PacketID || string(again.Payload) != "three" || !again.FixedHeader.Dup || again.FixedHeader.Qos != 2 {
			t.Errorf("%d %q %+v", again.PacketID, again.Payload, again.FixedHeader)
		}
		bob.complete(again)
		bob.ping()
	})
}

// [MQTT-3.3.2-5] [MQTT-3.3.2-6] [MQTT-4.3.3-7]
func TestExpiryOfMessages(t *testing.T) {
	ts := startNode(t)
	c := ts.client(t, 5, "alice")
	expiring := func(seconds uint32) tweak {
		return func(pk *packets.Packet) { pk.Properties.MessageExpiryInterval = seconds }
	}
	slow, clock := ts.client(t, 5, "slow", window(1)), ts.client(t, 5, "clock")
	slow.sub("a", 2)
	clock.sub("clock", 1)
	c.pub("a", "sent", 2, expiring(1))
	c.pub("a", "expired", 2, expiring(1))
	c.pub("a", "expired too", 1, expiring(1))
	c.pub("a", "lasts", 1, expiring(60))
	sent := slow.gets("a", "sent")
	if left := sent.Properties.MessageExpiryInterval; left != 1 {
		t.Errorf("%d s are left of 1", left)
	}
	ts.client(t, 5, "wakes", lasting(60), withWill("clock", "two seconds", 1, after(2))).drop()
	clock.takes("clock", "two seconds")
	slow.complete(sent) // it was sent, so it goes on
	lasts := slow.takes("a", "lasts")
	if left := lasts.Properties.MessageExpiryInterval; left < 50 || left > 58 {
		t.Errorf("%d s are left of 60", left)
	}
}

// [MQTT-3.1.2-24] [MQTT-3.1.2-25] [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-2] [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3]
// [MQTT-3.9.2-1] [MQTT-3.9.2-2] [MQTT-3.11.2-1] [MQTT-3.11.2-2] [MQTT-3.14.2-3] [MQTT-3.14.2-4] [MQTT-3.2.2-19] [MQTT-3.2.2-20]
func TestMaximumPacketSizeOfAClient(t *testing.T) {
	ts := startNode(t)
	const most = 40
	small := func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = most }
	c := ts.client(t, 5, "alice")
	watch := ts.client(t, 5, "bob", small, window(1))
	watch.sub("a", 2)
	for qos := range byte(3) {
		c.pub("a", strings.Repeat("x", most), qos)
		c.pub("a", "fits", qos)
		watch.takes("a", "fits") // what did not fit counts as sent, and holds up nothing
	}
	send := func(pk packets.Packet, kind byte, want ...byte) {
		t.Helper()
		watch.send(pk)
		pk = watch.expect(kind)
		if pk.FixedHeader.Remaining+2 > most {
			t.Errorf("%s of %d bytes", packets.PacketNames[kind], pk.FixedHeader.Remaining+2)
		}
		got := pk.ReasonCodes
		if len(got) == 0 {
			got = []byte{pk.ReasonCode}
		}
		if string(got) != string(want) {
			t.Errorf("%s % x, want % x", packets.PacketNames[kind], got, want)
		}
	}
	send(publishPacket(1, 1, "demo/nothing/with/a/long/name/that/the/reason/repeats", ""), packets.Puback, 0x87)
	send(publishPacket(2, 2, "demo/nothing/with/a/long/name/that/the/reason/repeats", ""), packets.Pubrec, 0x87)
	send(ackPacket(packets.Pubrel, 9, 0), packets.Pubcomp, 0x92)
	send(ackPacket(packets.Pubrec, 9, 0), packets.Pubrel, 0x92)
	send(subscribePacket(3, packets.Subscription{Filter: "demo/nothing/with/a/long/name/that/the/reason/repeats"}), packets.Suback, 0x87)
	send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 4, Filters: packets.Subscriptions{{Filter: "none"}}}, packets.Unsuback, 0x11)
	watch.raw(0xF0, 0)
	if last, err := io.ReadAll(watch.nc); err != nil || !bytes.Equal(last, []byte{0xE0, 1, 0x82}) {
		t.Errorf("the last packet is % x, %v", last, err)
	}
	refused := ts.dial(t, 5)
	pk := connectPacket(5, "no peer's/na/me")
	small(&pk)
	refused.send(pk)
	if ack := refused.expect(packets.Connack); ack.ReasonCode != 0x85 || ack.FixedHeader.Remaining+2 > most {
		t.Errorf("CONNACK %#x of %d bytes", ack.ReasonCode, ack.FixedHeader.Remaining+2)
	}
}

// [MQTT-3.1.2-29]
func TestProblemInformationWhenWanted(t *testing.T) {
	ts := startNode(t)
	c := ts.client(t, 5, "alice", func(pk *packets.Packet) {
		pk.Properties.RequestProblemInfo, pk.Properties.RequestProblemInfoFlag = 0, true
		pk.Connect.Password = []byte(`{"receive":"messages","watch":["bob"]}`)
	})
	bare := func(pk packets.Packet) {
		t.Helper()
		if pk.Properties.ReasonString != "" || len(pk.Properties.User) > 0 {
			t.Errorf("%s with %+v", packets.PacketNames[pk.FixedHeader.Type], pk.Properties)
		}
	}
	for _, topic := range []string{"demo/peer/bob/alice", "demo/nothing"} {
		c.send(publishPacket(1, 1, topic, ""))
		bare(c.expect(packets.Puback))
	}
	c.send(publishPacket(2, 2, "demo/nothing", ""))
	bare(c.expect(packets.Pubrec))
	c.send(ackPacket(packets.Pubrel, 9, 0))
	bare(c.expect(packets.Pubcomp))
	bare(c.subscribe(packets.Subscription{Filter: "demo/nothing"}))
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 4, Filters: packets.Subscriptions{{Filter: "none"}}})
	bare(c.expect(packets.Unsuback))
}

// [MQTT-3.1.2-26] [MQTT-3.1.2-27] [MQTT-3.3.2-11]
func TestTheServerSendsNoTopicAlias(t *testing.T) {
	ts := startNode(t)
	for most := range uint16(3) {
		c := ts.client(t, 5, "alice", func(pk *packets.Packet) { pk.Properties.TopicAliasMaximum = most })
		c.sub("a", 0)
		for range 3 {
			c.pub("a", "", 0)
			if pk := c.gets("a", ""); pk.Properties.TopicAliasFlag {
				t.Errorf("alias %d", pk.Properties.TopicAlias)
			}
		}
	}
}
