package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/paho"
)

// Answers go to the asking connection alone: with MQTT 5 to the Response Topic, with the Correlation Data.
func TestRepliesGoToTheResponseTopic(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	phone := open(t, a, "alice/phone", opening{askInfo: true})
	laptop := open(t, a, "alice/laptop", opening{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := phone.v5.Publish(ctx, &paho.Publish{
		QoS: 1, Topic: a.id + "/request/alice/status", Payload: []byte(`{"peers":["alice"]}`),
		Properties: &paho.PublishProperties{ResponseTopic: phone.info + "mine", CorrelationData: []byte("c-1")},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := phone.next("event/alice/mine")
	if r := got.body(t); !r.OK || len(r.Online) != 1 || string(got.props.CorrelationData) != "c-1" || got.qos != 0 {
		t.Errorf("%s with %+v", got.payload, got.props)
	}
	for _, wrong := range []string{a.id + "/event/bob/mine", a.id + "/peer/bob/alice", "elsewhere"} {
		phone.publish("request/alice/status", `{"id":"w","peers":[]}`, publication{qos: 1, props: paho.PublishProperties{ResponseTopic: wrong}})
		if r := phone.event("reply"); r.Code != 4401 || string(r.ID) != `"w"` {
			t.Errorf("response topic %s: %+v", wrong, r)
		}
	}
	laptop.does("status", `{"peers":[]}`)
	if laptop.count("event/alice/mine")+laptop.count("event/alice/reply") != 1 {
		t.Errorf("the other device hears\n%s", laptop.heard())
	}
}

func TestRequestsOfEveryQoSAreAnswered(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{version: version})
		for qos := range byte(3) {
			alice.publish("request/alice/status", fmt.Sprintf(`{"id":%d,"peers":["alice"]}`, qos), publication{qos: qos})
			if r := alice.event("reply"); string(r.ID) != fmt.Sprint(qos) || len(r.Online) != 1 {
				t.Errorf("QoS %d: %+v", qos, r)
			}
		}
	})
}

// talk makes a little history: of alice and bob, of alice and carol, of a group.
func talk(t *testing.T, a *app, version int) (alice *client, group string, ids []string) {
	t.Helper()
	alice = open(t, a, "alice", opening{version: version, password: watching("bob", "carol")})
	bob := open(t, a, "bob", opening{version: version, password: watching("alice")})
	group = alice.does("join", `{"name":"team"}`).Group
	alice.does("invite", `{"group":"`+group+`","peers":["bob"]}`)
	ids = append(ids, alice.does("send", `{"to":["bob"],"message":"1"}`).MessageID)
	ids = append(ids, bob.does("send", `{"to":["alice"],"message":"2"}`).MessageID)
	ids = append(ids, alice.does("send", `{"to":["carol"],"message":"3"}`).MessageID)
	ids = append(ids, bob.does("send", `{"group":"`+group+`","message":"4"}`).MessageID)
	ids = append(ids, alice.does("send", `{"to":["bob","carol"],"message":"5"}`).MessageID)
	return alice, group, ids
}

func TestHistoryRequestsAreForParticipants(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice, group, ids := talk(t, a, version)
		texts := func(c *client, request string) string {
			return page{Items: c.does("history", request).Messages}.texts()
		}
		if got := texts(alice, `{"peer":"bob"}`); got != "2 1" {
			t.Errorf("with bob: %q", got)
		}
		if got := texts(alice, `{"peer":"bob","limit":1}`); got != "2" {
			t.Errorf("limit 1: %q", got)
		}
		if got := texts(alice, `{"peer":"bob","before":"`+ids[1]+`"}`); got != "1" {
			t.Errorf("before: %q", got)
		}
		if got := texts(alice, `{"group":"`+group+`"}`); got != "4" {
			t.Errorf("of the group: %q", got)
		}
		item := alice.does("history", `{"peer":"bob"}`).Messages[0]
		if item.ID != ids[1] || item.From != "bob" || len(item.To) != 1 || item.To[0] != "alice" || item.TS == 0 || item.FromIP != "127.0.0.1" {
			t.Errorf("an item is %+v", item)
		}
		mallory := open(t, a, "mallory", opening{version: version})
		if got := texts(mallory, `{"conversation":"`+item.Conversation+`"}`); got != "" {
			t.Errorf("a stranger reads %q", got)
		}
		if r := mallory.ask("history", `{"group":"`+group+`"}`); r.Code != 4317 {
			t.Errorf("a stranger reads the group: %+v", r)
		}
	})
}

func TestHistoryOverRESTInAllItsModes(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	_, group, ids := talk(t, a, 5)
	one := a.rest(t, http.MethodGet, "/messages?peers=alice,bob", "").Items[0]
	tests := []struct{ query, want string }{
		{"", "5 4 3 2 1"},
		{"?order=asc", "1 2 3 4 5"},
		{"?peers=alice,bob", "2 1"},
		{"?peers=bob,alice", "2 1"},
		{"?peers=alice,bob,carol", "5"},
		{"?conversation=" + one.Conversation, "2 1"},
		{"?group=" + group, "4"},
		{"?from=bob", "4 2"},
		{"?peer=bob", "5 4 2 1"},
		{"?peer=carol", "5 3"},
		{fmt.Sprintf("?since=%d", one.TS+3_600_000), ""},
		{fmt.Sprintf("?until=%d", one.TS-3_600_000), ""},
		{fmt.Sprintf("?since=%d&until=%d&order=asc", one.TS-3_600_000, one.TS+3_600_000), "1 2 3 4 5"},
		{"?limit=2", "5 4"},
	}
	for _, tt := range tests {
		if got := a.rest(t, http.MethodGet, "/messages"+tt.query, "").texts(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.query, got, tt.want)
		}
	}
	var all []string
	for cursor, pages := "", 0; pages < 5; pages++ {
		p := a.rest(t, http.MethodGet, "/messages?limit=2&order=asc"+cursor, "")
		all = append(all, p.texts())
		if p.Next == "" {
			break
		}
		cursor = "&cursor=" + p.Next
	}
	if got := strings.Join(all, "|"); got != "1 2|3 4|5" {
		t.Errorf("page by page: %q", got)
	}
	a.rest(t, http.MethodDelete, "/messages/"+ids[0], "")
	if got := a.rest(t, http.MethodGet, "/messages?peers=alice,bob", "").texts(); got != "2" {
		t.Errorf("after a deletion: %q", got)
	}
}

func TestAnOperatorSendsAsAnyPeerOverREST(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		bob := open(t, a, "bob", opening{version: version})
		r := a.rest(t, http.MethodPost, "/messages", `{"from":"system","to":["bob"],"message":"hello"}`)
		got := bob.wants("peer/bob/system", "hello")
		if r.MessageID == "" || r.TS == 0 || version == 5 && got.user("id") != r.MessageID {
			t.Errorf("answered %+v", r)
		}
	})
}
