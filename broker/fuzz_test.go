package broker

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func FuzzTopic(f *testing.F) {
	for _, seed := range [][2]string{
		{"demo/peer/bob/+", "demo/peer/bob/alice"}, {"demo/group/+/#", "demo/group/g/$event"}, {"#", "$SYS/x"}, {"demo/presence/bob", "demo/presence/bob"},
		{"demo/topic/a/#", "demo/topic/a"}, {"+/+", "/"}, {"", ""}, {"demo/request/bob/send", "demo/event/bob/reply"}, {"demo//", "demo/peer//"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, filter, topic string) {
		for _, s := range []string{filter, topic} {
			parsed := parseTopic("demo", s)
			if parsed.kind != topicNone && !strings.HasPrefix(s, "demo/") {
				t.Errorf("%q lies outside the app and is taken for its own", s)
			}
		}
		if hasWildcard(topic) {
			return
		}
		if filter == topic && topic != "" && !hasWildcard(filter) && !matchFilter(filter, topic) {
			t.Errorf("%q does not match itself", topic)
		}
		if !hasWildcard(filter) && matchFilter(filter, topic) && filter != topic {
			t.Errorf("%q without wildcards matches %q", filter, topic)
		}
		if validShape(filter) && coversFilter(filter, topic) && !strings.HasPrefix(topic, "$") && !matchFilter(filter, topic) {
			t.Errorf("%q covers %q and does not match it", filter, topic)
		}
	})
}

// validShape reports whether wildcards stand alone in their levels and # last.
func validShape(filter string) bool {
	levels := strings.Split(filter, "/")
	for i, l := range levels {
		if hasWildcard(l) && len(l) > 1 || l == "#" && i < len(levels)-1 {
			return false
		}
	}
	return true
}

func FuzzPassword(f *testing.F) {
	for _, seed := range []string{
		"", "{}", `{"timestamp":1416290728,"nonce":"85561","signature":"cf4a1b6b55ff87753da4ae7f5dd2c33273108b62","watch":["2","3"],"envelope":false,"super":true,"receive":"all"}`,
		`{"watch":null}`, `{"watch":["a","a"]}`, `{"timestamp":"1"}`, `{"timestamp":1e9}`, `{"receive":"some"}`, `{} {}`, `[1]`, `{"watch":[` + strings.Repeat(`"x",`, 200) + `"y"]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, _, err := parsePassword(raw)
		if err != nil {
			if err.Code != Malformed {
				t.Errorf("refused with %d", err.Code)
			}
			return
		}
		presented := p.proof()
		if _, ferr := presented.checkForm(); ferr == nil && (presented.timestamp == "" || !isName(presented.nonce)) {
			t.Errorf("timestamp %q and nonce %q pass", presented.timestamp, presented.nonce)
		}
		if p.Watch == nil {
			return
		}
		peers, perr := parsePeerList("watch", *p.Watch, 100)
		if perr == nil && len(peers) > 100 {
			t.Errorf("%d ids pass", len(peers))
		}
		for _, peer := range peers {
			if !utf8.ValidString(string(peer)) || strings.ContainsAny(string(peer), "/+#:$ ") {
				t.Errorf("%q passes for a peer", peer)
			}
		}
	})
}

func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		`{"id":"7","peers":["bob"]}`, `{"id":7,"to":["bob"],"message":"hi","receipt":true}`, `{"id":{"a":1}}`, `{"data":"AAE="}`, `{"data":"?"}`,
		`{"group":"g","attributes":{"a":[1,2,{"b":null}]}}`, `{"limit":1e99}`, `{"before":"06h0e6g4ko0000000000"}`, `{"id":` + strings.Repeat("[", 5000), `null`,
	} {
		f.Add([]byte(seed))
	}
	s := &Session{app: &app{id: "demo"}, peer: "bob"}
	f.Fuzz(func(t *testing.T, raw []byte) {
		to := replyTo{topic: "demo/event/bob/reply"}
		r, err := s.parseRequest(&Publish{Payload: raw}, &to)
		if err == nil && r == nil || err != nil && err.Code != Malformed && err.Code != MessageTooLong {
			t.Errorf("%v with error %v", r, err)
		}
		if len(to.id) > maxRequestID {
			t.Errorf("an id of %d bytes comes back", len(to.id))
		}
	})
}

func FuzzStoredMessage(f *testing.F) {
	m := &Message{App: "demo", From: "alice", To: []PeerID{"bob"}, Payload: []byte("hi"), QoS: 2, Receipt: true, Props: Properties{ContentType: "text/plain", User: []UserProperty{{"a", "b"}}}}
	stored, err := m.AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(stored)
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m Message
		if m.UnmarshalBinary(raw) != nil {
			return
		}
		if again, err := m.AppendBinary(nil); err != nil || len(again) > len(raw)+16 {
			t.Errorf("parsed and stored again: %d bytes from %d, %v", len(again), len(raw), err)
		}
	})
}

func FuzzTrail(f *testing.F) {
	f.Add(uint64(1), int64(1416290728000), uint64(2), int64(1416290728003), []byte{1, 2, 3})
	f.Add(uint64(1<<63), int64(7), uint64(3<<16), int64(1), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, n uint64, at int64, next uint64, later int64, raw []byte) {
		readTrail(raw, n, func(trailMark) {}) // must end
		if at < 0 || later < 0 {
			return
		}
		n, next = n>>16, next>>16 // no log has more entries
		var tr trail
		tr.mark(trailSent, n, at)
		tr.mark(trailAcked, next, later)
		want := []trailMark{{trailSent, n, at}, {trailAcked, next, max(at, later)}}
		var got []trailMark
		readTrail(tr.buf, tr.first, func(m trailMark) { got = append(got, m) })
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(trailMark{})); diff != "" {
			t.Error(diff)
		}
	})
}
