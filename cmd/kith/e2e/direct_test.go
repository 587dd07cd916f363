package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

func TestMessagesOfEveryQoSArriveWithoutSubscribing(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{version: version, password: watching("bob")})
		bob := open(t, a, "bob", opening{version: version, password: watching("alice")})
		for qos := range byte(3) {
			text := fmt.Sprintf("at qos %d", qos)
			alice.publish("peer/bob/alice", text, publication{qos: qos})
			if got := bob.wants("peer/bob/alice", text); qos > 0 && got.qos != 1 {
				t.Errorf("%q arrives at qos %d, want 1", text, got.qos)
			}
			bob.publish("peer/alice/bob", text, publication{qos: qos})
			alice.wants("peer/alice/bob", text)
		}
	})
}

func TestSubscribingToOnesOwnTopicsSetsTheQoS(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{version: version, password: watching("bob")})
		bob := open(t, a, "bob", opening{version: version})
		for _, granted := range []byte{2, 0} {
			if codes := bob.subscribe(granted, "peer/bob/+"); !slices.Equal(codes, []byte{granted}) {
				t.Fatalf("SUBSCRIBE at %d: %v", granted, codes)
			}
			for qos := byte(1); qos < 3; qos++ {
				alice.publish("peer/bob/alice", "m", publication{qos: qos})
				if got := bob.wants("peer/bob/alice", "m"); got.qos != min(qos, granted) {
					t.Errorf("published at %d, subscribed at %d: arrives at %d", qos, granted, got.qos)
				}
			}
		}
	})
}

func TestSubscriptionIdentifiersAreEchoed(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	bob := open(t, a, "bob", opening{})
	seven := 7
	bob.subscribe5(&paho.Subscribe{
		Properties:    &paho.SubscribeProperties{SubscriptionIdentifier: &seven},
		Subscriptions: []paho.SubscribeOptions{{Topic: a.id + "/peer/bob/#", QoS: 1}},
	})
	alice.send("peer/bob/alice", "m")
	if id := bob.wants("peer/bob/alice", "m").props.SubscriptionIdentifier; id == nil || *id != 7 {
		t.Errorf("subscription identifier %v", id)
	}
}

func TestUnsubscribingStopsDeliveryAndMessagesWait(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{password: watching("bob")})
		bob := open(t, a, "bob", opening{version: version})
		bob.unsubscribe("peer/bob/+")
		alice.send("peer/bob/alice", "waits")
		bob.does("status", `{"peers":["alice"]}`)
		bob.nothing("peer/")
		bob.subscribe(1, "peer/bob/+")
		bob.wants("peer/bob/alice", "waits")
	})
}

func TestOthersTopicsAndWideFiltersAreRefused(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		bob := open(t, a, "bob", opening{version: version})
		for _, f := range []string{
			"/#", "/+/peer/bob/+", "#", "peer/#", "peer/+/+", "peer/alice/+", "peer/+/alice", "presence/+", "presence/#", "event/alice/+",
			"event/+/+", "request/bob/+", "group/#", "/$SYS/#", "/$share/g/#", "$share/g/peer/bob/+", "$share/g/presence/alice", "topic/#",
			"/other/peer/bob/+", "nothing/bob",
		} {
			if codes := bob.subscribe(1, f); len(codes) != 1 || codes[0] < 0x80 {
				t.Errorf("SUBSCRIBE to %s: %v", f, codes)
			}
		}
		for _, f := range []string{"peer/bob/+", "peer/bob/#", "peer/bob/alice", "peer/+/bob", "group/+/+", "group/g/+", "group/g/$event", "event/bob/+", "event/bob/#"} {
			if codes := bob.subscribe(1, f); len(codes) != 1 || codes[0] != 1 {
				t.Errorf("SUBSCRIBE to %s: %v", f, codes)
			}
		}
	})
}

// What MQTT 5 senders may say arrives, whether the receiver was there or not.
func TestPropertiesPassThrough(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	open(t, a, "bob", opening{}).close()
	format, expiry := byte(1), uint32(3600)
	sent := publication{qos: 1, user: []string{"colour", "red", "colour", "blue", "empty", ""}, props: paho.PublishProperties{
		ContentType: "text/plain", CorrelationData: []byte{0, 1, 255}, PayloadFormat: &format, MessageExpiry: &expiry,
		ResponseTopic: a.id + "/peer/alice/bob",
	}}
	check := func(got arrival, offline string) {
		t.Helper()
		p := got.props
		if p.ContentType != "text/plain" || string(p.CorrelationData) != "\x00\x01\xff" || p.PayloadFormat == nil || *p.PayloadFormat != 1 ||
			p.MessageExpiry == nil || *p.MessageExpiry > 3600 || *p.MessageExpiry < 3580 || p.ResponseTopic != a.id+"/peer/alice/bob" ||
			got.user("colour") != "red,blue" || p.User.GetAll("empty") == nil || got.user("offline") != offline {
			t.Errorf("arrives with %+v", p)
		}
	}
	waits := alice.publish("peer/bob/alice", "waits", sent)
	bob := open(t, a, "bob", opening{})
	got := bob.wants("peer/bob/alice", "waits")
	check(got, "true")
	if waits.id == "" || len(waits.id) > 26 || got.user("id") != waits.id || got.user("ts") != waits.ts {
		t.Errorf("acknowledged as %s at %s, arrives as %s at %s", waits.id, waits.ts, got.user("id"), got.user("ts"))
	}
	if ts, err := strconv.ParseInt(waits.ts, 10, 64); err != nil || time.Since(time.UnixMilli(ts)).Abs() > time.Minute {
		t.Errorf("ts is %q", waits.ts)
	}
	now := alice.publish("peer/bob/alice", "now", sent)
	check(bob.wants("peer/bob/alice", "now"), "")
	if now.id <= waits.id {
		t.Errorf("ids do not sort by time: %s, then %s", waits.id, now.id)
	}
}

// The server's own names do not pass.
func TestTheServersNamesAreNotPassedOn(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	bob := open(t, a, "bob", opening{})
	ack := alice.send("peer/bob/alice", "m", "id", "mine", "ts", "1", "offline", "true", "to", "carol", "conversation", "x", "receipt", "false", "other", "kept")
	got := bob.wants("peer/bob/alice", "m")
	if got.user("id") != ack.id || got.user("ts") != ack.ts || got.user("offline")+got.user("to")+got.user("conversation")+got.user("receipt") != "" ||
		got.user("other") != "kept" {
		t.Errorf("user properties %v", got.props.User)
	}
}

func TestRequestProblemInformation0GivesBareAcknowledgements(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob"), noProblem: true})
	if ack := alice.send("peer/bob/alice", "m"); ack.id != "" || ack.ts != "" {
		t.Errorf("PUBACK with %+v", ack)
	}
	if ack := alice.publish("peer/carol/alice", "m", publication{qos: 1}); ack.code != 0x87 || ack.reason != "" {
		t.Errorf("PUBACK with %+v", ack)
	}
}

func TestTransientMessagesAreKeptNowhere(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{password: watching("bob")})
		bob := open(t, a, "bob", opening{version: version})
		if ack := alice.send("peer/bob/alice", "now", "transient", "true"); ack.id == "" {
			t.Error("no id")
		}
		if got := bob.wants("peer/bob/alice", "now"); version == 5 && got.user("transient") != "true" {
			t.Errorf("user properties %v", got.props.User)
		}
		bob.close()
		alice.wants("presence/bob", "offline")
		alice.wants("presence/bob", "online")
		alice.wants("presence/bob", "offline")
		alice.send("peer/bob/alice", "lost", "transient", "true")
		alice.publish("peer/bob/alice", "lost too", publication{})
		alice.send("peer/bob/alice", "kept")
		bob = open(t, a, "bob", opening{version: version})
		bob.wants("peer/bob/alice", "kept")
		bob.nothing("peer/")
		if got := a.rest(t, http.MethodGet, "/messages", "").texts(); got != "kept" {
			t.Errorf("history has %q", got)
		}
	})
}

func TestTheSameSenderIdIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), "{id: demo, master_key: "+masterKey+"}")
	a := s.in("demo")
	alice := open(t, a, "alice", opening{password: watching("bob")})
	first := alice.send("peer/bob/alice", "once", "id", "my-1")
	if again := alice.send("peer/bob/alice", "once", "id", "my-1"); again.id != first.id {
		t.Errorf("acknowledged as %s, then %s", first.id, again.id)
	}
	s.kill()
	a = s.again(t).in("demo")
	alice = open(t, a, "alice", opening{password: watching("bob")})
	if again := alice.send("peer/bob/alice", "once", "id", "my-1"); again.id != first.id {
		t.Errorf("after a restart: acknowledged as %s, then %s", first.id, again.id)
	}
	old := open(t, a, "alice/old", opening{version: 3, password: watching("bob")})
	one := old.does("send", `{"to":["bob"],"message":"old","client_id":"my-2"}`)
	if two := old.does("send", `{"to":["bob"],"message":"old","client_id":"my-2"}`); two.MessageID != one.MessageID {
		t.Errorf("send answers %s, then %s", one.MessageID, two.MessageID)
	}
	alice.send("peer/bob/alice", "last")
	bob := open(t, a, "bob", opening{})
	if got := bob.messages(3); !slices.Equal(got, []string{"once", "old", "last"}) {
		t.Errorf("bob gets %q", got)
	}
}

func TestTheEnvelopeTellsWhatPropertiesWould(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{password: watching("bob")})
		open(t, a, "bob", opening{version: version}).close()
		waits := alice.send("peer/bob/alice", "waits ä")
		bob := open(t, a, "bob", opening{version: version, password: `{"envelope":true}`})
		e := bob.next("peer/bob/alice").body(t)
		if id, _ := strconv.Unquote(string(e.ID)); id != waits.id || e.From != "alice" || fmt.Sprint(e.To) != "[bob]" || e.Message == nil ||
			*e.Message != "waits ä" || !e.Offline || e.Transient || fmt.Sprint(e.TS) != waits.ts {
			t.Errorf("envelope %s", bob.heard())
		}
		alice.send("peer/bob/alice", "\xff\x00", "transient", "true")
		if e = bob.next("peer/bob/alice").body(t); string(e.Data) != "\xff\x00" || e.Message != nil || e.Offline || !e.Transient {
			t.Errorf("envelope %s", bob.heard())
		}
		group := alice.does("join", `{}`).Group
		alice.does("invite", `{"group":"`+group+`","peers":["bob"]}`)
		alice.send("group/"+group+"/alice", "to all")
		if e = bob.next("group/" + group + "/alice").body(t); e.Group != group || e.To != nil || *e.Message != "to all" {
			t.Errorf("envelope %s", bob.heard())
		}
	})
}

// Every device of the receiver gets it, and the sender's other devices, not the sending one.
func TestMessagesReachEveryDeviceButTheSendingOne(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		phone := open(t, a, "alice/phone", opening{version: version, password: watching("bob")})
		laptop := open(t, a, "alice/laptop", opening{version: version})
		open(t, a, "alice/absent", opening{version: version}).close()
		bob1, bob2 := open(t, a, "bob/1", opening{version: version}), open(t, a, "bob/2", opening{version: version})
		phone.send("peer/bob/alice", "hello")
		bob1.wants("peer/bob/alice", "hello")
		bob2.wants("peer/bob/alice", "hello")
		laptop.wants("peer/bob/alice", "hello")
		phone.does("status", `{"peers":["bob"]}`)
		phone.nothing("peer/")
		open(t, a, "alice/absent", opening{version: version}).wants("peer/bob/alice", "hello")
	})
}

// To several: once to each, and once to the sender's other devices, on the topic of the first receiver.
func TestOneMessageToManyPeers(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	phone := open(t, a, "alice/phone", opening{password: watching("bob", "carol", "dave")})
	laptop := open(t, a, "alice/laptop", opening{})
	old := open(t, a, "carol", opening{version: 3})
	bob := open(t, a, "bob", opening{})
	r := phone.does("send", `{"to":["bob","carol"],"message":"to both"}`)
	if r.MessageID == "" || r.TS == 0 || len(r.Conversation) != 32 {
		t.Errorf("send answers %+v", r)
	}
	for _, got := range []arrival{bob.wants("peer/bob/alice", "to both"), laptop.wants("peer/bob/alice", "to both")} {
		if got.user("to") != "bob,carol" || got.user("conversation") != r.Conversation || got.user("id") != r.MessageID {
			t.Errorf("user properties %v", got.props.User)
		}
	}
	old.wants("peer/carol/alice", "to both")
	refused := phone.ask("send", `{"to":["bob","erin"],"message":"to none"}`)
	if refused.Code != 4401 {
		t.Errorf("send to one unwatched: %+v", refused)
	}
	phone.send("peer/bob/alice", "after")
	bob.wants("peer/bob/alice", "after")
	laptop.wants("peer/bob/alice", "after")
	data := base64.StdEncoding.EncodeToString([]byte{0, 255})
	phone.does("send", `{"to":["dave"],"data":"`+data+`","transient":true}`)
	phone.does("send", `{"to":["bob"],"data":"`+data+`"}`)
	bob.wants("peer/bob/alice", "\x00\xff")
}

func TestTheConversationOfTwoIsTheirMD5(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	tom := open(t, a, "u1234", opening{password: watching("u0988")})
	if got := tom.does("send", `{"to":["u0988"],"message":"m"}`).Conversation; got != "bcd26a54e98687390b0abb4d83683d4b" {
		t.Errorf("conversation %s", got)
	}
}

func TestReceiptsTellWhenTheFirstDeviceAcknowledged(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{password: watching("bob")})
		laptop := open(t, a, "alice/laptop", opening{version: version})
		ack := alice.publish("peer/bob/alice", "m", publication{qos: 1, user: []string{"receipt", "true"}})
		bob := open(t, a, "bob", opening{version: version, manual: true})
		got := bob.wants("peer/bob/alice", "m")
		alice.nothing("event/alice/receipt")
		got.ack()
		for _, c := range []*client{alice, laptop} {
			r := c.event("receipt")
			if r.MessageID != ack.id || r.To != "bob" || r.TS == 0 {
				t.Errorf("receipt %s", c.heard())
			}
			item := a.rest(t, http.MethodGet, "/messages", "").Items[0]
			if item.ReceiptAt != r.TS {
				t.Errorf("history has receipt_at %d, the event %d", item.ReceiptAt, r.TS)
			}
		}
		// With QoS 2 it is PUBCOMP that counts, and a receipt waits for an absent sender.
		bob.subscribe(2, "peer/bob/+")
		alice.publish("peer/bob/alice", "two", publication{qos: 2, user: []string{"receipt", "true"}})
		got = bob.wants("peer/bob/alice", "two")
		alice.close()
		got.ack()
		laptop.event("receipt")
		open(t, a, "alice", opening{}).event("receipt")
	})
}

func TestAReceiptOfManyIsRefused(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob", "carol")})
	group := alice.does("join", `{}`).Group
	for name, request := range map[string]string{
		"many":      `{"to":["bob","carol"],"message":"m","receipt":true}`,
		"group":     `{"group":"` + group + `","message":"m","receipt":true}`,
		"transient": `{"to":["bob"],"message":"m","receipt":true,"transient":true}`,
	} {
		if r := alice.ask("send", request); r.Code != 4401 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for name, p := range map[string]publication{"transient": {qos: 1, user: []string{"receipt", "true", "transient", "true"}}} {
		if ack := alice.publish("peer/bob/alice", "m", p); ack.code != 0x87 || !strings.HasPrefix(ack.reason, "4401 ") {
			t.Errorf("%s: %+v", name, ack)
		}
	}
	if ack := alice.publish("group/"+group+"/alice", "m", publication{qos: 1, user: []string{"receipt", "true"}}); ack.code != 0x87 {
		t.Errorf("group: %+v", ack)
	}
	if r := alice.does("send", `{"to":["bob"],"message":"m","receipt":true}`); r.MessageID == "" {
		t.Errorf("%+v", r)
	}
}

// In the order in which one sender's messages were accepted everybody sees them, from whatever QoS and on whatever connection.
func TestOrderHoldsAcrossReconnectsAndRedelivery(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t, "rate: {messages_per_second: 0}", "queue: {messages: 1000}")
		alice := open(t, a, "alice", opening{version: version, password: watching("bob")})
		const all = 300
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range all {
				alice.publish("peer/bob/alice", strconv.Itoa(i), publication{qos: byte(1 + i%2)})
			}
		}()
		next, seen := 0, map[string]bool{}
		for round := range 5 { // a sixth connection would skip what was left unacknowledged over five
			bob := open(t, a, "bob", opening{version: version, expiry: 3600, manual: true})
			for taken := 0; next < all && (taken < 60 || round == 4); taken++ {
				got := bob.take("message", isMessage)
				n, err := strconv.Atoi(got.payload)
				if err != nil || n > next || n < next && !seen[got.payload] {
					t.Fatalf("in round %d %s follows %d", round, got.payload, next-1)
				}
				seen[got.payload] = true
				if n == next {
					next++
				}
				if n%3 != 2 || round == 4 { // some stay unacknowledged
					got.ack()
				}
			}
			bob.drop()
		}
		<-sent
	})
}

func TestJSONOfTheReceiptIsAsDocumented(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	open(t, a, "bob", opening{})
	alice.send("peer/bob/alice", "m", "receipt", "true")
	var fields map[string]any
	if err := json.Unmarshal([]byte(alice.next("event/alice/receipt").payload), &fields); err != nil || len(fields) != 3 {
		t.Errorf("receipt %v %v", fields, err)
	}
}
