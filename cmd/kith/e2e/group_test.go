package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// team makes a group of alice with these members.
func team(alice *client, members ...string) string {
	alice.t.Helper()
	group := alice.does("join", `{"name":"team"}`).Group
	if len(members) > 0 {
		alice.does("invite", `{"group":"`+group+`","peers":["`+strings.Join(members, `","`)+`"]}`)
	}
	return group
}

// notice takes the next notice of a group.
func (c *client) notice(group string) body {
	c.t.Helper()
	return c.next("group/" + group + "/$event").body(c.t)
}

func TestCreateInviteKickJoinAndLeaveAGroup(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice/phone", opening{version: version})
		laptop := open(t, a, "alice/laptop", opening{version: version})
		bob := open(t, a, "bob", opening{version: version})
		is := func(got body, want string) {
			t.Helper()
			if s := fmt.Sprintf("%s %s by %s %v", got.Event, got.Group, got.By, got.Peers); s != want {
				t.Errorf("%s, want %s", s, want)
			}
		}
		// create
		group := alice.does("join", `{"name":"team","attributes":{"colour":"red"}}`).Group
		is(laptop.event("group"), "joined "+group+" by alice []") // the asking connection has the reply
		// invite, without consent
		if r := alice.does("invite", `{"group":"`+group+`","peers":["bob","alice"]}`); !slices.Equal(r.Peers, []string{"bob"}) {
			t.Errorf("invite affects %v", r.Peers)
		}
		is(bob.event("group"), "joined "+group+" by alice []")
		is(laptop.notice(group), "members_joined "+group+" by alice [alice]")
		is(laptop.notice(group), "members_joined "+group+" by alice [bob]")
		// members, groups
		if r := bob.does("members", `{"group":"`+group+`"}`); !slices.Equal(r.Members, []string{"alice", "bob"}) {
			t.Errorf("members %v", r.Members)
		}
		if r := bob.does("groups", `{}`); !slices.Equal(r.Groups, []string{group}) {
			t.Errorf("groups %v", r.Groups)
		}
		// messages
		alice.send("group/"+group+"/alice", "hello")
		bob.wants("group/"+group+"/alice", "hello")
		laptop.wants("group/"+group+"/alice", "hello")
		// kick: by any member
		if r := bob.does("kick", `{"group":"`+group+`","peers":["alice","carol"]}`); !slices.Equal(r.Peers, []string{"alice"}) {
			t.Errorf("kick affects %v", r.Peers)
		}
		is(alice.event("group"), "left "+group+" by bob []")
		is(laptop.event("group"), "left "+group+" by bob []")
		bob.send("group/"+group+"/bob", "without alice")
		if r := alice.ask("invite", `{"group":"`+group+`","peers":["carol"]}`); r.Code != 4317 {
			t.Errorf("one who was kicked invites: %+v", r)
		}
		if r := alice.ask("send", `{"group":"`+group+`","message":"m"}`); r.Code != 4317 {
			t.Errorf("one who was kicked sends: %+v", r)
		}
		alice.nothing("group/" + group + "/bob")
		// join
		if r := alice.does("join", `{"group":"`+group+`"}`); r.Group != group {
			t.Errorf("join answers %+v", r)
		}
		is(laptop.event("group"), "joined "+group+" by alice []")
		bob.send("group/"+group+"/bob", "with alice")
		alice.wants("group/"+group+"/bob", "with alice")
		// leave
		alice.does("leave", `{"group":"`+group+`"}`)
		is(laptop.event("group"), "left "+group+" by alice []")
		is(bob.notice(group), "members_joined "+group+" by alice [bob]")
		is(bob.notice(group), "members_left "+group+" by bob [alice]")
		is(bob.notice(group), "members_joined "+group+" by alice [alice]")
		is(bob.notice(group), "members_left "+group+" by alice [alice]")
		if r := alice.ask("leave", `{"group":"`+group+`"}`); r.Code != 4317 {
			t.Errorf("leaving twice: %+v", r)
		}
		if r := alice.ask("members", `{"group":"`+group+`"}`); r.Code != 4317 {
			t.Errorf("a stranger asks for members: %+v", r)
		}
		alice.nothing("event/alice/group")
	})
}

func TestASignedAppWantsSignedGroupRequests(t *testing.T) {
	t.Parallel()
	a := newApp(t, signed)
	inBothVersions(t, func(t *testing.T, version int) {
		peer := fmt.Sprintf("alice%d", version)
		alice := open(t, a, peer, opening{version: version, password: a.password(signing{peer: peer})})
		for _, r := range []body{
			alice.ask("join", `{}`), alice.ask("join", `{"group":"g"}`), alice.ask("invite", `{"group":"g","peers":["bob"]}`),
			alice.ask("kick", `{"group":"g","peers":["bob"]}`), alice.ask("join", `{`+a.signGroup(peer, "g", "join")+`}`),
		} {
			if r.Code != 4102 { // before the group is looked up
				t.Errorf("unsigned: %+v", r)
			}
		}
		group := alice.does("join", `{`+a.signGroup(peer, "", "join")+`}`).Group
		is := func(request string) string { return `{"group":"` + group + `",` + request + `}` }
		proof := a.signGroup(peer, group, "invite", "bob", "carol")
		alice.does("invite", is(`"peers":["carol","bob"],`+proof))
		if r := alice.ask("invite", is(`"peers":["carol","bob"],`+proof)); r.Code != 4102 {
			t.Errorf("the nonce again: %+v", r)
		}
		if r := alice.ask("kick", is(`"peers":["bob"],`+a.signGroup(peer, group, "invite", "bob"))); r.Code != 4102 {
			t.Errorf("signed for another action: %+v", r)
		}
		alice.does("kick", is(`"peers":["bob"],`+a.signGroup(peer, group, "kick", "bob")))
		alice.does("leave", `{"group":"`+group+`"}`) // never signed
	})
}

func TestAMemberReceivesWhatWasSentBetweenItsJoinAndItsLeave(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{version: version})
		group := team(alice)
		away(t, a, "bob", version)
		topic := "group/" + group + "/alice"
		alice.send(topic, "before")
		alice.does("invite", `{"group":"`+group+`","peers":["bob"]}`)
		alice.send(topic, "one")
		alice.publish(topic, "two", publication{qos: 2})
		alice.does("send", `{"group":"`+group+`","message":"transient","transient":true}`)
		bob := open(t, a, "bob", opening{version: version})
		if got := bob.messages(2); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("bob gets %q", got)
		}
		if e := bob.event("group"); e.Event != "joined" || e.By != "alice" { // it waited
			t.Errorf("event %+v", e)
		}
		alice.publish(topic, "now", publication{})
		bob.wants(topic, "now")
		bob.close()
		bob.isGone("bob")
		alice.send(topic, "three")
		alice.does("kick", `{"group":"`+group+`","peers":["bob"]}`)
		alice.send(topic, "after")
		alice.does("invite", `{"group":"`+group+`","peers":["bob"]}`)
		alice.send(topic, "four")
		bob = open(t, a, "bob", opening{version: version})
		got := bob.next(topic).payload
		if got == "three" { // accepted before the kick: either is right
			got = bob.next(topic).payload
		}
		if got != "four" {
			t.Errorf("bob gets %q", got)
		}
		bob.nothing("group/" + group + "/alice")
	})
}

func TestMembershipSurvivesARestart(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), "{id: demo, master_key: "+masterKey+"}")
	a := s.in("demo")
	alice := open(t, a, "alice", opening{})
	group := team(alice, "bob")
	alice.send("group/"+group+"/alice", "appended, not delivered")
	s.kill()
	a = s.again(t).in("demo")
	bob := open(t, a, "bob", opening{})
	bob.wants("group/"+group+"/alice", "appended, not delivered")
	alice = open(t, a, "alice", opening{})
	alice.send("group/"+group+"/alice", "after")
	bob.wants("group/"+group+"/alice", "after")
	if e := bob.event("session"); !slices.Equal(e.Groups, []string{group}) {
		t.Errorf("session event %+v", e)
	}
}

func TestGroupLimits(t *testing.T) {
	t.Parallel()
	a := newApp(t, "group_members: 2")
	alice := open(t, a, "alice", opening{})
	group := team(alice, "bob")
	if r := alice.ask("invite", `{"group":"`+group+`","peers":["carol"]}`); r.Code != 4304 {
		t.Errorf("a third: %+v", r)
	}
	if r := open(t, a, "carol", opening{}).ask("join", `{"group":"`+group+`"}`); r.Code != 4304 {
		t.Errorf("a third: %+v", r)
	}
}

func TestAnotherMembersNameIsRefused(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{})
	group := team(alice, "bob")
	if ack := alice.publish("group/"+group+"/bob", "m", publication{qos: 1}); ack.code != 0x87 || !strings.HasPrefix(ack.reason, "4401 ") {
		t.Errorf("%+v", ack)
	}
}

func TestGroupMessagesAreDeliveredOnceById(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice, bob := open(t, a, "alice", opening{}), open(t, a, "bob", opening{})
	group := team(alice, "bob")
	topic := "group/" + group + "/alice"
	one, two := alice.send(topic, "once", "id", "x"), alice.send(topic, "once", "id", "x")
	alice.send(topic, "last")
	if got := bob.messages(2); !slices.Equal(got, []string{"once", "last"}) || one.id != two.id {
		t.Errorf("bob gets %q; acknowledged as %s and %s", got, one.id, two.id)
	}
}

func TestAnOpenGroup(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{})
		room := alice.does("join", `{"open":true,"name":"live"}`).Group
		bob := open(t, a, "bob", opening{version: version})
		bob.does("join", `{"group":"`+room+`"}`)
		if r := bob.does("members", `{"group":"`+room+`"}`); r.Count != 2 || r.Members != nil {
			t.Errorf("members %+v", r)
		}
		topic := "group/" + room + "/alice"
		alice.send(topic, "hello")
		if got := bob.wants(topic, "hello"); got.qos != 0 {
			t.Errorf("delivered at QoS %d", got.qos)
		}
		// Kept in history, not in a queue; whoever is back within 30 minutes is in again.
		bob.drop()
		bob.isGone("bob")
		alice.send(topic, "missed")
		bob = open(t, a, "bob", opening{version: version})
		if e := bob.event("session"); !slices.Equal(e.Groups, []string{room}) || e.Waiting != 0 {
			t.Errorf("session event %+v", e)
		}
		alice.send(topic, "back")
		bob.wants(topic, "back")
		bob.nothing("group/")
		if got := a.rest(t, http.MethodGet, "/messages?group="+room, "").texts(); got != "back missed hello" {
			t.Errorf("history has %q", got)
		}
		// One at a time; no notices; nobody is invited.
		if r := alice.ask("invite", `{"group":"`+room+`","peers":["carol"]}`); r.OK {
			t.Errorf("invite: %+v", r)
		}
		other := bob.does("join", `{"open":true}`).Group
		if r := bob.does("groups", `{}`); !slices.Equal(r.Groups, []string{other}) {
			t.Errorf("groups %v", r.Groups)
		}
		if r := alice.does("members", `{"group":"`+room+`"}`); r.Count != 1 {
			t.Errorf("count %d", r.Count)
		}
		alice.send(topic, "without bob")
		bob.does("leave", `{"group":"`+other+`"}`)
		if r := bob.ask("send", `{"group":"`+other+`","message":"m"}`); r.Code != 4317 {
			t.Errorf("after leaving: %+v", r)
		}
		bob.nothing("group/")
		bob.nothing("event/bob/group")
		alice.nothing("group/" + room + "/$event")
	})
}

// The same changes over REST, with the same notices, by nobody.
func TestGroupsOverRESTGiveTheSameNotices(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice, bob := open(t, a, "alice", opening{version: version}), open(t, a, "bob", opening{version: version})
		a.rest(t, http.MethodPost, "/groups", `{"id":"team","name":"Team","members":["alice"]}`)
		if e := alice.event("group"); e.Event != "joined" || e.Group != "team" || e.By != "" {
			t.Errorf("%+v", e)
		}
		if status, _ := a.call(t, http.MethodPost, "/v1/apps/"+a.id+"/groups", `{"id":"team"}`, "Bearer "+adminToken); status != http.StatusConflict {
			t.Errorf("an id that exists: status %d", status)
		}
		a.rest(t, http.MethodPut, "/groups/team/members/bob", "")
		if e := bob.event("group"); e.Event != "joined" || e.By != "" {
			t.Errorf("%+v", e)
		}
		bob.send("group/team/bob", "hello")
		alice.wants("group/team/bob", "hello")
		a.rest(t, http.MethodDelete, "/groups/team/members/bob", "")
		if e := bob.event("group"); e.Event != "left" || e.Group != "team" || e.By != "" {
			t.Errorf("%+v", e)
		}
		alice.notice("team") // her own joining
		if e := alice.notice("team"); e.Event != "members_joined" || !slices.Equal(e.Peers, []string{"bob"}) || e.By != "" {
			t.Errorf("%+v", e)
		}
		if e := alice.notice("team"); e.Event != "members_left" || !slices.Equal(e.Peers, []string{"bob"}) {
			t.Errorf("%+v", e)
		}
		a.rest(t, http.MethodDelete, "/groups/team", "")
		if e := alice.event("group"); e.Event != "left" {
			t.Errorf("%+v", e)
		}
		if r := alice.ask("send", `{"group":"team","message":"m"}`); r.Code != 4303 {
			t.Errorf("to a group that is gone: %+v", r)
		}
	})
}

// A message is accepted before the kick, and then reaches who is left, or refused; its sender is never told otherwise.
func TestAKickRacingWithASend(t *testing.T) {
	t.Parallel()
	a := newApp(t, unlimited)
	alice := open(t, a, "alice", opening{})
	group := team(alice)
	for round := range 10 {
		name := fmt.Sprintf("bob%d", round)
		bob := open(t, a, name, opening{})
		alice.does("invite", `{"group":"`+group+`","peers":["`+name+`"]}`)
		accepted, refused := 0, false
		var sending sync.WaitGroup
		sending.Go(func() {
			for i := range 40 {
				ack := bob.publish("group/"+group+"/"+name, strconv.Itoa(i), publication{qos: 1})
				if ack.code == 0 && !refused {
					accepted++
				} else if ack.code != 0x87 || !strings.HasPrefix(ack.reason, "4317 ") {
					t.Errorf("round %d, message %d: %+v", round, i, ack)
				} else {
					refused = true
				}
			}
		})
		waitUntil(t, "the first do not arrive", func() bool { return alice.count("group/"+group+"/"+name) > 3 })
		alice.does("kick", `{"group":"`+group+`","peers":["`+name+`"]}`)
		alice.send("group/"+group+"/alice", "end")
		sending.Wait()
		if history := a.rest(t, http.MethodGet, "/messages?limit=1000&from="+name, ""); len(history.Items) != accepted {
			t.Errorf("round %d: %d acknowledged, %d in history", round, accepted, len(history.Items))
		}
		if got := alice.messages(accepted); !slices.Equal(got, numbers(0, accepted-1)) {
			t.Errorf("round %d: %d acknowledged, alice gets %v", round, accepted, got)
		}
		alice.nothing("group/" + group + "/bob")
		bob.does("status", `{"peers":[]}`)
		bob.nothing("group/" + group + "/alice")
	}
}

// A thousand members, half of them away: one append, and all see the same order.
func TestAThousandMembersHalfOfThemAway(t *testing.T) {
	t.Parallel()
	a := newApp(t, unlimited)
	alice := open(t, a, "alice", opening{})
	group := team(alice)
	const members, sent = 1000, 5
	names := make([]string, members)
	for i := range names {
		names[i] = fmt.Sprintf("m%d", i)
	}
	for part := range slices.Chunk(names, 100) {
		alice.does("invite", `{"group":"`+group+`","peers":["`+strings.Join(part, `","`)+`"]}`)
	}
	here := make([]*raw, members/2)
	for i := range here {
		here[i], _ = open5(t, a, names[i], `{"receive":"messages"}`)
	}
	for i := range sent {
		alice.send("group/"+group+"/alice", strconv.Itoa(i))
	}
	for i, r := range here {
		hears(t, names[i], r, sent)
	}
	for i := members / 2; i < members; i++ {
		r, _ := open5(t, a, names[i], `{"receive":"messages"}`)
		hears(t, names[i], r, sent)
		_ = r.Close()
	}
}
