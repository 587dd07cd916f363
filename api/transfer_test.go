package api_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kith/api"
	"kith/broker"
)

// exported is what an export holds, by line.
func (s *server) exported(who, query string) []string {
	s.Helper()
	body := s.call(who, "GET", "/v1/apps/demo/export"+query, nil).ok(200, nil).Body.String()
	if body == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(body, "\n"), "\n")
}

func (s *server) imports(app, records string) api.Imported {
	s.Helper()
	var got api.Imported
	r := s.request(app+":"+app+"-key", "POST", "/v1/apps/"+app+"/import", records)
	r.Header.Set("Content-Type", "application/x-ndjson")
	s.do(r).ok(200, &got)
	return got
}

func (s *server) historyOf(app, query string) []message {
	s.Helper()
	var page list[message]
	s.call(app+":"+app+"-key", "GET", "/v1/apps/"+app+"/messages?limit=100"+query, nil).ok(200, &page)
	return page.Items
}

func textsOf(items []message) []string {
	got := texts(items)
	slices.Reverse(got)
	return got
}

func TestExportStreamsHistoryOldestFirst(t *testing.T) {
	s := start(t)
	s.create(sendBody{"id": "team", "members": []string{"alice", "bob"}})
	var ids []string
	for i := range 600 {
		ids = append(ids, s.send("alice", fmt.Sprint(i), "bob"))
	}
	lines := s.exported(demo, "")
	if len(lines) != 600 {
		t.Fatalf("%d lines", len(lines))
	}
	items := s.historyOf("demo", "&order=asc")
	for i, line := range lines {
		var m message
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.ID != ids[i] || m.Message != fmt.Sprint(i) {
			t.Fatalf("line %d: %v in %s", i, err, line)
		}
		if i < len(items) && cmp.Diff(items[i], m) != "" {
			t.Fatalf("line %d is no item of history:\n%s", i, cmp.Diff(items[i], m))
		}
	}
	from, to := items[10].TS, items[50].TS
	got := s.exported(demo, fmt.Sprintf("?since=%d&until=%d", from, to))
	for _, line := range got {
		var m message
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.TS < from || m.TS >= to {
			t.Errorf("not of the time asked for: %s", line)
		}
	}
	s.call(viewer, "GET", "/v1/apps/demo/export", nil).ok(200, nil)
	s.call("other:other-key", "GET", "/v1/apps/demo/export", nil).refused(403, 4119)
	s.call(demo, "GET", "/v1/apps/demo/export?peer=a%20b", nil).refused(400, 4103)
}

func TestAnExportMovesAnAppWhole(t *testing.T) {
	s := start(t)
	s.create(sendBody{"id": "team", "name": "Team", "attributes": sendBody{"a": 1}, "members": []string{"alice", "bob"}})
	s.create(sendBody{"id": "hall", "open": true})
	s.send("alice", "one", "bob", "carol")
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "alice", "group": "team", "message": "two"}).ok(200, nil)
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "bob", "to": []string{"alice"}, "data": "AP8=", "receipt": true}).ok(200, nil)
	lines := s.exported(demo, "?records=all")
	awaitPast(s)
	first := s.imports("other", strings.Join(lines, "\n"))
	if diff := cmp.Diff(api.Imported{Records: 7, Messages: 3, Groups: 2, Members: 2, Refused: []api.RefusedLine{}}, first); diff != "" {
		t.Fatal(diff)
	}
	again := s.imports("other", "["+strings.Join(lines, ",")+"]")
	if diff := cmp.Diff(api.Imported{Records: 7, Present: 7, Refused: []api.RefusedLine{}}, again); diff != "" {
		t.Errorf("twice: %s", diff)
	}
	for _, query := range []string{"", "&group=team", "&peers=alice,bob,carol", "&from=alice", "&peer=alice", "&peer=carol", "&order=asc"} {
		if diff := cmp.Diff(s.historyOf("demo", query), s.historyOf("other", query)); diff != "" {
			t.Errorf("history %s (-there +here):\n%s", query, diff)
		}
	}
	there := s.call("other:other-key", "GET", "/v1/apps/other/export?records=all", nil).ok(200, nil).Body.String()
	if diff := cmp.Diff(strings.Join(lines, "\n")+"\n", there); diff != "" {
		t.Errorf("exported again (-first +then):\n%s", diff)
	}
}

// awaitPast waits until the clock has gone past what was accepted so far: only the past can be imported.
func awaitPast(s *server) {
	s.Helper()
	for begun := now(); now() <= begun; {
		time.Sleep(time.Millisecond)
	}
}

const foreign = `{"timestamp":1408008498571,"conv-id":"x","data":"hi","from":"u1","msg-id":"aaa","is-room":false,"to":["u2"],"bin":false,"from-ip":"192.0.2.1","ack-at":1408008499000}
{"timestamp":1408008498572,"conv-id":"5541c02ce4b0f83f4d44414e","data":"to a room","from":"u1","msg-id":"bbb","is-room":true,"to":"5541c02ce4b0f83f4d44414e"}
{"timestamp":1408008498573,"conv-id":"5541c02ce4b0f83f4d44414f","data":"AP8=","from":"u2","msg-id":"ccc","is-conv":true,"bin":true}

{"timestamp":1408008498574,"data":"nobody","from":"u2","msg-id":"ddd"}
{"timestamp":99999999999999,"data":"tomorrow","from":"u2","to":"u1","msg-id":"eee"}
nonsense
{"timestamp":1408008498574,"data":"no name","from":"a b","to":"u1","msg-id":"fff"}
{"objectId":"5541c02ce4b0f83f4d44414e","m":["u1","u2"],"tr":false,"topic":"tea","createdAt":"2014-10-08T02:29:21.417Z"}
{"objectId":"0123456789abcdef0123456789abcdef","m":["u1"]}
`

func TestHistoryOfTheOriginalServiceMovesIn(t *testing.T) {
	s := start(t)
	want := api.Imported{Records: 9, Messages: 3, Groups: 1, Members: 2, Refused: []api.RefusedLine{
		{Line: 5, Reason: "it has 0 receivers and no group: 1 to 100 are possible"},
		{Line: 6, Reason: "its time is not in the past: 1 to now, in Unix milliseconds"},
		{Line: 7, Reason: "it is no JSON object"},
		{Line: 8, Reason: "from is not a peer id: 1-50 characters without control characters, spaces and / + # : $"},
		{Line: 10, Reason: "it has no group id: 1-64 of A-Z a-z 0-9 _ . - and not 32 hex digits"},
	}}
	if diff := cmp.Diff(want, s.imports("demo", foreign)); diff != "" {
		t.Fatal(diff)
	}
	want.Messages, want.Groups, want.Members, want.Present = 0, 0, 0, 4
	if diff := cmp.Diff(want, s.imports("demo", foreign)); diff != "" {
		t.Fatalf("twice: %s", diff)
	}
	items := s.historyOf("demo", "&peers=u1,u2")
	id := broker.PastID(1408008498571, "aaa").String()
	if len(items) != 1 || items[0].ID != id || items[0].TS != 1408008498571 || items[0].ReceiptAt != 1408008499000 || items[0].Original != "aaa" || items[0].FromIP != "192.0.2.1" {
		t.Errorf("%+v", items)
	}
	s.call(demo, "GET", "/v1/apps/demo/messages/"+id, nil).ok(200, nil)
	if got := textsOf(s.historyOf("demo", "&group=5541c02ce4b0f83f4d44414e")); !slices.Equal(got, []string{"to a room"}) {
		t.Errorf("the room: %v", got)
	}
	if got := len(s.historyOf("demo", "&peer=u1")); got != 2 {
		t.Errorf("%d messages of u1", got)
	}
	if diff := cmp.Diff([]string{"u1", "u2"}, s.members("5541c02ce4b0f83f4d44414e")); diff != "" {
		t.Error(diff)
	}
	// It waits for nobody, and gives way to an erasure.
	var queue list[message]
	s.call(demo, "GET", "/v1/apps/demo/peers/u2/queue", nil).ok(200, &queue)
	if len(queue.Items) != 0 {
		t.Errorf("waiting: %+v", queue.Items)
	}
	s.call(demo, "DELETE", "/v1/apps/demo/peers/u1", nil).ok(200, nil)
	if got := len(s.historyOf("demo", "")); got != 1 {
		t.Errorf("%d messages left of all but u1", got)
	}
}

func TestAnImportIsRefusedWhole(t *testing.T) {
	s := start(t)
	s.call(operator, "POST", "/v1/apps/demo/import", foreign).refused(403, 4119)
	s.call("other:other-key", "POST", "/v1/apps/demo/import", foreign).refused(403, 4119)
	s.call("", "POST", "/v1/apps/demo/import", foreign).refused(401, 4118)
	if got := s.imports("demo", ""); got.Records != 0 {
		t.Errorf("nothing: %+v", got)
	}
}

func TestAnImportStopsWhereTooMuchIsRefused(t *testing.T) {
	s := start(t)
	got := s.imports("demo", strings.Repeat("nonsense\n", 1200))
	if len(got.Refused) != 1000 || got.Next != 1001 || got.Refused[999].Line != 1000 {
		t.Errorf("%d refused, next %d", len(got.Refused), got.Next)
	}
}

func TestAnIdOfAnotherMessageIsNotTakenOver(t *testing.T) {
	s := start(t)
	id := s.send("alice", "live", "bob")
	line := s.exported(demo, "")[0]
	awaitPast(s)
	if got := s.imports("demo", line); got.Present != 1 || got.Messages != 0 {
		t.Errorf("its own export: %+v", got)
	}
	if got := s.imports("demo", strings.Replace(line, "live", "other", 1)); len(got.Refused) != 1 || got.Refused[0].Reason != "another message has its id" {
		t.Errorf("another message: %+v", got)
	}
	if got := s.historyOf("demo", ""); len(got) != 1 || got[0].ID != id || got[0].Message != "live" {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsKnownOfOnePeerIsExported(t *testing.T) {
	s := start(t)
	s.open("alice/phone").End(broker.EndLost, nil)
	s.create(sendBody{"id": "team", "members": []string{"alice", "bob"}})
	s.send("alice", "sent", "bob")
	s.send("bob", "received", "alice")
	s.send("bob", "of others", "carol")
	s.call(operator, "PUT", "/v1/apps/demo/bans/alice", sendBody{"reason": "spam"}).ok(200, nil)
	var kinds []string
	for _, line := range s.exported(demo, "?peer=alice&records=all") {
		var r struct{ Type, Message, Peer, Group, Device string }
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, r.Type+r.Message)
	}
	if diff := cmp.Diff([]string{"peer", "device", "member", "event", "sent", "received"}, kinds); diff != "" {
		t.Error(diff)
	}
	if got := len(s.exported(demo, "?peer=alice")); got != 2 {
		t.Errorf("%d messages of alice", got)
	}
}

func TestAFailedExportIsCutShort(t *testing.T) {
	s := start(t)
	for i := range 300 {
		s.send("alice", fmt.Sprint(i), "bob")
	}
	s.store.failReads(2)
	w := httptest.NewRecorder()
	defer func() {
		if recover() == nil {
			t.Error("it ended like a whole one")
		}
	}()
	s.api.Handler().ServeHTTP(w, s.request(demo, "GET", "/v1/apps/demo/export", nil))
}
