package hooks

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// [MQTT-4.1.0-1] [MQTT-4.5.0-1] [MQTT3-3.1.2-5] [MQTT3-4.5.0-1]
func TestWhatIsPublishedForAnAbsentClientWaits(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		pub := ts.client(t, version, "pub")
		c := ts.present(t, version, "alice", false, resuming)
		c.sub("a/+", 2)
		c.sub("b", 0)
		for _, away := range []func(){c.drop, func() { c.leave() }} {
			away()
			ts.away(t, "alice/default")
			for i := range 3 {
				for qos := range byte(3) {
					pub.pub("a/1", fmt.Sprint(i, qos), qos)
				}
				pub.pub("b", "at most once", 1)
			}
			c = ts.present(t, version, "alice", true, resuming)
			var got []packets.Packet
			for i := range 3 {
				for qos := byte(1); qos < 3; qos++ {
					pk := c.gets("a/1", fmt.Sprint(i, qos))
					if pk.FixedHeader.Qos != qos || pk.FixedHeader.Dup || pk.FixedHeader.Retain {
						t.Errorf("%+v", pk.FixedHeader)
					}
					got = append(got, pk)
				}
			}
			for _, pk := range got {
				c.complete(pk)
			}
			c.hearsNothing(pub)
		}
		c.drop()
		ts.away(t, "alice/default")
		pub.pub("a/1", "for the session that ends", 1)
		c = ts.present(t, version, "alice", false)
		c.sub("a/+", 2)
		c.hearsNothing(pub)
		c.leave()
		if c = ts.present(t, version, "alice", false, resuming); len(ts.topics.absent) != 0 {
			t.Errorf("%d sessions are kept", len(ts.topics.absent))
		}
	})
}

// away waits until the router collects for a client.
func (ts *testServer) away(t *testing.T, id string) {
	t.Helper()
	eventually(t, "the session is kept", func() bool {
		ts.topics.mu.RLock()
		defer ts.topics.mu.RUnlock()
		return ts.topics.absent["demo\x00"+id] != nil
	})
}

// [MQTT-3.3.1-1] [MQTT-4.3.2-3] [MQTT-4.3.3-3] [MQTT-4.3.3-6] [MQTT-4.4.0-1] [MQTT-4.8.2-4] [MQTT-4.8.2-5] [MQTT3-3.3.1-1] [MQTT3-4.4.0-1]
func TestTopicsAreSentAgainToAResumedSession(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		pub, other := ts.client(t, version, "pub"), ts.client(t, version, "other")
		c := ts.present(t, version, "alice", false, resuming)
		c.sub("a", 2, shared("g"))
		c.sub("b", 2)
		pub.pub("a", "shared", 2)
		pub.pub("b", "one", 1)
		pub.pub("b", "two", 2)
		sharedOne, one, two := c.gets("a", "shared"), c.gets("b", "one"), c.gets("b", "two")
		c.send(ackPacket(packets.Pubrec, two.PacketID, 0))
		c.expect(packets.Pubrel)
		other.sub("a", 2, shared("g"))
		again := func(topic, text string, before packets.Packet) packets.Packet {
			t.Helper()
			pk := c.gets(topic, text)
			if pk.PacketID != before.PacketID || !pk.FixedHeader.Dup || pk.FixedHeader.Qos != before.FixedHeader.Qos {
				t.Errorf("%d %+v, was %d", pk.PacketID, pk.FixedHeader, before.PacketID)
			}
			return pk
		}
		for _, how := range []string{"lost", "taken over"} {
			if how == "lost" {
				c.drop()
				ts.away(t, "alice/default")
				pub.pub("a", "new", 1)
				other.takes("a", "new") // who is there takes it
			}
			c = ts.present(t, version, "alice", true, resuming)
			again("a", "shared", sharedOne)
			again("b", "one", one)
			if rel := c.expect(packets.Pubrel); rel.PacketID != two.PacketID {
				t.Errorf("PUBREL %d", rel.PacketID)
			}
		}
		c.send(ackPacket(packets.Puback, one.PacketID, 0), ackPacket(packets.Pubcomp, two.PacketID, 0))
		c.ping()
		c.drop()
		ts.away(t, "alice/default")
		c = ts.present(t, version, "alice", false) // the session ends: what was due to it goes to nobody else
		other.hearsNothing(pub)
		c.hearsNothing(pub)
	})
}
