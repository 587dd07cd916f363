package e2e_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/eclipse/paho.golang/paho"
)

func TestOpenTopicsWorkWhereTheAppAllowsThem(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t, `topics: ["news/#", "room/+"]`)
		alice, bob := open(t, a, "alice", opening{version: version}), open(t, a, "bob", opening{version: version})
		for _, f := range []string{"topic/news/#", "topic/news/+/sport", "topic/room/+"} {
			if codes := bob.subscribe(2, f); !slices.Equal(codes, []byte{2}) {
				t.Errorf("SUBSCRIBE to %s: %v", f, codes)
			}
		}
		for _, f := range []string{"topic/#", "topic/weather", "topic/room/#", "topic/+/1"} {
			if codes := bob.subscribe(1, f); codes[0] < 0x80 {
				t.Errorf("SUBSCRIBE to %s: %v", f, codes)
			}
		}
		for qos := range byte(3) {
			text := fmt.Sprintf("at %d", qos)
			alice.publish("topic/room/1", text, publication{qos: qos})
			if got := bob.wants("topic/room/1", text); got.qos != qos || got.retain {
				t.Errorf("arrives as %+v", got)
			}
		}
		alice.publish("topic/weather", "sun", publication{qos: 0})
		if e := alice.event("error"); e.Code != 4401 {
			t.Errorf("%+v", e)
		}
		// Retained: for who subscribes later, until it is emptied.
		alice.publish("topic/news/today", "kept", publication{qos: 1, retain: true})
		bob.wants("topic/news/today", "kept")
		carol := open(t, a, "carol", opening{version: version})
		carol.subscribe(1, "topic/news/#")
		if got := carol.wants("topic/news/today", "kept"); !got.retain {
			t.Error("not marked as retained")
		}
		alice.publish("topic/news/today", "", publication{qos: 1, retain: true})
		carol.wants("topic/news/today", "")
		dave := open(t, a, "dave", opening{version: version})
		dave.subscribe(1, "topic/news/+")
		dave.does("status", `{"peers":[]}`)
		dave.nothing("topic/")
		bob.unsubscribe("topic/room/+")
		alice.publish("topic/room/1", "not heard", publication{qos: 1})
		bob.does("status", `{"peers":[]}`)
		bob.nothing("topic/room/")
	})
}

// Each message reaches one of a shared subscription's members, and only those who are there.
func TestSharedSubscriptionsChooseWhoIsThere(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t, `topics: ["#"]`)
		alice := open(t, a, "alice", opening{})
		absent := open(t, a, "absent", opening{version: version, expiry: 60})
		absent.subscribe(1, "$share/g/topic/jobs/+")
		absent.drop()
		absent.isGone("absent")
		one, two := open(t, a, "one", opening{version: version}), open(t, a, "two", opening{version: version})
		one.subscribe(1, "$share/g/topic/jobs/+")
		two.subscribe(1, "$share/g/topic/jobs/+")
		const jobs = 50
		for i := range jobs {
			alice.publish("topic/jobs/1", fmt.Sprint(i), publication{qos: 1})
		}
		waitUntil(t, "jobs are lost", func() bool { return one.count("topic/jobs/1")+two.count("topic/jobs/1") >= jobs })
		if got := one.count("topic/jobs/1"); got == 0 || got == jobs {
			t.Errorf("one of two members gets %d of %d", got, jobs)
		}
	})
}

func TestRetainedMessagesSurviveACrash(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), `{id: demo, master_key: `+masterKey+`, topics: ["#"]}`)
	alice := open(t, s.in("demo"), "alice", opening{})
	alice.publish("topic/kept", "first", publication{qos: 1, retain: true})
	alice.publish("topic/kept", "last", publication{qos: 1, retain: true})
	alice.publish("topic/cleared", "x", publication{qos: 1, retain: true})
	alice.publish("topic/cleared", "", publication{qos: 1, retain: true})
	s.kill()
	bob := open(t, s.again(t).in("demo"), "bob", opening{})
	bob.subscribe(1, "topic/#")
	if got := bob.wants("topic/kept", "last"); !got.retain {
		t.Error("not marked as retained")
	}
	bob.does("status", `{"peers":[]}`)
	bob.nothing("topic/")
}

func TestAWillOnAnOpenTopic(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t, `topics: ["last/+"]`)
		alice := open(t, a, "alice", opening{})
		alice.subscribe(1, "topic/last/+")
		bob := open(t, a, "bob", opening{version: version, will: &will{topic: "topic/last/words", payload: "bye", qos: 1}})
		bob.drop()
		alice.wants("topic/last/words", "bye")
		refused(t, a, "bob", opening{version: version, will: &will{topic: "topic/first/words", payload: "hi", qos: 1}})
	})
}

func TestMQTT5SubscriptionOptions(t *testing.T) {
	t.Parallel()
	a := newApp(t, `topics: ["#"]`)
	alice := open(t, a, "alice", opening{})
	alice.publish("topic/t", "kept", publication{qos: 1, retain: true})
	alice.subscribe5(&paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: a.id + "/topic/t", QoS: 1, NoLocal: true, RetainHandling: 2}}})
	bob := open(t, a, "bob", opening{})
	bob.subscribe5(&paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: a.id + "/topic/t", QoS: 1, RetainAsPublished: true, RetainHandling: 2}}})
	alice.publish("topic/t", "new", publication{qos: 1, retain: true})
	if got := bob.wants("topic/t", "new"); !got.retain {
		t.Error("Retain As Published is lost")
	}
	alice.does("status", `{"peers":[]}`)
	alice.nothing("topic/")
}

func TestOpenTopicsDoNotCrossApps(t *testing.T) {
	t.Parallel()
	one, two := newApp(t, `topics: ["#"]`), newApp(t, `topics: ["#"]`)
	bob := open(t, two, "bob", opening{})
	bob.subscribe(1, "topic/#")
	alice := open(t, one, "alice", opening{})
	alice.publish("topic/t", "of one", publication{qos: 1, retain: true})
	carol := open(t, two, "carol", opening{})
	carol.publish("topic/t", "of two", publication{qos: 1})
	bob.wants("topic/t", "of two")
	bob.nothing("topic/")
}
