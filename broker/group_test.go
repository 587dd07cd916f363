package broker_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/broker"
)

func (c *client) create(body map[string]any) string {
	c.t.Helper()
	r := c.request("join", body)
	if r["ok"] != true {
		c.t.Fatalf("create: %v", r)
	}
	return r["group"].(string)
}

func isEvent(topic, contains string) func(*broker.Out) bool {
	return func(o *broker.Out) bool {
		return o.Kind == broker.OutPublish && o.Topic == topic && strings.Contains(string(o.Payload), contains)
	}
}

func TestGroupMessageReachesEveryMemberButTheSendingDevice(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.open("alice"), w.open("bob")
	tablet := w.open("alice/tablet")
	g := alice.create(map[string]any{"name": "friends"})
	r := alice.request("invite", map[string]any{"group": g, "peers": []string{"bob", "carol"}})
	want(t, "invited", r["peers"], any([]any{"bob", "carol"}))
	bob.await(1, isEvent("demo/event/bob/group", "joined"))
	alice.await(1, isEvent("demo/group/"+g+"/$event", "members_joined"))
	ack := alice.sent("demo/group/"+g+"/alice", "hi")
	if ack.Err != nil {
		t.Fatal(ack.Err)
	}
	want(t, "bob", bob.messages(1), []string{"hi"})
	want(t, "the sender's other device", tablet.messages(1), []string{"hi"})
	carol := w.open("carol")
	want(t, "absent member", carol.messages(1), []string{"hi"})
	carol.await(1, isEvent("demo/event/carol/group", "joined"))
}

func TestMemberReceivesWhatWasSentBetweenJoinAndLeave(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.open("alice"), w.open("bob")
	g := alice.create(map[string]any{})
	topic := "demo/group/" + g
	alice.sent(topic+"/alice", "before")
	want(t, "join", bob.request("join", map[string]any{"group": g})["ok"], any(true))
	alice.sent(topic+"/alice", "1")
	want(t, "after the join", bob.messages(1), []string{"1"})
	want(t, "kick", alice.request("kick", map[string]any{"group": g, "peers": []string{"bob"}})["peers"], any([]any{"bob"}))
	bob.await(1, isEvent("demo/event/bob/group", "left"))
	alice.sent(topic+"/alice", "after the kick")
	if ack := bob.sent(topic+"/bob", "x"); ack.Err == nil || ack.Err.Code != broker.NotAMember {
		t.Errorf("kicked member sends: %v", ack.Err)
	}
	bob.request("join", map[string]any{"group": g})
	alice.sent(topic+"/alice", "2")
	want(t, "after joining again", bob.messages(2), []string{"1", "2"})
}

func TestAbsentMemberGetsFiftyOfDirectAndGroupMessagesTogether(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.open("alice", watching("bob")), w.open("bob")
	g := alice.create(map[string]any{})
	h := alice.create(map[string]any{})
	bob.request("join", map[string]any{"group": g})
	bob.request("join", map[string]any{"group": h})
	bob.leave(broker.EndDisconnect)
	w.pass(10 * time.Millisecond)
	topics := []string{"demo/group/" + g + "/alice", "demo/peer/bob/alice", "demo/group/" + h + "/alice"}
	for i := range 90 {
		alice.send(topics[i%3], fmt.Sprint(i+1))
		if i == 60 {
			alice.request("invite", map[string]any{"group": g, "peers": []string{"dave"}})
		}
	}
	alice.await(90, isAck)
	bob = w.open("bob")
	got := map[string]bool{}
	for _, m := range bob.messages(50) {
		got[m] = true
	}
	for i := 41; i <= 90; i++ {
		if !got[fmt.Sprint(i)] {
			t.Errorf("message %d is missing", i)
		}
	}
	var m struct{ Count int }
	decode(t, bob.await(1, isTopic("demo/event/bob/missed"))[0].Payload, &m)
	want(t, "missed", m.Count, 40)
}

func TestGroupErrors(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.GroupMembers = 2 })
	alice, bob := w.open("alice"), w.open("bob")
	g := alice.create(map[string]any{})
	code := func(r map[string]any) any { return r["code"] }
	want(t, "no such group", code(bob.request("join", map[string]any{"group": "nope"})), any(4303.0))
	want(t, "invite by a stranger", code(bob.request("invite", map[string]any{"group": g, "peers": []string{"eve"}})), any(4317.0))
	want(t, "members for a stranger", code(bob.request("members", map[string]any{"group": g})), any(4317.0))
	want(t, "history for a stranger", code(bob.request("history", map[string]any{"group": g})), any(4317.0))
	want(t, "full", code(alice.request("invite", map[string]any{"group": g, "peers": []string{"x", "y"}})), any(4304.0))
	want(t, "leave without being in", code(bob.request("leave", map[string]any{"group": g})), any(4317.0))
	want(t, "attributes too long", code(alice.request("join", map[string]any{"attributes": map[string]any{"a": strings.Repeat("x", 4096)}})), any(4113.0))
	want(t, "id of a conversation's form", code(alice.request("join", map[string]any{"group": "bcd26a54e98687390b0abb4d83683d4b"})), any(4114.0))
	if ack := bob.sent("demo/group/"+g+"/bob", "x"); ack.Err == nil || ack.Err.Code != broker.NotAMember {
		t.Errorf("stranger sends: %v", ack.Err)
	}
	if ack := bob.sent("demo/group/nope/bob", "x"); ack.Err == nil || ack.Err.Code != broker.GroupNotFound {
		t.Errorf("no such group: %v", ack.Err)
	}
	if ack := alice.sent("demo/group/"+g+"/bob", "x"); ack.Err == nil || ack.Err.Code != broker.InvalidTarget {
		t.Errorf("another's name: %v", ack.Err)
	}
	want(t, "groups", alice.request("groups", map[string]any{})["groups"], any([]any{g}))
	want(t, "members", alice.request("members", map[string]any{"group": g})["members"], any([]any{"alice"}))
}

func TestOpenGroup(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.open("alice"), w.open("bob")
	room := alice.create(map[string]any{"open": true})
	other := alice.create(map[string]any{"open": true})
	want(t, "in one at a time", alice.request("groups", map[string]any{})["groups"], any([]any{other}))
	for _, c := range []*client{alice, bob} {
		want(t, "join", c.request("join", map[string]any{"group": room})["ok"], any(true))
	}
	want(t, "count", alice.request("members", map[string]any{"group": room})["count"], any(2.0))
	alice.sent("demo/group/"+room+"/alice", "hi")
	got := bob.await(1, isMessage)[0]
	want(t, "qos", got.QoS, 0)
	bob.leave(broker.EndLost)
	alice.sent("demo/group/"+room+"/alice", "while away")
	w.pass(20 * time.Minute)
	bob = w.open("bob")
	alice.sent("demo/group/"+room+"/alice", "back")
	want(t, "rejoined, and nothing waited", bob.messages(1), []string{"back"})
	page, err := w.b.History(t.Context(), "demo", broker.HistoryQuery{Conversation: broker.ConversationID(room), Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "history", len(page.Items), 3)
}

func TestGroupSurvivesARestart(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.open("alice"), w.open("bob")
	g := alice.create(map[string]any{})
	bob.request("join", map[string]any{"group": g})
	alice.sent("demo/group/"+g+"/alice", "1")
	bob.messages(1)
	bob.leave(broker.EndLost)
	w.pass(10 * time.Millisecond)
	alice.sent("demo/group/"+g+"/alice", "2")
	alice.leave(broker.EndLost)
	w.stop()
	w.start()
	bob = w.open("bob")
	want(t, "after the restart", bob.messages(1), []string{"2"})
	alice = w.open("alice")
	alice.sent("demo/group/"+g+"/alice", "3")
	want(t, "still a member", bob.messages(2), []string{"2", "3"})
}

func TestSignedGroupActions(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.Signature.Required = true })
	now := time.Now().Unix()
	alice := w.open("alice", password(map[string]any{"timestamp": now, "nonce": "o1", "signature": broker.SignOpen("your-master-key", "demo", "alice", nil, now, "o1", false)}))
	want(t, "unsigned", alice.request("join", map[string]any{})["code"], any(4102.0))
	want(t, "signature before group", alice.request("join", map[string]any{"group": "nope"})["code"], any(4102.0))
	g := alice.create(map[string]any{"timestamp": now, "nonce": "g1", "signature": broker.SignGroup("your-master-key", "demo", "alice", "", nil, now, "g1", "join")})
	r := alice.request("invite", map[string]any{
		"group": g, "peers": []string{"bob"}, "timestamp": now, "nonce": "g2",
		"signature": broker.SignGroup("your-master-key", "demo", "alice", broker.GroupID(g), []broker.PeerID{"bob"}, now, "g2", "invite"),
	})
	want(t, "invite", r["peers"], any([]any{"bob"}))
	want(t, "leave is never signed", alice.request("leave", map[string]any{"group": g})["ok"], any(true))
}

func TestPeerInFiveHundredGroupsOpensOnlyTheLogsThatMoved(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice")
	var groups []string
	for i := range 500 {
		id := broker.GroupID(fmt.Sprintf("g%03d", i))
		if _, _, err := w.b.CreateGroup(t.Context(), "demo", broker.NewGroup{ID: id, Members: []broker.PeerID{"alice", "bob"}}); err != nil {
			t.Fatal(err)
		}
		groups = append(groups, string(id))
	}
	for _, g := range groups[:3] {
		alice.sent("demo/group/"+g+"/alice", g)
	}
	began := time.Now()
	bob := w.open("bob")
	want(t, "messages", bob.messages(3), groups[:3])
	t.Logf("opened in %s", time.Since(began))
	alice.sent("demo/group/g400/alice", "live")
	want(t, "live", bob.messages(4)[3], "live")
}

// What a connect writes does not grow with the groups of its peer in which nothing happened.
func TestAReturnWritesNothingAboutItsQuietGroups(t *testing.T) {
	w := newNodes(t, 1)[0]
	for i := range 50 {
		id := broker.GroupID(fmt.Sprintf("g%02d", i))
		if _, _, err := w.b.CreateGroup(t.Context(), "demo", broker.NewGroup{ID: id, Members: []broker.PeerID{"alice", "bob"}}); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	written, cursors := 0, map[string]int{}
	w.gate.beforeCommit(func(b *broker.Batch) {
		mu.Lock()
		defer mu.Unlock()
		for _, x := range b.Writes {
			switch {
			case x.Key.Owner != "bob":
			case x.Key.Space == broker.SpaceDevice:
				written++
			case x.Key.Space == broker.SpaceCursor:
				_, log, _ := strings.Cut(x.Key.Name, "\x00")
				cursors[log[1:]]++
			}
		}
	})
	records := func(n int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return written == n
		}
	}
	w.open("bob").leave(broker.EndDisconnect)
	w.until("the store hears of the first session", records(2))
	w.open("alice").sent("demo/group/g07/alice", "waits")
	mu.Lock()
	clear(cursors)
	mu.Unlock()
	bob := w.open("bob")
	want(t, "what waited", bob.messages(1), []string{"waits"})
	bob.leave(broker.EndDisconnect)
	w.until("the store hears of the second", records(4))
	mu.Lock()
	defer mu.Unlock()
	delete(cursors, "g07")
	for log, n := range cursors {
		if strings.HasPrefix(log, "g") {
			t.Errorf("the place in the quiet log of %s is written %d times", log, n)
		}
	}
}
