package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kith/broker"
)

// traceUntil returns a message's receivers once ok says yes: what was saved lazily shows within a second or so.
func (w *world) traceUntil(id broker.MessageID, ok func([]broker.ReceiverTrace) bool) []broker.ReceiverTrace {
	w.t.Helper()
	var trace broker.Trace
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var found bool
		var err error
		trace, found, err = w.b.Trace(w.t.Context(), "demo", id, "", 100)
		if err != nil || !found {
			w.t.Fatalf("found %t: %v", found, err)
		}
		if ok(trace.Receivers) {
			return trace.Receivers
		}
	}
	w.t.Fatalf("the trace stays %+v", trace.Receivers)
	return nil
}

func (w *world) sendAs(from, text string, to ...broker.PeerID) broker.MessageID {
	w.t.Helper()
	sent, err := w.b.Send(w.t.Context(), "demo", broker.SendRequest{From: broker.PeerID(from), To: to, Payload: []byte(text)})
	if err != nil {
		w.t.Fatal(err)
	}
	return sent.MessageID
}

func inState(want broker.TraceState) func([]broker.ReceiverTrace) bool {
	return func(rs []broker.ReceiverTrace) bool { return len(rs) == 1 && rs[0].State == want }
}

var withoutTimes = cmpopts.IgnoreFields(broker.DeviceTrace{}, "Sent", "Acknowledged")

func TestATraceTellsEachDevice(t *testing.T) {
	w := newWorld(t)
	w.open("bob/phone")
	w.openSilent("bob/desk")
	w.open("bob/away").leave(broker.EndLost)
	before := w.now().UnixMilli()
	id := w.sendAs("alice", "hi", "bob")
	got := w.traceUntil(id, func(rs []broker.ReceiverTrace) bool {
		return rs[0].State == broker.TraceAcknowledged && len(rs[0].Devices) == 3 && rs[0].Devices[1].Times == 1
	})
	want := []broker.ReceiverTrace{{Peer: "bob", State: broker.TraceAcknowledged, Devices: []broker.DeviceTrace{
		{Device: "away", State: broker.TraceWaiting},
		{Device: "desk", Connected: true, State: broker.TraceSent, Times: 1},
		{Device: "phone", Connected: true, State: broker.TraceAcknowledged, Times: 1},
	}}}
	if diff := cmp.Diff(want, got, withoutTimes); diff != "" {
		t.Error(diff)
	}
	phone := got[0].Devices[2]
	if phone.Sent < before || phone.Acknowledged < phone.Sent || phone.Acknowledged > w.now().UnixMilli() {
		t.Errorf("times %+v", phone)
	}
}

// The times outlive the session and the server.
func TestATraceIsKept(t *testing.T) {
	w := newWorld(t)
	bob := w.open("bob")
	var ids []broker.MessageID
	for i := range 300 {
		ids = append(ids, w.sendAs("alice", fmt.Sprint(i), "bob"))
	}
	bob.messages(300)
	bob.leave(broker.EndDisconnect)
	w.sendAs("alice", "to have the store write what the session left", "bob")
	w.stop()
	w.start()
	for _, id := range []broker.MessageID{ids[0], ids[150], ids[299]} {
		d := w.traceUntil(id, inState(broker.TraceAcknowledged))[0].Devices[0]
		if d.Sent == 0 || d.Acknowledged == 0 || d.Times != 1 || d.Connected {
			t.Errorf("%+v", d)
		}
	}
}

func TestATraceTellsWhatFellOutOfTheQueueAndWhatExpired(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.Queue.Messages = 2 })
	w.open("bob").leave(broker.EndLost)
	w.pass(time.Second) // what comes in the same millisecond counts as due before
	first := w.sendAs("alice", "1", "bob")
	for i := 2; i <= 5; i++ {
		w.sendAs("alice", fmt.Sprint(i), "bob")
	}
	w.traceUntil(first, inState(broker.TraceWaiting))
	bob := w.open("bob")
	bob.messages(2)
	w.traceUntil(first, inState(broker.TraceSkipped))
	never := w.sendAs("alice", "x", "carol")
	w.traceUntil(never, inState(broker.TraceWaiting))
	w.pass(8 * 24 * time.Hour)
	w.traceUntil(never, inState(broker.TraceExpired))
}

func TestATraceOfAGroupIsPagedByReceiver(t *testing.T) {
	w := newWorld(t)
	if _, _, err := w.b.CreateGroup(t.Context(), "demo", broker.NewGroup{ID: "team", Members: []broker.PeerID{"alice", "bob", "carol", "dave"}}); err != nil {
		t.Fatal(err)
	}
	bob := w.open("bob")
	sent, err := w.b.Send(t.Context(), "demo", broker.SendRequest{From: "alice", Group: "team", Payload: []byte("hi")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.b.AddMembers(t.Context(), "demo", "team", []broker.PeerID{"late"}); err != nil {
		t.Fatal(err)
	}
	bob.messages(1)
	w.traceUntil(sent.MessageID, func(rs []broker.ReceiverTrace) bool { return rs[0].State == broker.TraceAcknowledged })
	states := map[broker.PeerID]broker.TraceState{}
	for after, pages := broker.PeerID(""), 0; pages == 0 || after != ""; pages++ {
		trace, _, err := w.b.Trace(t.Context(), "demo", sent.MessageID, after, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range trace.Receivers {
			states[r.Peer] = r.State
		}
		after = trace.Next
	}
	want := map[broker.PeerID]broker.TraceState{"bob": broker.TraceAcknowledged, "carol": broker.TraceWaiting, "dave": broker.TraceWaiting}
	if diff := cmp.Diff(want, states); diff != "" {
		t.Error(diff)
	}
}

func TestATraceOfAnErasedReceiverIsGone(t *testing.T) {
	w := newWorld(t)
	w.open("bob").leave(broker.EndDisconnect)
	id := w.sendAs("alice", "hi", "bob")
	if _, err := w.b.ErasePeer(t.Context(), "demo", "bob"); err != nil {
		t.Fatal(err)
	}
	w.traceUntil(id, inState(broker.TraceGone))
}

func TestAnotherNodeCanTrace(t *testing.T) {
	n := newNodes(t, 2)
	bob := n[1].open("bob")
	id := n[0].sendAs("alice", "hi", "bob")
	bob.messages(1)
	d := n[0].traceUntil(id, func(rs []broker.ReceiverTrace) bool {
		return rs[0].State == broker.TraceAcknowledged && rs[0].Devices[0].Acknowledged > 0
	})[0].Devices[0]
	if !d.Connected || d.Sent == 0 || d.Acknowledged < d.Sent || d.Times != 1 {
		t.Errorf("%+v", d)
	}
}

func TestWhatWasImportedWasNeverOnItsWay(t *testing.T) {
	w := newWorld(t)
	m := w.past(time.Hour, &broker.Message{From: "alice", To: []broker.PeerID{"bob"}, Payload: []byte("of before")})
	w.imports(m)
	trace, found, err := w.b.Trace(t.Context(), "demo", m.ID, "", 100)
	if err != nil || !found || trace.Queued || len(trace.Receivers) != 0 {
		t.Errorf("%+v, found %t: %v", trace, found, err)
	}
}
