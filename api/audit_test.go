package api_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kith/api"
	"kith/broker"
)

// auditItem is an entry of the audit log, written down once more.
type auditItem struct {
	ID        string `json:"id"`
	TS        int64  `json:"ts"`
	Who       string `json:"who"`
	Kind      string `json:"kind"`
	Action    string `json:"action"`
	App       string `json:"app"`
	Method    string `json:"method"`
	Path      string `json:"path"`
	Target    string `json:"target"`
	Address   string `json:"address"`
	RequestID string `json:"request_id"`
	Outcome   string `json:"outcome"`
	Status    int    `json:"status"`
	Code      int    `json:"code"`
}

func (s *server) auditLog(who, query string) []auditItem {
	s.Helper()
	var page list[auditItem]
	s.call(who, "GET", "/v1/audit"+query, nil).ok(200, &page)
	return page.Items
}

func actions(items []auditItem) string {
	var all []string
	for _, i := range items {
		all = append(all, i.Action+" "+i.Outcome)
	}
	return strings.Join(all, ", ")
}

func TestTheAuditLogSaysWhoDidWhatWhenFromWhereAndWithWhatOutcome(t *testing.T) {
	s := start(t)
	before := now()
	id := s.call(operator, "PUT", "/v1/apps/demo/bans/mallory", sendBody{"reason": "hunter2"}).ok(200, nil).Header().Get("X-Request-Id")
	got := s.auditLog(admin, "")
	if len(got) != 1 || got[0].ID == "" || got[0].TS < before || got[0].TS > now() {
		t.Fatalf("%+v", got)
	}
	got[0].ID, got[0].TS = "", 0
	want := auditItem{
		Who: "ops", Kind: "operator", Action: "ban-peer", App: "demo", Method: "PUT", Path: "/v1/apps/demo/bans/mallory",
		Address: "192.0.2.7", RequestID: id, Outcome: "done", Status: 200,
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Error(diff)
	}
}

func TestEveryChangeIsInTheAuditLogInItsOrder(t *testing.T) {
	s := start(t)
	s.call(viewer, "GET", "/v1/apps/demo/bans", nil).ok(200, nil)
	s.call(viewer, "POST", "/v1/apps/demo/peers/status", sendBody{"peers": []string{"bob"}}).ok(200, nil)
	s.call(demo, "POST", "/v1/apps/demo/signatures", sendBody{"peer": "alice"}).ok(200, nil)
	s.send("alice", "the app's own", "bob")
	if got := s.auditLog(admin, ""); len(got) != 0 {
		t.Errorf("no change, and yet: %s", actions(got))
	}
	var sent struct {
		MessageID    string `json:"message_id"`
		TS           int64  `json:"ts"`
		Conversation string `json:"conversation"`
	}
	s.call(operator, "POST", "/v1/apps/demo/messages", sendBody{"from": "alice", "to": []string{"bob"}, "message": "x"}).ok(200, &sent)
	s.call(operator, "POST", "/v1/apps/demo/groups", sendBody{"name": "Team"}).ok(200, nil)
	s.call(demo, "DELETE", "/v1/apps/demo/bans/nobody", nil).refused(404, 404)
	s.call(viewer, "DELETE", "/v1/apps/demo/peers/bob/sessions", nil).refused(403, 4119)
	s.call(demo, "DELETE", "/v1/apps/demo/peers/bob/queue", nil).ok(200, nil)
	got := s.auditLog(admin, "")
	want := "clear-queue done, kick-peer refused, lift-ban refused, create-group done, send-message done"
	if diff := cmp.Diff(want, actions(got)); diff != "" {
		t.Fatal(diff)
	}
	if got[0].Who != "demo" || got[0].Kind != "app" || got[1].Code != 4119 || got[3].Target == "" || got[4].Target != sent.MessageID {
		t.Errorf("%+v", got)
	}
	s.call("", "PUT", "/v1/apps/demo/bans/bob", nil).refused(401, 4118)
	if n := len(s.auditLog(admin, "")); n != len(got) {
		t.Errorf("%d entries after a call of nobody", n)
	}
}

func TestTheAuditLogIsFilteredAndPaged(t *testing.T) {
	s := start(t)
	for i := range 5 {
		s.call(operator, "PUT", fmt.Sprintf("/v1/apps/demo/bans/m%d", i), nil).ok(200, nil)
		s.call(other, "PUT", fmt.Sprintf("/v1/apps/other/bans/m%d", i), nil).ok(200, nil)
	}
	s.call(demo, "DELETE", "/v1/apps/demo/bans/m0", nil).ok(204, nil)
	s.call(demo, "DELETE", "/v1/apps/ghost/bans/m0", nil).refused(403, 4119)
	for query, want := range map[string]int{
		"": 12, "?app=demo": 6, "?app=other": 5, "?who=ops": 5, "?who=demo": 2, "?action=lift-ban": 2, "?app=demo&action=lift-ban": 1,
		"?until=1": 0, "?since=1": 12, fmt.Sprintf("?since=%d", now()+60_000): 0, fmt.Sprintf("?until=%d", now()+60_000): 12,
	} {
		for _, limit := range []string{"1", "2", "100"} {
			sep := map[bool]string{true: "&", false: "?"}[query != ""]
			var items []auditItem
			var page list[auditItem]
			for next := ""; ; {
				page = list[auditItem]{}
				s.call(admin, "GET", "/v1/audit"+query+sep+"limit="+limit+next, nil).ok(200, &page)
				items = append(items, page.Items...)
				if page.Next == "" {
					break
				}
				next = "&cursor=" + page.Next
			}
			if len(items) != want {
				t.Errorf("%q by %s: %d entries, want %d", query, limit, len(items), want)
			}
			for i := 1; i < len(items); i++ {
				if items[i].ID >= items[i-1].ID {
					t.Errorf("%q: %s before %s", query, items[i-1].ID, items[i].ID)
				}
			}
		}
	}
	var own list[auditItem]
	s.call(other, "GET", "/v1/apps/other/audit", nil).ok(200, &own)
	if len(own.Items) != 5 {
		t.Errorf("the app's own: %+v", own.Items)
	}
	s.call(operator, "GET", "/v1/audit", nil).refused(403, 4119)
	s.call(viewer, "GET", "/v1/apps/demo/audit", nil).refused(403, 4119)
	s.call(admin, "GET", "/v1/audit?app=ghost", nil).refused(404, 4100)
	s.call(admin, "GET", "/v1/audit?cursor=eA", nil).refused(400, 4114)
}

// turned is a clock that tests may turn.
type turned struct {
	mu    sync.Mutex
	shift time.Duration
}

func (c *turned) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.shift)
}

func (c *turned) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shift += d
}

func withClock(c *turned) func(*api.Options) { return func(o *api.Options) { o.Now = c.now } }

func TestACallerWhoAsksTooOftenIsToldWhenToComeBack(t *testing.T) {
	clock := &turned{}
	s := start(t, withClock(clock), func(o *api.Options) {
		o.Config.Operators[2].Requests = broker.RequestsConfig{PerSecond: 0.5, Burst: 3}
	})
	for range 3 {
		s.call(viewer, "GET", "/v1/apps/demo/bans", nil).ok(200, nil)
	}
	if wait := s.call(viewer, "GET", "/v1/apps/demo/bans", nil).refused(429, 4116).Header().Get("Retry-After"); wait != "2" {
		t.Errorf("Retry-After %q", wait)
	}
	s.call(operator, "GET", "/v1/apps/demo/bans", nil).ok(200, nil)
	clock.pass(2 * time.Second)
	s.call(viewer, "GET", "/v1/apps/demo/bans", nil).ok(200, nil)
	s.call(viewer, "GET", "/metrics", nil).refused(429, 4116)
}

func TestAnAppsRateIsOneForItsKeysAndChangesWithItsSettings(t *testing.T) {
	clock := &turned{}
	s := start(t, withClock(clock))
	set := func(r broker.RequestsConfig) {
		apps := s.broker.Apps()
		apps[0].Requests = r
		s.broker.SetApps(apps)
	}
	set(broker.RequestsConfig{PerSecond: 1, Burst: 2})
	s.call(demo, "GET", "/v1/apps/demo/bans", nil).ok(200, nil)
	s.call("demo:demo-old-key", "GET", "/v1/apps/demo/bans", nil).ok(200, nil)
	s.call(demo, "GET", "/v1/apps/demo/bans", nil).refused(429, 4116)
	s.call(admin, "GET", "/v1/apps/demo/bans", nil).ok(200, nil)
	set(broker.RequestsConfig{})
	s.call(demo, "GET", "/v1/apps/demo/bans", nil).ok(200, nil)
}

// A change is made when its audit entry is asked for: the caller's leaving does not lose it.
func TestAChangeWhoseCallerLeftIsAudited(t *testing.T) {
	s := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.do(s.request(operator, "DELETE", "/v1/apps/demo/peers/bob/queue", nil).WithContext(ctx))
	if got := s.auditLog(admin, ""); len(got) != 1 || got[0].Action != "clear-queue" {
		t.Errorf("%+v", got)
	}
}
