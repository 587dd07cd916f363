package hooks

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

func noLocal(s *packets.Subscription)           { s.NoLocal = true }
func retainAsPublished(s *packets.Subscription) { s.RetainAsPublished = true }

func retainHandling(n byte) func(*packets.Subscription) {
	return func(s *packets.Subscription) { s.RetainHandling = n }
}

func identified(id int) func(*packets.Subscription) {
	return func(s *packets.Subscription) { s.Identifier = id }
}

// unsub unsubscribes below demo/topic/, and returns UNSUBACK.
func (c *rawClient) unsub(filters ...string) packets.Packet {
	c.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Unsubscribe}, PacketID: 99}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: "demo/topic/" + f})
	}
	c.send(pk)
	return c.expect(packets.Unsuback)
}

// [MQTT-2.2.1-6] [MQTT-3.2.2-10] [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-3.9.3-2] [MQTT-4.7.1-1] [MQTT-4.7.1-2]
// [MQTT3-2.3.1-7] [MQTT3-3.8.4-1] [MQTT3-3.8.4-2] [MQTT3-3.8.4-4] [MQTT3-3.8.4-5] [MQTT3-3.9.3-1] [MQTT3-3.9.3-2] [MQTT3-4.7.1-2] [MQTT3-4.7.1-3]
func TestSubackForManyFilters(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		filters := []struct {
			filter string
			qos    byte
			want   byte // of MQTT 5
		}{
			{"demo/topic/a", 2, 2}, {"demo/topic/b", 0, 0}, {"demo/topic/c/#", 1, 1}, {"demo/topic/+", 1, 1}, {"demo/topic/+/d/+", 2, 2},
			{"demo/topic/a#", 0, 0x8F}, {"demo/topic/#/b", 0, 0x8F}, {"demo/topic/a+", 0, 0x8F}, {"demo/topic/+b/c", 0, 0x8F},
			{"demo/topic//", 1, 1}, {"#", 1, 0x87}, {"+/topic/a", 1, 0x87}, {"$SYS/#", 0, 0x87}, {"other/topic/a", 0, 0x87}, {"demo/topic/#", 1, 1},
		}
		var subs packets.Subscriptions
		var want []byte
		for _, f := range filters {
			subs = append(subs, packets.Subscription{Filter: f.filter, Qos: f.qos})
			if version == 4 && f.want >= 0x80 {
				f.want = 0x80
			}
			want = append(want, f.want)
		}
		c := ts.client(t, version, "alice")
		c.send(subscribePacket(65535, subs...))
		if ack := c.expect(packets.Suback); ack.PacketID != 65535 || !bytes.Equal(ack.ReasonCodes, want) {
			t.Errorf("%d: % x, want % x", ack.PacketID, ack.ReasonCodes, want)
		}
		ts.client(t, version, "bob").pub("a", "one", 2)
		if pk := c.takes("a", "one"); pk.FixedHeader.Qos != 2 {
			t.Errorf("qos %d", pk.FixedHeader.Qos)
		}
	})
}

// [MQTT-1.5.4-1] [MQTT-3.8.3-1] [MQTT-3.8.3-2] [MQTT-3.8.3-4] [MQTT-3.8.3-5] [MQTT-3.10.2-1] [MQTT-3.10.2-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2]
// [MQTT3-3.8.3-1] [MQTT3-3.8.3-3] [MQTT3-3.8.3-4] [MQTT3-3.10.3-1] [MQTT3-3.10.3-2] [MQTT3-4.7.3-1] [MQTT3-4.7.3-2]
func TestMalformedSubscribe(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		head := append([]byte{0, 1}, noProps(version)...)
		for name, c := range map[string]struct {
			in   []byte
			code byte
		}{
			"no filter":              {frame(0x82, head), 0x82},
			"no options":             {frame(0x82, head, str("demo/topic/a")), 0x81},
			"filter of nothing":      {frame(0x82, head, str(""), []byte{0}), 0x81},
			"not UTF-8":              {frame(0x82, head, str("demo/topic/\xff"), []byte{0}), 0x81},
			"a null":                 {frame(0x82, head, str("demo/topic/\x00"), []byte{0}), 0x81},
			"QoS 3":                  {frame(0x82, head, str("demo/topic/a"), []byte{3}), 0x81},
			"reserved bits":          {frame(0x82, head, str("demo/topic/a"), []byte{0xC0}), 0x81},
			"retain handling 3":      {frame(0x82, head, str("demo/topic/a"), []byte{0x30}), 0x81},
			"UNSUBSCRIBE of none":    {frame(0xA2, head), 0x82},
			"UNSUBSCRIBE of nothing": {frame(0xA2, head, str("")), 0x81},
			"UNSUBSCRIBE not UTF-8":  {frame(0xA2, head, str("\xff")), 0x81},
		} {
			t.Run(name, func(t *testing.T) { ts.refuses(t, version, c.code, c.in) })
		}
		if version == 5 {
			ts.refuses(t, 5, 0x82, frame(0x82, head, str("$share/g/demo/topic/a"), []byte{4}))
			ts.refuses(t, 5, 0x82, frame(0x82, []byte{0, 1, 2, packets.PropSubscriptionIdentifier, 0}, str("demo/topic/a"), []byte{0}))
		} else {
			ts.refuses(t, 4, 0, frame(0x82, head, str("demo/topic/a"), []byte{4})) // an option of MQTT 5
		}
	})
}

// [MQTT-3.3.1-9] [MQTT-3.8.4-3] [MQTT-3.8.4-4] [MQTT3-3.8.4-3]
func TestTheSameFilterReplaces(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		c, other := ts.client(t, version, "alice"), ts.client(t, version, "bob")
		other.pub("a", "kept", 1, retain)
		for _, qos := range []byte{0, 2, 1} {
			c.sub("a", qos)
			if pk := c.takes("a", "kept"); !pk.FixedHeader.Retain {
				t.Error("not marked as retained")
			}
			other.pub("a", "once", 2)
			if pk := c.takes("a", "once"); pk.FixedHeader.Qos != qos {
				t.Errorf("qos %d, granted anew %d", pk.FixedHeader.Qos, qos)
			}
		}
		c.hearsNothing(other)
	})
}

// [MQTT-3.8.3-3]
func TestNoLocalSubscriptions(t *testing.T) {
	ts := startNode(t)
	c, other := ts.client(t, 5, "alice"), ts.client(t, 5, "bob")
	c.sub("a", 1, noLocal)
	other.sub("a", 1, noLocal)
	c.pub("a", "of alice", 1)
	other.takes("a", "of alice")
	other.pub("a", "of bob", 1)
	c.takes("a", "of bob")
	c.hearsNothing(other)
	other.hearsNothing(c)
}

// [MQTT-3.3.4-2] [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5] [MQTT3-3.3.5-1]
func TestOverlappingSubscriptions(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		c, other := ts.client(t, version, "alice"), ts.client(t, version, "bob")
		c.sub("a/#", 0, identified(1))
		c.sub("a/b", 2, identified(268435455))
		c.sub("a/+", 1)
		c.sub("+/b", 1, identified(1)) // as another
		other.pub("a/b", "x", 2)
		pk := c.takes("a/b", "x")
		ids := slices.Sorted(slices.Values(pk.Properties.SubscriptionIdentifier))
		if pk.FixedHeader.Qos != 2 || version == 5 && !slices.Equal(slices.Compact(ids), []int{1, 268435455}) {
			t.Errorf("qos %d, identifiers %v", pk.FixedHeader.Qos, ids)
		}
		if version == 5 {
			c.sub("a/b", 1, shared("g"), identified(7)) // a copy of its own
			other.pub("a/b", "y", 1)
			seven := 0
			for range 2 {
				pk := c.takes("a/b", "y")
				if slices.Equal(pk.Properties.SubscriptionIdentifier, []int{7}) {
					seven++
				}
			}
			if seven != 1 {
				t.Errorf("%d copies with the identifier of the shared subscription", seven)
			}
		}
		c.hearsNothing(other)
	})
}

// [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-3] [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2]
// [MQTT3-3.10.4-1] [MQTT3-3.10.4-2] [MQTT3-3.10.4-3] [MQTT3-3.10.4-4] [MQTT3-3.10.4-5] [MQTT3-3.10.4-6]
func TestUnsubscribe(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		c, other := ts.client(t, version, "alice"), ts.client(t, version, "bob")
		c.sub("a", 1)
		c.sub("b/+", 2)
		c.sub("c", 1)
		other.pub("a", "under way", 1)
		open := c.gets("a", "under way")
		ack := c.unsub("b/+", "none", "b/x", "a", "A", "a/")
		if want := []byte{0, 0x11, 0x11, 0, 0x11, 0x11}; ack.PacketID != 99 || version == 5 && !bytes.Equal(ack.ReasonCodes, want) {
			t.Errorf("%d: % x", ack.PacketID, ack.ReasonCodes)
		}
		c.complete(open)
		for _, topic := range []string{"a", "b/x"} {
			other.pub(topic, "", 1)
		}
		other.pub("c", "still", 1)
		c.takes("c", "still")
		if ack := c.unsub("a"); version == 5 && !bytes.Equal(ack.ReasonCodes, []byte{0x11}) {
			t.Errorf("again: % x", ack.ReasonCodes)
		}
		c.hearsNothing(other)
	})
}

// [MQTT-4.8.2-1] [MQTT-4.8.2-2] [MQTT-4.8.2-3]
func TestSharedSubscriptions(t *testing.T) {
	ts := startNode(t)
	c := ts.client(t, 5, "alice")
	ack := c.subscribe(
		packets.Subscription{Filter: "$share/g"}, packets.Subscription{Filter: "$share/g/"}, packets.Subscription{Filter: "$share//demo/topic/a"},
		packets.Subscription{Filter: "$share/g+/demo/topic/a"}, packets.Subscription{Filter: "$share/#/demo/topic/a"}, packets.Subscription{Filter: "$share/g/demo/topic/#"},
	)
	if want := []byte{0x8F, 0x8F, 0x8F, 0x8F, 0x8F, 0}; !bytes.Equal(ack.ReasonCodes, want) {
		t.Errorf("% x, want % x", ack.ReasonCodes, want)
	}
	c.leave()
	low, high, plain, pub := ts.client(t, 5, "low"), ts.client(t, 4, "high"), ts.client(t, 5, "plain"), ts.client(t, 5, "pub")
	pub.pub("s/1", "kept", 1, retain)
	low.sub("s/+", 0, shared("g"))
	high.sub("s/+", 2, shared("g"))
	low.hearsNothing(pub) // nothing retained comes
	low.sub("end", 0)
	high.sub("end", 0)
	plain.sub("s/#", 1, retainHandling(2))
	const jobs = 40
	for i := range jobs {
		pub.pub("s/1", fmt.Sprint(i), 2)
		if pk := plain.takes("s/1", fmt.Sprint(i)); pk.FixedHeader.Qos != 1 {
			t.Errorf("qos %d", pk.FixedHeader.Qos)
		}
	}
	got := map[string]int{}
	pub.pub("end", "", 0)
	for c, qos := range map[*rawClient]byte{low: 0, high: 2} {
		for {
			pk := c.expect(packets.Publish)
			if pk.TopicName == "demo/topic/end" {
				break
			}
			if pk.FixedHeader.Qos != qos || pk.FixedHeader.Retain {
				t.Errorf("%+v, granted qos %d", pk.FixedHeader, qos)
			}
			got[string(pk.Payload)]++
		}
	}
	for i := range jobs {
		if n := got[fmt.Sprint(i)]; n != 1 {
			t.Errorf("job %d reached %d members", i, n)
		}
	}
}
