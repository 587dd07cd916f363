package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kith/broker"
)

type peerItem struct {
	Peer     string `json:"peer"`
	Online   bool   `json:"online"`
	LastSeen int64  `json:"last_seen"`
}

func names(items []peerItem) []string {
	var all []string
	for _, p := range items {
		all = append(all, p.Peer)
	}
	return all
}

func TestPeersAreListed(t *testing.T) {
	s := start(t)
	for _, id := range []string{"alice", "albert", "bob", "carol"} {
		s.open(id)
	}
	gone := s.open("alma")
	gone.End(broker.EndDisconnect, nil)
	s.send("nobody", "x", "nobody") // the store takes batches in order: when this is durable, so is what the opens wrote
	for query, want := range map[string][]string{
		"":                       {"albert", "alice", "alma", "bob", "carol"},
		"?prefix=al":             {"albert", "alice", "alma"},
		"?online=true":           {"albert", "alice", "bob", "carol"},
		"?online=false":          {"alma"},
		"?online=true&prefix=al": {"albert", "alice"},
	} {
		if diff := cmp.Diff(want, names(all[peerItem](s, "/v1/apps/demo/peers"+query, "2"))); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	s.call(demo, "GET", "/v1/apps/demo/peers?online=maybe", nil).refused(400, 4114)
	items := all[peerItem](s, "/v1/apps/demo/peers", "2")
	if diff := cmp.Diff([]string{"albert", "alice", "alma", "bob", "carol"}, names(items)); diff != "" {
		t.Error(diff)
	}
	if items[2].Online || items[2].LastSeen == 0 || !items[1].Online {
		t.Errorf("%+v", items)
	}
}

func TestPeerStatus(t *testing.T) {
	s := start(t)
	s.open("alice/phone", "bob")
	s.send("bob", "hi", "alice")
	var got struct {
		Peer     string `json:"peer"`
		Online   bool   `json:"online"`
		LastSeen int64  `json:"last_seen"`
		Sessions []struct {
			Device    string   `json:"device"`
			Connected bool     `json:"connected"`
			Node      string   `json:"node"`
			Address   string   `json:"address"`
			Protocol  string   `json:"protocol"`
			Since     int64    `json:"since"`
			Watch     []string `json:"watch"`
			Waiting   int      `json:"waiting"`
		} `json:"sessions"`
		Groups  []string `json:"groups"`
		Waiting int      `json:"waiting"`
	}
	s.call(demo, "GET", "/v1/apps/demo/peers/alice", nil).ok(200, &got)
	if !got.Online || got.LastSeen == 0 || len(got.Sessions) != 1 || got.Groups == nil || got.Waiting != 1 {
		t.Fatalf("%+v", got)
	}
	phone := got.Sessions[0]
	if phone.Device != "phone" || !phone.Connected || phone.Node != "kith-1" || phone.Address != "192.0.2.9" ||
		phone.Protocol != "mqtt 5 tcp" || phone.Since == 0 || !cmp.Equal(phone.Watch, []string{"bob"}) {
		t.Errorf("%+v", phone)
	}
	s.call(demo, "GET", "/v1/apps/demo/peers/stranger", nil).refused(404, 404)
	s.call(demo, "GET", "/v1/apps/demo/peers/a%2Fb", nil).refused(400, 4103)
	s.call(demo, "GET", "/v1/apps/demo/peers/"+strings.Repeat("x", 51), nil).refused(400, 4103)
}

func TestStatusOfUpTo1000Peers(t *testing.T) {
	s := start(t)
	s.open("alice")
	s.open("bob")
	var got struct {
		Online []string `json:"online"`
	}
	s.call(viewer, "POST", "/v1/apps/demo/peers/status", sendBody{"peers": []string{"carol", "bob", "alice"}}).ok(200, &got)
	if diff := cmp.Diff([]string{"bob", "alice"}, got.Online); diff != "" {
		t.Error(diff)
	}
	long := make([]string, 1001)
	for i := range long {
		long[i] = fmt.Sprintf("%s%04d", strings.Repeat("字", 46), i)
	}
	body := s.call(demo, "POST", "/v1/apps/demo/peers/status", sendBody{"peers": long[:1000]}).ok(200, nil).Body.String()
	if strings.TrimSpace(body) != `{"online":[]}` {
		t.Error(body)
	}
	s.call(demo, "POST", "/v1/apps/demo/peers/status", sendBody{"peers": long}).refused(422, 4113)
	s.call(demo, "POST", "/v1/apps/demo/peers/status", sendBody{"peers": []string{"a#"}}).refused(400, 4114)
	s.call(demo, "POST", "/v1/apps/demo/peers/status", sendBody{}).refused(400, 4114)
}

// However much waits, little of it is in memory at once.
func TestALongQueueIsReadInParts(t *testing.T) {
	s := start(t)
	cfg := broker.DefaultAppConfig("demo")
	cfg.MasterKey, cfg.Queue.Messages = "demo-key", 1000
	s.broker.SetApps([]broker.AppConfig{cfg})
	for _, device := range []string{"bob/desk", "bob/phone"} {
		s.open(device).End(broker.EndLost, nil)
	}
	for i := range 600 {
		s.send("alice", fmt.Sprint(i), "bob")
	}
	var queue list[message]
	s.call(viewer, "GET", "/v1/apps/demo/peers/bob/queue?limit=10", nil).ok(200, &queue)
	if len(queue.Items) != 10 || queue.Next == "" || texts(queue.Items)[0] != "0" {
		t.Errorf("the first page: %v, next %q", texts(queue.Items), queue.Next)
	}
	if most := s.store.most.Load(); most > 250 {
		t.Errorf("%d messages were in memory for a page of 10", most)
	}
	var removed struct {
		Removed int `json:"removed"`
	}
	s.call(operator, "DELETE", "/v1/apps/demo/peers/bob/queue", nil).ok(200, &removed)
	if removed.Removed != 600 {
		t.Errorf("removed %d", removed.Removed)
	}
}

func TestTheQueueIsReadAndEmptied(t *testing.T) {
	s := start(t)
	s.open("bob/phone").End(broker.EndLost, nil)
	for _, text := range []string{"one", "two", "three"} {
		s.send("alice", text, "bob")
	}
	path := "/v1/apps/demo/peers/bob/queue"
	var queue list[message]
	s.call(viewer, "GET", path, nil).ok(200, &queue)
	if diff := cmp.Diff([]string{"one", "two", "three"}, texts(queue.Items)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"one", "two", "three"}, texts(all[message](s, path, "2"))); diff != "" {
		t.Errorf("in pages: %s", diff)
	}
	s.call(viewer, "GET", path+"?device=phone", nil).ok(200, &queue)
	if len(queue.Items) != 3 {
		t.Errorf("phone: %v", texts(queue.Items))
	}
	s.call(viewer, "GET", path+"?device=a/b", nil).refused(400, 4103)
	var removed struct {
		Removed int `json:"removed"`
	}
	s.call(operator, "DELETE", path, nil).ok(200, &removed)
	if removed.Removed != 3 {
		t.Errorf("removed %d", removed.Removed)
	}
	s.call(viewer, "GET", path, nil).ok(200, &queue)
	if len(queue.Items) != 0 {
		t.Errorf("left: %v", texts(queue.Items))
	}
	if history := all[message](s, "/v1/apps/demo/messages?peers=alice,bob", "10"); len(history) != 3 {
		t.Errorf("history has %d", len(history))
	}
}

func TestKick(t *testing.T) {
	s := start(t)
	phone, desk := s.open("bob/phone"), s.open("bob/desk")
	var kicked struct {
		Kicked int `json:"kicked"`
	}
	s.call(operator, "DELETE", "/v1/apps/demo/peers/bob/sessions/phone", nil).ok(200, &kicked)
	if kicked.Kicked != 1 || <-phone.closed != broker.CloseKicked || len(desk.closed) != 0 {
		t.Errorf("one device: %+v", kicked)
	}
	phone.End(broker.EndServer, nil)
	s.call(operator, "DELETE", "/v1/apps/demo/peers/bob/sessions", nil).ok(200, &kicked)
	if kicked.Kicked != 1 || <-desk.closed != broker.CloseKicked {
		t.Errorf("all devices: %+v", kicked)
	}
	s.call(operator, "DELETE", "/v1/apps/demo/peers/nobody/sessions", nil).ok(200, &kicked)
	if kicked.Kicked != 0 {
		t.Errorf("nobody: %+v", kicked)
	}
	s.call(operator, "DELETE", "/v1/apps/demo/peers/bob/sessions/a%2Fb", nil).refused(400, 4103)
}
