package broker_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kith/broker"
)

func want[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestMessageIsAcknowledgedAndDelivered(t *testing.T) {
	w := newWorld(t)
	bob := w.open("bob")
	alice := w.open("alice", watching("bob"))
	ack := alice.sent("demo/peer/bob/alice", "hello")
	if ack.Err != nil || ack.ID.IsZero() {
		t.Fatalf("ack: %+v", ack)
	}
	got := bob.await(1, isMessage)[0]
	want(t, "id", got.ID, ack.ID)
	want(t, "payload", string(got.Message.Payload), "hello")
	want(t, "qos", got.QoS, 1)
	want(t, "offline", got.Offline, false)
}

func TestFirstComesTheSessionEvent(t *testing.T) {
	w := newWorld(t)
	w.open("carol")
	bob := w.open("bob", watching("carol", "dave"))
	first := bob.await(1, func(*broker.Out) bool { return true })[0]
	want(t, "topic", first.Topic, "demo/event/bob/session")
	states := map[string]string{}
	for _, o := range bob.await(2, func(o *broker.Out) bool { return o.Retain }) {
		states[o.Topic] = string(o.Payload)
	}
	want(t, "presence", states, map[string]string{"demo/presence/carol": "online", "demo/presence/dave": "offline"})
}

func TestOfflineQueueKeepsFiftyAndTellsWhatItMissed(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	for i := range 80 {
		alice.send("demo/peer/bob/alice", fmt.Sprint(i+1))
	}
	alice.await(80, isAck)
	bob := w.open("bob")
	want(t, "messages", bob.messages(50), numbered(31, 80))
	missed := bob.await(1, isTopic("demo/event/bob/missed"))[0]
	if len(missed.Payload) == 0 {
		t.Fatal("no missed event")
	}
	if got := bob.await(1, isMessage)[0]; !got.Offline {
		t.Error("a message that waited is not marked offline")
	}
}

func TestAcknowledgedMessagesDoNotComeAgain(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	bob := w.open("bob")
	alice.sent("demo/peer/bob/alice", "1")
	bob.messages(1)
	bob.leave(broker.EndDisconnect)
	alice.sent("demo/peer/bob/alice", "2")
	bob = w.open("bob")
	want(t, "after the return", bob.messages(1), []string{"2"})
}

func TestWhatWasDueWhenTheConnectionEndedStays(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	bob := w.openSilent("bob")
	for i := range 100 {
		alice.send("demo/peer/bob/alice", fmt.Sprint(i+1))
	}
	alice.await(100, isAck)
	bob.messages(100)
	bob.leave(broker.EndLost)
	w.pass(10 * time.Millisecond)
	for i := 100; i < 200; i++ {
		alice.send("demo/peer/bob/alice", fmt.Sprint(i+1))
	}
	alice.await(200, isAck)
	bob = w.open("bob")
	want(t, "messages", bob.messages(150), append(numbered(1, 100), numbered(151, 200)...))
	missed := bob.await(1, isTopic("demo/event/bob/missed"))[0]
	var m struct{ Count int }
	decode(t, missed.Payload, &m)
	want(t, "missed", m.Count, 50)
}

func TestResumedSessionRepeatsUnderTheOldPacketIdentifiers(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	bob := w.openSilent("bob")
	for i := range 3 {
		alice.sent("demo/peer/bob/alice", fmt.Sprint(i+1))
	}
	first := bob.await(3, isMessage)
	bob.leave(broker.EndLost)
	bob = w.open("bob", func(r *broker.OpenRequest) { r.CleanStart = false })
	if !bob.present {
		t.Fatal("no session present")
	}
	again := bob.await(3, isMessage)
	for i := range first {
		want(t, "tag", again[i].Tag, first[i].Tag)
		want(t, "dup", again[i].Dup, true)
		want(t, "payload", string(again[i].Message.Payload), fmt.Sprint(i+1))
	}
}

func TestSlowReaderGetsEverythingInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	bob := w.openSilent("bob", func(r *broker.OpenRequest) { r.ReceiveMaximum = 10 })
	const n = 3000
	for i := range n {
		alice.send("demo/peer/bob/alice", fmt.Sprint(i+1))
	}
	alice.await(n, isAck)
	var texts []string
	for len(texts) < n {
		outs := bob.await(len(texts)+1, isMessage)
		for _, o := range outs[len(texts):] {
			texts = append(texts, string(o.Message.Payload))
			bob.s.Acked(o.Tag)
		}
	}
	want(t, "messages", texts, numbered(1, n))
}

func TestEveryDeviceHasItsOwnPlace(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	phone := w.open("bob/phone")
	phone.leave(broker.EndDisconnect)
	tablet := w.open("bob/tablet")
	alice.sent("demo/peer/bob/alice", "1")
	tablet.messages(1)
	phone = w.open("bob/phone")
	want(t, "phone", phone.messages(1), []string{"1"})
	fresh := w.open("bob/fresh")
	alice.sent("demo/peer/bob/alice", "2")
	want(t, "a new device starts where the furthest is", fresh.messages(1), []string{"2"})
}

func TestSendersOtherDevicesGetACopy(t *testing.T) {
	w := newWorld(t)
	w.open("bob")
	tablet := w.open("alice/tablet")
	phone := w.open("alice/phone", watching("bob"))
	phone.sent("demo/peer/bob/alice", "hi")
	got := tablet.await(1, isMessage)[0]
	want(t, "topic names the receiver", got.To, broker.PeerID("bob"))
	want(t, "from", got.Message.From, broker.PeerID("alice"))
}

func TestNoSyncHoldsForTheSendersAbsentDevicesToo(t *testing.T) {
	w := newWorld(t)
	w.open("alice").leave(broker.EndDisconnect)
	if _, _, err := w.b.CreateGroup(t.Context(), "demo", broker.NewGroup{ID: "team", Members: []broker.PeerID{"alice", "bob"}}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []broker.SendRequest{
		{Group: "team", NoSync: true}, {To: []broker.PeerID{"bob"}, NoSync: true}, {To: []broker.PeerID{"alice"}, NoSync: true}, {Group: "team"},
	} {
		r.From, r.Payload = "alice", []byte("hidden")
		if !r.NoSync || len(r.To) > 0 && r.To[0] == "alice" { // a receiver is one, whatever it sent
			r.Payload = []byte("shown")
		}
		if _, err := w.b.Send(t.Context(), "demo", r); err != nil {
			t.Fatal(err)
		}
	}
	want(t, "alice", w.open("alice").messages(2), []string{"shown", "shown"})
	want(t, "bob", w.open("bob").messages(3), []string{"hidden", "hidden", "shown"})
}

func TestSendersOwnIdDeliversOnce(t *testing.T) {
	w := newWorld(t)
	bob := w.open("bob")
	alice := w.open("alice", watching("bob"))
	id := func(p *broker.Publish) { p.SenderID = "x1" }
	first := alice.sent("demo/peer/bob/alice", "once", id)
	second := alice.sent("demo/peer/bob/alice", "once", id)
	want(t, "same id", second.ID, first.ID)
	alice.sent("demo/peer/bob/alice", "end")
	want(t, "delivered", bob.messages(2), []string{"once", "end"})
}

func TestReceiptTellsTheSenderWhenItArrived(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	ack := alice.sent("demo/peer/bob/alice", "hi", func(p *broker.Publish) { p.Receipt = true })
	alice.leave(broker.EndDisconnect)
	w.open("bob").messages(1)
	alice = w.open("alice")
	var r struct {
		MessageID string `json:"message_id"`
		To        string
		TS        int64
	}
	decode(t, alice.await(1, isTopic("demo/event/alice/receipt"))[0].Payload, &r)
	want(t, "message", r.MessageID, ack.ID.String())
	want(t, "to", r.To, "bob")
	item, _, err := w.b.Message(t.Context(), "demo", ack.ID)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "receipt_at", item.ReceiptAt, r.TS)
}

// What comes of a message when the store is away for a moment comes when it is back.
func TestReceiptAndWillOutlastAnAbsenceOfTheStore(t *testing.T) {
	t.Parallel()
	w, m := meddled(t)
	alice := w.open("alice", watching("bob"))
	bob := w.openSilent("bob", watching("alice"), func(r *broker.OpenRequest) {
		r.Will = &broker.Publish{Topic: []byte("demo/peer/alice/bob"), Payload: []byte("gone"), QoS: 1}
	})
	alice.sent("demo/peer/bob/alice", "hi", func(p *broker.Publish) { p.Receipt = true })
	hi := bob.await(1, isMessage)[0]
	var refused atomic.Int32
	m.set(func(m *meddler) {
		m.commit = func(b *broker.Batch) error {
			if len(b.Appends) == 0 || refused.Load() == 2 {
				return nil
			}
			refused.Add(1)
			return errAway
		}
	})
	bob.s.Acked(hi.Tag)
	bob.leave(broker.EndLost)
	alice.await(1, isTopic("demo/event/alice/receipt"))
	want(t, "the will", alice.messages(1), []string{"gone"})
}

// heardTopics is a router of {app}/topic/ that tells what comes to it.
type heardTopics struct {
	broker.TopicRouter
	heard chan string
}

func (heardTopics) Check(broker.AppID, *broker.Publish) error              { return nil }
func (heardTopics) Retain(broker.AppID, broker.MessageID, *broker.Publish) {}
func (h heardTopics) Publish(_ *broker.Session, _ broker.AppID, p *broker.Publish, _ func(string) bool) {
	h.heard <- string(p.Payload)
}

func TestRetainedWillOutlastsAnAbsenceOfTheStore(t *testing.T) {
	t.Parallel()
	w, m := meddled(t, func(c *broker.AppConfig) { c.Topics = []string{"last"} })
	topics := heardTopics{heard: make(chan string, 2)}
	w.b.SetTopics(topics)
	bob := w.openSilent("bob", func(r *broker.OpenRequest) {
		r.Will = &broker.Publish{Topic: []byte("demo/topic/last"), Payload: []byte("gone"), QoS: 1, Retain: true}
	})
	forgotten := make(chan struct{}, 1)
	var refused atomic.Int32
	m.set(func(m *meddler) {
		m.commit = func(b *broker.Batch) error {
			switch {
			case len(b.Writes) == 0:
			case b.Writes[0].Key.Space == broker.SpaceRetained && refused.Add(1) <= 2:
				return errAway
			case b.Writes[0].Key.Owner == "will":
				forgotten <- struct{}{}
			}
			return nil
		}
	})
	bob.leave(broker.EndLost)
	want(t, "the will", <-topics.heard, "gone")
	want(t, "times it was refused", refused.Load(), 3)
	<-forgotten
}

func TestUnacknowledgedOverFiveConnectionsIsSkipped(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	alice.sent("demo/peer/bob/alice", "poison")
	for range 5 {
		bob := w.openSilent("bob")
		want(t, "comes", bob.messages(1), []string{"poison"})
		bob.leave(broker.EndLost)
	}
	alice.sent("demo/peer/bob/alice", "after")
	bob := w.open("bob")
	want(t, "sixth connection", bob.messages(1), []string{"after"})
	bob.await(1, isTopic("demo/event/bob/missed"))
}

func TestTakeOverGoesOnWhereTheOlderConnectionWas(t *testing.T) {
	w := newWorld(t)
	watcher := w.open("eve", watching("bob"))
	alice := w.open("alice", watching("bob"))
	old := w.openSilent("bob")
	alice.sent("demo/peer/bob/alice", "1")
	old.messages(1)
	fresh := w.open("bob")
	want(t, "older connection", old.awaitClosed(), broker.CloseTakenOver)
	want(t, "messages", fresh.messages(1), []string{"1"})
	old.leave(broker.EndServer)
	alice.sent("demo/peer/bob/alice", "2")
	want(t, "messages", fresh.messages(2), []string{"1", "2"})
	fresh.leave(broker.EndDisconnect)
	var states []string
	watcher.await(1, func(o *broker.Out) bool {
		if !isTopic("demo/presence/bob")(o) {
			return false
		}
		states = append(states, string(o.Payload))
		return string(o.Payload) == "offline" && !o.Retain
	})
	want(t, "watchers see one coming and one going", states[len(states)-2:], []string{"online", "offline"})
}

func TestQueueSurvivesARestart(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	for i := range 20 {
		alice.sent("demo/peer/bob/alice", fmt.Sprint(i+1))
	}
	alice.leave(broker.EndLost)
	w.stop()
	w.start()
	bob := w.open("bob")
	want(t, "messages", bob.messages(20), numbered(1, 20))
}

// A device's queue does not tell of what the device sent itself, to a peer or to a group.
func TestQueueOfADeviceHoldsNothingItSent(t *testing.T) {
	w := newWorld(t)
	w.open("alice/tablet").leave(broker.EndDisconnect)
	bob := w.open("bob", watching("alice"))
	phone := w.openSilent("alice/phone", watching("bob"))
	bob.sent("demo/peer/alice/bob", "one")
	phone.sent("demo/peer/bob/alice", "mine")
	phone.leave(broker.EndDisconnect)
	for device, want := range map[broker.DeviceID][]string{"phone": {"one"}, "tablet": {"one", "mine"}, "": {"one", "mine"}} {
		items, err := w.b.Queue(t.Context(), "demo", "alice", broker.QueueQuery{Device: device, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, i := range items {
			texts = append(texts, *i.Message)
		}
		if !slices.Equal(texts, want) {
			t.Errorf("for %q waits %q, not %q", device, texts, want)
		}
	}
}

// A connection that is lost before its client acknowledged anything leaves the next one where it began: what was passed over for the
// full queue stays passed over, and is told again. Without that it came behind what is newer.
func TestWhatWasPassedOverStaysPassedOverWhenTheConnectionIsLost(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.Queue.Messages = 3 })
	alice := w.open("alice", watching("bob"))
	bob := w.openSilent("bob")
	send := func(from, to int) {
		for i := from; i <= to; i++ {
			alice.sent("demo/peer/bob/alice", fmt.Sprint(i))
		}
	}
	send(1, 2)
	bob.messages(2)
	bob.leave(broker.EndLost)
	w.pass(10 * time.Millisecond)
	send(3, 12) // 10 to 12 are kept

	kept := []string{"1", "2", "10", "11", "12"}
	missed := func(c *client) (m struct{ Count int }) {
		t.Helper()
		decode(t, c.await(1, isTopic("demo/event/bob/missed"))[0].Payload, &m)
		return m
	}
	check := func(count int, waiting []string) {
		t.Helper()
		queued, err := w.b.Queue(t.Context(), "demo", "bob", broker.QueueQuery{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		want(t, "queued", len(queued), len(waiting))
		bob = w.openSilent("bob")
		want(t, "missed", missed(bob).Count, count)
		want(t, "messages", bob.messages(len(waiting)), waiting)
	}
	check(7, kept)
	bob.leave(broker.EndLost)
	check(7, kept)
	tool := w.open("bob", password(map[string]any{"receive": "none"})) // takes over, and consumes nothing
	tool.leave(broker.EndDisconnect)
	check(7, kept)
	bob.request("watch", map[string]any{"peers": []string{"carol"}}) // writes the device's record again
	w.stop()                                                         // with bob connected
	w.start()
	alice = w.open("alice", watching("bob"))
	check(7, kept)
	bob.leave(broker.EndLost)
	w.pass(10 * time.Millisecond)
	send(13, 16) // 14 to 16 are kept
	check(8, append(kept, "14", "15", "16"))
	bob.leave(broker.EndDisconnect)

	bob = w.open("bob")
	bob.messages(8)
	bob.leave(broker.EndLost)
	bob = w.open("bob")
	alice.sent("demo/peer/bob/alice", "17")
	want(t, "after all was acknowledged", bob.messages(1), []string{"17"})
	for _, o := range bob.await(1, isMessage) {
		want(t, "message", string(o.Message.Payload), "17")
	}
	if len(bob.await(0, isTopic("demo/event/bob/missed"))) > 0 {
		t.Error("told of missed messages again after it had acknowledged what came behind")
	}
}
