package legacy_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"kith/broker"
)

// conversation is that of u1234 and u0988, as the original service's page works it out.
const conversation = "bcd26a54e98687390b0abb4d83683d4b"

func TestARecordHasTheFieldsOfTheOriginal(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	sent := s.send("u1234", "今天天气不错！", "u0988")
	s.call(asMaster, "POST", "/rtm/messages", `{"from_peer":"u1234","to_peers":["u0988"],"message":"<b>&","transient":false}`).empty()
	if _, err := s.broker.Send(t.Context(), appID, broker.SendRequest{From: "u0988", To: []broker.PeerID{"u1234"}, Payload: []byte{0, 255}}); err != nil {
		t.Fatal(err)
	}
	got := s.call(asMaster, "GET", "/rtm/messages/history?convid="+conversation, "")
	var records []record
	got.ok(&records)
	if len(records) != 3 || records[0].Data != "AP8=" || !*records[0].Bin || records[1].FromIP != "127.0.0.1" {
		t.Fatalf("records: %s", got.body)
	}
	if !strings.Contains(string(got.body), `"<b>&"`) {
		t.Errorf("the text is escaped: %s", got.body)
	}
	want := fmt.Sprintf(`{"timestamp":%d,"conv-id":%q,"data":"今天天气不错！","from":"u1234","msg-id":%q,"is-conv":false,`+
		`"is-room":false,"to":["u0988"],"bin":false,"from-ip":""}`, sent.TS, conversation, sent.MessageID)
	if !strings.HasSuffix(strings.TrimSpace(string(got.body)), want+"]") {
		t.Errorf("got %s, want at its end %s", got.body, want)
	}
}

func TestAGroupsRecordNamesTheGroup(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.group(broker.NewGroup{ID: "4ad934r23bjhcas", Members: []broker.PeerID{"1a", "2b"}})
	s.call(asMaster, "POST", "/rtm/messages", `{"from_peer":"1a","group_id":"4ad934r23bjhcas","message":"hi","transient":false}`).empty()
	got := s.logs(asApp, "?convid=4ad934r23bjhcas")
	if len(got) != 1 || !*got[0].IsRoom || *got[0].IsConv || got[0].ConvID != "4ad934r23bjhcas" || string(got[0].To) != `"4ad934r23bjhcas"` {
		t.Errorf("records: %+v", got)
	}
}

func TestAckAtIsWhenTheReceiptWasGiven(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	bob := s.open("bob")
	if _, err := s.broker.Send(t.Context(), appID, broker.SendRequest{From: "alice", To: []broker.PeerID{"bob"}, Payload: []byte("hi"), Receipt: true}); err != nil {
		t.Fatal(err)
	}
	if got := s.logs(asMaster, ""); got[0].AckAt != 0 {
		t.Errorf("ack-at before it arrived: %+v", got[0])
	}
	bob.message()
	bob.Acked(1)
	for end := time.Now().Add(patience); ; {
		if got := s.logs(asMaster, "")[0]; got.AckAt >= got.Timestamp {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no ack-at")
		}
	}
}

func TestHistoryIsSelected(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.send("u1234", "one", "u0988")
	s.send("u0988", "two", "u1234")
	s.send("u1234", "three", "carol")
	for query, want := range map[string]string{
		"":                                  "three two one",
		"?from=u1234":                       "three one",
		"?convid=" + conversation:           "two one",
		"?limit=1":                          "three",
		"?limit=5000":                       "three two one",
		"?reversed=true":                    "one two three",
		"?_t=1453014943466":                 "three two one", // what is not known is passed over
		"?convid=" + conversation + "&from": "two one",
	} {
		if got := texts(s.logs(asMaster, query)); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
}

func TestHistoryIsReadBackwardWithoutSkipsOrRepeats(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	var want []string
	for i := range 250 {
		s.send("u1234", fmt.Sprint(i), "u0988")
		want = append([]string{fmt.Sprint(i)}, want...)
	}
	for _, name := range []string{"max_ts", "timestamp"} {
		page := s.logs(asApp, "?convid="+conversation)
		if len(page) != 100 {
			t.Fatalf("a page has %d records when nothing is said", len(page))
		}
		var got []string
		for len(page) > 0 {
			got = append(got, strings.Fields(texts(page))...)
			last := page[len(page)-1]
			page = s.logs(asApp, fmt.Sprintf("?convid=%s&%s=%d&msgid=%s", conversation, name, last.Timestamp, last.MsgID))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestMaxTSIsExclusive(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	first := s.send("u1234", "early", "u0988")
	for s.send("clock", "tick", "tower").TS == first.TS { // the next is in another millisecond
		continue
	}
	last := s.send("u1234", "late", "u0988")
	for _, c := range []struct {
		maxTS     int64
		early, in bool
	}{{first.TS, false, false}, {first.TS + 1, true, false}, {last.TS, true, false}, {last.TS + 1, true, true}} {
		ids := map[string]bool{}
		for _, r := range s.logs(asMaster, fmt.Sprintf("?convid=%s&max_ts=%d", conversation, c.maxTS)) {
			ids[r.MsgID] = true
		}
		if ids[first.MessageID.String()] != c.early || ids[last.MessageID.String()] != c.in {
			t.Errorf("max_ts=%d: %v", c.maxTS, ids)
		}
	}
}

func TestAFullPageComesWhateverWasDeleted(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	oldest := s.send("u1234", "oldest", "u0988")
	for i := range 20 {
		sent := s.send("u1234", fmt.Sprint(i), "u0988")
		s.call(asMaster, "DELETE", fmt.Sprintf("/rtm/messages/logs?convid=%s&msgid=%s&timestamp=%d", conversation, sent.MessageID, sent.TS), "").empty()
	}
	if got := s.logs(asMaster, "?limit=1"); len(got) != 1 || got[0].MsgID != oldest.MessageID.String() {
		t.Errorf("got %+v", got)
	}
}

func TestWrongQueriesOfHistoryAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	sent := s.send("u1234", "one", "u0988")
	for _, query := range []string{
		"limit=0", "limit=-1", "limit=many", "max_ts=soon", "max_ts=-1", "max_ts=0", "timestamp=01", "reversed=perhaps",
		"convid=BCD26A54E98687390B0ABB4D83683D4B", "convid=a/b", "convid=team&from=alice",
		"msgid=" + sent.MessageID.String(),
		fmt.Sprintf("msgid=%s&max_ts=%d", sent.MessageID, sent.TS+1),
		"msgid=PESlY", "%zz",
	} {
		s.call(asMaster, "GET", "/rtm/messages/logs?"+query, "").refused(400, 4114)
	}
	s.call(asMaster, "GET", "/rtm/messages/logs?from=a%2Fb", "").refused(400, 4103)
}

func TestASignedReaderSeesWhatItTookPartIn(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.send("u1234", "one", "u0988")
	s.group(broker.NewGroup{ID: "team", Members: []broker.PeerID{"u1234"}})
	query := func(peer, convid, nonce string, at time.Time) string {
		mac := hmac.New(sha1.New, []byte(masterKey))
		fmt.Fprintf(mac, "%s:%s:%s:%s:%d", appID, peer, convid, nonce, at.Unix())
		return "?" + url.Values{
			"convid": {convid}, "peerid": {peer}, "nonce": {nonce}, "signature_ts": {fmt.Sprint(at.Unix())},
			"signature": {hex.EncodeToString(mac.Sum(nil))},
		}.Encode()
	}
	now := time.Now()
	for range 2 { // the nonce is not used up
		if got := texts(s.logs(asApp, query("u0988", conversation, "bibce", now))); got != "one" {
			t.Errorf("a participant reads %q", got)
		}
	}
	if got := texts(s.logs(asApp, query("mallory", conversation, "bibce", now))); got != "" {
		t.Errorf("who only knows the conversation's id reads %q", got)
	}
	s.logs(asApp, query("u1234", "team", "bibce", now))
	const logs = "/rtm/messages/logs"
	s.call(asApp, "GET", logs+query("mallory", "team", "bibce", now), "").refused(403, 4317)
	s.call(asApp, "GET", logs+query("u0988", conversation, "bibce", now.Add(-7*time.Hour)), "").refused(403, 4102)
	s.call(asApp, "GET", logs+query("u0988", conversation, "bibce", now)+"0", "").refused(403, 4102)
	s.call(asApp, "GET", logs+query("u0988", conversation, "kick", now), "").refused(400, 4114)
	s.call(asMaster, "GET", logs+"?peerid=u0988", "").refused(400, 4114)
}

func TestWhatWasImportedKeepsItsID(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	const at, original = 1408008498571, "PESlY"
	for i, id := range []string{original, "vdkGm4dtRNmhQ5gqUTFBiA"} {
		m := &broker.Message{ID: broker.PastID(at+int64(i), id), From: "u1234", To: []broker.PeerID{"u0988"}, Payload: []byte(id), QoS: 1, Original: id}
		if outcome, err := s.broker.ImportMessages(t.Context(), appID, []broker.PastMessage{{Message: m}}); err != nil || outcome[0] != nil {
			t.Fatal(outcome, err)
		}
	}
	s.send("u1234", "new", "u0988")
	if got := texts(s.logs(asApp, "?convid="+conversation)); got != "new vdkGm4dtRNmhQ5gqUTFBiA PESlY" {
		t.Errorf("history: %s", got)
	}
	got := s.logs(asApp, fmt.Sprintf("?convid=%s&max_ts=%d&msgid=vdkGm4dtRNmhQ5gqUTFBiA", conversation, at+1))
	if len(got) != 1 || got[0].MsgID != original || got[0].Timestamp != at {
		t.Errorf("behind the newer one: %+v", got)
	}
	path := fmt.Sprintf("/rtm/messages/logs?convid=%s&msgid=%s&timestamp=%d", conversation, original, at)
	s.call(asMaster, "DELETE", path, "").empty()
	s.call(asMaster, "DELETE", path, "").refused(404, 404)
}

func TestAMessageIsDeletedByConversationIDAndTime(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	sent := s.send("u1234", "one", "u0988")
	path := func(convid, msgid string, at int64) string {
		return fmt.Sprintf("/rtm/messages/logs?convid=%s&msgid=%s&timestamp=%d", convid, msgid, at)
	}
	id := sent.MessageID.String()
	s.call(asMaster, "DELETE", path("219946ef32e40c515d33ae6975a5c593", "PESlY", 1408008498571), "").refused(404, 404)
	s.call(asMaster, "DELETE", path("team", id, sent.TS), "").refused(404, 404)
	s.call(asMaster, "DELETE", path(conversation, id, sent.TS+1), "").refused(404, 404)
	s.call(asMaster, "DELETE", path(conversation, id, sent.TS)+"&from=u0988", "").refused(404, 404)
	s.call(asMaster, "DELETE", "/rtm/messages/logs?msgid="+id, "").refused(400, 4114)
	s.call(asMaster, "DELETE", "/rtm/messages/logs?convid="+conversation+"&msgid="+id, "").refused(400, 4114)
	s.call(asMaster, "DELETE", path(conversation, id, sent.TS)+"&from=u1234", "").empty()
	s.call(asMaster, "DELETE", path(conversation, id, sent.TS), "").refused(404, 404)
	if got := s.logs(asMaster, ""); len(got) != 0 {
		t.Errorf("still there: %+v", got)
	}
}
