package legacy_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"kith/broker"
)

// FuzzCalls makes every call with any query, or any body: each is answered in JSON, and none is the server's fault.
func FuzzCalls(f *testing.F) {
	targets := []struct{ method, path string }{
		{"GET", "/rtm/messages/logs?"},
		{"DELETE", "/rtm/messages/logs?"},
		{"GET", "/rtm/transient_group/onlines?"},
		{"GET", "/classes/AVOSRealtimeGroups?"},
		{"GET", "/rtm/messages/unread/"},
		{"GET", "/classes/AVOSRealtimeGroups/"},
		{"POST", "/rtm/messages"},
		{"POST", "/rtm/online"},
		{"POST", "/rtm/client/kick"},
	}
	for i := range targets {
		for _, seed := range []string{
			"", "convid=" + conversation, "convid=team&max_ts=1408008498571&msgid=PESlY", "from=u1234&limit=1000&reversed=true", "gid=team",
			`where={"m":"1"}`, "limit=0", "a%2Fb", "u0988/team", "%ff", "{}", "[]", `{"peers":["1"]}`, `{"client_id":"1","reason":"x"}`,
			`{"from_peer":"1","message":"x","to_peers":["2"],"transient":false}`, `{"from_peer":"1","message":"x","group_id":"team"}`,
			"convid=" + conversation + "&peerid=1&nonce=2&signature_ts=3&signature=4",
		} {
			f.Add(uint8(i), seed)
		}
	}
	s := start(f, nil)
	s.group(broker.NewGroup{ID: "team", Members: []broker.PeerID{"1"}})
	f.Fuzz(func(t *testing.T, target uint8, text string) {
		s.TB = t
		to, body := targets[int(target)%len(targets)], ""
		path := to.path
		switch {
		case to.method == "POST":
			body = text
		case path[len(path)-1] == '/':
			path += url.PathEscape(text)
		default:
			if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' }) {
				return // no client can say that in a request line
			}
			path += text
		}
		a := s.call(asMaster, to.method, path, body)
		if a.status >= 500 || !json.Valid(a.body) {
			t.Errorf("%s %q %q: %d %s", to.method, path, body, a.status, a.body)
		}
	})
}
