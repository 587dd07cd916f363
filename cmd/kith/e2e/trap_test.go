package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/eclipse/paho.golang/packets"
)

// What MQTT engines are known to do to their users, one test for each symptom. Some stand elsewhere: malformed packets in
// errors_test.go, queues and expiry in queue_test.go, shared subscriptions and wills in topic_test.go, a crash in crash_test.go.

// A client that publishes with packet ids 1, 2, 3… does not erase its own unacknowledged deliveries 1, 2, 3….
func TestPacketIdsOfBothDirectionsAreTheirOwn(t *testing.T) {
	t.Parallel()
	a := newApp(t, unlimited)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	bob, _ := open5(t, a, "bob", `{"watch":["alice"],"receive":"messages"}`, func(c *packets.Connect) { five := uint16(5); c.Properties.ReceiveMaximum = &five })
	for i := range 60 {
		alice.send("peer/bob/alice", strconv.Itoa(i))
	}
	var unacked []uint16
	for want := 0; want < 60; {
		p := until5(bob, func(p *packets.Publish) bool { return strings.Contains(p.Topic, "/peer/") })
		if string(p.Payload) != strconv.Itoa(want) {
			t.Fatalf("bob gets %q, want %d", p.Payload, want)
		}
		want++
		if unacked = append(unacked, p.PacketID); len(unacked) < 5 {
			continue
		}
		for _, id := range unacked { // the same ids the other way
			bob.write(publish5(a.id+"/peer/alice/bob", "x", 1, id))
			if ack := until5(bob, anyOf[*packets.Puback]); ack.PacketID != id || ack.ReasonCode != 0 {
				t.Fatalf("PUBACK %+v", ack)
			}
		}
		for _, id := range unacked {
			bob.write(&packets.Puback{PacketID: id, Properties: &packets.Properties{}})
		}
		unacked = nil
	}
}

// No more than Receive Maximum is unacknowledged, live, waiting or after a resume, and the quota comes back.
func TestReceiveMaximumHolds(t *testing.T) {
	t.Parallel()
	a := newApp(t, unlimited, "queue: {messages: 1000}")
	alice := open(t, a, "alice", opening{password: watching("bob")})
	hour, three := uint32(3600), uint16(3)
	connect := func() *raw {
		r, _ := open5(t, a, "bob", `{"receive":"messages"}`, func(c *packets.Connect) {
			c.Properties.ReceiveMaximum, c.Properties.SessionExpiryInterval = &three, &hour
		})
		return r
	}
	bob := connect()
	for i := range 100 {
		alice.send("peer/bob/alice", strconv.Itoa(i))
	}
	next := 0
	for round := range 4 {
		if round > 0 {
			bob = connect() // what was not acknowledged comes again
			next -= 3
		}
		for range 25 {
			var ids []uint16
			for range 3 {
				p := until5(bob, func(p *packets.Publish) bool { return p.QoS > 0 })
				if string(p.Payload) != strconv.Itoa(next) {
					t.Fatalf("round %d: bob gets %q, want %d", round, p.Payload, next)
				}
				ids, next = append(ids, p.PacketID), next+1
			}
			// A round trip tells that there is no fourth.
			bob.write(&packets.Pingreq{})
			if p, ok := bob.read5().(*packets.Publish); ok {
				t.Fatalf("round %d: a fourth is %q", round, p.Payload)
			}
			if next >= 24*(round+1) {
				break
			}
			for _, id := range ids {
				bob.write(&packets.Puback{PacketID: id, Properties: &packets.Properties{}})
			}
		}
		_ = bob.Close()
	}
}

// A reader that stops does not slow those who write to it, and is taken over at once; what it did not read waits.
func TestASilentReaderSlowsNobody(t *testing.T) {
	t.Parallel()
	a := newApp(t, unlimited, "queue: {messages: 10000}")
	alice := open(t, a, "alice", opening{password: watching("bob", "carol")})
	carol := open(t, a, "carol", opening{})
	silent := open3(t, a, "bob", "") // reads nothing more
	if err := silent.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	payload := strings.Repeat("x", 5000)
	var worst time.Duration
	const sent = 300 // 1.5 MB, more than the sockets' buffers hold
	for i := range sent {
		began := time.Now()
		alice.send("peer/bob/alice", fmt.Sprintf("%d %s", i, payload))
		worst = max(worst, time.Since(began))
	}
	alice.send("peer/carol/alice", "not held up")
	carol.wants("peer/carol/alice", "not held up")
	if worst > 2*time.Second {
		t.Errorf("the slowest PUBACK took %v", worst)
	}
	began := time.Now()
	bob := open(t, a, "bob", opening{version: 3})
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("take-over took %v", took)
	}
	for i := range sent {
		if got := bob.next("peer/bob/alice").payload; !strings.HasPrefix(got, fmt.Sprintf("%d ", i)) {
			t.Fatalf("message %d is %.10q", i, got)
		}
	}
}

// Far more than a window or a channel holds is delivered to one who reads, and counted.
func TestABurstIsNotDropped(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t, unlimited)
		alice, _ := open5(t, a, "alice", `{"receive":"none","watch":["bob"]}`)
		bob := open(t, a, "bob", opening{version: version})
		const sent, window = 2000, 200
		for i := range sent + window { // a window's worth is always under way
			if i < sent {
				alice.write(publish5(a.id+"/peer/bob/alice", strconv.Itoa(i), 1, uint16(i+1)))
			}
			if i >= window {
				if ack := until5(alice, anyOf[*packets.Puback]); int(ack.PacketID) != i-window+1 || ack.ReasonCode != 0 {
					t.Fatalf("PUBACK %+v, want of %d", ack, i-window+1)
				}
			}
		}
		if got := bob.messages(sent); !slices.Equal(got, numbers(0, sent-1)) {
			t.Error("out of order")
		}
	})
}

// A keep-alive near the largest number does not overflow.
func TestTheLongestKeepAliveIsNotCutAtOnce(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	for _, keepAlive := range []uint16{0, 43691, 65535} {
		r := open3(t, a, fmt.Sprintf("bob%d", keepAlive), "", func(c *packets3.ConnectPacket) { c.Keepalive = keepAlive })
		r.write(packets3.NewControlPacket(packets3.Pingreq))
		until3(r, anyOf[*packets3.PingrespPacket])
		r.write(publish3(a.id+"/request/bob"+strconv.Itoa(int(keepAlive))+"/status", `{"peers":[]}`, 1, 1))
		until3(r, anyOf[*packets3.PubackPacket])
	}
}

// A client that is silent for one and a half keep-alives is gone.
func TestASilentClientIsGoneAfterItsKeepAlive(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	alice.wants("presence/bob", "offline")
	open3(t, a, "bob", "", func(c *packets3.ConnectPacket) { c.Keepalive = 1 })
	alice.wants("presence/bob", "online")
	alice.wants("presence/bob", "offline")
}

// Topic aliases of the sender do not reach the receiver as an empty topic, live or after a reconnect.
func TestTopicAliasesAreResolved(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice, _ := open5(t, a, "alice", watching("bob"))
	bob := open(t, a, "bob", opening{expiry: 60, manual: true})
	one := uint16(1)
	for i, topic := range []string{a.id + "/peer/bob/alice", "", ""} {
		p := publish5(topic, strconv.Itoa(i), 1, uint16(i+1))
		p.Properties.TopicAlias = &one
		alice.write(p)
		if ack := until5(alice, anyOf[*packets.Puback]); ack.ReasonCode != 0 {
			t.Fatalf("PUBACK %+v", ack)
		}
	}
	for i := range 3 {
		bob.wants("peer/bob/alice", strconv.Itoa(i))
	}
	bob.drop()
	bob = open(t, a, "bob", opening{expiry: 60})
	for i := range 3 {
		if got := bob.wants("peer/bob/alice", strconv.Itoa(i)); !got.dup {
			t.Errorf("%d is not marked as a duplicate", i)
		}
	}
}

// Whoever says nothing, or announces much, costs nothing for long.
func TestAConnectionWithoutAConnectIsCut(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	silent, half := rawConn(t, a.MQTT), rawConn(t, a.MQTT)
	half.bytes(0x10, 40, 0, 4, 'M', 'Q')
	began := time.Now()
	silent.closes()
	half.closes()
	if took := time.Since(began); took > 13*time.Second || took < 5*time.Second {
		t.Errorf("cut after %v, want 10 s", took)
	}
}

// QoS 2 is exactly once: a repeated PUBLISH is answered and not sent again, a refused one gets a PUBREC.
func TestQoS2IsExactlyOnce(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	bob := open(t, a, "bob", opening{})
	alice, _ := open5(t, a, "alice", watching("bob"))
	for range 2 {
		p := publish5(a.id+"/peer/bob/alice", "once", 2, 7)
		alice.write(p)
		if rec := until5(alice, anyOf[*packets.Pubrec]); rec.PacketID != 7 || rec.ReasonCode != 0 {
			t.Fatalf("PUBREC %+v", rec)
		}
	}
	for want, left := byte(0), 2; left > 0; left-- {
		alice.write(&packets.Pubrel{PacketID: 7, Properties: &packets.Properties{}})
		if comp := until5(alice, anyOf[*packets.Pubcomp]); comp.PacketID != 7 || comp.ReasonCode != want {
			t.Errorf("PUBCOMP %+v, want 0x%02X", comp, want)
		}
		want = 0x92
	}
	alice.write(publish5(a.id+"/peer/carol/alice", "m", 2, 8))
	if rec := until5(alice, anyOf[*packets.Pubrec]); rec.PacketID != 8 || rec.ReasonCode != 0x87 {
		t.Errorf("a refusal: PUBREC %+v", rec)
	}
	alice.write(publish5(a.id+"/peer/bob/alice", "last", 2, 8)) // the id is free again
	until5(alice, anyOf[*packets.Pubrec])
	if got := bob.messages(2); !slices.Equal(got, []string{"once", "last"}) {
		t.Errorf("bob gets %q", got)
	}
}

// SUBSCRIBE is granted with a packet id that equals a delivery under way.
func TestSubscribeMayUseTheIdOfADeliveryUnderWay(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	bob, _ := open5(t, a, "bob", "")
	alice.send("peer/bob/alice", "m")
	p := until5(bob, func(p *packets.Publish) bool { return p.QoS > 0 })
	bob.write(&packets.Subscribe{PacketID: p.PacketID, Properties: &packets.Properties{},
		Subscriptions: []packets.SubOptions{{Topic: a.id + "/peer/bob/+", QoS: 1}}})
	if ack := until5(bob, anyOf[*packets.Suback]); ack.PacketID != p.PacketID || !slices.Equal(ack.Reasons, []byte{1}) {
		t.Errorf("SUBACK %+v", ack)
	}
}

// Malformed packets of one client end neither the server nor another's connection: see TestMalformedMQTTEndsTheConnection. Here many at once.
func TestManyBadClientsEndNothing(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	bob := open(t, a, "bob", opening{})
	for i := range 50 {
		r, _ := open5(t, a, "bad"+strconv.Itoa(i), "")
		r.bytes(0x82, 6, 0, 1, 0, 0, 1, 'a')
		r.closes()
	}
	bob.does("status", `{"peers":[]}`)
	if status, _ := a.call(t, http.MethodGet, "/healthz", "", ""); status != http.StatusOK {
		t.Errorf("/healthz: %d", status)
	}
}
