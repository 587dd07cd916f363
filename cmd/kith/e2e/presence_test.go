package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

func TestAWatcherHearsThePresentStateAtOnceAndEachChange(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		ways := map[string]func(w *client){
			"open":      nil,
			"request":   func(w *client) { w.does("watch", `{"peers":["bob"]}`) },
			"subscribe": func(w *client) { w.subscribe(1, "presence/bob") },
		}
		var watchers []*client
		for _, way := range []string{"open", "request", "subscribe"} {
			o := opening{version: version}
			if ways[way] == nil {
				o.password = watching("bob")
			}
			w := open(t, a, "watcher-"+way, o)
			if ways[way] != nil {
				ways[way](w)
			}
			if first := w.wants("presence/bob", "offline"); !first.retain { // never seen
				t.Errorf("%s: the state as it stands is not retained", way)
			}
			watchers = append(watchers, w)
		}
		one := open(t, a, "bob/1", opening{version: version})
		two := open(t, a, "bob/2", opening{version: version})
		for _, w := range watchers {
			if got := w.wants("presence/bob", "online"); version == 5 && got.user("ts") == "" {
				t.Error("no ts")
			}
		}
		late := open(t, a, "late", opening{version: version, password: watching("bob")})
		if got := late.wants("presence/bob", "online"); !got.retain {
			t.Error("the state as it stands is not retained")
		}
		one.close()
		two.drop() // the last device goes
		for _, w := range append(watchers, late) {
			w.wants("presence/bob", "offline")
			w.nothing("presence/")
		}
	})
}

func TestUnwatchingEndsPresenceAndTheRightToSend(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		unwatch := map[string]func(w *client){
			"request":     func(w *client) { w.does("unwatch", `{"peers":["bob"]}`) },
			"unsubscribe": func(w *client) { w.unsubscribe("presence/bob") },
		}
		for way, stop := range unwatch {
			w := open(t, a, "watcher-"+way, opening{version: version, password: watching("bob", "carol")})
			w.wants("presence/bob", "offline")
			stop(w)
			bob := open(t, a, "bob", opening{})
			open(t, a, "carol", opening{}).close()
			w.wants("presence/carol", "offline")
			w.wants("presence/carol", "online")
			w.nothing("presence/bob")
			if version == 5 {
				if ack := w.publish("peer/bob/watcher-"+way, "m", publication{qos: 1}); ack.code != 0x87 {
					t.Errorf("%s: a message afterwards: 0x%02X", way, ack.code)
				}
			} else {
				w.publish("peer/bob/watcher-"+way, "m", publication{qos: 1})
				if e := w.event("error"); e.Code != 4401 {
					t.Errorf("%s: a message afterwards: %+v", way, e)
				}
			}
			w.close()
			bob.close()
			waitUntil(t, "bob stays online", func() bool { return !a.online(t, "bob") })
			waitUntil(t, "carol stays online", func() bool { return !a.online(t, "carol") })
		}
	})
}

func TestWatchesLiveThroughALostConnection(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		bob := open(t, a, "bob", opening{})
		alice := open(t, a, "alice", opening{version: version, expiry: 60, clean: true, password: watching("bob")})
		alice.does("watch", `{"peers":["carol"]}`)
		alice.drop()
		alice = open(t, a, "alice", opening{version: version, expiry: 60, clean: true})
		alice.wants("presence/bob", "online")
		alice.wants("presence/carol", "offline")
		alice.send("peer/bob/alice", "still watching")
		bob.wants("peer/bob/alice", "still watching")
		alice.drop()
		alice = open(t, a, "alice", opening{version: version, expiry: 60, password: watching("dave")}) // replaces the former list
		alice.wants("presence/dave", "offline")
		if e := alice.event("session"); len(e.Online) != 0 {
			t.Errorf("online %v", e.Online)
		}
		alice.nothing("presence/")
		alice.close() // DISCONNECT ends them
		waitUntil(t, "alice stays online", func() bool { return !a.online(t, "alice") })
		alice = open(t, a, "alice", opening{version: version, expiry: 60})
		alice.does("status", `{"peers":["bob"]}`)
		alice.nothing("presence/")
	})
}

func TestASignedAppDecidesWhoMayWatchWhom(t *testing.T) {
	t.Parallel()
	a := newApp(t, signed)
	inBothVersions(t, func(t *testing.T, version int) {
		peer := fmt.Sprintf("alice%d", version)
		alice := open(t, a, peer, opening{version: version, password: a.password(signing{peer: peer})})
		if r := alice.ask("watch", `{"peers":["bob"]}`); r.Code != 4102 {
			t.Errorf("unsigned: %+v", r)
		}
		proof := a.sign(signing{peer: peer, watch: []string{"bob", "carol"}}, "")
		if r := alice.ask("watch", `{"peers":["bob"],`+proof+`}`); r.Code != 4102 {
			t.Errorf("another list: %+v", r)
		}
		alice.does("watch", `{"peers":["carol","bob"],`+proof+`}`)
		if r := alice.ask("watch", `{"peers":["carol","bob"],`+proof+`}`); r.Code != 4102 {
			t.Errorf("the nonce again: %+v", r)
		}
		alice.does("unwatch", `{"peers":["bob","carol"]}`) // never signed
		if codes := alice.subscribe(1, "presence/bob"); codes[0] < 0x80 {
			t.Errorf("unsigned SUBSCRIBE: %v", codes)
		}
	})
}

func TestASubscribeCarriesItsSignedWatchListInUserProperties(t *testing.T) {
	t.Parallel()
	a := newApp(t, signed)
	alice := open(t, a, "alice", opening{password: a.password(signing{peer: "alice"})})
	var fields struct {
		Timestamp int64
		Nonce     string
		Signature string
	}
	mustDecode(t, "{"+a.sign(signing{peer: "alice", watch: []string{"bob", "carol"}}, "}"), &fields)
	subscribe := func(c *client, watch string, peers ...string) []byte {
		s := &paho.Subscribe{Properties: &paho.SubscribeProperties{}}
		s.Properties.User.Add("watch", watch)
		s.Properties.User.Add("timestamp", fmt.Sprint(fields.Timestamp))
		s.Properties.User.Add("nonce", fields.Nonce)
		s.Properties.User.Add("signature", fields.Signature)
		for _, p := range peers {
			s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: a.id + "/presence/" + p, QoS: 1})
		}
		return c.subscribe5(s)
	}
	if codes := subscribe(alice, "bob", "bob"); codes[0] != 0x87 {
		t.Errorf("another list: %v", codes)
	}
	if codes := subscribe(alice, "bob:carol", "dave"); codes[0] != 0x87 {
		t.Errorf("one that is not in the list: %v", codes)
	}
	// Libraries resubscribe topic by topic: the same list may be presented again.
	for _, p := range []string{"bob", "carol"} {
		if codes := subscribe(alice, "bob:carol", p); !slices.Equal(codes, []byte{1}) {
			t.Errorf("%s: %v", p, codes)
		}
		alice.wants("presence/"+p, "offline")
	}
	if codes := alice.subscribe(1, "presence/bob"); !slices.Equal(codes, []byte{1}) {
		t.Errorf("bob, watched already: %v", codes)
	}
	mallory := open(t, a, "mallory", opening{password: a.password(signing{peer: "mallory"})})
	if codes := subscribe(mallory, "bob:carol", "bob"); codes[0] != 0x87 {
		t.Errorf("another peer: %v", codes)
	}
}

func TestWatchLimits(t *testing.T) {
	t.Parallel()
	a := newApp(t, "watch: {per_call: 2, per_session: 3}")
	inBothVersions(t, func(t *testing.T, version int) {
		alice := open(t, a, fmt.Sprintf("alice%d", version), opening{version: version, password: watching("p1", "p2")})
		if r := alice.ask("watch", `{"peers":["p3","p4","p5"]}`); r.Code != 4113 {
			t.Errorf("three a call: %+v", r)
		}
		if r := alice.ask("watch", `{"peers":["p3","p4"]}`); r.Code != 4113 {
			t.Errorf("four a session: %+v", r)
		}
		alice.does("watch", `{"peers":["p1","p3"]}`)
		if codes := alice.subscribe(1, "presence/p4"); codes[0] < 0x80 {
			t.Errorf("SUBSCRIBE to a fourth: %v", codes)
		}
	})
}

// A return in time is silent; after the grace there is one "offline".
func TestPresenceGraceHoldsOfflineBack(t *testing.T) {
	t.Parallel()
	a := newApp(t, "presence: {grace: 700ms}")
	inBothVersions(t, func(t *testing.T, version int) {
		name := fmt.Sprintf("bob%d", version)
		topic := "presence/" + name
		alice := open(t, a, "alice"+name, opening{password: watching(name)})
		bob := open(t, a, name, opening{version: version})
		alice.wants(topic, "offline")
		alice.wants(topic, "online")
		bob.drop()
		bob = open(t, a, name, opening{version: version})
		bob.event("session")
		alice.does("status", `{"peers":["bob"]}`)
		alice.nothing("presence/")
		dropped := time.Now()
		bob.drop()
		alice.wants(topic, "offline")
		if held := time.Since(dropped); held < 600*time.Millisecond {
			t.Errorf("offline after %v", held)
		}
		bob = open(t, a, name, opening{version: version})
		alice.wants(topic, "online")
		said := time.Now()
		bob.close()
		alice.wants(topic, "offline") // DISCONNECT is not held back
		if held := time.Since(said); held > 600*time.Millisecond {
			t.Errorf("offline %v after DISCONNECT", held)
		}
	})
}

func TestAWillDelayHoldsOfflineAndWillBack(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	o := opening{password: watching("alice"), expiry: 60, will: &will{topic: "peer/alice/bob", payload: "gone", qos: 1, delay: 1}}
	bob := open(t, a, "bob", o)
	alice.wants("presence/bob", "offline")
	alice.wants("presence/bob", "online")
	bob.drop()
	bob = open(t, a, "bob", o)
	bob.event("session")
	bob.send("peer/alice/bob", "back in time")
	alice.wants("peer/alice/bob", "back in time")
	alice.nothing("presence/")
	dropped := time.Now()
	bob.drop()
	alice.wants("presence/bob", "offline")
	alice.wants("peer/alice/bob", "gone")
	if held := time.Since(dropped); held < 900*time.Millisecond {
		t.Errorf("offline after %v", held)
	}
}

func TestAWillIsPublishedAsTheSendersMessage(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{})
		o := opening{version: version, password: watching("alice"), will: &will{topic: "peer/alice/bob", payload: "my will", qos: 1}}
		bob := open(t, a, "bob", o)
		bob.event("session")
		bob.close() // DISCONNECT: no will
		bob.isGone("bob")
		bob = open(t, a, "bob", o)
		bob.send("peer/alice/bob", "before")
		bob.drop()
		if got := alice.messages(2); !slices.Equal(got, []string{"before", "my will"}) {
			t.Errorf("alice gets %q", got)
		}
		if got := a.rest(t, http.MethodGet, "/messages?order=asc", "").texts(); got != "before my will" {
			t.Errorf("history has %q", got)
		}
	})
}

// Nobody watches "presence" of what a server that died held: watchers of the next one hear "offline".
func TestOfflineComesWhenTheServerDies(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), "{id: demo, master_key: "+masterKey+"}")
	a := s.in("demo")
	open(t, a, "bob", opening{})
	alice := open(t, a, "alice", opening{expiry: 60, password: watching("bob")})
	alice.wants("presence/bob", "online")
	alice.send("peer/bob/alice", "durable") // and with it what was written before
	s.kill()
	alice = open(t, s.again(t).in("demo"), "alice", opening{expiry: 60})
	alice.wants("presence/bob", "offline")
	if e := alice.event("session"); e.Event != "resumed" {
		t.Errorf("session %s", e.Event)
	}
}

func TestStatusNeedsNoWatch(t *testing.T) {
	t.Parallel()
	a := newApp(t, signed)
	open(t, a, "bob", opening{password: a.password(signing{peer: "bob"})})
	inBothVersions(t, func(t *testing.T, version int) {
		name := fmt.Sprintf("alice%d", version)
		alice := open(t, a, name, opening{version: version, password: a.password(signing{peer: name})})
		if r := alice.does("status", `{"id":7,"peers":["carol","bob"]}`); !slices.Equal(r.Online, []string{"bob"}) || string(r.ID) != "7" {
			t.Errorf("status %+v", r)
		}
		many := strings.TrimSuffix(strings.Repeat(`"x",`, 101), ",")
		if r := alice.ask("status", `{"peers":[`+many+`]}`); r.Code != 4113 {
			t.Errorf("101 peers: %+v", r)
		}
	})
}

func TestKickedAndBannedPeersAreTold(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		watcher := open(t, a, "watcher", opening{password: watching("bob")})
		watcher.wants("presence/bob", "offline")
		phone, laptop := open(t, a, "bob/phone", opening{version: version}), open(t, a, "bob/laptop", opening{version: version})
		watcher.wants("presence/bob", "online")
		a.rest(t, http.MethodDelete, "/peers/bob/sessions/phone", "")
		if code := phone.wasTold(); version == 5 && code != 0x98 {
			t.Errorf("kicked: told 0x%02X, want 0x98", code)
		}
		laptop.does("status", `{"peers":["bob"]}`)
		watcher.nothing("presence/")
		a.rest(t, http.MethodPut, "/bans/bob", `{"reason":"spam"}`)
		if code := laptop.wasTold(); version == 5 && code != 0x98 {
			t.Errorf("banned: told 0x%02X, want 0x98", code)
		}
		watcher.wants("presence/bob", "offline")
		want := byte(0x8A)
		if version == 3 {
			want = 5
		}
		if got := refused(t, a, "bob", opening{version: version}); got.code != want {
			t.Errorf("banned: refused with 0x%02X, want 0x%02X", got.code, want)
		}
		a.rest(t, http.MethodDelete, "/bans/bob", "")
		open(t, a, "bob", opening{version: version})
		until := time.Now().Add(300 * time.Millisecond).UnixMilli()
		a.rest(t, http.MethodPut, "/bans/bob", fmt.Sprintf(`{"until":%d,"reason":"calm down"}`, until))
		waitUntil(t, "the ban does not end", func() bool {
			_, no := dial(t, a, "bob", opening{version: version})
			return no == nil
		})
		if time.Now().UnixMilli() < until {
			t.Error("the ban ended early")
		}
	})
}
