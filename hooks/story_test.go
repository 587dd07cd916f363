package hooks

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
	"kith/broker/pebblestore"
)

// startNode serves the real broker over the real store, in memory.
func startNode(t *testing.T) *testServer {
	t.Helper()
	store, err := pebblestore.Open(pebblestore.Config{Path: "data"}, pebblestore.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	app := broker.DefaultAppConfig("demo")
	app.Topics = []string{"#"}
	app.Rate = broker.RateConfig{MessagesPerSecond: 1e6, Burst: 1e6}
	b, err := broker.New(broker.Options{Store: store, Node: "test", Apps: []broker.AppConfig{app}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- b.Run(ctx) }()
	go func() { done <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		down, stop := context.WithTimeout(context.Background(), 10*time.Second)
		defer stop()
		if err := s.Shutdown(down); err != nil {
			t.Error(err)
		}
		cancel()
		<-done
		<-done
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &testServer{Server: s, addr: ln.Addr().String(), log: &logBuffer{}}
}

// enter opens a session that watches peers, and reads its session event.
func (ts *testServer) enter(t *testing.T, version byte, clientID string, tweak func(*packets.Packet)) (*rawClient, packets.Packet) {
	t.Helper()
	c := ts.dial(t, version)
	pk := connectPacket(version, clientID)
	pk.Connect.Clean = false
	pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
	pk.Connect.Password, pk.Connect.PasswordFlag = []byte(`{"watch":["alice","bob"]}`), true
	if tweak != nil {
		tweak(&pk)
	}
	c.send(pk)
	ack := c.expect(packets.Connack)
	if ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x %q", ack.ReasonCode, ack.Properties.ReasonString)
	}
	return c, ack
}

// expectTopic reads publishes until one on that topic comes, and acknowledges those of QoS 1.
func (c *rawClient) expectTopic(topic string) packets.Packet {
	c.t.Helper()
	for {
		pk := c.expect(packets.Publish)
		if pk.FixedHeader.Qos == 1 {
			c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: pk.PacketID})
		}
		if pk.TopicName == topic {
			return pk
		}
	}
}

func TestStoryOfTwoPeers(t *testing.T) {
	for _, version := range []byte{4, 5} {
		ts := startNode(t)
		alice, _ := ts.enter(t, version, "alice", nil)
		if pk := alice.expect(packets.Publish); pk.TopicName != "demo/event/alice/session" || !bytes.Contains(pk.Payload, []byte(`"opened"`)) {
			t.Errorf("first came %s %s", pk.TopicName, pk.Payload)
		}
		bob, _ := ts.enter(t, version, "bob", nil)
		if pk := alice.expectTopic("demo/presence/bob"); string(pk.Payload) != "offline" {
			t.Errorf("bob is %s", pk.Payload)
		}
		if pk := alice.expectTopic("demo/presence/bob"); string(pk.Payload) != "online" {
			t.Errorf("bob is %s", pk.Payload)
		}
		for qos := range byte(3) {
			alice.send(publishPacket(qos, uint16(qos), "demo/peer/bob/alice", fmt.Sprintf("qos %d", qos)))
			switch qos {
			case 1:
				if ack := alice.expect(packets.Puback); version == 5 && len(ack.Properties.User) != 2 {
					t.Errorf("%+v", ack.Properties)
				}
			case 2:
				alice.expect(packets.Pubrec)
				alice.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel}, PacketID: 2})
				alice.expect(packets.Pubcomp)
			}
			if pk := bob.expectTopic("demo/peer/bob/alice"); string(pk.Payload) != fmt.Sprintf("qos %d", qos) {
				t.Errorf("bob got %s", pk.Payload)
			}
		}
		_ = bob.nc.Close()
		if pk := alice.expectTopic("demo/presence/bob"); string(pk.Payload) != "offline" {
			t.Errorf("bob is %s", pk.Payload)
		}
		alice.send(publishPacket(1, 9, "demo/peer/bob/alice", "while you were away"))
		alice.expect(packets.Puback)
		accepted := time.Now().UnixMilli()
		eventually(t, "a millisecond passes", func() bool { return time.Now().UnixMilli() > accepted }) // what waited is told by the clock
		bob, ack := ts.enter(t, version, "bob", nil)
		if !ack.SessionPresent {
			t.Error("no session present")
		}
		if pk := bob.expectTopic("demo/event/bob/session"); !bytes.Contains(pk.Payload, []byte(`"resumed"`)) {
			t.Errorf("%s", pk.Payload)
		}
		pk := bob.expectTopic("demo/peer/bob/alice")
		if string(pk.Payload) != "while you were away" || version == 5 && (len(pk.Properties.User) != 3 || pk.Properties.User[2].Key != "offline") {
			t.Errorf("%s %+v", pk.Payload, pk.Properties.User)
		}
		again, _ := ts.enter(t, version, "bob", nil)
		if version == 5 {
			for {
				if pk, err := bob.read(); err != nil || pk.FixedHeader.Type == packets.Disconnect {
					if pk.ReasonCode != 0x8E {
						t.Errorf("%#x %v", pk.ReasonCode, err)
					}
					break
				}
			}
		}
		again.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	}
}
