package legacy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kith/broker"
)

func TestUnreadCountsWhatWaits(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for range 3 {
		s.send("u1234", "one", "u0988")
	}
	s.send("100%", "two", "u0988")
	s.send("u0988", "three", "100%")
	for path, want := range map[string]int{
		"u0988": 4, "u0988/" + conversation: 3, "u0988/team": 0, "nobody": 0,
		"100%25": 1, "%E7%8E%8B": 0, "%31%30%30%25": 1,
	} {
		var got struct{ Count int }
		s.call(asApp, "GET", "/rtm/messages/unread/"+path, "").ok(&got)
		if got.Count != want {
			t.Errorf("%s: count %d, want %d", path, got.Count, want)
		}
	}
	s.call(asApp, "GET", "/rtm/messages/unread/a%2Fb", "").refused(400, 4103)
	s.call(asApp, "GET", "/rtm/messages/unread/u0988/a:b", "").refused(400, 4114)
}

func TestOnlineTellsWhoIs(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.open("7u")
	var got struct{ Results []string }
	s.call(asMaster, "POST", "/rtm/online", `{"peers":["7u","8b","3h"]}`).ok(&got)
	if diff := cmp.Diff([]string{"7u"}, got.Results); diff != "" {
		t.Error(diff)
	}
	if got := s.call(asMaster, "POST", "/rtm/online", `{"peers":["8b"]}`); strings.TrimSpace(string(got.body)) != `{"results":[]}` {
		t.Errorf("nobody online: %s", got.body)
	}
	many := func(n int) string { return `{"peers":["7u"` + strings.Repeat(`,"7u"`, n-1) + `]}` }
	s.call(asMaster, "POST", "/rtm/online", many(20)).ok(&got)
	s.call(asMaster, "POST", "/rtm/online", many(21)).refused(422, 4113)
	s.call(asMaster, "POST", "/rtm/online", `{"peers":[]}`).refused(400, 4114)
	s.call(asMaster, "POST", "/rtm/online", `{"peers":"7u"}`).refused(400, 4114)
	s.call(asMaster, "POST", "/rtm/online", `{"peers":["a/b"]}`).refused(400, 4103)
}

func TestAKickEndsAClientsConnections(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	phone, pad := s.open("some-client-id/phone"), s.open("some-client-id/pad")
	s.call(asMaster, "POST", "/rtm/client/kick", `{"client_id":"some-client-id","reason":"..."}`).empty()
	for _, d := range []*device{phone, pad} {
		if why := <-d.closed; why != broker.CloseKicked {
			t.Errorf("closed for %v", why)
		}
	}
	s.call(asMaster, "POST", "/rtm/client/kick", `{"client_id":"nobody"}`).empty()
	s.call(asMaster, "POST", "/rtm/client/kick", `{"client_id":"a","reason":"`+strings.Repeat("字", 20)+`"}`).empty()
	s.call(asMaster, "POST", "/rtm/client/kick", `{"client_id":"a","reason":"`+strings.Repeat("字", 21)+`"}`).refused(422, 4113)
	s.call(asMaster, "POST", "/rtm/client/kick", `{}`).refused(400, 4103)
}
