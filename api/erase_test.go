package api_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kith/broker"
)

type erased struct {
	Peer     string `json:"peer"`
	At       int64  `json:"at"`
	Sessions int    `json:"sessions"`
	Messages int    `json:"messages"`
	Waiting  int    `json:"waiting"`
	Events   int    `json:"events"`
	Groups   int    `json:"groups"`
	Devices  int    `json:"devices"`
}

func TestAnErasedPeerIsGoneAndWhatOthersSentIsTheirs(t *testing.T) {
	s := start(t)
	phone := s.open("alice/phone")
	ended := make(chan struct{})
	go func() { // as a connection does
		defer close(ended)
		<-phone.closed
		phone.End(broker.EndServer, nil)
	}()
	s.open("alice/desk").End(broker.EndLost, nil)
	s.create(sendBody{"id": "team", "members": []string{"alice", "bob"}})
	s.create(sendBody{"id": "club", "members": []string{"alice"}})
	s.send("alice", "from alice", "bob")
	s.send("alice", "to two", "bob", "carol")
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "alice", "group": "team", "message": "to the team"}).ok(200, nil)
	s.send("bob", "to alice", "alice")
	s.call(operator, "PUT", "/v1/apps/demo/bans/alice", nil).ok(200, nil)

	s.call(operator, "DELETE", "/v1/apps/demo/peers/alice", nil).refused(403, 4119)
	var got erased
	begun := now()
	s.call(admin, "DELETE", "/v1/apps/demo/peers/alice", nil).ok(200, &got)
	<-ended
	if got.At < begun || got.At > now() {
		t.Errorf("erased at %d", got.At)
	}
	got.At = 0
	if diff := cmp.Diff(erased{Peer: "alice", Messages: 3, Waiting: 4, Events: 2, Groups: 2, Devices: 2}, got); diff != "" {
		t.Error(diff)
	}
	s.call(demo, "GET", "/v1/apps/demo/peers/alice", nil).refused(404, 404)
	if diff := cmp.Diff([]string{"bob"}, s.members("team")); diff != "" {
		t.Error(diff)
	}
	for query, want := range map[string][]string{"": {"to alice"}, "?from=alice": nil, "?group=team": nil, "?peers=alice,bob": {"to alice"}, "?peer=alice": nil} {
		if diff := cmp.Diff(want, texts(all[message](s, "/v1/apps/demo/messages"+query, "10"))); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	for _, peer := range []string{"alice", "bob", "carol"} {
		var queue list[message]
		s.call(demo, "GET", "/v1/apps/demo/peers/"+peer+"/queue", nil).ok(200, &queue)
		if len(queue.Items) != 0 {
			t.Errorf("waiting for %s: %v", peer, texts(queue.Items))
		}
	}
	if bans := all[struct{ Peer, Reason string }](s, "/v1/apps/demo/bans", "10"); len(bans) != 1 {
		t.Errorf("the ban did not stay: %+v", bans)
	}
	s.call(demo, "DELETE", "/v1/apps/demo/peers/alice", nil).ok(200, &got)
	if got.At = 0; got != (erased{Peer: "alice"}) {
		t.Errorf("erased again: %+v", got)
	}
	s.call(demo, "DELETE", "/v1/apps/demo/peers/a%2Fb", nil).refused(400, 4103)
}
