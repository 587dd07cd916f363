package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"kith/broker"
)

// meddler is a store between whose calls a test may do something, or that fails.
type meddler struct {
	broker.Store
	mu     sync.Mutex
	list   func(broker.ListQuery) error
	last   func()
	before func(broker.LogID)
	after  func(broker.LogID)
	commit func(*broker.Batch) error
}

// once lets f run at the n-th call from now on.
func once(n int, f func()) func() {
	return func() {
		if n--; n == 0 {
			f()
		}
	}
}

func (m *meddler) set(f func(*meddler)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m)
}

func (m *meddler) List(ctx context.Context, q broker.ListQuery) ([]broker.Record, error) {
	m.mu.Lock()
	f := m.list
	m.mu.Unlock()
	if f != nil {
		if err := f(q); err != nil {
			return nil, err
		}
	}
	return m.Store.List(ctx, q)
}

func (m *meddler) Last(ctx context.Context, logs []broker.LogID) ([]broker.Entry, error) {
	entries, err := m.Store.Last(ctx, logs)
	m.mu.Lock()
	f := m.last
	m.mu.Unlock()
	if f != nil {
		f()
	}
	return entries, err
}

func (m *meddler) Read(ctx context.Context, log broker.LogID, r broker.Range) ([]broker.Entry, error) {
	m.mu.Lock()
	before, after := m.before, m.after
	m.mu.Unlock()
	if before != nil {
		before(log)
	}
	entries, err := m.Store.Read(ctx, log, r)
	if after != nil {
		after(log)
	}
	return entries, err
}

func (m *meddler) Commit(b *broker.Batch) {
	m.mu.Lock()
	f := m.commit
	m.mu.Unlock()
	if f != nil {
		if err := f(b); err != nil {
			go b.Done(b, err)
			return
		}
	}
	m.Store.Commit(b)
}

// meddled is a world with a meddler before its store.
func meddled(t *testing.T, change ...func(*broker.AppConfig)) (*world, *meddler) {
	t.Helper()
	w := newWorld(t, change...)
	m := &meddler{Store: w.store}
	w.b = on(t, w, m)
	return w, m
}

// on returns another broker, which runs on a store before that of w.
func on(t *testing.T, w *world, s broker.Store) *broker.Broker {
	t.Helper()
	b, err := broker.New(broker.Options{Store: s, Node: "test", Apps: []broker.AppConfig{w.cfg}, Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return b
}

// inTime runs f and gives up on it after a while: two locks of the broker may be the same one by chance.
func inTime(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
	}
}

func resuming(r *broker.OpenRequest) { r.CleanStart = false }

// drain calls Next until it returns nothing.
func (c *client) drain() (outs []broker.Out) {
	for {
		out := c.s.Next(make([]broker.Out, 0, 16))
		if len(out) == 0 {
			return outs
		}
		outs = append(outs, out...)
	}
}

func texts(outs []broker.Out) (list []string) {
	for i := range outs {
		if isMessage(&outs[i]) {
			list = append(list, string(outs[i].Message.Payload))
		}
	}
	return list
}

func TestGroupMessageAcceptedDuringAResumeComesInOrderBehindWhatWaited(t *testing.T) {
	w, m := meddled(t)
	alice, bob := w.open("alice"), w.open("bob")
	g := alice.create(map[string]any{})
	bob.request("join", map[string]any{"group": g})
	alice.sent("demo/group/"+g+"/alice", "0")
	bob.messages(1)
	bob.leave(broker.EndLost)
	for _, text := range numbered(1, 3) {
		alice.sent("demo/group/"+g+"/alice", text)
	}
	meanwhile := once(2, func() { alice.sent("demo/group/"+g+"/alice", "4") })
	m.set(func(m *meddler) {
		m.list = func(q broker.ListQuery) error {
			if q.Space == broker.SpaceMembership {
				meanwhile()
			}
			return nil
		}
	})
	bob = w.open("bob", resuming)
	want(t, "messages", bob.messages(4), numbered(1, 4))
	alice.sent("demo/group/"+g+"/alice", "5")
	want(t, "messages", bob.messages(5), numbered(1, 5))
}

func TestGroupJoinedWhileADeviceOpensBringsItNothingFromBefore(t *testing.T) {
	w, m := meddled(t)
	alice, phone := w.open("alice"), w.open("bob/phone")
	g := alice.create(map[string]any{})
	alice.sent("demo/group/"+g+"/alice", "before")
	meanwhile := once(1, func() {
		inTime(func() {
			phone.request("join", map[string]any{"group": g})
			alice.sent("demo/group/"+g+"/alice", "1")
		})
	})
	m.set(func(m *meddler) { m.last = meanwhile })
	tablet := w.open("bob/tablet")
	m.set(func(m *meddler) { m.last = nil })
	alice.sent("demo/group/"+g+"/alice", "2")
	want(t, "messages", tablet.messages(2), numbered(1, 2))
}

// waitingCounts are numbers of waiting messages of which the first page is read by the open, and by the pump.
var waitingCounts = map[string]int{"opening": 1, "pumping": 150}

func TestMemberThatLeavesDuringAReadGetsNothingFromAfter(t *testing.T) {
	for name, n := range waitingCounts {
		t.Run(name, func(t *testing.T) {
			w, m := meddled(t)
			alice, carol := w.open("alice"), w.open("carol", watching("bob"))
			bob := w.open("bob")
			g := alice.create(map[string]any{})
			bob.request("join", map[string]any{"group": g})
			bob.leave(broker.EndLost)
			for _, text := range numbered(1, n) {
				alice.sent("demo/group/"+g+"/alice", text)
			}
			kicked := make(chan struct{})
			meanwhile := once(1, func() {
				defer close(kicked)
				alice.request("kick", map[string]any{"group": g, "peers": []string{"bob"}})
				alice.sent("demo/group/"+g+"/alice", "after")
			})
			m.set(func(m *meddler) {
				m.before = func(l broker.LogID) {
					if l.Owner == g {
						meanwhile()
					}
				}
			})
			bob = w.open("bob")
			<-kicked
			carol.sent("demo/peer/bob/carol", "end")
			bob.await(1, func(o *broker.Out) bool { return isMessage(o) && string(o.Message.Payload) == "end" })
			bob.mu.Lock()
			defer bob.mu.Unlock()
			if slices.Contains(texts(bob.got), "after") {
				t.Error("a message from after the leave was delivered")
			}
		})
	}
}

func TestMembershipNoticeThatComesDuringAReadIsNotLost(t *testing.T) {
	for name, n := range waitingCounts {
		t.Run(name, func(t *testing.T) {
			w, m := meddled(t)
			alice := w.open("alice")
			bob := w.open("bob")
			g := alice.create(map[string]any{})
			bob.request("join", map[string]any{"group": g})
			bob.leave(broker.EndLost)
			for _, text := range numbered(1, n) {
				alice.sent("demo/group/"+g+"/alice", text)
			}
			meanwhile := once(1, func() { alice.request("invite", map[string]any{"group": g, "peers": []string{"dave"}}) })
			m.set(func(m *meddler) {
				m.after = func(l broker.LogID) {
					if l.Owner == g {
						meanwhile()
					}
				}
			})
			bob = w.open("bob")
			bob.await(1, isEvent("demo/group/"+g+"/$event", "dave"))
		})
	}
}

func TestGroupMessageAcceptedAsTheConnectionEndsIsNotLost(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice")
	w.open("bob").leave(broker.EndLost)
	for _, text := range numbered(1, 30) { // in most rounds in the millisecond of the end
		g, _, err := w.b.CreateGroup(t.Context(), "demo", broker.NewGroup{Members: []broker.PeerID{"alice", "bob"}})
		if err != nil {
			t.Fatal(err)
		}
		w.open("bob").leave(broker.EndLost)
		alice.sent("demo/group/"+string(g.ID)+"/alice", text)
		bob := w.open("bob")
		bob.await(1, func(o *broker.Out) bool { return isMessage(o) && string(o.Message.Payload) == text })
		bob.leave(broker.EndLost)
	}
}

func TestFirstMessageOfAGroupComesAgainWhenUnacknowledged(t *testing.T) {
	w := newWorld(t)
	alice, bob := w.open("alice"), w.open("bob")
	g := alice.create(map[string]any{})
	bob.request("join", map[string]any{"group": g})
	bob.leave(broker.EndLost)
	bob = w.openSilent("bob")
	alice.sent("demo/group/"+g+"/alice", "1")
	bob.messages(1)
	bob.leave(broker.EndLost)
	want(t, "messages", w.open("bob").messages(1), []string{"1"})
}

func TestResumeKeepsToTheReceiveMaximumOfTheNewConnection(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	bob := w.openSilent("bob")
	for _, text := range numbered(1, 20) {
		alice.sent("demo/peer/bob/alice", text)
	}
	bob.messages(20)
	bob.leave(broker.EndLost)
	alice.sent("demo/peer/bob/alice", "21")
	bob, err := w.tryOpen("bob", resuming, func(r *broker.OpenRequest) { r.ReceiveMaximum = 5 })
	if err != nil {
		t.Fatal(err)
	}
	defer bob.s.End(broker.EndLost, nil)
	var got []string
	for {
		outs := bob.drain()
		open := texts(outs)
		if len(open) > 5 {
			t.Fatalf("%d are unacknowledged, the client allows 5", len(open))
		}
		if len(open) == 0 {
			break
		}
		got = append(got, open...)
		for _, o := range outs {
			if isMessage(&o) {
				bob.s.Acked(o.Tag)
			}
		}
	}
	want(t, "messages", got, numbered(1, 21))
}

func TestUnacknowledgedIsSentAgainWhateverWasUnsubscribedSince(t *testing.T) {
	for name, change := range map[string]func(*broker.Session){
		"stopped": func(s *broker.Session) { s.Unsubscribe([]string{"demo/peer/bob/+"}) },
		"qos 0": func(s *broker.Session) {
			s.Subscribe(t.Context(), []broker.Subscription{{Filter: "demo/peer/bob/+"}}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			alice := w.open("alice", watching("bob"))
			bob := w.openSilent("bob")
			alice.sent("demo/peer/bob/alice", "1")
			bob.messages(1)
			change(bob.s)
			bob.leave(broker.EndLost)
			bob = w.open("bob", resuming)
			got := bob.await(1, isMessage)[0]
			want(t, "dup", got.Dup, true)
			want(t, "qos", got.QoS, 1)
		})
	}
}

func TestDeliveryAtQoS0ThatWasNotWrittenComesOnTheNextConnection(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	bob, err := w.tryOpen("bob")
	if err != nil {
		t.Fatal(err)
	}
	bob.s.Subscribe(t.Context(), []broker.Subscription{{Filter: "demo/peer/bob/+"}}, nil)
	alice.sent("demo/peer/bob/alice", "1")
	want(t, "taken", texts(bob.drain()), []string{"1"})
	bob.s.End(broker.EndLost, nil)
	bob = w.open("bob", resuming)
	want(t, "present", bob.present, true)
	want(t, "messages", bob.messages(1), []string{"1"})
}

func TestPacketIdentifiersAreNotUsedAgainSoonAfterAResume(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	bob := w.open("bob")
	alice.sent("demo/peer/bob/alice", "1")
	first := bob.await(1, isMessage)[0].Tag
	bob.leave(broker.EndLost)
	alice.sent("demo/peer/bob/alice", "2")
	bob = w.open("bob", resuming)
	if next := bob.await(1, isMessage)[0].Tag; next <= first {
		t.Errorf("identifier %d after %d", next, first)
	}
}

func TestTakeOverThatFailsLeavesThePeerOfflineAndLosesNothing(t *testing.T) {
	w, m := meddled(t)
	eve := w.open("eve", watching("bob"))
	alice := w.open("alice", watching("bob"))
	bob := w.openSilent("bob")
	for _, text := range numbered(1, 60) {
		alice.send("demo/peer/bob/alice", text)
	}
	bob.messages(60)
	m.set(func(m *meddler) {
		m.list = func(q broker.ListQuery) error {
			if q.Space == broker.SpaceDevice {
				return errors.New("the store is away")
			}
			return nil
		}
	})
	if _, err := w.tryOpen("bob"); broker.AsError(err).Code != broker.Internal {
		t.Fatalf("open: %v", err)
	}
	bob.awaitClosed()
	bob.leave(broker.EndServer)
	m.set(func(m *meddler) { m.list = nil })
	eve.await(1, func(o *broker.Out) bool { return isEvent("demo/presence/bob", "offline")(o) && !o.Retain })
	bob = w.open("bob")
	want(t, "messages", bob.messages(60), numbered(1, 60))
}

func TestSessionIsOpenedAfterDisconnectAndResumedAfterALostConnection(t *testing.T) {
	w := newWorld(t)
	w.open("carol")
	bob := w.open("bob", watching("carol"))
	bob.leave(broker.EndDisconnect)
	bob = w.open("bob", resuming)
	bob.await(1, isEvent("demo/event/bob/session", `"opened"`))
	bob.await(1, isEvent("demo/event/bob/session", `"online":[]`))
	bob.leave(broker.EndLost)
	bob = w.open("bob", resuming)
	bob.await(1, isEvent("demo/event/bob/session", `"resumed"`))
}

func TestSessionExpiryCountsFromTheCrash(t *testing.T) {
	w := newWorld(t)
	w.open("bob", watching("carol"))
	w.open("alice", watching("bob")).sent("demo/peer/bob/alice", "stored by now")
	w.pass(3 * time.Hour) // longer than the session expiry
	w.stop()
	w.start()
	bob := w.open("bob", resuming)
	bob.await(1, isEvent("demo/event/bob/session", `"resumed"`))
	if ack := bob.sent("demo/peer/carol/bob", "x"); ack.Err != nil {
		t.Errorf("the watch list is gone: %v", ack.Err)
	}
}

func TestMessageThatFitsTheClientsMaximumPacketSizeIsDelivered(t *testing.T) {
	const size = 83 // of the PUBLISH: 21 topic, 2 identifier, 1+27+20 properties, 10 payload, 2 header
	for _, maximum := range []uint32{size, size - 1} {
		t.Run(fmt.Sprint(maximum), func(t *testing.T) {
			w := newWorld(t)
			alice := w.open("alice", watching("bob"))
			bob := w.open("bob", func(r *broker.OpenRequest) { r.MaximumPacket = maximum })
			alice.sent("demo/peer/bob/alice", "0123456789")
			if maximum == size {
				bob.messages(1)
			} else {
				bob.await(1, isTopic("demo/event/bob/missed"))
			}
		})
	}
}

func TestReceiveMessagesHearsOfNoEventItDidNotSubscribe(t *testing.T) {
	w := newWorld(t)
	alice := w.open("alice", watching("bob"))
	for _, text := range numbered(1, 60) {
		alice.send("demo/peer/bob/alice", text)
	}
	alice.await(60, isAck)
	bob := w.open("bob", password(map[string]any{"receive": "messages"}))
	bob.messages(50)
	bob.mu.Lock()
	defer bob.mu.Unlock()
	if i := slices.IndexFunc(bob.got, func(o broker.Out) bool { return o.Kind == broker.OutPublish }); i >= 0 {
		t.Errorf("an event came: %s", bob.got[i].Topic)
	}
}

func TestTimestampIsAJSONNumber(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.Signature.Required = true })
	now := w.now().Unix()
	for _, stamp := range []any{fmt.Sprint(now), true, []int64{now}, float64(now) + 0.5, -now} {
		signature := broker.SignOpen("your-master-key", "demo", "bob", nil, now, "n1", false)
		_, err := w.tryOpen("bob", password(map[string]any{"timestamp": stamp, "nonce": "n1", "signature": signature}))
		if err == nil || broker.AsError(err).Code != broker.Malformed {
			t.Errorf("%v: %v", stamp, err)
		}
	}
}

func TestHeldPublishesGivenUpLetTheirConnectionGo(t *testing.T) {
	t.Parallel()
	w, m := meddled(t)
	alice := w.open("alice", watching("bob"), func(r *broker.OpenRequest) { r.Version = 4 })
	m.set(func(m *meddler) {
		m.commit = func(b *broker.Batch) error {
			if len(b.Appends) > 0 {
				return errors.New("the store is away")
			}
			return nil
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 5000 {
			alice.send("demo/peer/bob/alice", "x")
		}
	}()
	w.pass(time.Second)
	for closed := false; !closed; {
		w.pass(10 * time.Second)
		select {
		case <-done:
			closed = true
		case <-time.After(time.Second):
		}
	}
	want(t, "closed", alice.awaitClosed(), broker.CloseStoreAway)
}

// What was under way behind a publish that the store did not take does not overtake it.
func TestHeldPublishKeepsItsPlaceBeforeWhatWasUnderWay(t *testing.T) {
	w := newNodes(t, 1)[0]
	bob := w.open("bob")
	alice := w.open("alice", watching("bob"), func(r *broker.OpenRequest) { r.Version = 4 })
	w.gate.tell = make(chan struct{})
	w.gate.failOnce(func(b *broker.Batch) bool { return len(b.Appends) > 0 })
	for _, text := range numbered(1, 3) {
		alice.send("demo/peer/bob/alice", text)
	}
	close(w.gate.tell)
	alice.await(3, isAck)
	want(t, "messages", bob.messages(3), numbered(1, 3))
	alice.sent("demo/peer/bob/alice", "4")
	want(t, "messages", bob.messages(4), numbered(1, 4))
}

// turns is a store that does not take the first batches of messages. Each failure is told when its turn comes.
type turns struct {
	broker.Store
	mu    sync.Mutex
	told  []chan struct{} // of the batches that fail
	taken chan int        // how many batches of messages came, with each
	came  int
}

func (s *turns) Commit(b *broker.Batch) {
	if len(b.Appends) == 0 {
		s.Store.Commit(b)
		return
	}
	s.mu.Lock()
	n := s.came
	s.came++
	s.mu.Unlock()
	s.taken <- n + 1
	if n >= len(s.told) {
		s.Store.Commit(b)
		return
	}
	b.Failed()
	go func() {
		<-s.told[n]
		b.Done(b, errAway)
	}()
}

// What failed behind a publish that is tried again waits for the outcome of that, however late its own failure is told.
func TestHeldPublishIsNotOvertakenWhileItIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := &turns{Store: w.store, taken: make(chan int, 100)}
	for range 3 {
		s.told = append(s.told, make(chan struct{}))
	}
	w.b = on(t, w, s)
	bob := w.open("bob")
	alice := w.open("alice", watching("bob"), func(r *broker.OpenRequest) { r.Version = 4 })
	came := func(n int) {
		t.Helper()
		if got := <-s.taken; got != n {
			t.Fatalf("batch %d, not %d", got, n)
		}
	}
	alice.send("demo/peer/bob/alice", "1")
	came(1)
	alice.send("demo/peer/bob/alice", "2")
	came(2)
	close(s.told[0])
	came(3) // the first again
	close(s.told[1])
	select {
	case <-s.taken:
		t.Error("the second is tried while the first is under way")
	case <-time.After(2 * time.Second):
	}
	close(s.told[2])
	alice.await(2, isAck)
	want(t, "messages", bob.messages(2), numbered(1, 2))
}

func TestPublishOfATakenOverConnectionIsNotTaken(t *testing.T) {
	w := newWorld(t)
	bob := w.open("bob")
	old := w.open("alice", watching("bob"))
	fresh := w.open("alice", watching("bob"))
	old.send("demo/peer/bob/alice", "late")
	fresh.sent("demo/peer/bob/alice", "1")
	want(t, "messages", bob.messages(1), []string{"1"})
}

func TestBanSetWhileAPeerOpensKeepsItOut(t *testing.T) {
	w, m := meddled(t)
	meanwhile := once(1, func() {
		if err := w.b.SetBan(t.Context(), "demo", broker.Ban{Peer: "bob"}); err != nil {
			t.Error(err)
		}
	})
	m.set(func(m *meddler) {
		m.list = func(q broker.ListQuery) error {
			if q.Space == broker.SpaceDevice {
				meanwhile()
			}
			return nil
		}
	})
	if _, err := w.tryOpen("bob"); err == nil || broker.AsError(err).Code != broker.Banned {
		t.Errorf("open: %v", err)
	}
}

func TestWillToAPeerWatchedBeforeTheConnectionWasLostIsTaken(t *testing.T) {
	will := func(r *broker.OpenRequest) {
		r.Will = &broker.Publish{Topic: []byte("demo/peer/carol/bob"), Payload: []byte("gone"), QoS: 1}
	}
	w := newWorld(t)
	if _, err := w.tryOpen("bob", will); broker.AsError(err).Code != broker.InvalidTarget {
		t.Errorf("a will to a peer that is not watched: %v", err)
	}
	bob := w.open("bob")
	bob.request("watch", map[string]any{"peers": []string{"carol"}})
	bob.leave(broker.EndLost)
	w.open("bob", resuming, will).leave(broker.EndLost)
	want(t, "will", w.open("carol").messages(1), []string{"gone"})
}

func TestDeviceThatWasForgottenStartsWhereTheFurthestIs(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.Devices = 2 })
	alice, phone := w.open("alice"), w.open("bob/phone")
	g := alice.create(map[string]any{})
	phone.request("join", map[string]any{"group": g})
	tablet := w.open("bob/tablet")
	alice.sent("demo/group/"+g+"/alice", "1")
	tablet.messages(1)
	tablet.leave(broker.EndDisconnect)
	w.open("bob/laptop").leave(broker.EndDisconnect) // the tablet is forgotten for it
	alice.sent("demo/group/"+g+"/alice", "2")
	phone.messages(2)
	phone.request("groups", map[string]any{}) // by then both are acknowledged
	w.open("bob/tablet").leave(broker.EndDisconnect)
	alice.sent("demo/group/"+g+"/alice", "3")
	tablet = w.open("bob/tablet")
	want(t, "messages", tablet.messages(1), []string{"3"})
}
