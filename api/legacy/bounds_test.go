package legacy_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kith/api"
	"kith/broker"
)

func TestChangesAreInTheAuditLog(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	sent := s.send("u1234", "one", "u0988")
	path := fmt.Sprintf("/rtm/messages/logs?convid=%s&msgid=%s&timestamp=%d", conversation, sent.MessageID, sent.TS)
	s.call(asMaster, "POST", "/rtm/messages", `{"from_peer":"1a","to_peers":["2b"],"message":"daily work"}`).empty()
	s.call(asMaster, "DELETE", path, "").empty()
	id := s.call(asMaster, "POST", "/rtm/client/kick", `{"client_id":"alice"}`).header.Get("X-Request-Id")
	s.call(asApp, "POST", "/rtm/client/kick", `{"client_id":"alice"}`).refused(403, 4119)
	log, _, err := s.broker.AuditLog(t.Context(), broker.AuditQuery{Apps: []broker.AppID{appID}, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(log) != 3 || log[0].Status != 403 || log[0].Code != 4119 || log[2].Action != "delete-message" || log[2].Target != sent.MessageID.String() {
		t.Fatalf("log: %+v", log)
	}
	want := broker.AuditEntry{
		ID: log[1].ID, TS: log[1].TS, App: appID, Who: appID, Action: "kick-peer", Method: "POST", Path: "/1.1/rtm/client/kick", Target: "alice",
		Address: "127.0.0.1", RequestID: id, Status: 200,
	}
	if diff := cmp.Diff(want, log[1]); diff != "" {
		t.Error(diff)
	}
}

func TestEachKeyHasARateOfItsOwn(t *testing.T) {
	t.Parallel()
	s := start(t, nil, func(_ *api.Options, app *broker.AppConfig) {
		app.Requests = broker.RequestsConfig{PerSecond: 0.001, Burst: 2}
	})
	for _, who := range []headers{asApp, asMaster} {
		for range 2 {
			s.logs(who, "?convid=team")
		}
		got := s.call(who, "GET", "/rtm/messages/logs?convid=team", "")
		got.refused(429, 4116)
		if got.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
}

func TestNothingIsAddedWhileThereIsNoRoom(t *testing.T) {
	t.Parallel()
	s := start(t, nil, func(o *api.Options, _ *broker.AppConfig) {
		o.Overloaded = func() error { return broker.Errorf(broker.Internal, "memory is short") }
	})
	s.call(asMaster, "POST", "/rtm/messages", `{"from_peer":"1a","to_peers":["2b"],"message":"x"}`).refused(503, 4200)
	s.call(asMaster, "POST", "/rtm/client/kick", `{"client_id":"alice"}`).empty()
	s.logs(asMaster, "")
}
