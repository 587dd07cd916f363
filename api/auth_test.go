package api_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/api"
)

func TestNobodyIsTold401AndHowToLogIn(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/v1/apps/demo/messages", "/v1/apps/no-such-app/messages", "/v1/apps", "/v1/stats", "/v1/nodes", "/metrics"} {
		challenges := s.call("", "GET", path, nil).refused(401, 4118).Header().Values("WWW-Authenticate")
		if len(challenges) != 2 || !strings.HasPrefix(challenges[0], "Basic ") || !strings.HasPrefix(challenges[1], "Bearer ") {
			t.Errorf("%s: challenges %q", path, challenges)
		}
	}
}

func TestWrongCredentialsAre401(t *testing.T) {
	s := start(t)
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, header := range []string{
		basic("demo:wrong"), basic("demo:"), basic("demo"), basic("other:demo-key"), basic("no-such-app:demo-key"), basic(":"), basic("other:"),
		"Basic !", "Bearer wrong", "Bearer", "Bearer ", "Token " + admin, admin,
	} {
		r := s.request("", "GET", "/v1/apps/demo/messages", nil)
		r.Header.Set("Authorization", header)
		s.do(r).refused(401, 4118)
	}
}

func TestAMasterKeyOpensItsOwnAppAlone(t *testing.T) {
	s := start(t)
	s.call(demo, "GET", "/v1/apps/demo/messages", nil).ok(200, nil)
	s.call("demo:demo-old-key", "GET", "/v1/apps/demo/messages", nil).ok(200, nil)
	s.call(demo, "GET", "/v1/apps/other/messages", nil).refused(403, 4119)
	s.call(demo, "GET", "/v1/apps", nil).refused(403, 4119)
	s.call(demo, "GET", "/v1/stats", nil).refused(403, 4119)
	s.call(demo, "GET", "/metrics", nil).refused(403, 4119)
}

// Who may not see an app cannot tell whether there is one.
func TestAnAppIsToldMissingOnlyToThoseWhoMaySeeIt(t *testing.T) {
	s := start(t)
	const missing = "/v1/apps/ghost/messages"
	s.call("", "GET", missing, nil).refused(401, 4118)
	s.call(admin, "GET", missing, nil).refused(404, 4100)
	s.call(operator, "GET", missing, nil).refused(404, 4100)
	there := s.call(viewer, "GET", "/v1/apps/other/messages", nil).refused(403, 4119).Body.String()
	gone := s.call(viewer, "GET", missing, nil).refused(403, 4119).Body.String()
	if there != gone {
		t.Errorf("%s and %s", there, gone)
	}
	if a, b := s.call(demo, "GET", missing, nil).refused(403, 4119).Body.String(), s.call(demo, "GET", "/v1/apps/other/messages", nil).Body.String(); a != b {
		t.Errorf("%s and %s", a, b)
	}
	s.call(admin, "GET", "/v1/apps/not%20an%20id/messages", nil).refused(404, 4100)
}

func TestRolesMayDoWhatTheSpecSays(t *testing.T) {
	s := start(t)
	id := func() string { return s.send("alice", "x", "bob") }
	for _, c := range []struct {
		least        string
		method, path string
		body         any
	}{
		{viewer, "GET", "/messages", nil},
		{viewer, "GET", "/messages/" + id(), nil},
		{viewer, "GET", "/peers", nil},
		{viewer, "GET", "/peers/bob", nil},
		{viewer, "POST", "/peers/status", sendBody{"peers": []string{"bob"}}},
		{viewer, "GET", "/peers/bob/queue", nil},
		{viewer, "GET", "/bans", nil},
		{operator, "POST", "/messages", sendBody{"from": "alice", "to": []string{"bob"}, "message": "x"}},
		{operator, "DELETE", "/peers/bob/queue", nil},
		{operator, "DELETE", "/peers/bob/sessions", nil},
		{operator, "DELETE", "/peers/bob/sessions/phone", nil},
		{operator, "PUT", "/bans/bob", nil},
		{operator, "DELETE", "/bans/bob", nil},
		{viewer, "GET", "/groups", nil},
		{viewer, "GET", "/groups/g", nil},
		{viewer, "GET", "/groups/g/members", nil},
		{operator, "POST", "/groups", sendBody{"id": "g"}},
		{operator, "PATCH", "/groups/g", sendBody{"name": "x"}},
		{operator, "PUT", "/groups/g/members/bob", nil},
		{operator, "DELETE", "/groups/g/members/bob", nil},
		{admin, "DELETE", "/groups/g", nil},
		{admin, "DELETE", "/peers/bob", nil},
		{admin, "DELETE", "/messages/" + id(), nil},
		{admin, "POST", "/signatures", sendBody{"peer": "1"}},
	} {
		ranks := []string{viewer, operator, admin}
		for rank, who := range ranks {
			a := s.call(who, c.method, "/v1/apps/demo"+c.path, c.body)
			if rank < slices.Index(ranks, c.least) {
				a.refused(403, 4119)
			} else if a.Code == 401 || a.Code == 403 {
				t.Errorf("%s %s as %s: %d", c.method, c.path, who, a.Code)
			}
		}
		if a := s.call(demo, c.method, "/v1/apps/demo"+c.path, c.body); a.Code == 401 || a.Code == 403 {
			t.Errorf("%s %s with the master key: %d", c.method, c.path, a.Code)
		}
	}
}

// What is wrong with a request is told only to those who may make it.
func TestAuthenticationComesBeforeTheInput(t *testing.T) {
	s := start(t)
	s.call("", "POST", "/v1/apps/demo/messages", "{").refused(401, 4118)
	s.call(viewer, "POST", "/v1/apps/demo/messages", "{").refused(403, 4119)
	s.call("", "GET", "/v1/apps/demo/messages?limit=x", nil).refused(401, 4118)
}

func TestOperatorsSeeTheirAppsWithoutKeys(t *testing.T) {
	s := start(t)
	type app struct {
		App               string   `json:"app"`
		SignatureRequired bool     `json:"signature_required"`
		RequireWatch      bool     `json:"require_watch"`
		MessageBytes      int      `json:"message_bytes"`
		Topics            []string `json:"topics"`
	}
	for who, want := range map[string]string{admin: "demo other", viewer: "demo"} {
		var got []string
		for at := "/v1/apps?limit=1"; ; {
			var page list[app]
			a := s.call(who, "GET", at, nil).ok(200, &page)
			if strings.Contains(a.Body.String(), "key") {
				t.Errorf("a key: %s", a.Body)
			}
			for _, i := range page.Items {
				got = append(got, i.App)
			}
			if page.Next == "" {
				break
			}
			at = "/v1/apps?limit=1&cursor=" + page.Next
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s sees %q", who, got)
		}
	}
}

func TestOperatorsAreReplacedAtOnce(t *testing.T) {
	s := start(t)
	s.call("fresh", "GET", "/v1/apps", nil).refused(401, 4118)
	s.api.SetOperators([]api.Operator{{Name: "new", Token: "fresh", Role: api.RoleViewer, Apps: []string{"*"}}})
	s.call("fresh", "GET", "/v1/apps", nil).ok(200, nil)
	s.call(admin, "GET", "/v1/apps", nil).refused(401, 4118)
}

func TestTwentyFailedLoginsBlockAnAddressForAMinute(t *testing.T) {
	clock := time.Now()
	s := start(t, func(o *api.Options) { o.Now = func() time.Time { return clock } })
	const path = "/v1/apps/demo/messages"
	fail := func() { s.call("demo:wrong", "GET", path, nil).refused(401, 4118) }
	for range 19 {
		fail()
	}
	s.call(demo, "GET", path, nil).ok(200, nil)
	s.call("", "GET", path, nil).refused(401, 4118) // no credentials, no failed login
	fail()
	if after := s.call(demo, "GET", path, nil).refused(429, 4116).Header().Get("Retry-After"); after != "60" {
		t.Errorf("Retry-After %q", after)
	}
	s.call(admin, "GET", "/metrics", nil).refused(429, 4116)

	r := s.request(demo, "GET", path, nil)
	r.Header.Set("X-Forwarded-For", "198.51.100.1")
	s.do(r).refused(429, 4116)

	s.from = "192.0.2.8:1234"
	s.call(demo, "GET", path, nil).ok(200, nil)
	s.from = "192.0.2.7:9999" // another port of the same address
	clock = clock.Add(59 * time.Second)
	s.call(demo, "GET", path, nil).refused(429, 4116)
	clock = clock.Add(time.Second)
	s.call(demo, "GET", path, nil).ok(200, nil)
}

func TestFailuresOfMoreThanAMinuteAgoAreForgotten(t *testing.T) {
	clock := time.Now()
	s := start(t, func(o *api.Options) { o.Now = func() time.Time { return clock } })
	for range 3 {
		for range 19 {
			s.call("demo:wrong", "GET", "/v1/apps/demo/messages", nil).refused(401, 4118)
		}
		clock = clock.Add(time.Minute)
	}
	s.call(demo, "GET", "/v1/apps/demo/messages", nil).ok(200, nil)
}

func TestAnIPv6SubscriberIsOneAddress(t *testing.T) {
	s := start(t)
	for i := range 20 {
		s.from = fmt.Sprintf("[2001:db8:1:2::%x]:99", i+1)
		s.call("wrong", "GET", "/v1/apps", nil).refused(401, 4118)
	}
	s.from = "[2001:db8:1:2:ffff::1]:99"
	s.call(admin, "GET", "/v1/apps", nil).refused(429, 4116)
	s.from = "[2001:db8:1:3::1]:99"
	s.call(admin, "GET", "/v1/apps", nil).ok(200, nil)
}

func TestOnlySoManyAddressesAreRemembered(t *testing.T) {
	s := start(t)
	fail := func() {
		r := s.request("wrong", "GET", "/v1/apps", nil)
		s.api.Handler().ServeHTTP(discard{http.Header{}}, r)
	}
	for range 20 {
		fail()
	}
	s.call(admin, "GET", "/v1/apps", nil).refused(429, 4116)
	for i := range 10_000 {
		s.from = fmt.Sprintf("10.0.%d.%d:1", i/250, i%250)
		fail()
	}
	s.from = "192.0.2.7:1"
	s.call(admin, "GET", "/v1/apps", nil).ok(200, nil) // forgotten
}

// discard is an answer nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
