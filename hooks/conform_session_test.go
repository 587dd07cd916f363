package hooks

import (
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// lasting asks for the session that is there, and for one that is kept so many seconds.
func lasting(seconds uint32) tweak {
	return func(pk *packets.Packet) {
		resuming(pk)
		pk.Properties.SessionExpiryInterval = seconds
	}
}

// until opens sessions of a client until CONNACK tells what the test waits for: what the last connection left is on its way.
func (ts *testServer) present(t *testing.T, version byte, id string, want bool, tweaks ...tweak) *rawClient {
	t.Helper()
	c, ack := ts.clientAck(t, version, id, tweaks...)
	if ack.SessionPresent != want {
		t.Fatalf("session present is %t", ack.SessionPresent)
	}
	return c
}

// [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.2-6] [MQTT-3.1.2-23] [MQTT-3.1.3-2] [MQTT-3.1.4-4] [MQTT-3.2.2-2] [MQTT-3.2.2-3]
// [MQTT3-3.1.2-4] [MQTT3-3.1.2-6] [MQTT3-3.1.3-2] [MQTT3-3.1.4-3] [MQTT3-3.2.2-1] [MQTT3-3.2.2-2] [MQTT3-3.2.2-3]
func TestCleanStartAndSessionPresent(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		other := ts.client(t, version, "other")
		c := ts.present(t, version, "alice", false, resuming) // none is there
		c.sub("a", 1)
		c.drop()
		c = ts.present(t, version, "alice", true, resuming) // lost
		other.pub("a", "1", 0)
		c.gets("a", "1")
		c.leave()
		c = ts.present(t, version, "alice", true, resuming) // ended with DISCONNECT
		other.pub("a", "2", 0)
		c.gets("a", "2")
		ts.present(t, version, "bob", false, resuming).leave() // another client's is not its own
		c.leave()
		c = ts.present(t, version, "alice", false) // clean
		other.pub("a", "3", 0)
		c.hearsNothing(other)
		c.leave()
		ts.present(t, version, "alice", false, resuming).leave() // and it is gone for good
	})
}

// [MQTT-3.1.2-23] [MQTT-4.1.0-2]
func TestSessionExpiry(t *testing.T) {
	ts := startNode(t)
	ts.present(t, 5, "alice", false, lasting(0)).leave()
	ts.present(t, 5, "alice", false, lasting(1)).leave()
	eventually(t, "the session of one second ends", func() bool {
		c, ack := ts.clientAck(t, 5, "alice", func(pk *packets.Packet) { pk.Connect.Clean = false })
		c.leave()
		return !ack.SessionPresent
	})
	// DISCONNECT may change it, but not from 0.
	change := func(seconds uint32) tweak {
		return func(pk *packets.Packet) {
			pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = seconds, true
		}
	}
	ts.present(t, 5, "alice", false, lasting(1)).leave(change(3600))
	ts.present(t, 5, "alice", true, lasting(3600)).leave(change(0))
	c := ts.present(t, 5, "alice", false, lasting(0))
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}, Properties: packets.Properties{SessionExpiryInterval: 5, SessionExpiryIntervalFlag: true}})
	c.expectEnd(0x82)
	ts.present(t, 5, "alice", false, lasting(0))
}

// [MQTT-3.1.4-3] [MQTT-4.1.0-1] [MQTT3-3.1.4-2] [MQTT3-4.1.0-1]
func TestTakeOver(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		first := ts.client(t, version, "alice", keeping)
		if version == 4 {
			first = ts.client(t, version, "alice", resuming)
		}
		first.sub("a", 1)
		second := ts.present(t, version, "alice", true, resuming)
		code := byte(0)
		if version == 5 {
			code = 0x8E
		}
		first.expectEnd(code)
		second.pub("a", "mine still", 1)
		second.takes("a", "mine still")
	})
}

// [MQTT-3.1.2-22] [MQTT-3.2.2-22] [MQTT3-3.1.2-24]
func TestKeepAliveOfOneSecond(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		second := func(pk *packets.Packet) { pk.Connect.Keepalive = 1 }
		watch := ts.client(t, version, "watch")
		watch.sub("last", 1)
		begin := time.Now()
		silent := ts.client(t, version, "silent", second, withWill("last", "words", 1))
		code := byte(0)
		if version == 5 {
			code = 0x8D
		}
		silent.expectEnd(code)
		if d := time.Since(begin); d < 1500*time.Millisecond {
			t.Errorf("cut after %v", d)
		}
		watch.takes("last", "words") // as if the network had failed
	})
}

// [MQTT-3.12.4-1] [MQTT3-3.12.4-1] [MQTT-4.2.0-1] [MQTT3-4.2.0-1]
func TestPing(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		c := ts.client(t, version, "alice")
		for range 3 {
			c.ping()
		}
	})
}

// [MQTT-3.14.1-1] [MQTT-3.14.2-1] [MQTT-3.14.2-2] [MQTT-3.14.4-1] [MQTT-3.14.4-2] [MQTT3-3.14.1-1]
func TestDisconnectOfAClient(t *testing.T) {
	ts := startNode(t)
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		ts.client(t, version, "alice").leave()
		ts.refuses(t, version, 0x81, []byte{0xE1, 0})
		// What follows DISCONNECT is not looked at.
		watch := ts.client(t, version, "watch")
		watch.sub("late", 0)
		c := ts.client(t, version, "alice")
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Disconnect}}, publishPacket(0, 0, "demo/topic/late", ""))
		c.expectEnd(0)
		watch.hearsNothing(ts.client(t, version, "bob"))
	})
	ts.refuses(t, 5, 0x82, []byte{0xE0, 1, 0x8E}) // a code of servers
}
