package e2e_test

import (
	"fmt"
	"testing"
)

// Ordinary MQTT under {app}/topic/ is one space at all nodes: messages, shared subscriptions, what is retained.
func TestOpenTopicsSpanNodes(t *testing.T) {
	c := startCluster(t, 2, shortLease, `, topics: ["news/#", "jobs/#"], rate: {messages_per_second: 0}`)
	alice, bob := open(t, c.at(0), "alice", opening{}), open(t, c.at(1), "bob", opening{version: 3})
	bob.subscribe(2, "topic/news/+")
	for i := range 20 {
		alice.publish("topic/news/today", fmt.Sprint(i), publication{qos: byte(i % 3)})
	}
	for i := range 20 {
		bob.wants("topic/news/today", fmt.Sprint(i))
	}
	if codes := bob.subscribe(1, "topic/weather"); codes[0] < 0x80 {
		t.Errorf("a filter that the app does not allow: %v", codes)
	}

	// Each message reaches one of all members, and all members their share, wherever it was published.
	const each = 60
	var members []*client
	for i := range 4 {
		m := open(t, c.at(min(i, 1)), fmt.Sprintf("worker%d", i), opening{})
		m.subscribe(1, "$share/crew/topic/jobs/#")
		members = append(members, m)
	}
	total := func() (n int) {
		for _, m := range members {
			n += m.count("topic/jobs/1")
		}
		return n
	}
	alice.publish("topic/jobs/1", "at once", publication{qos: 1}) // no node need have heard of the other's members yet
	waitUntil(t, "the first message is lost", func() bool { return total() >= 1 })
	for i := range each {
		alice.publish("topic/jobs/1", fmt.Sprint(i), publication{qos: 1})
		bob.publish("topic/jobs/1", fmt.Sprint(i), publication{qos: 1})
	}
	waitUntil(t, "messages are lost", func() bool { return total() >= 1+2*each })
	for _, m := range members {
		m.does("status", `{"peers":[]}`)
		if m.count("topic/jobs/1") == 0 {
			t.Errorf("%s has none of %d", m.peer, total())
		}
	}
	if n := total(); n != 1+2*each {
		t.Errorf("%d messages are delivered %d times", 1+2*each, n)
	}
}

// What is retained is there at every node, and after a restart of all; what was cleared is not.
func TestRetainedMessagesOutliveTheirNodes(t *testing.T) {
	c := startCluster(t, 2, shortLease, `, topics: ["#"]`)
	alice := open(t, c.at(0), "alice", opening{})
	for _, topic := range []string{"kept", "changed", "cleared"} {
		alice.publish("topic/"+topic, "first", publication{qos: 1, retain: true})
	}
	bob := open(t, c.at(1), "bob", opening{})
	bob.subscribe(1, "topic/#")
	for _, topic := range []string{"kept", "changed", "cleared"} {
		if got := bob.wants("topic/"+topic, "first"); !got.retain {
			t.Errorf("%s is not marked as retained", topic)
		}
	}
	bob.publish("topic/changed", "second", publication{qos: 1, retain: true})
	bob.publish("topic/cleared", "", publication{qos: 1, retain: true})
	wants := func(node int, who string) {
		t.Helper()
		x := open(t, c.at(node), who, opening{})
		x.subscribe(1, "topic/#")
		x.wants("topic/kept", "first")
		x.wants("topic/changed", "second")
		x.does("status", `{"peers":[]}`)
		x.nothing("topic/")
	}
	wants(1, "carol")
	c.kill(0)
	c.kill(1)
	for i := range c.nodes {
		c.nodes[i] = c.nodes[i].again(t)
	}
	wants(0, "dave")
	wants(1, "erin")
}
