package hooks

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

func subscribePacket(id uint16, filters ...packets.Subscription) packets.Packet {
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: id, Filters: filters}
	if len(filters) > 0 && filters[0].Identifier != 0 {
		pk.Properties.SubscriptionIdentifier = []int{filters[0].Identifier}
	}
	return pk
}

func (c *rawClient) subscribe(filters ...packets.Subscription) packets.Packet {
	c.t.Helper()
	c.send(subscribePacket(77, filters...))
	return c.expect(packets.Suback)
}

func TestSubackInTheOrderOfThePacket(t *testing.T) {
	ts := startServer(t)
	filters := []packets.Subscription{
		{Filter: "demo/peer/alice/+", Qos: 2}, {Filter: "#"}, {Filter: "demo/topic/a/#", Qos: 1}, {Filter: "a#"}, {Filter: "demo/limited"},
		{Filter: "demo/topic/b", Qos: 0}, {Filter: "$share/g"}, {Filter: "demo/presence/bob", Qos: 1}, {Filter: "$SYS/#"},
	}
	five, f := ts.open(t, 5, "five")
	ack := five.subscribe(filters...)
	if want := []byte{2, 0x87, 1, 0x8F, 0x97, 0, 0x8F, 1, 0x87}; !bytes.Equal(ack.ReasonCodes, want) {
		t.Errorf("% x, want % x", ack.ReasonCodes, want)
	}
	if ack.PacketID != 77 || ack.Properties.ReasonString != "4401 invalid_target: not yours" {
		t.Errorf("%d %q", ack.PacketID, ack.Properties.ReasonString)
	}
	if len(f.subs) != 4 {
		t.Errorf("%+v", f.subs)
	}
	three, _ := ts.open(t, 4, "three")
	ack = three.subscribe(filters...)
	if want := []byte{2, 0x80, 1, 0x80, 0x80, 0, 0x80, 1, 0x80}; !bytes.Equal(ack.ReasonCodes, want) {
		t.Errorf("% x, want % x", ack.ReasonCodes, want)
	}
	three.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 3, Filters: filters})
	three.expect(packets.Unsuback)
	five.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 3, Filters: filters})
	ack = five.expect(packets.Unsuback)
	if want := []byte{0, 0x11, 0, 0x11, 0x11, 0, 0x11, 0, 0x11}; !bytes.Equal(ack.ReasonCodes, want) {
		t.Errorf("% x, want % x", ack.ReasonCodes, want)
	}
}

func TestSubscribeOptionsReachTheBroker(t *testing.T) {
	ts := startServer(t)
	c, f := ts.open(t, 5, "alice")
	pk := subscribePacket(1, packets.Subscription{Filter: "demo/presence/bob", Qos: 1, NoLocal: true, RetainAsPublished: true, RetainHandling: 2, Identifier: 268435455})
	pk.Properties.User = []packets.UserProperty{
		{Key: "watch", Val: "bob:carol"}, {Key: "timestamp", Val: "1416290728"}, {Key: "nonce", Val: "n"}, {Key: "signature", Val: "beef"}, {Key: "other", Val: "x"},
	}
	c.send(pk)
	if ack := c.expect(packets.Suback); len(ack.Properties.User) != 0 || ack.Properties.ReasonString != "" {
		t.Errorf("echoed: %+v", ack.Properties)
	}
	want := []broker.Subscription{{Filter: "demo/presence/bob", QoS: 1, NoLocal: true, RetainAsPublished: true, RetainHandling: 2, Identifier: 268435455}}
	if diff := cmp.Diff(want, f.subs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&broker.WatchProof{Watch: "bob:carol", Timestamp: "1416290728", Nonce: "n", Signature: "beef"}, f.proof); diff != "" {
		t.Error(diff)
	}
	c.subscribe(packets.Subscription{Filter: "demo/presence/bob"})
	if f.proof != nil {
		t.Errorf("%+v", f.proof)
	}
}

func TestSubackWithRequestProblemInformation0(t *testing.T) {
	ts := startServer(t)
	c, _ := ts.open(t, 5, "alice", func(pk *packets.Packet) { pk.Properties.RequestProblemInfoFlag = true })
	if ack := c.subscribe(packets.Subscription{Filter: "#"}); ack.Properties.ReasonString != "" || ack.ReasonCodes[0] != 0x87 {
		t.Errorf("%+v", ack)
	}
}

func TestTopicsAreRouted(t *testing.T) {
	ts := startServer(t)
	pub, _ := ts.open(t, 5, "pub")
	for i, c := range []struct {
		filters []packets.Subscription
		topic   string
		qos     byte
		retain  bool
		want    *packets.Packet // nil: nothing comes
	}{
		{[]packets.Subscription{{Filter: "demo/topic/a", Qos: 1}}, "a", 2, false, &packets.Packet{FixedHeader: packets.FixedHeader{Qos: 1}}},
		{[]packets.Subscription{{Filter: "demo/topic/a", Qos: 1}}, "b", 1, false, nil},
		{[]packets.Subscription{{Filter: "demo/topic/a/+", Qos: 1}}, "a/b/c", 1, false, nil}, // trap 18
		{[]packets.Subscription{{Filter: "demo/topic/a/#"}}, "a", 1, false, &packets.Packet{}},
		{[]packets.Subscription{{Filter: "demo/topic/a/+/#"}}, "a/b", 0, false, &packets.Packet{}}, // the engine's index misses it
		{[]packets.Subscription{{Filter: "demo/topic/a/+/#"}}, "a/b/c", 0, false, &packets.Packet{}},
		{[]packets.Subscription{{Filter: "$share/g/demo/topic/a/+/#"}}, "a/b", 0, false, &packets.Packet{}},
		{[]packets.Subscription{{Filter: "demo/topic/+", Identifier: 3}}, "a", 0, false,
			&packets.Packet{Properties: packets.Properties{SubscriptionIdentifier: []int{3}}}},
		{[]packets.Subscription{{Filter: "demo/topic/r/#"}}, "r/1", 0, true, &packets.Packet{}},
		{[]packets.Subscription{{Filter: "demo/topic/r/#", RetainAsPublished: true}}, "r/1", 0, true,
			&packets.Packet{FixedHeader: packets.FixedHeader{Retain: true}}},
		{[]packets.Subscription{{Filter: "demo/topic/a", Qos: 0}, {Filter: "demo/topic/+", Qos: 2}}, "a", 1, false, &packets.Packet{FixedHeader: packets.FixedHeader{Qos: 1}}},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			sub, _ := ts.open(t, 5, fmt.Sprintf("sub%d", i))
			for _, f := range c.filters {
				f.RetainHandling = 2
				if ack := sub.subscribe(f); ack.ReasonCodes[0] >= 0x80 {
					t.Fatalf("%#x", ack.ReasonCodes[0])
				}
			}
			pk := publishPacket(c.qos, 9, "demo/topic/"+c.topic, "hello")
			pk.FixedHeader.Retain = c.retain
			pk.Properties.User = []packets.UserProperty{{Key: "k", Val: "v"}}
			pk.Properties.MessageExpiryInterval = 100
			pub.send(pk)
			pub.raw(0xC0, 0)
			for pk, err := pub.read(); pk.FixedHeader.Type != packets.Pingresp; pk, err = pub.read() { // it is routed
				if err != nil {
					t.Fatal(err)
				}
			}
			if c.want == nil {
				sub.raw(0xC0, 0)
				sub.expect(packets.Pingresp)
				return
			}
			got := sub.expect(packets.Publish)
			if got.FixedHeader.Qos != c.want.FixedHeader.Qos || got.FixedHeader.Retain != c.want.FixedHeader.Retain ||
				got.TopicName != "demo/topic/"+c.topic || string(got.Payload) != "hello" || got.Properties.MessageExpiryInterval != 100 || len(got.Properties.User) != 1 {
				t.Errorf("%+v %s %q %+v", got.FixedHeader, got.TopicName, got.Payload, got.Properties.User)
			}
			if diff := cmp.Diff(c.want.Properties.SubscriptionIdentifier, got.Properties.SubscriptionIdentifier); diff != "" {
				t.Error(diff)
			}
			sub.raw(0xC0, 0)
			sub.expect(packets.Pingresp) // and nothing else before
		})
	}
}

func TestNoLocal(t *testing.T) { // [MQTT-3.8.3-3]
	ts := startServer(t)
	c, _ := ts.open(t, 5, "alice")
	c.subscribe(packets.Subscription{Filter: "demo/topic/quiet", NoLocal: true}, packets.Subscription{Filter: "demo/topic/loud"})
	c.send(publishPacket(0, 0, "demo/topic/quiet", "1"), publishPacket(0, 0, "demo/topic/loud", "2"))
	if pk := c.expect(packets.Publish); string(pk.Payload) != "2" {
		t.Errorf("%s", pk.Payload)
	}
	// A filter without No Local beside it wins.
	c.subscribe(packets.Subscription{Filter: "demo/topic/+", Identifier: 4})
	c.send(publishPacket(0, 0, "demo/topic/quiet", "3"))
	if pk := c.expect(packets.Publish); string(pk.Payload) != "3" {
		t.Errorf("%s", pk.Payload)
	}
}

func TestUnsubscribeStopsTopics(t *testing.T) {
	ts := startServer(t)
	c, _ := ts.open(t, 5, "alice")
	for _, filter := range []string{"demo/topic/a", "demo/topic/+/#", "$share/g/demo/topic/a/+/#"} {
		c.subscribe(packets.Subscription{Filter: filter})
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 3, Filters: packets.Subscriptions{{Filter: filter}}})
		if ack := c.expect(packets.Unsuback); ack.ReasonCodes[0] != 0 {
			t.Errorf("%s: %#x", filter, ack.ReasonCodes[0])
		}
	}
	c.send(publishPacket(0, 0, "demo/topic/a", "1"), publishPacket(0, 0, "demo/topic/a/b", "1"))
	c.raw(0xC0, 0)
	c.expect(packets.Pingresp)
}

func TestRetainHandling(t *testing.T) { // [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
	ts := startServer(t)
	pub, _ := ts.open(t, 5, "pub")
	retain := func(topic, payload string) {
		pk := publishPacket(1, 1, "demo/topic/"+topic, payload)
		pk.FixedHeader.Retain = true
		pub.send(pk)
		pub.expect(packets.Puback)
	}
	retain("a", "1")
	retain("a/b", "2")
	retain("c", "3")
	retain("c", "")
	c, _ := ts.open(t, 5, "alice")
	expect := func(want ...string) {
		t.Helper()
		c.raw(0xC0, 0)
		var got []string
		for {
			pk, err := c.read()
			if err != nil {
				t.Fatal(err)
			}
			if pk.FixedHeader.Type == packets.Pingresp {
				break
			}
			if !pk.FixedHeader.Retain {
				t.Errorf("%s without the retain flag", pk.TopicName)
			}
			got = append(got, pk.TopicName+"="+string(pk.Payload))
		}
		if len(got) != len(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for _, w := range want {
			if !strings.Contains(strings.Join(got, " "), w) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	}
	settle := func() { time.Sleep(20 * time.Millisecond) } // a PINGRESP may overtake what the session delivers
	c.subscribe(packets.Subscription{Filter: "demo/topic/a/#"})
	settle()
	expect("demo/topic/a=1", "demo/topic/a/b=2")
	c.subscribe(packets.Subscription{Filter: "demo/topic/a/#", RetainHandling: 1})
	settle()
	expect()
	c.subscribe(packets.Subscription{Filter: "demo/topic/a", RetainHandling: 1})
	settle()
	expect("demo/topic/a=1")
	c.subscribe(packets.Subscription{Filter: "demo/topic/+", RetainHandling: 2})
	settle()
	expect()
	c.subscribe(packets.Subscription{Filter: "$share/g/demo/topic/a"})
	settle()
	expect()
}

func TestRetainedExpires(t *testing.T) { // [MQTT-3.3.2-5]
	ts := startServer(t)
	p := &broker.Publish{Topic: []byte("demo/topic/a"), Payload: []byte("x"), Retain: true}
	now := time.Now().UnixMilli()
	p.Props.Expires = now + 1000
	if err := publishTopic(ts.topics, nil, "demo", p); err != nil {
		t.Fatal(err)
	}
	if n := len(ts.topics.retained.match("demo/topic/#", now)); n != 1 {
		t.Errorf("%d before", n)
	}
	if n := len(ts.topics.retained.match("demo/topic/#", now+1000)); n != 0 {
		t.Errorf("%d after", n)
	}
	ts.topics.retained.sweep(now + 1000)
	if use := ts.topics.retained.used["demo"]; *use != (retainedUse{}) || ts.engine.Topics.Retained.Len() != 0 {
		t.Errorf("%+v", use)
	}
}

func TestRetainedIsBounded(t *testing.T) {
	ts := startServer(t)
	var last error
	for i := range maxRetained + 1 {
		last = publishTopic(ts.topics, nil, "demo", &broker.Publish{Topic: fmt.Appendf(nil, "demo/topic/%d", i), Payload: []byte("x"), Retain: true})
	}
	if broker.AsError(last) == nil || broker.AsError(last).Code != broker.LimitExceeded {
		t.Errorf("%v", last)
	}
	if err := publishTopic(ts.topics, nil, "other", &broker.Publish{Topic: []byte("other/topic/1"), Payload: []byte("x"), Retain: true}); err != nil {
		t.Errorf("another app: %v", err)
	}
	_ = publishTopic(ts.topics, nil, "demo", &broker.Publish{Topic: []byte("demo/topic/1"), Retain: true})
	if err := publishTopic(ts.topics, nil, "demo", &broker.Publish{Topic: []byte("demo/topic/new"), Payload: []byte("x"), Retain: true}); err != nil {
		t.Errorf("after one was removed: %v", err)
	}
}

func TestTopicDepthIsBounded(t *testing.T) {
	ts := startServer(t)
	err := publishTopic(ts.topics, nil, "demo", &broker.Publish{Topic: []byte("demo/topic" + strings.Repeat("/", 65000)), Payload: []byte("x"), Retain: true})
	if err == nil {
		t.Error("it was taken")
	}
}

func TestTopicFiltersAreBounded(t *testing.T) {
	ts := startServer(t)
	c, f := ts.open(t, 5, "alice")
	var filters []packets.Subscription
	for i := range maxTopicFilters + 2 {
		filters = append(filters, packets.Subscription{Filter: fmt.Sprintf("demo/topic/%d", i)})
	}
	ack := c.subscribe(filters...)
	for i, code := range ack.ReasonCodes {
		if want := byte(0); i >= maxTopicFilters && code != 0x97 || i < maxTopicFilters && code != want {
			t.Fatalf("%d: %#x", i, code)
		}
	}
	if len(f.subs) != maxTopicFilters {
		t.Errorf("the broker holds %d", len(f.subs))
	}
}

// TestTrap25SharedSubscriptions: each message reaches one member, and only members that are connected.
func TestTrap25SharedSubscriptions(t *testing.T) {
	ts := startServer(t)
	const n = 60
	counts := make(chan int, 3)
	var members []*rawClient
	for i := range 3 {
		c, _ := ts.open(t, 5, fmt.Sprintf("m%d", i))
		c.subscribe(packets.Subscription{Filter: "$share/g/demo/topic/jobs/+", Qos: 0})
		members = append(members, c)
	}
	gone, f := ts.open(t, 5, "gone")
	gone.subscribe(packets.Subscription{Filter: "$share/g/demo/topic/jobs/+"})
	_ = gone.nc.Close()
	expectEnded(t, f, broker.EndLost)
	eventually(t, "it left", func() bool {
		ts.topics.mu.RLock()
		defer ts.topics.mu.RUnlock()
		return len(ts.topics.conns) == 3
	})
	pub, _ := ts.open(t, 5, "pub")
	for i := range n {
		pub.send(publishPacket(0, 0, fmt.Sprintf("demo/topic/jobs/%d", i), "x"))
	}
	pub.send(publishPacket(1, 1, "demo/topic/none", "x"))
	pub.expect(packets.Puback)
	for _, c := range members {
		go func() {
			got := 0
			for {
				_ = c.nc.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
				b := make([]byte, 4096)
				k, err := c.nc.Read(b)
				got += bytes.Count(b[:k], []byte("demo/topic/jobs/"))
				if err != nil {
					counts <- got
					return
				}
			}
		}()
	}
	a, b, c := <-counts, <-counts, <-counts
	if a+b+c != n || a == n || b == n || c == n {
		t.Errorf("%d, %d, %d", a, b, c)
	}
}

func TestAppsDoNotMeet(t *testing.T) {
	ts := startServer(t)
	c, _ := ts.open(t, 5, "alice")
	c.subscribe(packets.Subscription{Filter: "demo/topic/#"})
	if err := publishTopic(ts.topics, nil, "other", &broker.Publish{Topic: []byte("other/topic/a"), Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	c.raw(0xC0, 0)
	c.expect(packets.Pingresp)
}
