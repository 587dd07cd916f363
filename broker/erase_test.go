package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"kith/broker"
)

// endsWhenClosed ends the client's session when the server closes it, as a connection does. It stops with the test.
func (c *client) endsWhenClosed() *client {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.mu.Lock()
		for len(c.closed) == 0 && c.t.Context().Err() == nil {
			c.more.Wait()
		}
		c.mu.Unlock()
		c.leave(broker.EndServer)
	}()
	c.t.Cleanup(func() {
		c.mu.Lock()
		c.more.Broadcast()
		c.mu.Unlock()
		<-done
	})
	return c
}

func (w *world) erase(p broker.PeerID) broker.Erased {
	w.t.Helper()
	erased, err := w.b.ErasePeer(w.t.Context(), "demo", p)
	if err != nil {
		w.t.Fatal(err)
	}
	return erased
}

func (w *world) history(q broker.HistoryQuery) (texts []string) {
	w.t.Helper()
	q.Limit, q.Ascending = 100, true
	page, err := w.b.History(w.t.Context(), "demo", q)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range page.Items {
		texts = append(texts, *m.Message)
	}
	return texts
}

func TestErasingAPeerRemovesWhatItSentEverywhere(t *testing.T) {
	w := newWorld(t)
	bob := w.open("bob", watching("alice"))
	phone := w.open("alice/phone", watching("bob")).endsWhenClosed()
	w.open("alice/desk").endsWhenClosed()
	g := bob.create(map[string]any{})
	bob.request("invite", map[string]any{"group": g, "peers": []string{"alice", "carol"}})
	phone.await(1, isEvent("demo/event/alice/group", "joined"))
	bob.sent("demo/peer/alice/bob", "theirs")
	bob.leave(broker.EndDisconnect)
	w.pass(10 * time.Millisecond)
	for i := range 1100 { // more than a page
		phone.send("demo/peer/bob/alice", fmt.Sprint(i))
	}
	phone.sent("demo/group/"+g+"/alice", "to the group")
	receipt := w.erase("alice")
	receipt.At, receipt.Waiting = 0, 0 // some of it the devices have taken
	want(t, "erased", receipt, broker.Erased{Peer: "alice", Sessions: 2, Messages: 1101, Events: 1, Groups: 1, Devices: 2})
	want(t, "why it was closed", phone.awaitClosed(), broker.CloseKicked)

	want(t, "what it sent", w.history(broker.HistoryQuery{From: "alice"}), nil)
	want(t, "the whole app", w.history(broker.HistoryQuery{}), []string{"theirs"})
	bob = w.open("bob", watching("alice"))
	bob.await(1, isTopic("demo/presence/alice"))
	carol := w.open("carol", watching("bob"))
	carol.sent("demo/peer/bob/carol", "the first that comes")
	want(t, "in the receiver's queue", bob.messages(1), []string{"the first that comes"})
	r := bob.request("members", map[string]any{"group": g})
	want(t, "members", r["members"], any([]any{"bob", "carol"}))

	_, found, err := w.b.Peer(t.Context(), "demo", "alice")
	if err != nil || found {
		t.Errorf("still known: %t, %v", found, err)
	}
}

// What a session at another node leaves behind is stored before its peer is erased, not after.
func TestErasingAPeerWaitsForItsSessionAtAnotherNode(t *testing.T) {
	n := newNodes(t, 2)
	n[1].open("bob").endsWhenClosed()
	release := n[1].gate.holdLazy()
	erased := make(chan error, 1)
	go func() {
		_, err := n[0].b.ErasePeer(context.Background(), "demo", "bob")
		erased <- err
	}()
	select {
	case err := <-erased:
		t.Errorf("it did not wait: %v", err)
		erased <- nil
	case <-time.After(500 * time.Millisecond):
	}
	release()
	if err := <-erased; err != nil {
		t.Fatal(err)
	}
	n[1].open("zoe") // behind what was released
	if _, found, err := n[0].b.Peer(t.Context(), "demo", "bob"); found || err != nil {
		t.Errorf("still known: %t, %v", found, err)
	}
}

func TestTheGroupHearsThatAnErasedPeerLeft(t *testing.T) {
	w := newWorld(t)
	bob := w.open("bob")
	g := bob.create(map[string]any{})
	bob.request("invite", map[string]any{"group": g, "peers": []string{"alice"}})
	w.erase("alice")
	bob.await(1, isEvent("demo/group/"+g+"/$event", `{"event":"members_left","group":"`+g+`","peers":["alice"],"by":"alice"}`))
}

// The numbers of its inbox go on: what comes afterwards is neither lost nor counted wrongly.
func TestAnErasedPeerMayComeBackAsANewOne(t *testing.T) {
	w := newWorld(t)
	send := func(n int) {
		bob := w.open("bob", watching("alice"))
		for i := range n {
			bob.send("demo/peer/alice/bob", fmt.Sprint(i+1))
		}
		bob.await(n, isAck)
		bob.leave(broker.EndDisconnect)
	}
	for range 2 {
		send(70)
		w.erase("alice")
		w.erase("alice") // when there is nothing
		w.stop()
		w.start() // nothing is remembered but what is stored
		alice := w.open("alice/new")
		var event struct {
			Event   string
			Groups  []string
			Waiting int
		}
		decode(t, alice.await(1, isTopic("demo/event/alice/session"))[0].Payload, &event)
		if event.Event != "opened" || event.Waiting != 0 || len(event.Groups) != 0 {
			t.Errorf("%+v", event)
		}
		alice.leave(broker.EndDisconnect)
		w.pass(10 * time.Millisecond)
		send(61)
		alice = w.open("alice/new")
		want(t, "what waited", alice.messages(50), numbered(12, 61))
		var missed struct{ Count int }
		decode(t, alice.await(1, isTopic("demo/event/alice/missed"))[0].Payload, &missed)
		want(t, "missed", missed.Count, 11)
		alice.endsWhenClosed()
		w.erase("alice")
	}
}

func TestAnErasedPeersSignedConnectIsRefused(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.Signature.Required = true })
	now := time.Now().Unix()
	signed := password(map[string]any{"timestamp": now, "nonce": "n", "signature": broker.SignOpen("your-master-key", "demo", "alice", nil, now, "n", false)})
	w.open("alice", signed).leave(broker.EndLost)
	w.open("alice", signed).endsWhenClosed()
	w.erase("alice")
	if _, err := w.tryOpen("alice", signed); err == nil || broker.AsError(err).Code != broker.SignatureFailed {
		t.Errorf("the CONNECT of before: %v", err)
	}
}

func TestABanOutlivesAnErasure(t *testing.T) {
	w := newWorld(t)
	if err := w.b.SetBan(t.Context(), "demo", broker.Ban{Peer: "alice"}); err != nil {
		t.Fatal(err)
	}
	w.erase("alice")
	if _, err := w.tryOpen("alice"); err == nil || broker.AsError(err).Code != broker.Banned {
		t.Errorf("banned peer opens: %v", err)
	}
}

func TestADelayedWillGoesWithItsErasedPeer(t *testing.T) {
	w := newWorld(t)
	bob := w.open("bob")
	withWill := func(r *broker.OpenRequest) {
		r.Will = &broker.Publish{Topic: []byte("demo/peer/bob/" + r.ClientID), Payload: []byte("will of " + r.ClientID), QoS: 1}
		r.WillDelay = 300 * time.Millisecond
		r.Password = []byte(`{"watch":["bob"]}`)
	}
	w.open("alice", withWill).leave(broker.EndLost)
	w.erase("alice")
	w.open("carol", withWill).leave(broker.EndLost)
	want(t, "wills", bob.messages(1), []string{"will of carol"}) // the later one
}

func TestErasureTellsThatAConnectionDidNotEnd(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	alice.sent("demo/peer/bob/alice", "stays")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.b.ErasePeer(ctx, "demo", "alice"); err == nil || broker.AsError(err).Code != broker.Internal {
		t.Errorf("erased a peer that is connected: %v", err)
	}
	want(t, "nothing was removed", w.history(broker.HistoryQuery{}), []string{"stays"})
	if _, err := w.b.ErasePeer(t.Context(), "nope", "alice"); broker.AsError(err).Code != broker.AppNotFound {
		t.Errorf("no such app: %v", err)
	}
}

// Stock MQTT clients connect again at once. What such a peer is afterwards it became after the erasure.
func TestAPeerThatComesBackAtOnceIsErasedAllTheSame(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	g := alice.create(map[string]any{})
	alice.sent("demo/peer/bob/alice", "before")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for c := alice; ; {
			c.awaitClosed()
			c.leave(broker.EndServer)
			next, err := w.tryOpen("alice")
			if err != nil {
				t.Error(err)
				return
			}
			next.run()
			select {
			case <-stop:
				return
			default:
				c = next
			}
		}
	}()
	for range 20 {
		w.erase("alice")
	}
	close(stop)
	if _, err := w.b.Kick(t.Context(), "demo", "alice", ""); err != nil {
		t.Fatal(err)
	}
	<-done
	want(t, "what it sent", w.history(broker.HistoryQuery{}), nil)
	members, err := w.b.Members(t.Context(), "demo", broker.GroupID(g), "", 10)
	if err != nil || len(members) != 0 {
		t.Errorf("members %v, %v", members, err)
	}
	page, err := w.b.Peers(t.Context(), "demo", broker.PeersQuery{Prefix: "alice", Limit: 10})
	if err != nil || len(page) != 1 || !page[0].Online {
		t.Errorf("the new one: %v, %v", page, err)
	}
}
