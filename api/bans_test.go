package api_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kith/broker"
)

type banItem struct {
	Peer   string `json:"peer"`
	Until  int64  `json:"until"`
	Reason string `json:"reason"`
}

func TestABanKeepsAPeerOutUntilLifted(t *testing.T) {
	s := start(t)
	mallory := s.open("mallory")
	var ban banItem
	s.call(operator, "PUT", "/v1/apps/demo/bans/mallory", sendBody{"reason": "spam"}).ok(200, &ban)
	if diff := cmp.Diff(banItem{Peer: "mallory", Reason: "spam"}, ban); diff != "" {
		t.Error(diff)
	}
	if why := <-mallory.closed; why != broker.CloseKicked {
		t.Errorf("closed for %v", why)
	}
	mallory.End(broker.EndServer, nil)
	_, _, err := s.broker.Open(t.Context(), &broker.OpenRequest{App: "demo", ClientID: "mallory", Version: 5}, mallory)
	if e, ok := errors.AsType[*broker.Error](err); !ok || e.Code != broker.Banned {
		t.Errorf("a banned peer opened: %v", err)
	}
	s.call(operator, "DELETE", "/v1/apps/demo/bans/mallory", nil).ok(204, nil)
	s.call(operator, "DELETE", "/v1/apps/demo/bans/mallory", nil).refused(404, 404)
	s.open("mallory")
}

func TestBansAreListed(t *testing.T) {
	s := start(t)
	until := now() + time.Hour.Milliseconds()
	s.call(operator, "PUT", "/v1/apps/demo/bans/c", nil).ok(200, nil)
	s.call(operator, "PUT", "/v1/apps/demo/bans/a", sendBody{"until": until, "reason": "rude"}).ok(200, nil)
	s.call(operator, "PUT", "/v1/apps/demo/bans/b", sendBody{}).ok(200, nil)
	want := []banItem{{"a", until, "rude"}, {Peer: "b"}, {Peer: "c"}}
	if diff := cmp.Diff(want, all[banItem](s, "/v1/apps/demo/bans", "1")); diff != "" {
		t.Error(diff)
	}
}

func TestABanInThePastIsRefused(t *testing.T) {
	s := start(t)
	s.call(operator, "PUT", "/v1/apps/demo/bans/a", sendBody{"until": now() / 1000}).refused(400, 4114) // seconds
	s.call(operator, "PUT", "/v1/apps/demo/bans/a", sendBody{"until": "tomorrow"}).refused(400, 4114)
	s.call(operator, "PUT", "/v1/apps/demo/bans/a%20b", sendBody{}).refused(400, 4103)
}
