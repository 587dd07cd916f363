package legacy_test

import (
	"testing"
	"time"

	"kith/api/legacy"
	"kith/broker"
)

// published is when the examples of X-LC-Sign were made.
var published = time.UnixMilli(1453014943466)

// The two values that the original service published, the second of a master key.
const (
	publishedSign       = "d5bcbb897e19b2f6633c716dfdfaf9be,1453014943466"
	publishedMasterSign = "e074720658078c898aa0d4b1b82bdf4b,1453014943466,master"
)

func TestPublishedSignsOpenWhatTheirKeysOpen(t *testing.T) {
	t.Parallel()
	s := start(t, func() time.Time { return published.Add(time.Minute) })
	var count struct{ Count int }
	for _, sign := range []string{publishedSign, publishedMasterSign} {
		s.call(headers{"X-LC-Id", appID, "X-LC-Sign", sign}, "GET", "/rtm/messages/unread/u0988", "").ok(&count)
	}
	s.call(headers{"X-LC-Id", appID, "X-LC-Sign", publishedSign}, "GET", "/rtm/messages/logs", "").refused(403, 4119)
	s.call(headers{"X-LC-Id", appID, "X-LC-Sign", publishedMasterSign}, "GET", "/rtm/messages/logs", "").ok(&[]record{})
}

func TestSignMakesThePublishedValue(t *testing.T) {
	t.Parallel()
	if got := legacy.Sign(masterKey, published); got != publishedMasterSign {
		t.Errorf("got %s", got)
	}
}

func TestASignHoldsWithinTheAppsWindow(t *testing.T) {
	t.Parallel()
	now := published
	s := start(t, func() time.Time { return now })
	for _, c := range []struct {
		after time.Duration
		holds bool
	}{{6 * time.Hour, true}, {6*time.Hour + time.Millisecond, false}, {-6 * time.Hour, true}, {-6*time.Hour - time.Millisecond, false}} {
		now = published.Add(c.after)
		got := s.call(headers{"X-LC-Id", appID, "X-LC-Sign", publishedMasterSign}, "GET", "/rtm/messages/logs", "")
		if c.holds {
			got.ok(&[]record{})
		} else {
			got.refused(401, 4118)
		}
	}
}

func TestEverySpellingOfTheHeadersIsTaken(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	now := time.Now()
	for name, who := range map[string]headers{
		"key":           asMaster,
		"previous key":  {"X-LC-Id", appID, "X-LC-Key", oldKey + ",master"},
		"sign":          {"X-LC-Id", appID, "X-LC-Sign", signed(now, masterKey, ",master")},
		"previous sign": {"X-LC-Id", appID, "X-LC-Sign", signed(now, oldKey, ",master")},
		"older":         {"X-AVOSCloud-Application-Id", appID, "X-AVOSCloud-Master-Key", masterKey},
		"older sign":    {"X-AVOSCloud-Application-Id", appID, "X-AVOSCloud-Request-Sign", signed(now, masterKey, ",master")},
	} {
		t.Run(name, func(t *testing.T) {
			s.call(who, "GET", "/rtm/messages/logs", "").ok(&[]record{})
		})
	}
	s.call(headers{"X-AVOSCloud-Application-Id", appID, "X-AVOSCloud-Application-Key", appKey}, "GET", "/rtm/messages/logs?convid=team", "").ok(&[]record{})
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, who := range map[string]headers{
		"nobody":                        {},
		"no key":                        {"X-LC-Id", appID},
		"no app":                        {"X-LC-Key", masterKey + ",master"},
		"unknown app":                   {"X-LC-Id", "ghost", "X-LC-Key", masterKey + ",master"},
		"wrong key":                     {"X-LC-Id", appID, "X-LC-Key", "wrong"},
		"wrong master key":              {"X-LC-Id", appID, "X-LC-Key", "wrong,master"},
		"app key as master key":         {"X-LC-Id", appID, "X-LC-Key", appKey + ",master"},
		"master key as app key":         {"X-LC-Id", appID, "X-LC-Key", masterKey},
		"empty key of app without":      {"X-LC-Id", "other", "X-LC-Key", ",master"},
		"another app's":                 {"X-LC-Id", "other", "X-LC-Key", masterKey + ",master"},
		"wrong sign":                    {"X-LC-Id", appID, "X-LC-Sign", signed(now, "wrong", ",master")},
		"sign of the app key as master": {"X-LC-Id", appID, "X-LC-Sign", signed(now, appKey, ",master")},
		"sign of no key":                {"X-LC-Id", "other", "X-LC-Sign", signed(now, "", "")},
		"sign of no previous key":       {"X-LC-Id", "other", "X-LC-Sign", signed(now, "", ",master")},
		"sign with another mark":        {"X-LC-Id", appID, "X-LC-Sign", signed(now, masterKey, ",root")},
		"sign without a time":           {"X-LC-Id", appID, "X-LC-Sign", "d5bcbb897e19b2f6633c716dfdfaf9be"},
		"upper case":                    {"X-LC-Id", appID, "X-LC-Sign", "D5BCBB897E19B2F6633C716DFDFAF9BE,1453014943466"},
		"stale":                         {"X-LC-Id", appID, "X-LC-Sign", publishedSign},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start(t, nil).call(who, "GET", "/rtm/messages/logs", "").refused(401, 4118)
		})
	}
}

func TestTheAppKeyOpensOnlyWhatReads(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.group(broker.NewGroup{ID: "live", Open: true})
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/rtm/messages/logs?convid=live", ""},
		{"GET", "/rtm/messages/history?convid=live", ""},
		{"GET", "/rtm/messages/unread/alice", ""},
		{"GET", "/rtm/messages/unread/alice/live", ""},
		{"GET", "/rtm/transient_group/onlines?gid=live", ""},
		{"GET", "/classes/AVOSRealtimeGroups", ""},
		{"GET", "/classes/AVOSRealtimeGroups/live", ""},
	} {
		if got := s.call(asApp, c.method, c.path, c.body); got.status != 200 {
			t.Errorf("%s %s: status %d: %s", c.method, c.path, got.status, got.body)
		}
	}
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/rtm/messages/logs", ""},
		{"GET", "/rtm/messages/history?from=alice", ""},
		{"DELETE", "/rtm/messages/logs?convid=live&msgid=x&timestamp=1", ""},
		{"POST", "/rtm/messages", `{"from_peer":"a","to_peers":["b"],"message":"x"}`},
		{"POST", "/rtm/online", `{"peers":["a"]}`},
		{"POST", "/rtm/client/kick", `{"client_id":"a"}`},
	} {
		s.call(asApp, c.method, c.path, c.body).refused(403, 4119)
	}
}

func TestFailedLoginsAreThrottledTogetherWithThoseOfV1(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for range 19 {
		s.call(headers{"X-LC-Id", appID, "X-LC-Key", "wrong"}, "GET", "/rtm/messages/logs", "").refused(401, 4118)
	}
	s.request(headers{"Authorization", "Bearer wrong"}, "GET", "/v1/apps", "")
	got := s.call(asMaster, "GET", "/rtm/messages/logs", "")
	got.refused(429, 4116)
	if got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestWhatIsNotThereIsToldInThisForm(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.call(asMaster, "GET", "/rtm/broadcast", "").refused(404, 404)
	s.call(asMaster, "PUT", "/rtm/messages/logs", "{}").refused(405, 405)
}
