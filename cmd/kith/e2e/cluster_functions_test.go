package e2e_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"kith/broker"
)

// What works on one node works between any: each step has its two sides at different ones of three.
func TestEveryFunctionCrossesNodes(t *testing.T) {
	c := startCluster(t, 3, broker.DefaultLease, ", rate: {messages_per_second: 0.01, burst: 6}")
	alice := open(t, c.at(0), "alice", opening{password: watching("bob", "carol")})
	bob := open(t, c.at(1), "bob", opening{password: watching("alice")})
	carol := open(t, c.at(2), "carol", opening{version: 3})

	alice.publish("peer/bob/alice", "direct", publication{qos: 1, user: []string{"receipt", "true"}})
	bob.wants("peer/bob/alice", "direct")
	if r := alice.event("receipt"); r.To != "bob" {
		t.Errorf("receipt %+v", r)
	}

	group := alice.does("join", `{}`).Group
	if r := alice.does("invite", `{"group":"`+group+`","peers":["bob","carol"]}`); len(r.Peers) != 2 {
		t.Errorf("invited %v", r.Peers)
	}
	bob.send("group/"+group+"/bob", "to all")
	alice.wants("group/"+group+"/bob", "to all")
	carol.wants("group/"+group+"/bob", "to all")
	if r := bob.does("kick", `{"group":"`+group+`","peers":["carol"]}`); len(r.Peers) != 1 {
		t.Errorf("kicked from the group: %v", r.Peers)
	}
	if r := carol.ask("send", `{"group":"`+group+`","message":"m"}`); r.Code != int(broker.NotAMember) {
		t.Errorf("one who was kicked sends: %+v", r)
	}
	if r := bob.does("status", `{"peers":["alice","carol","zoe"]}`); len(r.Online) != 2 {
		t.Errorf("online are %v", r.Online)
	}

	sessions := c.at(2).sessions(t, "alice")
	if len(sessions) != 1 || !sessions[0].Connected || !slices.Equal(sessions[0].Watch, []string{"bob", "carol"}) {
		t.Errorf("node 3 says of alice at node 1: %+v", sessions)
	}
	if items := c.at(2).rest(t, http.MethodGet, "/messages", "").Items; len(items) != 2 {
		t.Errorf("node 3 has %d messages in history", len(items))
	}

	// The rate is the session's: what others send at other nodes does not count.
	over := acknowledgement{}
	for range 6 {
		over = alice.publish("peer/carol/alice", "m", publication{qos: 1})
	}
	if over.code != 0x97 || !strings.HasPrefix(over.reason, "4116 ") {
		t.Errorf("over the rate: %+v", over)
	}
	bob.send("peer/alice/bob", "within")
	alice.wants("peer/alice/bob", "within")

	c.at(0).rest(t, http.MethodDelete, "/peers/bob/sessions", "")
	if code := bob.wasTold(); code != 0x98 {
		t.Errorf("kicked: 0x%02X", code)
	}
	c.at(2).rest(t, http.MethodPut, "/bans/alice", `{"reason":"spam"}`)
	if code := alice.wasTold(); code != 0x98 {
		t.Errorf("banned: 0x%02X", code)
	}
	if r := refused(t, c.at(1), "alice", opening{}); r.code != 0x8A {
		t.Errorf("a banned peer is refused with %+v", r)
	}
}
