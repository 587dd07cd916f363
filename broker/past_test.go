package broker_test

import (
	"errors"
	"testing"
	"time"

	"kith/broker"
)

// past is a message that was accepted elsewhere, ago before now.
func (w *world) past(ago time.Duration, m *broker.Message) broker.PastMessage {
	m.App = "demo"
	m.ID = broker.PastID(w.now().Add(-ago).UnixMilli(), string(m.Payload))
	return broker.PastMessage{Message: m}
}

func (w *world) imports(messages ...broker.PastMessage) []error {
	w.t.Helper()
	outcome, err := w.b.ImportMessages(w.t.Context(), "demo", messages)
	if err != nil {
		w.t.Fatal(err)
	}
	return outcome
}

func TestWhatIsImportedIsDeliveredToNobody(t *testing.T) {
	w := newWorld(t)
	alice, bob, carol := w.open("alice", watching("bob")), w.open("bob"), w.open("carol")
	g := alice.create(map[string]any{})
	bob.request("join", map[string]any{"group": g})
	carol.request("join", map[string]any{"group": g})
	topic := "demo/group/" + g
	alice.sent(topic+"/alice", "1")
	want(t, "live", bob.messages(1), []string{"1"})
	carol.messages(1)
	carol.leave(broker.EndDisconnect)
	w.pass(time.Hour)

	for _, err := range w.imports(
		w.past(30*time.Minute, &broker.Message{From: "alice", Group: broker.GroupID(g), Payload: []byte("old to the group")}),
		w.past(20*time.Minute, &broker.Message{From: "alice", To: []broker.PeerID{"bob", "carol"}, Payload: []byte("old to two")}),
		w.past(48*time.Hour, &broker.Message{From: "dave", To: []broker.PeerID{"bob"}, Payload: []byte("of before")}),
	) {
		if err != nil {
			t.Fatal(err)
		}
	}
	alice.sent(topic+"/alice", "2")
	alice.sent("demo/peer/bob/alice", "3")
	want(t, "to who is connected", bob.messages(3), []string{"1", "2", "3"})
	carol = w.open("carol")
	want(t, "to who was away", carol.messages(1), []string{"2"})
	want(t, "history of the group", w.history(broker.HistoryQuery{Conversation: broker.ConversationID(g)}), []string{"1", "old to the group", "2"})
	want(t, "history of bob", w.history(broker.HistoryQuery{Peer: "bob"}), []string{"of before", "old to two", "3"})
}

func TestImportedHistoryIsReadByItsParticipantsAlone(t *testing.T) {
	w := newWorld(t)
	bob, eve := w.open("bob"), w.open("eve")
	m := w.past(time.Minute, &broker.Message{From: "dave", To: []broker.PeerID{"bob"}, Payload: []byte("secret")})
	w.imports(m)
	w.imports(w.past(time.Minute, &broker.Message{From: "dave", Group: "team", Payload: []byte("to the team")}))
	history := func(c *client, body map[string]any) int {
		list, _ := c.request("history", body)["messages"].([]any)
		return len(list)
	}
	id := string(m.Conversation)
	want(t, "for the receiver", history(bob, map[string]any{"conversation": id}), 1)
	want(t, "by its peer", history(bob, map[string]any{"peer": "dave"}), 1)
	want(t, "for a stranger who knows the conversation", history(eve, map[string]any{"conversation": id}), 0)
	if r := eve.request("history", map[string]any{"group": "team"}); r["code"] != 4303.0 {
		t.Errorf("a group that is not here: %v", r)
	}
}

func TestImportedMembersGetWhatIsSentFromThen(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.open("alice"), w.open("bob")
	g := broker.Group{ID: "team", Name: "Team", Creator: "alice", Created: 1412735361417}
	created, err := w.b.ImportGroup(t.Context(), "demo", g)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	members := []broker.Member{{Peer: "alice", Joined: 1412735361417}, {Peer: "bob"}, {Peer: "carol"}}
	for _, n := range []int{3, 0} {
		joined, err := w.b.ImportMembers(t.Context(), "demo", "team", members)
		if err != nil || joined != n {
			t.Fatalf("%d joined, not %d: %v", joined, n, err)
		}
	}
	alice.sent("demo/group/team/alice", "hello")
	want(t, "connected", bob.messages(1), []string{"hello"})
	want(t, "away, and nothing but that", w.open("carol").messages(1), []string{"hello"})
	got, _, err := w.b.Group(t.Context(), "demo", "team")
	if err != nil || got.Members != 3 || got.Created != g.Created || got.Creator != "alice" {
		t.Errorf("%+v, %v", got, err)
	}
	if created, err = w.b.ImportGroup(t.Context(), "demo", broker.Group{ID: "team", Name: "another"}); err != nil || created {
		t.Errorf("a group that is there: %v, %v", created, err)
	}
}

func TestImportedGroupsKeepTheirLimits(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.GroupMembers = 2 })
	if _, err := w.b.ImportGroup(t.Context(), "demo", broker.Group{ID: "team"}); err != nil {
		t.Fatal(err)
	}
	_, err := w.b.ImportMembers(t.Context(), "demo", "team", []broker.Member{{Peer: "a"}, {Peer: "b"}, {Peer: "c"}})
	if e, ok := errors.AsType[*broker.Error](err); !ok || e.Code != broker.GroupFull {
		t.Errorf("three of two: %v", err)
	}
}
