package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kith/api"
	"kith/broker"
)

// sse is one server-sent event; a comment has its text as comment.
type sse struct{ ID, Event, Data, Comment string }

// follow opens a live stream and returns what comes. The stream ends with the test.
func (s *server) follow(who, query string, headers ...string) (<-chan sse, *http.Response) {
	s.Helper()
	web := httptest.NewServer(s.api.Handler())
	s.Cleanup(web.Close)
	ctx, cancel := context.WithCancel(s.Context())
	s.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", web.URL+"/v1/apps/demo/live"+query, nil)
	if err != nil {
		s.Fatal(err)
	}
	r.Header = s.request(who, "GET", "/", nil).Header
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = res.Body.Close() })
	events := make(chan sse, 1024)
	go func() {
		defer close(events)
		readEvents(bufio.NewScanner(res.Body), func(e sse) { events <- e })
	}()
	if first := <-events; res.StatusCode == 200 && first.Comment != "live" {
		s.Fatalf("the stream begins with %+v", first)
	}
	return events, res
}

func readEvents(lines *bufio.Scanner, yield func(sse)) {
	var e sse
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case lines.Text() == "":
			yield(e)
			e = sse{}
		case name == "id":
			e.ID = value
		case name == "event":
			e.Event = value
		case name == "data":
			e.Data += value
		case name == "":
			e.Comment = value
		}
	}
}

// next returns the next event of a stream.
func (s *server) next(events <-chan sse) sse {
	s.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			s.Fatal("the stream ended")
		}
		return e
	case <-time.After(10 * time.Second):
		s.Fatal("no event comes")
	}
	return sse{}
}

// nextMessage returns the next event's message.
func (s *server) nextMessage(events <-chan sse) message {
	s.Helper()
	e := s.next(events)
	var m message
	if err := json.Unmarshal([]byte(e.Data), &m); err != nil || e.Event != "message" || e.ID != m.ID {
		s.Fatalf("%+v is no message (%v)", e, err)
	}
	return m
}

func TestLiveTellsMessagesAndPresenceAsTheyHappen(t *testing.T) {
	s := start(t)
	s.send("alice", "before", "bob")
	events, res := s.follow(viewer, "")
	if ct := res.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %q", ct)
	}
	id := s.send("alice", "line one\nline two", "bob")
	var inHistory message
	s.call(viewer, "GET", "/v1/apps/demo/messages/"+id, nil).ok(200, &inHistory)
	if diff := cmp.Diff(inHistory, s.nextMessage(events)); diff != "" {
		t.Error(diff)
	}
	before := now()
	bob := s.open("bob")
	for _, want := range []string{"online", "offline"} {
		e := s.next(events)
		var got struct {
			Peer   string `json:"peer"`
			Status string `json:"status"`
			TS     int64  `json:"ts"`
		}
		if err := json.Unmarshal([]byte(e.Data), &got); err != nil || e.Event != "presence" || e.ID != "" ||
			got.Peer != "bob" || got.Status != want || got.TS < before || got.TS > now() {
			t.Errorf("%+v (%v), want bob %s", e, err, want)
		}
		bob.End(broker.EndDisconnect, nil)
	}
}

func TestLiveIsFiltered(t *testing.T) {
	s := start(t)
	s.call(operator, "POST", "/v1/apps/demo/groups", sendBody{"id": "team", "name": "Team", "members": []string{"alice"}}).ok(200, nil)
	streams := map[string]<-chan sse{}
	want := map[string]string{
		"?types=message":                       "direct, to carol, grouped, last",
		"?types=presence":                      "bob online, carol online",
		"?types=message,presence&peer=bob":     "direct, bob online, last",
		"?peer=bob&types=message":              "direct, last",
		"?peer=carol&types=presence":           "carol online",
		"?group=team":                          "grouped",
		"?conversation=team":                   "grouped",
		"?conversation=" + conversationOf(t):   "direct, last",
		"?peer=alice&types=message":            "direct, to carol, grouped, last",
		"?types=message&peer=carol":            "to carol",
		"?types=presence&peer=nobody%E5%AD%97": "",
	}
	for query := range want {
		streams[query], _ = s.follow(viewer, query)
	}
	s.send("alice", "direct", "bob")
	waitFor(t, streams["?types=message,presence&peer=bob"], 1)
	s.open("bob")
	waitFor(t, streams["?types=message,presence&peer=bob"], 2)
	s.open("carol")
	s.send("alice", "to carol", "carol")
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "alice", "group": "team", "message": "grouped"}).ok(200, nil)
	s.send("alice", "last", "bob")
	for query, all := range want {
		var got []string
		for n := len(strings.Split(all, ", ")); all != "" && len(got) < n; {
			e := s.next(streams[query])
			var it struct{ Message, Peer, Status string }
			if err := json.Unmarshal([]byte(e.Data), &it); err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimSpace(it.Message+it.Peer+" "+it.Status))
		}
		if diff := cmp.Diff(all, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

func TestLiveGoesOnBehindTheLastEventID(t *testing.T) {
	s := start(t)
	first := s.send("alice", "first", "bob")
	s.send("alice", "second", "bob")
	events, _ := s.follow(demo, "?types=message", "Last-Event-ID", first)
	s.send("alice", "third", "bob")
	for _, want := range []string{"second", "third"} {
		if got := s.nextMessage(events).Message; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestLiveRefusesWhatItDoesNotUnderstand(t *testing.T) {
	s := start(t)
	for _, query := range []string{
		"?types=receipt", "?peer=a&group=b", "?group=b&types=presence", "?group=team&conversation=team", "?what=x", "?conversation=UPPER%21", "?types=",
	} {
		s.call(viewer, "GET", "/v1/apps/demo/live"+query, nil).refused(400, 4114)
	}
	s.call(viewer, "GET", "/v1/apps/demo/live?peer=a%2Fb", nil).refused(400, 4103)
	r := s.request(viewer, "GET", "/v1/apps/demo/live", nil)
	r.Header.Set("Last-Event-ID", "7")
	s.do(r).refused(400, 4114)
	s.call("", "GET", "/v1/apps/demo/live", nil).refused(401, 4118)
	s.call(viewer, "GET", "/v1/apps/other/live", nil).refused(403, 4119)
}

func TestLiveEndsWithTheServer(t *testing.T) {
	s := start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.api.Run(ctx, l) }()
	r := s.request(demo, "GET", "http://"+l.Addr().String()+"/v1/apps/demo/live", nil)
	r.RequestURI = ""
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	began := time.Now()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the server waited %v for a stream", took)
	}
}

func TestAStreamEndsWhenItsCredentialsOpenTheAppNoMore(t *testing.T) {
	for name, change := range map[string]struct {
		who    string
		change func(*server)
	}{
		"token taken away": {viewer, func(s *server) { s.api.SetOperators(nil) }},
		"app taken away": {viewer, func(s *server) {
			s.api.SetOperators([]api.Operator{{Name: "eyes", Token: viewer, Role: api.RoleViewer, Apps: []string{"other"}}})
		}},
		"master key changed": {demo, func(s *server) {
			cfg := broker.DefaultAppConfig("demo")
			cfg.MasterKey = "demo-new-key"
			s.broker.SetApps([]broker.AppConfig{cfg})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			events, _ := s.follow(change.who, "")
			s.send("alice", "before", "bob")
			s.nextMessage(events)
			change.change(s)
			if _, err := s.broker.Send(t.Context(), "demo", broker.SendRequest{From: "alice", To: []broker.PeerID{"bob"}, Payload: []byte("after")}); err != nil {
				t.Fatal(err)
			}
			select {
			case e, goesOn := <-events:
				if goesOn {
					t.Errorf("it still tells %+v", e)
				}
			case <-time.After(10 * time.Second):
				t.Error("it stays open")
			}
		})
	}
}

func TestAQuietStreamHasAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t)
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		w := httptest.NewRecorder()
		s.api.Handler().ServeHTTP(w, s.request(demo, "GET", "/v1/apps/demo/live", nil).WithContext(ctx))
		if want := ": live\n\n: heartbeat\n\n: heartbeat\n\n"; w.Body.String() != want {
			t.Errorf("%q, want %q", w.Body, want)
		}
	})
}

// waitFor waits until n events of a stream have come.
func waitFor(t testing.TB, events <-chan sse, n int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); len(events) < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d events come", len(events), n)
		}
	}
}

func conversationOf(t testing.TB) string {
	t.Helper()
	return string(broker.DirectConversation("alice", "bob"))
}
