package broker_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"kith/broker"
)

func decode(t testing.TB, raw []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
}

func TestRefusedPublishes(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	for name, c := range map[string]struct {
		topic string
		text  string
		code  broker.Code
		with  func(*broker.Publish)
	}{
		"not watched":          {topic: "demo/peer/carol/alice", code: broker.InvalidTarget},
		"another's name":       {topic: "demo/peer/bob/carol", code: broker.InvalidTarget},
		"another app":          {topic: "other/peer/bob/alice", code: broker.InvalidTarget},
		"presence":             {topic: "demo/presence/alice", code: broker.InvalidTarget},
		"event":                {topic: "demo/event/bob/x", code: broker.InvalidTarget},
		"system":               {topic: "$SYS/x", code: broker.InvalidTarget},
		"topics off":           {topic: "demo/topic/a", code: broker.InvalidTarget},
		"one byte too long":    {topic: "demo/peer/bob/alice", text: strings.Repeat("x", 5121), code: broker.MessageTooLong},
		"receipt of transient": {topic: "demo/peer/bob/alice", code: broker.InvalidTarget, with: func(p *broker.Publish) { p.Receipt, p.Transient = true, true }},
		"too many properties": {topic: "demo/peer/bob/alice", code: broker.LimitExceeded, with: func(p *broker.Publish) {
			p.Props.User = []broker.UserProperty{{Name: "n", Value: strings.Repeat("v", 1024)}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.with == nil {
				c.with = func(*broker.Publish) {}
			}
			ack := alice.sent(c.topic, c.text, c.with)
			if ack.Err == nil || ack.Err.Code != c.code {
				t.Errorf("refused with %v, want %d", ack.Err, c.code)
			}
		})
	}
	if ack := alice.sent("demo/peer/bob/alice", strings.Repeat("x", 5120)); ack.Err != nil {
		t.Errorf("the longest message: %v", ack.Err)
	}
}

func TestRefusedPublishOf311IsAcknowledgedAfterItsErrorEvent(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", func(r *broker.OpenRequest) { r.Version = 4 })
	tag := alice.send("demo/peer/bob/alice", "x")
	outs := alice.await(2, func(o *broker.Out) bool {
		return o.Topic == "demo/event/alice/error" || o.Kind == broker.OutAck && o.Tag == tag
	})
	want(t, "first", outs[0].Topic, "demo/event/alice/error")
	want(t, "then", outs[1].Kind, broker.OutAck)
	var e struct{ Packet, Code int }
	decode(t, outs[0].Payload, &e)
	want(t, "packet", e.Packet, int(tag))
	want(t, "code", e.Code, 4401)
}

func TestSignedApp(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.Signature.Required = true; c.PreviousMasterKey = "old-key" })
	now := time.Now().Unix()
	signed := func(key, nonce string, ts int64, super bool, watch ...string) how {
		peers := make([]broker.PeerID, len(watch))
		for i, p := range watch {
			peers[i] = broker.PeerID(p)
		}
		return password(map[string]any{
			"timestamp": ts, "nonce": nonce, "watch": watch, "super": super,
			"signature": broker.SignOpen(key, "demo", "alice", peers, ts, nonce, super),
		})
	}
	refused := func(name string, code broker.Code, id string, h ...how) {
		t.Helper()
		_, err := w.tryOpen(id, h...)
		if broker.AsError(err) == nil || broker.AsError(err).Code != code {
			t.Errorf("%s: %v, want %d", name, err, code)
		}
	}
	refused("no signature", broker.SignatureFailed, "alice")
	refused("wrong key", broker.SignatureFailed, "alice", signed("nope", "n1", now, false))
	refused("stale", broker.SignatureFailed, "alice", signed("your-master-key", "n2", now-7*3600, false))
	refused("from the future", broker.SignatureFailed, "alice", signed("your-master-key", "n3", now+7*3600, false))
	refused("bad nonce", broker.Malformed, "alice", signed("your-master-key", "su", now, false))
	c := w.open("alice", signed("your-master-key", "n4", now, false, "bob"))
	c.leave(broker.EndLost)
	c = w.open("alice", signed("your-master-key", "n4", now, false, "bob"))
	c.leave(broker.EndLost)
	refused("other device replays", broker.SignatureFailed, "alice/other", signed("your-master-key", "n4", now, false, "bob"))
	refused("other content replays", broker.SignatureFailed, "alice", signed("your-master-key", "n4", now, false))
	w.open("alice", signed("old-key", "n5", now, false)).leave(broker.EndLost)
	super := w.open("alice", signed("your-master-key", "n6", now, true))
	if ack := super.sent("demo/peer/zoe/alice", "x"); ack.Err != nil {
		t.Errorf("a super peer sends to anyone: %v", ack.Err)
	}
	super.leave(broker.EndLost)
	w.stop()
	w.start()
	refused("replay after a restart", broker.SignatureFailed, "alice/other", signed("your-master-key", "n4", now, false, "bob"))
	if _, err := w.b.Kick(t.Context(), "demo", "alice", ""); err != nil {
		t.Fatal(err)
	}
	refused("after a kick", broker.SignatureFailed, "alice", signed("your-master-key", "n4", now, false, "bob"))
	w.open("alice", signed("your-master-key", "n8", now-5, false)) // of a server whose clock is behind
}

func TestPublishedVectors(t *testing.T) {
	for _, c := range []struct {
		name, got, want string
	}{
		{"open", broker.SignOpen("your-master-key", "your-app-id", "1", []broker.PeerID{"4", "2", "3"}, 1416290728, "85561", false), "cf4a1b6b55ff87753da4ae7f5dd2c33273108b62"},
		{"no watch", broker.SignOpen("your-master-key", "your-app-id", "1", nil, 1416290728, "85561", false), "8331138904990a6c9649b164df5dba34c5427d22"},
		{"super", broker.SignOpen("your-master-key", "your-app-id", "1", []broker.PeerID{"2", "3", "4"}, 1416290728, "85561", true), "cd999c7fb9023b0b081b156e994f39b2df4b5cad"},
		{"create", broker.SignGroup("your-master-key", "your-app-id", "1", "", nil, 1416290879, "07995", "join"), "ce8ead522fc8db9b3fefdf72606756b600585b56"},
		{"join", broker.SignGroup("your-master-key", "your-app-id", "1", "4ad934r23bjhcas", nil, 1416290879, "07995", "join"), "a37540d5b9700e3130a195822056b6cd7d6216dd"},
		{"invite", broker.SignGroup("your-master-key", "your-app-id", "1", "4ad934r23bjhcas", []broker.PeerID{"2", "3"}, 1416290879, "07995", "invite"), "491504b9afb6a7a058af7db4245000f2522c773e"},
		{"kick", broker.SignGroup("your-master-key", "your-app-id", "1", "4ad934r23bjhcas", []broker.PeerID{"3", "2"}, 1416290879, "07995", "kick"), "3f3377b1776d6dcde107c5884ec26aeb53e2552f"},
		{"conversation", string(broker.DirectConversation("u1234", "u0988")), "bcd26a54e98687390b0abb4d83683d4b"},
	} {
		want(t, c.name, c.got, c.want)
	}
}

func TestRequests(t *testing.T) {
	w := newWorld(t)
	bob := w.open("bob")
	alice := w.open("alice")
	r := alice.request("watch", map[string]any{"peers": []string{"bob", "carol"}})
	want(t, "watch", r["online"], any([]any{"bob"}))
	r = alice.request("send", map[string]any{"to": []string{"bob", "carol"}, "message": "hi"})
	want(t, "send ok", r["ok"], any(true))
	want(t, "bob got it", bob.messages(1), []string{"hi"})
	id := r["message_id"]
	r = alice.request("history", map[string]any{"conversation": r["conversation"]})
	want(t, "history", r["messages"].([]any)[0].(map[string]any)["id"], id)
	r = alice.request("status", map[string]any{"peers": []string{"bob", "zed"}})
	want(t, "status", r["online"], any([]any{"bob"}))
	r = alice.request("unwatch", map[string]any{"peers": []string{"bob"}})
	want(t, "unwatch", r["ok"], any(true))
	r = alice.request("send", map[string]any{"to": []string{"bob"}, "message": "hi"})
	want(t, "not watched any more", r["code"], any(4401.0))
	r = alice.request("dance", map[string]any{})
	want(t, "unknown verb", r["code"], any(4114.0))
	r = alice.request("watch", map[string]any{"peers": "bob"})
	want(t, "wrong type", r["code"], any(4114.0))
}

func TestPresence(t *testing.T) {
	w := newWorld(t)
	eve := w.open("eve", watching("bob"))
	states := func(n int) (list []string) {
		for _, o := range eve.await(n, isTopic("demo/presence/bob")) {
			list = append(list, string(o.Payload))
		}
		return list
	}
	want(t, "at first", states(1), []string{"offline"})
	one := w.open("bob/1")
	want(t, "one device", states(2), []string{"offline", "online"})
	two := w.open("bob/2")
	one.leave(broker.EndLost)
	two.leave(broker.EndDisconnect)
	want(t, "the last device left", states(3), []string{"offline", "online", "offline"})
}

func TestGraceHoldsOfflineBack(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.Presence.Grace = time.Hour })
	eve := w.open("eve", watching("bob"))
	is := func(state string) func(o *broker.Out) bool {
		return func(o *broker.Out) bool {
			return o.Topic == "demo/presence/bob" && string(o.Payload) == state && !o.Retain
		}
	}
	eve.await(1, isTopic("demo/presence/bob"))
	bob := w.open("bob")
	eve.await(1, is("online"))
	bob.leave(broker.EndLost)
	want(t, "held", w.online("bob"), []broker.PeerID{"bob"})
	w.open("bob").leave(broker.EndDisconnect)
	eve.await(1, is("offline"))
	want(t, "a return in time is silent", len(eve.await(1, is("online"))), 1)
}

func TestUnsubscribeStopsDeliveryAndMessagesWait(t *testing.T) {
	w := newWorld(t)
	bob := w.open("bob")
	alice := w.open("alice", watching("bob"))
	sub := []broker.Subscription{{Filter: "demo/peer/bob/+", QoS: 1}}
	if errs, _ := bob.s.Subscribe(t.Context(), sub, nil); errs[0] != nil {
		t.Fatal(errs[0])
	}
	want(t, "existed", bob.s.Unsubscribe([]string{"demo/peer/bob/+"}), []bool{true})
	alice.sent("demo/peer/bob/alice", "1")
	alice.sent("demo/peer/bob/alice", "2")
	if _, err := w.b.Send(t.Context(), "demo", broker.SendRequest{From: "x", To: []broker.PeerID{"eve"}, Payload: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	bob.request("status", map[string]any{"peers": []string{"bob"}})
	bob.mu.Lock()
	for i := range bob.got {
		if isMessage(&bob.got[i]) {
			t.Error("delivered after UNSUBSCRIBE")
		}
	}
	bob.mu.Unlock()
	bob.s.Subscribe(t.Context(), sub, nil)
	want(t, "after SUBSCRIBE", bob.messages(2), []string{"1", "2"})
}

func TestUnsubscribeStopsDeliveryOnItsConnectionAlone(t *testing.T) {
	w := newWorld(t)
	bob := w.open("bob")
	alice := w.open("alice", watching("bob"))
	bob.s.Unsubscribe([]string{"demo/peer/bob/+"})
	alice.sent("demo/peer/bob/alice", "1")
	bob.leave(broker.EndLost)
	bob = w.open("bob", resuming)
	want(t, "session present", bob.present, true)
	alice.sent("demo/peer/bob/alice", "2")
	want(t, "on the next connection", bob.messages(2), []string{"1", "2"})
}

func TestReplyToARefusedRequestNamesIt(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice")
	for _, tt := range []struct {
		body   string
		change func(*broker.Publish)
		id     any
		code   broker.Code
	}{
		{body: `{"timestamp":"1","peers":[],"id":"a"}`, id: "a", code: broker.Malformed},
		{body: `{"peers":1,"id":2}`, id: 2.0, code: broker.Malformed},
		{body: `{"id":"b"} {}`, code: broker.Malformed},
		{body: `{"id":"c"`, code: broker.Malformed},
		{`{"id":"d"}`, func(p *broker.Publish) { p.Props.ResponseTopic = "demo/event/bob/x" }, "d", broker.InvalidTarget},
		{`{"id":"e"}`, func(p *broker.Publish) { p.PropsTooLong = true }, "e", broker.LimitExceeded},
	} {
		alice.mu.Lock()
		alice.got = nil
		alice.mu.Unlock()
		if tt.change == nil {
			tt.change = func(*broker.Publish) {}
		}
		alice.sent("demo/request/alice/status", tt.body, tt.change)
		var r struct {
			ID   any
			Code broker.Code
		}
		decode(t, alice.await(1, isTopic("demo/event/alice/reply"))[0].Payload, &r)
		if r.ID != tt.id || r.Code != tt.code {
			t.Errorf("%s: %d, id %v; want %d, id %v", tt.body, r.Code, r.ID, tt.code, tt.id)
		}
	}
}

func TestAnswerThatTheClientDoesNotTakeIsToldInAReply(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"), func(r *broker.OpenRequest) { r.MaximumPacket = 1000 })
	for range 5 {
		alice.sent("demo/peer/bob/alice", strings.Repeat("x", 200))
	}
	r := alice.request("history", map[string]any{"peer": "bob"})
	want(t, "all", r["code"], any(4113.0))
	r = alice.request("history", map[string]any{"peer": "bob", "limit": 1})
	want(t, "one", len(r["messages"].([]any)), 1)
}

func TestRefusedFilters(t *testing.T) {
	w := newWorld(t)
	bob := w.open("bob")
	for _, f := range []string{
		"#", "+/peer/bob/+", "demo/#", "demo/+/bob/+", "demo/peer/#", "demo/peer/alice/+", "demo/presence/+", "demo/presence/#",
		"$share/g/demo/peer/bob/+", "$SYS/#", "other/peer/bob/+", "demo/event/alice/+", "demo/request/bob/+", "demo/topic/x", "demo/group/#",
	} {
		errs, _ := bob.s.Subscribe(t.Context(), []broker.Subscription{{Filter: f, QoS: 1}}, nil)
		if errs[0] == nil {
			t.Errorf("%s was granted", f)
		}
	}
	for _, f := range []string{"demo/peer/bob/+", "demo/peer/bob/#", "demo/peer/bob/alice", "demo/peer/+/bob", "demo/group/+/+", "demo/group/g1/+", "demo/event/bob/+", "demo/presence/alice"} {
		errs, _ := bob.s.Subscribe(t.Context(), []broker.Subscription{{Filter: f, QoS: 1}}, nil)
		if errs[0] != nil {
			t.Errorf("%s was refused: %v", f, errs[0])
		}
	}
}
