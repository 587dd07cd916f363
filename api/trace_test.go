package api_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// trace is a message's life, written down once more.
type trace struct {
	ID           string `json:"id"`
	Conversation string `json:"conversation"`
	From         string `json:"from"`
	Group        string `json:"group"`
	Accepted     int64  `json:"accepted"`
	Stored       bool   `json:"stored"`
	Queued       bool   `json:"queued"`
	ReceiptAt    int64  `json:"receipt_at"`
	Items        []struct {
		Peer    string `json:"peer"`
		State   string `json:"state"`
		Devices []struct {
			Device       string `json:"device"`
			Connected    bool   `json:"connected"`
			State        string `json:"state"`
			Sent         int64  `json:"sent"`
			Times        int    `json:"times"`
			Acknowledged int64  `json:"acknowledged"`
		} `json:"devices"`
	} `json:"items"`
	Next string `json:"next"`
}

func TestATraceSaysHowFarAMessageCame(t *testing.T) {
	s := start(t)
	s.open("bob/phone")
	id := s.send("alice", "hi", "bob", "carol")
	path := "/v1/apps/demo/messages/" + id + "/trace"
	var got trace
	s.call(viewer, "GET", path, nil).ok(200, &got)
	if got.ID != id || got.From != "alice" || got.Accepted == 0 || !got.Stored || !got.Queued || got.Next != "" || len(got.Items) != 2 {
		t.Fatalf("%+v", got)
	}
	if b := got.Items[0]; b.Peer != "bob" || b.State != "waiting" || len(b.Devices) != 1 || b.Devices[0].Device != "phone" || !b.Devices[0].Connected {
		t.Errorf("%+v", b)
	}
	if c := got.Items[1]; c.Peer != "carol" || c.State != "waiting" || c.Devices == nil || len(c.Devices) != 0 {
		t.Errorf("%+v", c)
	}
	var peers []string
	for at := path + "?limit=1"; ; {
		var page trace
		s.call(viewer, "GET", at, nil).ok(200, &page)
		for _, i := range page.Items {
			peers = append(peers, i.Peer)
		}
		if page.Next == "" {
			break
		}
		at = path + "?limit=1&cursor=" + page.Next
	}
	if diff := cmp.Diff([]string{"bob", "carol"}, peers); diff != "" {
		t.Error(diff)
	}
}

func TestWhatHistoryDoesNotHaveHasNoTrace(t *testing.T) {
	s := start(t)
	var sent struct {
		MessageID    string `json:"message_id"`
		TS           int64  `json:"ts"`
		Conversation string `json:"conversation"`
	}
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "alice", "to": []string{"bob"}, "message": "x", "transient": true}).ok(200, &sent)
	s.call(viewer, "GET", "/v1/apps/demo/messages/"+sent.MessageID+"/trace", nil).refused(404, 404)
	s.call(viewer, "GET", "/v1/apps/demo/messages/7/trace", nil).refused(400, 4114)
	id := s.send("alice", "x", "bob")
	s.call(demo, "DELETE", "/v1/apps/demo/messages/"+id, nil).ok(204, nil)
	s.call(viewer, "GET", "/v1/apps/demo/messages/"+id+"/trace", nil).refused(404, 404)
}

func TestAnOpenGroupQueuesForNobody(t *testing.T) {
	s := start(t)
	s.call(operator, "POST", "/v1/apps/demo/groups", sendBody{"id": "hall", "open": true}).ok(200, nil)
	var sent struct {
		MessageID    string `json:"message_id"`
		TS           int64  `json:"ts"`
		Conversation string `json:"conversation"`
	}
	s.call(demo, "POST", "/v1/apps/demo/messages", sendBody{"from": "alice", "group": "hall", "message": "x"}).ok(200, &sent)
	var got trace
	s.call(viewer, "GET", "/v1/apps/demo/messages/"+sent.MessageID+"/trace", nil).ok(200, &got)
	if got.Queued || len(got.Items) != 0 || got.Group != "hall" {
		t.Errorf("%+v", got)
	}
}
