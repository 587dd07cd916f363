package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kith/broker"
)

const groups = "/v1/apps/demo/groups"

// group is a group of spec 13, written down once more.
type group struct {
	Group      string         `json:"group"`
	Name       string         `json:"name"`
	Open       bool           `json:"open"`
	Creator    string         `json:"creator"`
	Members    int            `json:"members"`
	Created    int64          `json:"created"`
	Attributes map[string]any `json:"attributes"`
}

type member struct {
	Peer   string `json:"peer"`
	Joined int64  `json:"joined"`
}

// create makes a group.
func (s *server) create(body sendBody) (g group) {
	s.Helper()
	s.call(demo, "POST", groups, body).ok(200, &g)
	return g
}

func (s *server) members(id string) (peers []string) {
	s.Helper()
	for _, m := range all[member](s, groups+"/"+id+"/members", "2") {
		if m.Joined == 0 {
			s.Errorf("%s joined at no time", m.Peer)
		}
		peers = append(peers, m.Peer)
	}
	return peers
}

// heard takes what the device is sent now, and returns the payloads on topic. Answers come after what they announce was handed to
// the sessions, so there is nothing to wait for.
func (d *device) heard(topic string) (payloads []string) {
	for {
		out := d.Next(make([]broker.Out, 0, 16))
		if len(out) == 0 {
			return payloads
		}
		d.Written()
		for _, o := range out {
			on, payload := o.Topic, o.Payload
			if m := o.Message; m != nil {
				on, payload = "demo/peer/"+string(o.To)+"/"+string(m.From), m.Payload
				if m.Group != "" {
					on = "demo/group/" + string(m.Group) + "/" + string(m.From)
				}
			}
			if o.Tag != 0 {
				d.Acked(o.Tag)
			}
			if on == topic {
				payloads = append(payloads, string(payload))
			}
		}
	}
}

func TestAGroupIsMadeWithAnIDOfOnesOwnOrTheServers(t *testing.T) {
	s := start(t)
	attributes := map[string]any{"color": "red", "n": json.Number("12345678901234567890")}
	var got group
	body := s.call(operator, "POST", groups, sendBody{"id": "team", "name": "The team", "attributes": attributes, "members": []string{"bob", "alice"}}).ok(200, &got).Body.String()
	if !strings.Contains(body, "12345678901234567890") {
		t.Errorf("an attribute was not kept as it was said: %s", body)
	}
	if got.Created == 0 || got.Group != "team" || got.Name != "The team" || got.Open || got.Creator != "" || got.Members != 2 || got.Attributes["color"] != "red" {
		t.Errorf("%+v", got)
	}
	var read group
	s.call(viewer, "GET", groups+"/team", nil).ok(200, &read)
	if diff := cmp.Diff(got, read); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"alice", "bob"}, s.members("team")); diff != "" {
		t.Error(diff)
	}
	made := s.create(sendBody{})
	if made.Group == "" || made.Members != 0 || made.Attributes == nil {
		t.Errorf("%+v", made)
	}
	s.call(demo, "GET", groups+"/"+made.Group, nil).ok(200, nil)
}

func TestAGroupIDThatExistsIs409(t *testing.T) {
	s := start(t)
	s.create(sendBody{"id": "team", "name": "first"})
	s.call(demo, "POST", groups, sendBody{"id": "team", "name": "second", "members": []string{"eve"}}).refused(409, 409)
	var got group
	s.call(demo, "GET", groups+"/team", nil).ok(200, &got)
	if got.Name != "first" || got.Members != 0 {
		t.Errorf("%+v", got)
	}
}

func TestGroupsAreListed(t *testing.T) {
	s := start(t)
	for _, id := range []string{"c", "a", "e", "b", "d"} {
		s.create(sendBody{"id": id, "open": id == "d"})
	}
	s.call(other, "GET", "/v1/apps/other/groups", nil).ok(200, &list[group]{})
	var ids []string
	for _, g := range all[group](s, groups, "2") {
		ids = append(ids, g.Group)
		if g.Open != (g.Group == "d") {
			t.Errorf("%+v", g)
		}
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "d", "e"}, ids); diff != "" {
		t.Error(diff)
	}
	s.call(other, "GET", "/v1/apps/other/groups/a", nil).refused(404, 4303)
}

func TestGroupsRefuseWhatTheyDoNotUnderstand(t *testing.T) {
	s := start(t)
	s.create(sendBody{"id": "team"})
	var page list[peerItem]
	s.open("alice")
	s.open("bob")
	s.call(demo, "GET", "/v1/apps/demo/peers?limit=1", nil).ok(200, &page)
	for body, want := range map[string][2]int{
		`{"id":"a b"}`:                                             {400, 4114},
		`{"id":"` + hex32 + `"}`:                                   {400, 4114},
		`{"members":["a","a"]}`:                                    {400, 4114},
		`{"members":["a/b"]}`:                                      {400, 4114},
		`{"attributes":[]}`:                                        {400, 4114},
		`{"attributes":"x"}`:                                       {400, 4114},
		`{"creator":"eve"}`:                                        {400, 4114},
		`{"open":true,"members":["a"]}`:                            {422, 4401},
		`{"name":"` + strings.Repeat("n", 257):                     {400, 4114},
		`{"name":"` + strings.Repeat("n", 257) + `"}`:              {422, 4113},
		`{"attributes":{"a":"` + strings.Repeat("x", 4096) + `"}}`: {422, 4113},
	} {
		s.call(demo, "POST", groups, body).refused(want[0], want[1])
	}
	for path, want := range map[string][2]int{
		"/nope":                             {404, 4303},
		"/nope/members":                     {404, 4303},
		"/a%20b":                            {400, 4114},
		"/team/members?cursor=" + page.Next: {400, 4114},
		"?cursor=" + page.Next:              {400, 4114},
		"?limit=0":                          {400, 4114},
	} {
		s.call(demo, "GET", groups+path, nil).refused(want[0], want[1])
	}
	s.call(demo, "PATCH", groups+"/nope", sendBody{"name": "x"}).refused(404, 4303)
	s.call(demo, "DELETE", groups+"/nope", nil).refused(404, 4303)
	s.call(demo, "PUT", groups+"/nope/members/a", nil).refused(404, 4303)
	s.call(demo, "PUT", groups+"/team/members/a%2Fb", nil).refused(400, 4103)
	s.call(demo, "DELETE", groups+"/team/members/a", nil).refused(404, 404)
	for _, body := range []string{`{"attributes":"x"}`, `{"open":true}`, `{"name":1}`, ``} {
		s.call(demo, "PATCH", groups+"/team", body).refused(400, 4114)
	}
}

// patch changes the group team, saying If-Match unless that is empty.
func (s *server) patch(ifMatch string, body sendBody) *answer {
	s.Helper()
	r := s.request(demo, http.MethodPatch, groups+"/team", body)
	if ifMatch != "" {
		r.Header.Set("If-Match", ifMatch)
	}
	return s.do(r)
}

func TestAPatchMergesNameAndAttributes(t *testing.T) {
	s := start(t)
	s.create(sendBody{"id": "team", "name": "one", "attributes": map[string]any{"a": 1, "b": 2}, "members": []string{"alice"}})
	var got group
	s.patch("", sendBody{"attributes": map[string]any{"b": nil, "c": map[string]any{"d": nil}}}).ok(200, &got)
	want := group{
		Group: "team", Name: "one", Members: 1, Created: got.Created, Attributes: map[string]any{"a": 1.0, "c": map[string]any{"d": nil}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	s.patch("", sendBody{"name": "two"}).ok(200, &got)
	want.Name = "two"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	s.patch("", sendBody{"attributes": map[string]any{"e": strings.Repeat("x", 4096)}}).refused(422, 4113)
	s.call(demo, "GET", groups+"/team", nil).ok(200, &got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAPatchThatDoesNotMatchIs412(t *testing.T) {
	s := start(t)
	s.create(sendBody{"id": "team"})
	tag := s.call(demo, "GET", groups+"/team", nil).ok(200, nil).Header().Get("ETag")
	if _, err := strconv.Unquote(tag); err != nil || strings.HasPrefix(tag, "W/") {
		t.Fatalf("ETag %s", tag)
	}
	s.call(demo, "PUT", groups+"/team/members/alice", nil).ok(204, nil) // is no change of name or attributes
	next := s.patch(tag, sendBody{"name": "first"}).ok(200, nil).Header().Get("ETag")
	if next == tag || next == "" {
		t.Errorf("ETag %s after %s", next, tag)
	}
	if read := s.call(demo, "GET", groups+"/team", nil).Header().Get("ETag"); read != next {
		t.Errorf("ETag %s, and read %s", next, read)
	}
	for _, stale := range []string{tag, "W/" + next, `""`, `"x", "y"`} {
		s.patch(stale, sendBody{"name": "second"}).refused(412, 412)
	}
	for _, wrong := range []string{"x", `"x`, `"x",`, "*, *"} {
		s.patch(wrong, sendBody{"name": "second"}).refused(400, 4114)
	}
	var got group
	s.call(demo, "GET", groups+"/team", nil).ok(200, &got)
	if got.Name != "first" {
		t.Errorf("%+v", got)
	}
	s.patch(tag+", "+next, sendBody{"name": "third"}).ok(200, nil)
	s.patch("*", sendBody{"name": "fourth"}).ok(200, nil)

	s.call(demo, "DELETE", groups+"/team", nil).ok(204, nil)
	s.patch("*", sendBody{"name": "fifth"}).refused(404, 4303)
}

func TestMembershipOverRESTGivesTheNoticesOfMQTT(t *testing.T) {
	s := start(t)
	alice, bob := s.open("alice"), s.open("bob")
	hears := func(d *device, topic string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, d.heard(topic)); diff != "" {
			t.Errorf("%s: %s", topic, diff)
		}
	}
	s.create(sendBody{"id": "team", "members": []string{"alice"}})
	hears(alice, "demo/event/alice/group", `{"event":"joined","group":"team"}`)

	s.call(operator, "PUT", groups+"/team/members/bob", nil).ok(204, nil)
	hears(alice, "demo/group/team/$event", `{"event":"members_joined","group":"team","peers":["bob"]}`)
	hears(bob, "demo/event/bob/group", `{"event":"joined","group":"team"}`)
	s.call(operator, "PUT", groups+"/team/members/bob", nil).ok(204, nil) // is one
	hears(alice, "demo/group/team/$event")
	if diff := cmp.Diff([]string{"alice", "bob"}, s.members("team")); diff != "" {
		t.Error(diff)
	}

	s.call(operator, "DELETE", groups+"/team/members/bob", nil).ok(204, nil)
	hears(alice, "demo/group/team/$event", `{"event":"members_left","group":"team","peers":["bob"]}`)
	hears(bob, "demo/event/bob/group", `{"event":"left","group":"team"}`)
	s.call(operator, "DELETE", groups+"/team/members/bob", nil).refused(404, 404)

	s.call(admin, "DELETE", groups+"/team", nil).ok(204, nil)
	hears(alice, "demo/event/alice/group", `{"event":"left","group":"team"}`)
	s.call(demo, "GET", groups+"/team", nil).refused(404, 4303)
}

func TestAFullGroupTakesNobody(t *testing.T) {
	s := start(t)
	cfg, _ := s.broker.App("demo")
	cfg.GroupMembers = 2
	s.broker.SetApps([]broker.AppConfig{cfg})
	s.call(demo, "POST", groups, sendBody{"members": []string{"a", "b", "c"}}).refused(409, 4304)
	s.create(sendBody{"id": "team", "members": []string{"a", "b"}})
	s.call(demo, "PUT", groups+"/team/members/c", nil).refused(409, 4304)
	s.call(demo, "PUT", groups+"/team/members/a", nil).ok(204, nil)
}

func TestAGroupOfTheDefaultLimitIsMadeAtOnce(t *testing.T) {
	s := start(t)
	members := make([]string, 2000)
	for i := range members {
		members[i] = fmt.Sprintf("%s%04d", strings.Repeat("𝕏", 46), i)
	}
	if g := s.create(sendBody{"members": members}); g.Members != 2000 {
		t.Errorf("%+v", g)
	}
}

func TestAnOpenGroupHasACountAndNoList(t *testing.T) {
	s := start(t)
	alice := s.open("alice")
	s.create(sendBody{"id": "show", "open": true})
	s.call(demo, "PUT", groups+"/show/members/alice", nil).refused(422, 4401)
	alice.Publish(&broker.Publish{Topic: []byte("demo/request/alice/join"), Payload: []byte(`{"group":"show"}`)})
	var got group
	s.call(demo, "GET", groups+"/show", nil).ok(200, &got)
	if !got.Open || got.Members != 1 {
		t.Errorf("%+v", got)
	}
	if p := s.call(demo, "GET", groups+"/show/members", nil).refused(422, 4401).Body.String(); !strings.Contains(p, "count: 1") {
		t.Error(p)
	}
	s.send("x", "y", "z")
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "host", "group": "show", "message": "welcome"}).ok(200, nil)
	if diff := cmp.Diff([]string{"welcome"}, alice.heard("demo/group/show/host")); diff != "" {
		t.Error(diff)
	}
	s.call(demo, "DELETE", groups+"/show/members/alice", nil).ok(204, nil)
	s.call(demo, "DELETE", groups+"/show/members/alice", nil).refused(404, 404)
}

func TestAGroupMessageIsSentByAMemberAndReadInHistory(t *testing.T) {
	s := start(t)
	bob := s.open("bob")
	s.create(sendBody{"id": "team", "members": []string{"alice", "bob"}})
	s.send("alice", "not to the group", "bob")
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "eve", "group": "team", "message": "x"}).refused(403, 4317)
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "alice", "group": "team", "message": "x", "receipt": true}).refused(422, 4401)
	for _, text := range []string{"one", "two", "three"} {
		var sent map[string]any
		s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "alice", "group": "team", "message": text}).ok(200, &sent)
		if sent["conversation"] != "team" {
			t.Error(sent)
		}
		s.call(demo, "PUT", groups+"/team/members/"+text, nil).ok(204, nil) // is in no history
	}
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "alice", "group": "team", "message": "now", "transient": true}).ok(200, nil)
	if diff := cmp.Diff([]string{"now", "one", "two", "three"}, bob.heard("demo/group/team/alice")); diff != "" {
		t.Error(diff)
	}
	for _, query := range []string{"group=team", "conversation=team"} {
		found := all[message](s, "/v1/apps/demo/messages?order=asc&"+query, "2")
		if diff := cmp.Diff([]string{"one", "two", "three"}, texts(found)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
		if m := found[0]; m.Group != "team" || m.To != nil || m.Conversation != "team" {
			t.Errorf("%+v", m)
		}
	}
	if found := all[message](s, "/v1/apps/demo/messages?peer=alice", "10"); len(found) != 4 {
		t.Errorf("of alice: %v", texts(found))
	}
	if found := all[message](s, "/v1/apps/demo/messages?peer=bob", "10"); len(found) != 1 {
		t.Errorf("of bob: %v", texts(found))
	}
}
