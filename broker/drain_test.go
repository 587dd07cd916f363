package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/broker"
)

// drainRate is how many sessions a second the tests' nodes move: few enough to be watched.
const drainRate = 20

func TestDrainedNodeMovesItsSessionsAndWatchersSeeNothing(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2)
	presence := isTopic("demo/presence/bob")
	eve := n[0].open("eve", watching("bob"))
	will := func(r *broker.OpenRequest) {
		r.Will = &broker.Publish{Topic: []byte("demo/peer/eve/bob"), Payload: []byte("gone"), QoS: 1}
	}
	bob := n[1].open("bob", watching("eve"), will)
	eve.await(2, presence)
	state, err := n[0].b.DrainNode(t.Context(), "n2", true)
	if err != nil || !state.Draining || state.Ready {
		t.Fatalf("%+v, %v", state, err)
	}
	if err := n[1].b.Ready(t.Context()); !errors.Is(err, broker.ErrDraining) {
		t.Errorf("ready: %v", err)
	}
	want(t, "told", bob.awaitClosed(), broker.CloseMoved)
	bob.leave(broker.EndServer)
	if _, err := n[1].tryOpen("tom"); !errors.Is(err, broker.ErrDraining) {
		t.Errorf("a new session: %v", err)
	}
	again := n[0].open("bob", watching("eve"), func(r *broker.OpenRequest) { r.CleanStart = false })
	again.sent("demo/peer/eve/bob", "here")
	n[1].stopNode()
	n[0].until("what the node left is cleared away", func() bool { return n[0].isBuried("n2#") })
	again.sent("demo/peer/eve/bob", "still here")
	again.leave(broker.EndDisconnect)
	eve.await(3, presence)
	var states []string
	for _, o := range eve.await(3, presence) {
		states = append(states, string(o.Payload))
	}
	want(t, "presence", states, []string{"offline", "online", "offline"})
	want(t, "messages, and no will", eve.messages(2), []string{"here", "still here"})
}

func TestWhoDoesNotComeBackAfterADrainIsOfflineAndItsWillIsPublished(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2)
	presence := isTopic("demo/presence/bob")
	eve := n[0].open("eve", watching("bob"))
	bob := n[1].open("bob", watching("eve"), func(r *broker.OpenRequest) {
		r.Will = &broker.Publish{Topic: []byte("demo/peer/eve/bob"), Payload: []byte("gone"), QoS: 1}
	})
	eve.await(2, presence)
	if _, err := n[1].b.DrainNode(t.Context(), "n2", true); err != nil {
		t.Fatal(err)
	}
	bob.awaitClosed()
	bob.leave(broker.EndServer)
	want(t, "the will", eve.messages(1), []string{"gone"})
	want(t, "presence", string(eve.await(3, presence)[2].Payload), "offline")
}

func TestDrainIsPacedAndIsEnded(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2)
	var all []*client
	for i := range 3 * drainRate {
		all = append(all, n[1].open(fmt.Sprintf("p%d", i)))
	}
	began := time.Now()
	if _, err := n[0].b.DrainNode(t.Context(), "n2", true); err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		c.awaitClosed()
	}
	// The first tenth of a second's share goes at once.
	if took, least := time.Since(began), 2500*time.Millisecond; took < least {
		t.Errorf("all were told within %v; %d a second takes %v", took, drainRate, least)
	}
	for _, c := range all {
		c.leave(broker.EndServer)
	}
	if err := n[1].b.Drain(t.Context()); err != nil {
		t.Errorf("drain, with nobody left: %v", err)
	}
	state, err := n[0].b.DrainNode(t.Context(), "n2", false)
	if err != nil || state.Draining || !state.Ready || n[1].b.Ready(t.Context()) != nil {
		t.Errorf("taken back: %+v, %v", state, err)
	}
	n[1].open("p0")
}

func TestDrainNeedsAnotherNodeThatIsReady(t *testing.T) {
	n := newNodes(t, 2)
	if _, err := n[0].b.DrainNode(t.Context(), "n3", true); !errors.Is(err, broker.ErrNoNode) {
		t.Errorf("a node that is not there: %v", err)
	}
	if _, err := n[0].b.DrainNode(t.Context(), "n2", true); err != nil {
		t.Fatal(err)
	}
	if err := n[0].b.Drain(t.Context()); !errors.Is(err, broker.ErrNoRefuge) {
		t.Errorf("the last that is ready: %v", err)
	}
	if n[0].b.Ready(t.Context()) != nil {
		t.Error("the last node says that it is not ready")
	}
}

func TestBrokerByItselfIsNotDrained(t *testing.T) {
	w := newWorld(t)
	bob := w.open("bob")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := w.b.Drain(ctx); !errors.Is(err, broker.ErrNoRefuge) {
		t.Errorf("drain: %v", err)
	}
	if bob.isClosed() || w.b.Ready(t.Context()) != nil {
		t.Error("it stopped serving")
	}
}

// stopNode stops a node in order.
func (w *world) stopNode() {
	w.b.CloseAll(broker.CloseShutdown)
	w.cancel()
	<-w.done
}

// isBuried reports whether a node whose id begins so is gone, and its wills are published.
func (w *world) isBuried(id string) bool {
	w.t.Helper()
	records, err := w.store.List(w.t.Context(), broker.ListQuery{Space: broker.SpaceNode, Limit: 100})
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.ContainsFunc(records, func(r broker.Record) bool {
		return strings.HasPrefix(r.Key.Owner, id) && strings.Contains(string(r.Value), `"buried":true`)
	})
}
