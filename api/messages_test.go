package api_test

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kith/broker"
)

// A time in microseconds, or any other behind all times, is no other time.
func TestTimesBehindAllTimesSelectNothingOrEverything(t *testing.T) {
	s := start(t)
	s.send("alice", "hello", "bob")
	for query, want := range map[string]int{
		"since": 0,
		"until": 1,
	} {
		for _, at := range []int64{now() * 1000, now() + 1<<48, 1 << 48, math.MaxInt64} {
			var page list[message]
			s.call(demo, "GET", fmt.Sprintf("/v1/apps/demo/messages?%s=%d", query, at), nil).ok(200, &page)
			if len(page.Items) != want {
				t.Errorf("%s=%d selects %d messages, not %d", query, at, len(page.Items), want)
			}
		}
	}
}

func TestHistoryIsNewestFirst(t *testing.T) {
	s := start(t)
	for _, text := range []string{"one", "two", "three"} {
		s.send("alice", text, "bob")
	}
	var page list[message]
	s.call(demo, "GET", "/v1/apps/demo/messages", nil).ok(200, &page)
	if diff := cmp.Diff([]string{"three", "two", "one"}, texts(page.Items)); diff != "" {
		t.Error(diff)
	}
	s.call(demo, "GET", "/v1/apps/demo/messages?order=asc", nil).ok(200, &page)
	if diff := cmp.Diff([]string{"one", "two", "three"}, texts(page.Items)); diff != "" {
		t.Error(diff)
	}
}

func TestHistoryItemHasTheFieldsOfTheSpec(t *testing.T) {
	s := start(t)
	id := s.send("u1234", "hello", "u0988")
	var m message
	s.call(demo, "GET", "/v1/apps/demo/messages/"+id, nil).ok(200, &m)
	if m.TS == 0 {
		t.Error("no ts")
	}
	m.TS = 0
	want := message{
		ID: id, Conversation: "bcd26a54e98687390b0abb4d83683d4b", From: "u1234", To: []string{"u0988"},
		Message: "hello", FromIP: "192.0.2.7",
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
}

func TestHistoryIsSelected(t *testing.T) {
	s := start(t)
	s.send("alice", "a-b", "bob")
	s.send("bob", "b-a", "alice")
	s.send("alice", "a-bc", "bob", "carol")
	s.send("carol", "c-b", "bob")
	ab := string(broker.DirectConversation("alice", "bob"))
	for _, c := range []struct {
		query string
		want  []string
	}{
		{"", []string{"a-b", "b-a", "a-bc", "c-b"}},
		{"conversation=" + ab, []string{"a-b", "b-a"}},
		{"peers=bob,alice", []string{"a-b", "b-a"}},
		{"peers=alice%2Cbob", []string{"a-b", "b-a"}},
		{"peers=alice,bob,carol", []string{"a-bc"}},
		{"from=alice", []string{"a-b", "a-bc"}},
		{"peer=carol", []string{"a-bc", "c-b"}},
		{"peer=alice", []string{"a-b", "b-a", "a-bc"}},
		{"group=team", nil},
		{"conversation=team", nil},
	} {
		t.Run(c.query, func(t *testing.T) {
			var page list[message]
			s.call(demo, "GET", "/v1/apps/demo/messages?order=asc&"+c.query, nil).ok(200, &page)
			if diff := cmp.Diff(c.want, texts(page.Items)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHistoryIsCutBySinceAndUntil(t *testing.T) {
	s := start(t)
	var m [2]message
	for i, text := range []string{"early", "late"} {
		id := s.send("alice", text, "bob")
		s.call(demo, "GET", "/v1/apps/demo/messages/"+id, nil).ok(200, &m[i])
		for s.send("alice", "tick", "x") == "" || m[i].TS >= now() { // the next message is in another millisecond
			continue
		}
	}
	early, late := strconv.FormatInt(m[0].TS, 10), strconv.FormatInt(m[1].TS, 10)
	for _, c := range []struct {
		query string
		want  []string
	}{
		{"since=" + early, []string{"early", "late"}},
		{"since=" + late, []string{"late"}},
		{"until=" + late, []string{"early"}},
		{"until=" + early, nil},
		{"since=" + early + "&until=" + late, []string{"early"}},
	} {
		t.Run(c.query, func(t *testing.T) {
			var page list[message]
			s.call(demo, "GET", "/v1/apps/demo/messages?order=asc&peers=alice,bob&"+c.query, nil).ok(200, &page)
			if diff := cmp.Diff(c.want, texts(page.Items)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHistoryPagesStayWhileItGrows(t *testing.T) {
	s := start(t)
	var want []string
	for i := range 10 {
		text := strconv.Itoa(i)
		s.send("alice", text, "bob")
		want = append(want, text)
	}
	slices.Reverse(want)
	var got []string
	path := "/v1/apps/demo/messages?peers=alice,bob&limit=3"
	for at := path; ; {
		var page list[message]
		s.call(demo, "GET", at, nil).ok(200, &page)
		got = append(got, texts(page.Items)...)
		s.send("alice", "later", "bob")
		if page.Next == "" {
			break
		}
		at = path + "&cursor=" + page.Next
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if asc := all[message](s, "/v1/apps/demo/messages?order=asc&from=alice", "4"); len(asc) != 14 || asc[0].Message != "0" || asc[13].Message != "later" {
		t.Errorf("ascending: %v", texts(asc))
	}
}

func TestNextIsAbsentAtTheEnd(t *testing.T) {
	s := start(t)
	for range 4 {
		s.send("alice", "x", "bob")
	}
	body := s.call(demo, "GET", "/v1/apps/demo/messages?limit=4", nil).ok(200, nil).Body.String()
	if strings.Contains(body, "next") {
		t.Errorf("next at the end: %s", body)
	}
	empty := s.call(demo, "GET", "/v1/apps/demo/messages?from=nobody", nil).ok(200, nil).Body.String()
	if strings.TrimSpace(empty) != `{"items":[]}` {
		t.Errorf("empty list: %s", empty)
	}
}

func TestAPayloadThatIsNotTextIsBase64(t *testing.T) {
	s := start(t)
	raw := base64.StdEncoding.EncodeToString([]byte{0, 0xff, 0xfe})
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "alice", "to": []string{"bob"}, "data": raw}).ok(200, nil)
	text := base64.StdEncoding.EncodeToString([]byte("text after all"))
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "alice", "to": []string{"bob"}, "data": text}).ok(200, nil)
	var page list[message]
	s.call(demo, "GET", "/v1/apps/demo/messages", nil).ok(200, &page)
	if m := page.Items[1]; m.Data != raw || m.Message != "" {
		t.Errorf("bytes came back as %+v", m)
	}
	if m := page.Items[0]; m.Data != "" || m.Message != "text after all" {
		t.Errorf("text came back as %+v", m)
	}
}

func TestAnEmptyMessageIsAMessage(t *testing.T) {
	s := start(t)
	s.send("alice", "", "bob")
	body := s.call(demo, "GET", "/v1/apps/demo/messages", nil).ok(200, nil).Body.String()
	if !strings.Contains(body, `"message":""`) {
		t.Error(body)
	}
}

func TestPeersOfAnyUTF8(t *testing.T) {
	s := start(t)
	for _, peer := range []string{"张三", "a%b", "ü&=?", `"quoted"`, "Status", "status", "a,b", "%2F"} {
		id := s.send(peer, "hi "+peer, "bob")
		q := "?from=" + url.QueryEscape(peer)
		var page list[message]
		s.call(demo, "GET", "/v1/apps/demo/messages"+q, nil).ok(200, &page)
		if len(page.Items) != 1 || page.Items[0].ID != id || page.Items[0].From != peer {
			t.Errorf("%s: %+v", peer, page.Items)
		}
		s.open(url.PathEscape("x")) // somebody else
		s.open(peer)
		var status struct {
			Peer     string `json:"peer"`
			Online   bool   `json:"online"`
			LastSeen int64  `json:"last_seen"`
			Sessions []any  `json:"sessions"`
			Groups   []any  `json:"groups"`
			Waiting  int    `json:"waiting"`
		}
		s.call(demo, "GET", "/v1/apps/demo/peers/"+url.PathEscape(peer), nil).ok(200, &status)
		if status.Peer != peer || !status.Online {
			t.Errorf("%s: %+v", peer, status)
		}
	}
	// Lower-case escapes make net/url keep the raw path, which the router then matches.
	s.call(demo, "GET", "/v1/apps/demo/peers/%e5%bc%a0%e4%b8%89", nil).ok(200, nil)
}

func TestDeleteMessage(t *testing.T) {
	s := start(t)
	id := s.send("alice", "regretted", "bob")
	kept := s.send("alice", "kept", "bob")
	s.call(demo, "DELETE", "/v1/apps/demo/messages/"+id, nil).ok(204, nil)
	s.call(demo, "DELETE", "/v1/apps/demo/messages/"+id, nil).refused(404, 404)
	s.call(demo, "GET", "/v1/apps/demo/messages/"+id, nil).refused(404, 404)
	var page list[message]
	s.call(demo, "GET", "/v1/apps/demo/messages", nil).ok(200, &page)
	if len(page.Items) != 1 || page.Items[0].ID != kept {
		t.Errorf("left: %+v", page.Items)
	}
}

func TestAMessageOfAnotherAppIsNotFound(t *testing.T) {
	s := start(t)
	id := s.send("alice", "private", "bob")
	s.call(other, "GET", "/v1/apps/other/messages/"+id, nil).refused(404, 404)
	var page list[message]
	s.call(other, "GET", "/v1/apps/other/messages", nil).ok(200, &page)
	if len(page.Items) != 0 {
		t.Errorf("%+v", page.Items)
	}
}

func TestHistoryRefusesWhatItDoesNotUnderstand(t *testing.T) {
	s := start(t)
	peers := "/v1/apps/demo/peers"
	s.open("alice")
	s.open("bob")
	var page list[any]
	s.call(demo, "GET", peers+"?limit=1", nil).ok(200, &page)
	for query, code := range map[string]int{
		"limit=0":                                4114,
		"limit=1001":                             4114,
		"limit=x":                                4114,
		"limit=1&limit=2":                        4114,
		"limit":                                  4114,
		"order=up":                               4114,
		"since=-1":                               4114,
		"since=yesterday":                        4114,
		"nonsense=1":                             4114,
		"conversation=":                          4114,
		"conversation=a/b":                       4114,
		"conversation=" + strings.ToUpper(hex32): 4114,
		"group=" + hex32:                         4114,
		"group=a b":                              4114,
		"peers=a,,b":                             4114,
		"peers=a,b%23":                           4114,
		"from=a%2Fb":                             4103,
		"peer=%ff":                               4103,
		"from=a&peer=b":                          4114,
		"group=a&conversation=a":                 4114,
		"cursor=!":                               4114,
		"cursor=" + page.Next:                    4114, // of the list of peers
		"a=%zz":                                  4114,
		"a;b":                                    4114,
	} {
		s.call(demo, "GET", "/v1/apps/demo/messages?"+strings.ReplaceAll(query, " ", "%20"), nil).refused(400, code)
	}
	s.call(demo, "GET", "/v1/apps/demo/messages/NOT-AN-ID", nil).refused(400, 4114)
}

const hex32 = "bcd26a54e98687390b0abb4d83683d4b"
