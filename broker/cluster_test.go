package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kith/broker"
	"kith/broker/pebblestore"
)

// testLease is short, so that tests of dead nodes end soon, and long enough for a slow machine.
const testLease = 3 * time.Second

// newNodes returns brokers that share a store and a hub.
func newNodes(t *testing.T, n int, change ...func(*broker.AppConfig)) []*world {
	t.Helper()
	if clustered {
		t.Skip("ran already")
	}
	first := &world{t: t, fs: vfs.NewMem(), cfg: broker.DefaultAppConfig("demo")}
	first.cfg.MasterKey = "your-master-key"
	first.cfg.Rate = broker.RateConfig{}
	for _, f := range change {
		f(&first.cfg)
	}
	store, err := pebblestore.Open(pebblestore.Config{Path: "store", Sync: true}, pebblestore.Options{FS: first.fs})
	if err != nil {
		t.Fatal(err)
	}
	h := newHub()
	var nodes []*world
	for i := range n {
		w := &world{t: t, store: store, cfg: first.cfg, hub: h}
		w.join(fmt.Sprintf("n%d", i+1))
		nodes = append(nodes, w)
	}
	t.Cleanup(func() {
		for _, w := range nodes {
			w.cancel()
			<-w.done
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, w := range nodes {
		w.awaitNodes(n)
	}
	return nodes
}

// join starts a node on the store and the hub that w shares.
func (w *world) join(name string) {
	w.t.Helper()
	w.port, w.gate = w.hub.bus(), &gate{Store: w.store}
	w.run(broker.Options{
		Store: w.gate, Node: name, Bus: w.port, Lease: testLease, DrainPerSecond: drainRate, Apps: []broker.AppConfig{w.cfg}, Now: w.now,
	})
}

// gate is a node's way to the store; while it is shut the node stands still, as under SIGSTOP.
type gate struct {
	broker.Store
	shut sync.RWMutex
	away atomic.Bool // nothing is taken or told

	mu   sync.Mutex
	lazy []*broker.Batch // held back; nil: none is
	list func(broker.ListQuery)
	do   func(*broker.Batch)
	fail func(*broker.Batch) bool
	tell chan struct{} // nil, or what the failure is told after
}

// failOnce has the next batch fail for which is says so.
func (g *gate) failOnce(is func(*broker.Batch) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail = is
}

// beforeCommit has do called before each batch.
func (g *gate) beforeCommit(do func(*broker.Batch)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.do = do
}

func (g *gate) Commit(b *broker.Batch) {
	if g.away.Load() {
		b.Failed()
		go b.Done(b, errAway)
		return
	}
	g.mu.Lock()
	do, tell, failed := g.do, g.tell, g.fail != nil && g.fail(b)
	if failed {
		g.fail = nil
	}
	g.mu.Unlock()
	if do != nil {
		do(b)
	}
	if failed {
		b.Failed()
		go func() {
			if tell != nil {
				<-tell
			}
			b.Done(b, errAway)
		}()
		return
	}
	g.shut.RLock()
	defer g.shut.RUnlock()
	if !g.holds(b) {
		g.Store.Commit(b)
	}
}

// holdLazy keeps back what nobody waits for, until the function it returns is called.
func (g *gate) holdLazy() (release func()) {
	g.mu.Lock()
	g.lazy = []*broker.Batch{}
	g.mu.Unlock()
	return func() {
		g.mu.Lock()
		held := g.lazy
		g.lazy = nil
		g.mu.Unlock()
		for _, b := range held {
			g.Commit(b)
		}
	}
}

func (g *gate) holds(b *broker.Batch) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lazy == nil || !b.Lazy {
		return false
	}
	g.lazy = append(g.lazy, b)
	return true
}

// beforeList has do called before each list of records.
func (g *gate) beforeList(do func(broker.ListQuery)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = do
}

var errAway = errors.New("the store is away")

func (g *gate) List(ctx context.Context, q broker.ListQuery) ([]broker.Record, error) {
	g.mu.Lock()
	do := g.list
	g.mu.Unlock()
	if do != nil {
		do(q)
	}
	g.shut.RLock()
	defer g.shut.RUnlock()
	if g.away.Load() {
		return nil, errAway
	}
	return g.Store.List(ctx, q)
}

func (g *gate) Get(ctx context.Context, keys []broker.Key) ([][]byte, error) {
	g.shut.RLock()
	defer g.shut.RUnlock()
	return g.Store.Get(ctx, keys)
}

func (w *world) freeze() {
	w.port.cut(true)
	w.gate.shut.Lock()
}

func (w *world) thaw() {
	w.gate.shut.Unlock()
	w.port.cut(false)
}

func (w *world) awaitNodes(n int) {
	w.t.Helper()
	w.until(fmt.Sprintf("%d nodes", n), func() bool { return len(w.b.Nodes(w.t.Context())) == n })
}

// until waits for something that comes by itself.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("%s: not within 30 s", what)
		}
	}
}

func TestMessageReachesAPeerAtAnotherNode(t *testing.T) {
	n := newNodes(t, 2)
	bob := n[1].open("bob")
	alice := n[0].open("alice", watching("bob"))
	var texts []string
	for i := range 20 {
		texts = append(texts, fmt.Sprint(i))
		if ack := alice.sent("demo/peer/bob/alice", texts[i]); ack.Err != nil {
			t.Fatal(ack.Err)
		}
	}
	want(t, "messages", bob.messages(20), texts)
	alice.sent("demo/peer/bob/alice", "passing", func(p *broker.Publish) { p.Transient = true })
	want(t, "with a transient one", bob.messages(21)[20], "passing")
}

func TestReceiptAndCopyCrossNodes(t *testing.T) {
	n := newNodes(t, 3)
	bob := n[1].open("bob")
	tablet := n[2].open("alice/tablet")
	phone := n[0].open("alice/phone", watching("bob"))
	phone.sent("demo/peer/bob/alice", "hi", func(p *broker.Publish) { p.Receipt = true })
	want(t, "bob", bob.messages(1), []string{"hi"})
	want(t, "the other device", tablet.messages(1), []string{"hi"})
	for _, c := range []*client{phone, tablet} {
		receipt := c.await(1, isTopic("demo/event/alice/receipt"))[0]
		if !strings.Contains(string(receipt.Payload), `"to":"bob"`) {
			t.Errorf("receipt %s", receipt.Payload)
		}
	}
}

// A device is known as soon as another node holds it, before its record is in the store.
func TestCopyReachesADeviceThatHasJustOpenedAtAnotherNode(t *testing.T) {
	n := newNodes(t, 2)
	bob := n[0].open("bob")
	release := n[1].gate.holdLazy()
	tablet := n[1].open("alice/tablet")
	n[0].open("alice/phone", watching("bob")).sent("demo/peer/bob/alice", "hi")
	release()
	want(t, "bob", bob.messages(1), []string{"hi"})
	want(t, "the other device", tablet.messages(1), []string{"hi"})
}

// The note that tells of a new device may be lost; the device's client does not hear that it is there before it counts.
func TestCopyReachesADeviceThatOpenedWhileNotesWereLost(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2)
	bob := n[0].open("bob")
	phone := n[0].open("alice/phone", watching("bob"))
	n[0].port.cut(true)
	opened := make(chan *client, 1)
	go func() {
		tablet, err := n[1].tryOpen("alice/tablet")
		if err != nil {
			t.Error(err)
		}
		opened <- tablet
	}()
	var tablet *client
	select {
	case tablet = <-opened:
	case <-time.After(200 * time.Millisecond):
		n[0].port.cut(false)
		tablet = <-opened
	}
	tablet.run()
	phone.sent("demo/peer/bob/alice", "hi")
	want(t, "bob", bob.messages(1), []string{"hi"})
	want(t, "the other device", tablet.messages(1), []string{"hi"})
	n[0].port.cut(false)
}

func TestPresenceCrossesNodes(t *testing.T) {
	n := newNodes(t, 2)
	is := func(state string) func(*broker.Out) bool {
		return func(o *broker.Out) bool { return o.Topic == "demo/presence/bob" && string(o.Payload) == state }
	}
	eve := n[0].open("eve", watching("bob"))
	eve.await(1, is("offline"))
	bob := n[1].open("bob")
	eve.await(1, is("online"))
	want(t, "online", n[0].online("bob", "zoe"), []broker.PeerID{"bob"})
	late := n[0].open("late", watching("bob"))
	late.await(1, is("online"))
	bob.leave(broker.EndDisconnect)
	eve.await(2, is("offline"))
}

func TestPeerGoesOfflineThoughTheStoreWasAwayWhenItsSessionEnded(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2)
	is := func(state string) func(*broker.Out) bool {
		return func(o *broker.Out) bool { return o.Topic == "demo/presence/bob" && string(o.Payload) == state }
	}
	bob := n[1].open("bob")
	eve := n[0].open("eve", watching("bob"))
	eve.await(1, is("online"))
	n[1].gate.failOnce(func(b *broker.Batch) bool {
		return len(b.Writes) > 0 && b.Writes[0].Key.Space == broker.SpaceWhere && b.Writes[0].Key.Owner == "bob"
	})
	bob.leave(broker.EndDisconnect)
	eve.await(1, is("offline"))
}

// A peer whose device was to open, or to be taken over, when the store went away is not shown online for ever.
func TestPeerGoesOfflineThoughTheStoreWasAwayWhenItsSessionOpened(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]struct {
		before bool // the device is connected to the other node
		lost   bool // the store did what it was asked to, and its answer was lost
	}{"opened": {lost: true}, "taken over": {before: true}} {
		t.Run(what, func(t *testing.T) {
			n := newNodes(t, 2)
			if change.before {
				n[1].open("bob").endsWhenClosed()
			}
			claims := func(b *broker.Batch) bool {
				return len(b.Writes) > 0 && b.Writes[0].Key.Space == broker.SpaceWhere && b.Writes[0].Key.Owner == "bob"
			}
			var once sync.Once
			n[0].gate.beforeCommit(func(b *broker.Batch) {
				if change.lost && claims(b) {
					once.Do(func() {
						done := b.Done
						b.Done = func(b *broker.Batch, _ error) { done(b, errAway) }
					})
				}
			})
			if !change.lost {
				n[0].gate.failOnce(claims)
			}
			if _, err := n[0].tryOpen("bob"); err == nil {
				t.Fatal("it was opened")
			}
			n[0].until("nobody has the device", func() bool {
				values, err := n[0].store.Get(t.Context(), []broker.Key{{Space: broker.SpaceWhere, App: "demo", Owner: "bob", Name: "p"}})
				return err == nil && values[0] == nil
			})
		})
	}
}

func TestClientIDIsTakenOverFromAnotherNode(t *testing.T) {
	n := newNodes(t, 2)
	isPresence := isTopic("demo/presence/bob")
	eve := n[0].open("eve", watching("bob"))
	first := n[1].open("bob", func(r *broker.OpenRequest) { r.CleanStart = false })
	eve.await(2, isPresence)
	alice := n[1].open("alice", watching("bob"))
	alice.sent("demo/peer/bob/alice", "1")
	want(t, "first", first.messages(1), []string{"1"})
	second := n[0].open("bob", func(r *broker.OpenRequest) { r.CleanStart = false })
	want(t, "told", first.awaitClosed(), broker.CloseTakenOver)
	first.leave(broker.EndServer)
	if !second.present {
		t.Error("no session was present")
	}
	alice.sent("demo/peer/bob/alice", "2")
	want(t, "second", second.messages(1), []string{"2"})
	second.leave(broker.EndDisconnect)
	eve.await(3, isPresence)
	var states []string
	for _, o := range eve.await(3, isPresence) {
		states = append(states, string(o.Payload))
	}
	want(t, "watchers see nothing of it", states, []string{"offline", "online", "offline"})
}

func TestOneClientIDAtTwoNodesAtOnceLeavesOne(t *testing.T) {
	n := newNodes(t, 2)
	eve := n[0].open("eve", watching("bob"))
	for round := range 20 {
		var wg sync.WaitGroup
		got := make([]*client, 2)
		for i, w := range n {
			wg.Go(func() { got[i], _ = w.tryOpen("bob") })
		}
		wg.Wait()
		var open []*client
		for _, c := range got {
			if c != nil {
				c.run()
				open = append(open, c)
			}
		}
		if len(open) == 2 {
			n[0].until("one is told", func() bool { return got[0].isClosed() != got[1].isClosed() })
			i := 0
			if got[1].isClosed() {
				i = 1
			}
			got[i].leave(broker.EndServer)
			open = []*client{got[1-i]}
		}
		if len(open) != 1 {
			t.Fatalf("round %d: %d sessions", round, len(open))
		}
		open[0].request("status", map[string]any{"peers": []string{"eve"}})
		status, _, err := n[round%2].b.Peer(t.Context(), "demo", "bob")
		connected := slices.DeleteFunc(status.Sessions, func(s broker.SessionInfo) bool { return !s.Connected })
		if err != nil || len(connected) != 1 {
			t.Fatalf("round %d: %+v, %v", round, status, err)
		}
	}
	for i, o := range eve.await(1, isTopic("demo/presence/bob")) {
		if i > 0 && string(o.Payload) == "offline" {
			t.Error("a watcher saw bob go")
		}
	}
}

func (c *client) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.closed) > 0
}

func TestGroupHasOneOrderAtAllNodes(t *testing.T) {
	n := newNodes(t, 3)
	var members []*client
	for i := range 6 {
		members = append(members, n[i%3].open(fmt.Sprintf("m%d", i)))
	}
	created := members[0].request("join", map[string]any{"name": "team"})
	g, _ := created["group"].(string)
	reply := members[0].request("invite", map[string]any{"group": g, "peers": []string{"m1", "m2", "m3", "m4", "m5"}})
	if reply["ok"] != true {
		t.Fatal(reply)
	}
	const each = 15
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			for j := range each {
				m.sent(fmt.Sprintf("demo/group/%s/m%d", g, i), fmt.Sprintf("%d-%d", i, j))
			}
		})
	}
	wg.Wait()
	page, err := n[0].b.History(t.Context(), "demo", broker.HistoryQuery{Conversation: broker.ConversationID(g), Ascending: true, Limit: 1000})
	if err != nil || len(page.Items) != 6*each {
		t.Fatalf("%d messages, %v", len(page.Items), err)
	}
	for i, m := range members {
		var all []string
		for _, item := range page.Items {
			if item.From != broker.PeerID(fmt.Sprintf("m%d", i)) {
				all = append(all, *item.Message)
			}
		}
		want(t, fmt.Sprintf("member %d", i), m.messages(len(all)), all)
	}
}

func TestKickedMemberSeesNothingBehindItsKickAtAnyNode(t *testing.T) {
	n := newNodes(t, 2)
	boss, bob, tom := n[0].open("boss"), n[1].open("bob"), n[1].open("tom")
	g, _ := boss.request("join", map[string]any{})["group"].(string)
	boss.request("invite", map[string]any{"group": g, "peers": []string{"bob", "tom"}})
	for round := range 10 {
		var wg sync.WaitGroup
		wg.Go(func() { boss.request("kick", map[string]any{"group": g, "peers": []string{"bob"}}) })
		wg.Go(func() { tom.sent(fmt.Sprintf("demo/group/%s/tom", g), fmt.Sprintf("racing %d", round)) })
		wg.Wait()
		boss.sent(fmt.Sprintf("demo/group/%s/boss", g), fmt.Sprintf("secret %d", round))
		boss.request("invite", map[string]any{"group": g, "peers": []string{"bob"}})
		boss.sent(fmt.Sprintf("demo/group/%s/boss", g), fmt.Sprintf("open %d", round))
		bob.await(round+1, func(o *broker.Out) bool { return isMessage(o) && strings.HasPrefix(string(o.Message.Payload), "open") })
	}
	for _, o := range bob.await(10, isMessage) {
		if strings.HasPrefix(string(o.Message.Payload), "secret") {
			t.Errorf("bob saw %s", o.Message.Payload)
		}
	}
	tom.await(30-10, isMessage)
}

// changesMembers reports whether a batch tells a group's log of members that came or went.
func changesMembers(b *broker.Batch) bool {
	return len(b.Appends) > 0 && b.Appends[0].Message != nil && b.Appends[0].Message.Kind == broker.KindMembership
}

// A node that stood still over a change of members, until another went on with the group, does not make the change after all.
func TestNodeThatStoodStillChangesNoMembersOfAGroupThatAnotherChangedMeanwhile(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2)
	if _, _, err := n[0].b.CreateGroup(t.Context(), "demo", broker.NewGroup{ID: "team", Members: []broker.PeerID{"tom", "eve"}}); err != nil {
		t.Fatal(err)
	}
	var stop sync.Once
	stands := make(chan struct{})
	n[0].gate.beforeCommit(func(b *broker.Batch) {
		if changesMembers(b) {
			stop.Do(func() {
				n[0].freeze()
				close(stands)
			})
		}
	})
	late := make(chan error, 1)
	go func() {
		_, err := n[0].b.AddMembers(context.Background(), "demo", "team", []broker.PeerID{"bob"})
		late <- err
	}()
	<-stands
	if removed, err := n[1].b.RemoveMembers(t.Context(), "demo", "team", []broker.PeerID{"eve"}); err != nil || len(removed) != 1 {
		t.Fatalf("removed %v, %v", removed, err)
	}
	n[0].thaw()
	if err := <-late; broker.AsError(err).Code != broker.Internal {
		t.Errorf("the late change: %v", err)
	}
	n[0].awaitNodes(2)
	members, err := n[1].b.Members(t.Context(), "demo", "team", "", 10)
	if err != nil || len(members) != 1 || members[0].Peer != "tom" {
		t.Errorf("members %v, %v", members, err)
	}
	for p, groups := range map[broker.PeerID]int{"tom": 1, "eve": 0, "bob": 0} {
		in, err := n[1].b.Memberships(t.Context(), "demo", p)
		if err != nil || len(in) != groups {
			t.Errorf("%s is in %v, %v", p, in, err)
		}
	}
	group, _, err := n[1].b.Group(t.Context(), "demo", "team")
	if err != nil || group.Members != 1 {
		t.Errorf("%+v, %v", group, err)
	}
}

// A change of members is two steps; one that got no further than the first is completed when it is asked for again.
func TestChangeOfMembersThatWasCutShortIsCompletedByTheNext(t *testing.T) {
	n := newNodes(t, 1)[0]
	if _, _, err := n.b.CreateGroup(t.Context(), "demo", broker.NewGroup{ID: "team", Members: []broker.PeerID{"tom"}}); err != nil {
		t.Fatal(err)
	}
	bob := []broker.PeerID{"bob"}
	for _, change := range []struct {
		what    string
		do      func(context.Context, broker.AppID, broker.GroupID, []broker.PeerID) ([]broker.PeerID, error)
		members int
	}{{"join", n.b.AddMembers, 2}, {"leave", n.b.RemoveMembers, 1}} {
		n.gate.failOnce(func(b *broker.Batch) bool { return len(b.Appends) > 0 && b.Appends[0].EventPeer == "bob" })
		if _, err := change.do(t.Context(), "demo", "team", bob); err == nil {
			t.Fatalf("%s: it was not cut short", change.what)
		}
		changed, err := change.do(t.Context(), "demo", "team", bob)
		if err != nil {
			t.Fatal(err)
		}
		want(t, change.what, changed, bob)
		in, err := n.b.Memberships(t.Context(), "demo", "bob")
		if err != nil || len(in) != change.members-1 {
			t.Errorf("%s: bob is in %v, %v", change.what, in, err)
		}
		group, _, err := n.b.Group(t.Context(), "demo", "team")
		if err != nil || group.Members != change.members {
			t.Errorf("%s: %+v, %v", change.what, group, err)
		}
	}
}

// A request that gave up waiting leaves no lock behind.
func TestGroupCanBeChangedAfterARequestGaveUpOnIt(t *testing.T) {
	n := newNodes(t, 2)
	if _, _, err := n[0].b.CreateGroup(t.Context(), "demo", broker.NewGroup{ID: "team", Members: []broker.PeerID{"tom"}}); err != nil {
		t.Fatal(err)
	}
	n[0].until("the lock is let go", func() bool {
		values, err := n[0].store.Get(t.Context(), []broker.Key{{Space: broker.SpaceServer, App: "demo", Owner: "team", Name: "lock"}})
		return err == nil && values[0] == nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	n[0].gate.beforeCommit(func(b *broker.Batch) {
		if len(b.Writes) > 0 && b.Writes[0].Key.Owner == "team" {
			once.Do(cancel) // what is on its way takes effect, and nobody waits for it
		}
	})
	if _, err := n[0].b.AddMembers(ctx, "demo", "team", []broker.PeerID{"bob"}); err == nil {
		t.Log("it was faster")
	}
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := n[1].b.AddMembers(ctx, "demo", "team", []broker.PeerID{"eve"}); err != nil {
		t.Errorf("the next change: %v", err)
	}
}

func TestLostNotesCostFiveSecondsAtMost(t *testing.T) {
	n := newNodes(t, 2)
	bob := n[1].open("bob")
	alice := n[0].open("alice", watching("bob"))
	g, _ := alice.request("join", map[string]any{})["group"].(string)
	alice.request("invite", map[string]any{"group": g, "peers": []string{"bob"}})
	alice.sent("demo/peer/bob/alice", "heard")
	alice.sent("demo/group/"+g+"/alice", "heard by all")
	bob.messages(2)
	n[1].port.cut(true)
	alice.sent("demo/peer/bob/alice", "unheard")
	alice.sent("demo/group/"+g+"/alice", "unheard by all")
	got := bob.messages(4)
	slices.Sort(got)
	want(t, "messages", got, []string{"heard", "heard by all", "unheard", "unheard by all"})
}

// A node that has just come is told of nothing until the others know of it. What they did before it finds out all the same.
func TestNodeThatOthersDoNotKnowYetMissesNothing(t *testing.T) {
	n := newNodes(t, 1)
	known := make(chan struct{})
	looking := make(chan struct{})
	var looks sync.Once
	n[0].gate.beforeList(func(q broker.ListQuery) {
		if q.Space == broker.SpaceNode {
			looks.Do(func() { close(looking); <-known })
		}
	})
	<-looking
	fresh := &world{t: t, store: n[0].store, cfg: n[0].cfg, hub: n[0].hub}
	fresh.join("n2")
	t.Cleanup(func() { fresh.cancel(); <-fresh.done })
	is := func(state string) func(*broker.Out) bool {
		return func(o *broker.Out) bool { return o.Topic == "demo/presence/bob" && string(o.Payload) == state }
	}
	eve := fresh.open("eve", watching("bob"))
	eve.await(1, is("offline"))
	n[0].open("bob")
	close(known)
	eve.await(1, is("online"))
}

// What a node did last may not have been told when it died.
func TestKickAtANodeThatDiedOverItReachesTheOthers(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2)
	bob := n[0].open("bob")
	began := time.Now()
	n[0].until("what it looked for when they met is done", func() bool { return time.Since(began) > testLease/3 })
	n[0].port.cut(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := n[1].b.Kick(ctx, "demo", "bob", ""); err == nil {
		t.Fatal("the node answered")
	}
	n[1].freeze()
	defer n[1].thaw()
	n[0].port.cut(false)
	n[0].until("bob is told", bob.isClosed)
}

// That a peer was taken into a group is found out when the note of it was lost, though a later event came at once.
func TestInvitedPeerHearsItsGroupThoughTheNoteOfItWasLost(t *testing.T) {
	n := newNodes(t, 2)
	bob := n[1].open("bob", watching("alice"))
	alice := n[0].open("alice")
	g, _ := alice.request("join", map[string]any{})["group"].(string)
	n[1].port.cut(true)
	alice.request("invite", map[string]any{"group": g, "peers": []string{"bob"}})
	n[1].port.cut(false)
	bob.sent("demo/peer/alice/bob", "hi", func(p *broker.Publish) { p.Receipt = true })
	bob.await(1, isTopic("demo/event/bob/receipt"))
	alice.sent("demo/group/"+g+"/alice", "welcome")
	want(t, "messages", bob.messages(1), []string{"welcome"})
}

func TestPeersOfADeadNodeGoOffline(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 3)
	eve := n[0].open("eve", watching("bob"))
	bob := n[1].open("bob", func(r *broker.OpenRequest) {
		r.Will = &broker.Publish{Topic: []byte("demo/peer/eve/bob"), Payload: []byte("gone"), QoS: 1}
	}, watching("eve"))
	eve.await(1, func(o *broker.Out) bool { return o.Topic == "demo/presence/bob" && string(o.Payload) == "online" })
	n[1].freeze()
	eve.await(2, func(o *broker.Out) bool { return o.Topic == "demo/presence/bob" && string(o.Payload) == "offline" })
	want(t, "the will", eve.messages(1), []string{"gone"})
	// The device can be opened at a node that lives; who was dead ends its sessions once it finds out, and comes back.
	again := n[2].open("bob", watching("eve"))
	n[1].thaw()
	bob.awaitClosed()
	n[1].awaitNodes(3)
	again.sent("demo/peer/eve/bob", "back")
	want(t, "messages", eve.messages(2), []string{"gone", "back"})
	if again.isClosed() {
		t.Error("the session at the living node was ended")
	}
}

// A node that stood still over the end of its lease does not publish, when it is back, the wills that another published for it.
func TestWillOfANodeThatStoodStillIsPublishedOnce(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2)
	eve := n[0].open("eve")
	last := func(text string, delay time.Duration) how {
		return func(r *broker.OpenRequest) {
			r.Will = &broker.Publish{Topic: []byte("demo/peer/eve/" + string(r.ClientID)), Payload: []byte(text)}
			r.WillDelay, r.Expiry = delay, 2*delay
		}
	}
	bob := n[1].open("bob", last("gone", 0), watching("eve")).endsWhenClosed()
	n[1].freeze()
	want(t, "the will", eve.messages(1), []string{"gone"})
	n[1].thaw()
	bob.awaitClosed()
	n[1].until("the node lets nobody in", func() bool {
		late, err := n[1].tryOpen("late", last("late", testLease), watching("eve")) // behind all that the node may try again
		if err == nil {
			late.run()
			late.leave(broker.EndLost)
		}
		return err == nil
	})
	want(t, "once", eve.messages(2), []string{"gone", "late"})
}

// While the store is away nobody can renew: it was not for a node to die that it did not, however long the others' last look is past.
func TestNodeThatTheStoreLeftWithOthersIsNotDeclaredDead(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2)
	bob := n[1].open("bob")
	began := time.Now()
	past := func(share time.Duration) {
		t.Helper()
		n[0].until("time passes", func() bool { return time.Since(began) > testLease*share/100 })
	}
	n[1].gate.away.Store(true)
	past(75)
	n[0].gate.away.Store(true)
	past(105)
	var looks atomic.Int32
	n[0].gate.beforeList(func(q broker.ListQuery) {
		if q.Space == broker.SpaceNode {
			looks.Add(1)
		}
	})
	n[0].gate.away.Store(false)
	n[0].until("it looks at the other", func() bool { return looks.Load() > 1 })
	n[1].gate.away.Store(false)
	n[1].until("the node goes on", func() bool { _, err := n[1].tryOpen("carol"); return err == nil })
	if bob.isClosed() {
		t.Error("its sessions were ended")
	}
}

// What a dead node left is cleared away by another, should the one that began with it die as well.
func TestWillOfADeadNodeIsPublishedThoughTheNodeThatSeesToItDiesOverIt(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 3)
	eve := n[1].open("eve")
	n[2].open("bob", func(r *broker.OpenRequest) {
		r.Will = &broker.Publish{Topic: []byte("demo/peer/eve/bob"), Payload: []byte("gone"), QoS: 1}
	}, watching("eve"))
	var began sync.Once
	n[0].gate.beforeList(func(q broker.ListQuery) {
		if q.Space == broker.SpaceServer && q.Owner == "will" {
			began.Do(n[0].freeze)
		}
	})
	n[2].freeze()
	defer n[2].thaw()
	want(t, "the will", eve.messages(1), []string{"gone"})
	n[0].thaw()
	n[1].until("both are buried", func() bool { return n[1].isBuried("n1#") && n[1].isBuried("n3#") })
	want(t, "once", eve.messages(1), []string{"gone"})
}

func TestWhatADeadNodesSessionsLeftHasATerm(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2)
	bob := n[1].open("bob/phone")
	bob.request("join", map[string]any{"open": true})
	var mu sync.Mutex
	terms := map[string]time.Duration{}
	n[0].gate.beforeCommit(func(b *broker.Batch) {
		mu.Lock()
		defer mu.Unlock()
		for _, w := range b.Writes {
			if w.Key.Owner == "bob" && w.Expires > 0 {
				terms[w.Key.Name] = time.Until(time.UnixMilli(w.Expires)).Round(time.Minute)
			}
		}
	})
	n[1].freeze()
	defer n[1].thaw()
	n[0].until("it is buried", func() bool { return n[0].isBuried("n2#") })
	mu.Lock()
	defer mu.Unlock()
	want(t, "terms", terms, map[string]time.Duration{"phone": 7 * 24 * time.Hour, "open": 30 * time.Minute})
}

func TestKickAndBanReachAllNodes(t *testing.T) {
	n := newNodes(t, 2)
	bob := n[1].open("bob")
	if k, err := n[0].b.Kick(t.Context(), "demo", "bob", ""); err != nil || k != 1 {
		t.Fatalf("kicked %d, %v", k, err)
	}
	want(t, "told", bob.awaitClosed(), broker.CloseKicked)
	bob.leave(broker.EndServer)
	eve := n[1].open("eve")
	if err := n[0].b.SetBan(t.Context(), "demo", broker.Ban{Peer: "eve"}); err != nil {
		t.Fatal(err)
	}
	want(t, "told", eve.awaitClosed(), broker.CloseKicked)
	if _, err := n[1].tryOpen("eve"); broker.AsError(err).Code != broker.Banned {
		t.Errorf("opened: %v", err)
	}
}

func TestKickOfOneDeviceThatItsNodeDidNotHearOfEndsThatDeviceAlone(t *testing.T) {
	n := newNodes(t, 2)
	phone, tablet, eve := n[1].open("bob/phone"), n[1].open("bob/tablet"), n[1].open("eve")
	unheard := func(p broker.PeerID, d broker.DeviceID) {
		n[1].port.cut(true)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := n[0].b.Kick(ctx, "demo", p, d); err == nil {
			t.Fatal("the node answered")
		}
		n[1].port.mend()
	}
	unheard("bob", "phone")
	want(t, "told", phone.awaitClosed(), broker.CloseKicked)
	unheard("eve", "")
	want(t, "told", eve.awaitClosed(), broker.CloseKicked)
	if tablet.isClosed() {
		t.Error("the peer's other device was kicked as well")
	}
}

func TestNonceIsUsedOnceAtAllNodes(t *testing.T) {
	n := newNodes(t, 2, func(c *broker.AppConfig) { c.Signature.Required = true })
	for round := range 10 {
		signed, err := n[0].b.Sign("demo", broker.SignRequest{Peer: "bob"})
		if err != nil {
			t.Fatal(err)
		}
		with := func(r *broker.OpenRequest) { r.Password = []byte(signed.Password) }
		var wg sync.WaitGroup
		var mu sync.Mutex
		opened := 0
		for i, w := range n {
			wg.Go(func() {
				if _, err := w.tryOpen(fmt.Sprintf("bob/%d-%d", round, i), with); err == nil {
					mu.Lock()
					opened++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		want(t, "opened", opened, 1)
	}
}

func TestOpenGroupSpansNodes(t *testing.T) {
	n := newNodes(t, 2)
	alice, bob, tablet := n[0].open("alice"), n[1].open("bob"), n[1].open("alice/tablet")
	g, _ := alice.request("join", map[string]any{"open": true})["group"].(string)
	if r := bob.request("join", map[string]any{"group": g}); r["ok"] != true {
		t.Fatal(r)
	}
	n[0].until("both are counted, once each", func() bool {
		group, _, err := n[0].b.Group(t.Context(), "demo", broker.GroupID(g))
		return err == nil && group.Members == 2
	})
	n[1].until("alice hears", func() bool { // what is kept for nobody is sent until her node's part in the group is known
		bob.sent("demo/group/"+g+"/bob", "hi all")
		return len(alice.messages(0)) > 0
	})
	want(t, "her other device", tablet.messages(1)[0], "hi all")
	bob.request("leave", map[string]any{"group": g})
	group, _, err := n[1].b.Group(t.Context(), "demo", broker.GroupID(g))
	if err != nil || group.Members != 1 {
		t.Errorf("%+v, %v", group, err)
	}
}

// A client that was let in has its device in the store: what another node acknowledges from then on is due to it.
func TestOpenedDeviceIsKnownThoughItsNodeDiesAtOnce(t *testing.T) {
	n := newNodes(t, 2)
	release := n[0].gate.holdLazy()
	defer release()
	n[0].open("bob/phone")
	records, err := n[1].store.List(t.Context(), broker.ListQuery{Space: broker.SpaceDevice, App: "demo", Owner: "bob", Limit: 10})
	if err != nil || len(records) != 1 || records[0].Key.Name != "phone" {
		t.Errorf("%+v, %v", records, err)
	}
}

// A device is in its peer's open group though its node heard nothing of the other's, nor the other of it.
func TestOpenGroupReachesADeviceOfWhichNoNoteTold(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2)
	n[0].port.cut(true)
	alice, tablet := n[0].open("alice"), n[1].open("alice/tablet")
	n[0].port.cut(false)
	g, _ := alice.request("join", map[string]any{"open": true})["group"].(string)
	hears := func(g, text string) func() bool { // what is kept for nobody is sent until the node's part in the group is known
		return func() bool {
			alice.sent("demo/group/"+g+"/alice", text)
			return slices.Contains(tablet.messages(0), text)
		}
	}
	n[0].until("a device that is not known there hears", hears(g, "1"))

	n[1].port.cut(true)
	time.AfterFunc(100*time.Millisecond, func() { n[1].port.cut(false) })
	h, _ := alice.request("join", map[string]any{"open": true})["group"].(string)
	n[0].until("a device whose node lost a note hears", hears(h, "2"))
}

func TestOperatorSeesAndClearsWhatIsAtAnotherNode(t *testing.T) {
	n := newNodes(t, 2)
	bob := n[1].openSilent("bob", watching("eve"))
	alice := n[0].open("alice", watching("bob"))
	for i := range 3 {
		alice.sent("demo/peer/bob/alice", fmt.Sprint(i))
	}
	bob.messages(3)
	status, found, err := n[0].b.Peer(t.Context(), "demo", "bob")
	if err != nil || !found || !status.Online || len(status.Sessions) != 1 {
		t.Fatalf("%+v %t %v", status, found, err)
	}
	s := status.Sessions[0]
	if !s.Connected || s.Node != "n2" || !slices.Equal(s.Watch, []broker.PeerID{"eve"}) || s.Waiting != 3 {
		t.Errorf("%+v", s)
	}
	items, err := n[0].b.Peers(t.Context(), "demo", broker.PeersQuery{Online: new(true), Limit: 10})
	if err != nil || len(items) != 2 || items[1].Peer != "bob" {
		t.Errorf("%+v %v", items, err)
	}
	if cleared, err := n[0].b.ClearQueue(t.Context(), "demo", "bob"); err != nil || cleared != 3 {
		t.Errorf("cleared %d, %v", cleared, err)
	}
}

// Bob's node keeps the group for a while after he went on to another node, but is told nothing of it. When he is back it reads what he
// got there.
func TestWhatAMemberGotAtAnotherNodeDoesNotComeAgainWhenItIsBack(t *testing.T) {
	t.Parallel()
	n := newNodes(t, 2)
	alice, bob := n[1].open("alice"), n[0].open("bob")
	if _, _, err := n[1].b.CreateGroup(t.Context(), "demo", broker.NewGroup{ID: "team", Members: []broker.PeerID{"alice", "bob"}}); err != nil {
		t.Fatal(err)
	}
	to := "demo/group/team/alice"
	bob.sent("demo/group/team/bob", "hello")
	want(t, "alice", alice.messages(1), []string{"hello"})
	alice.sent(to, "before")
	want(t, "where he was first", bob.messages(1), []string{"before"})
	bob.leave(broker.EndDisconnect)
	bob = n[1].open("bob")
	for _, text := range []string{"1", "2", "3"} {
		alice.sent(to, text)
	}
	want(t, "at the other node", bob.messages(3), []string{"1", "2", "3"})
	bob.leave(broker.EndDisconnect)
	bob = n[0].open("bob")
	alice.sent(to, "after")
	alice.sent(to, "last")
	want(t, "back", bob.messages(2), []string{"after", "last"})
}

// What a session leaves may be stored long after it ended, and what comes in between is for a device that is absent.
func TestAbsenceBeginsWhenTheSessionEndsAndNotWhenThatIsStored(t *testing.T) {
	w := newNodes(t, 1, func(c *broker.AppConfig) { c.Queue.Messages = 5 })[0]
	alice, bob := w.open("alice", watching("bob")), w.open("bob")
	release := w.gate.holdLazy()
	bob.leave(broker.EndLost)
	ended := time.Now()
	w.until("the millisecond of the end is over", func() bool { return time.Since(ended) > 2*time.Millisecond })
	for i := range 10 {
		alice.sent("demo/peer/bob/alice", fmt.Sprint(i))
	}
	bob = w.open("bob")
	want(t, "bob", bob.messages(5), []string{"5", "6", "7", "8", "9"})
	release()
}
