package hooks

import (
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT-3.3.1-8] [MQTT-3.3.1-9] [MQTT-3.3.1-12]
// [MQTT3-3.1.2-7] [MQTT3-3.3.1-5] [MQTT3-3.3.1-6] [MQTT3-3.3.1-7] [MQTT3-3.3.1-8] [MQTT3-3.3.1-9] [MQTT3-3.3.1-10] [MQTT3-3.3.1-11] [MQTT3-3.3.1-12]
func TestRetainedMessages(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		c, watch := ts.client(t, version, "alice"), ts.client(t, version, "bob")
		watch.sub("r/#", 2)
		kept := func(topic, payload string, qos byte) {
			t.Helper()
			late := ts.client(t, version, "late")
			late.sub("r/#", 2)
			if payload != "" {
				if pk := late.takes(topic, payload); !pk.FixedHeader.Retain || pk.FixedHeader.Qos != qos {
					t.Errorf("%+v", pk.FixedHeader)
				}
			}
			late.hearsNothing(c)
			late.leave()
		}
		for _, qos := range []byte{0, 2, 1, 0} {
			text := strings.Repeat("x", int(qos)+1)
			c.pub("r/a", text, qos, retain)
			if pk := watch.takes("r/a", text); pk.FixedHeader.Retain {
				t.Error("an established subscription gets RETAIN")
			}
			kept("r/a", text, qos)
			c.pub("r/a", "not retained", 1)
			watch.takes("r/a", "not retained")
			kept("r/a", text, qos)
		}
		c.pub("r/a", "", 1) // without RETAIN it removes nothing
		watch.takes("r/a", "")
		kept("r/a", "x", 0)
		c.leave() // nor does the end of who published it
		c = ts.client(t, version, "alice")
		kept("r/a", "x", 0)
		c.pub("r/a", "", 1, retain)
		if pk := watch.takes("r/a", ""); pk.FixedHeader.Retain {
			t.Error("RETAIN on the empty payload")
		}
		kept("r/a", "", 0)
		c.pub("r", "parent", 1, retain)
		watch.takes("r", "parent")
		kept("r", "parent", 1)
	})
}

// [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.3.1-12] [MQTT-3.3.1-13] [MQTT-3.8.4-4]
func TestRetainOptions(t *testing.T) {
	ts := startNode(t)
	c := ts.client(t, 5, "alice")
	c.pub("a", "kept", 1, retain)
	watch := ts.client(t, 5, "bob", keeping)
	watch.sub("a", 1, retainHandling(2))
	watch.sub("a", 1, retainHandling(1)) // it existed
	watch.hearsNothing(c)
	watch.unsub("a")
	watch.sub("a", 1, retainHandling(1))
	watch.takes("a", "kept")
	watch.sub("a", 1, retainHandling(0))
	watch.takes("a", "kept")
	watch.ping() // the acknowledgement is there
	watch.drop()
	watch = ts.present(t, 5, "bob", true, resuming)
	watch.sub("a", 1, retainHandling(1)) // it exists still
	watch.hearsNothing(c)

	watch.sub("a", 1, retainHandling(2), retainAsPublished)
	for _, retained := range []bool{true, false} {
		c.pub("a", "x", 1, func(pk *packets.Packet) { pk.FixedHeader.Retain = retained })
		if pk := watch.takes("a", "x"); pk.FixedHeader.Retain != retained {
			t.Errorf("published with RETAIN %t, arrives with %t", retained, pk.FixedHeader.Retain)
		}
	}
}

// [MQTT-3.3.2-3] [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-3] [MQTT-4.7.3-4] [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT3-4.7.3-3] [MQTT3-4.7.3-4]
func TestWildcards(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		c := ts.client(t, version, "alice")
		topics := []string{"a", "a/", "/a", "a/b", "a/b/c", "a//b", "A", "a b", "$a", "$a/b", "$SYS/x", "é"}
		for filter, want := range map[string]string{
			"#": "a a/ /a a/b a/b/c a//b A a␠b $a $a/b $SYS/x é", "+": "a A a␠b $a é", "a/#": "a a/ a/b a/b/c a//b", "a/+": "a/ a/b",
			"+/+": "a/ /a a/b $a/b $SYS/x", "/+": "/a", "+/b/#": "a/b a/b/c $a/b", "a/+/b": "a//b", "a": "a", "+/": "a/", "$a/+": "$a/b", "a/+/#": "a/ a/b a/b/c a//b",
		} {
			watch := ts.client(t, version, "bob")
			watch.sub(filter, 0)
			watch.sub("end", 0)
			for _, topic := range topics {
				c.pub(topic, "", 0)
			}
			c.pub("end", "", 0)
			var got []string
			for {
				pk := watch.expect(packets.Publish)
				if pk.TopicName == "demo/topic/end" {
					break
				}
				got = append(got, strings.ReplaceAll(strings.TrimPrefix(pk.TopicName, "demo/topic/"), " ", "␠"))
			}
			if s := strings.Join(got, " "); s != want {
				t.Errorf("%s matches %q, want %q", filter, s, want)
			}
		}
		long := strings.Repeat("x", 1024)
		c.sub(long, 0)
		c.pub(long, "as long as can be", 0)
		c.gets(long, "as long as can be")
	})
}
