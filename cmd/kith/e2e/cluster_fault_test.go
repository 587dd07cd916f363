package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// deathNews is how long after a node's death watchers may take to hear that its peers are offline (spec 4), with a lease of 10 s; slack is
// what a busy machine is forgiven.
const (
	deathNews = 15 * time.Second
	slack     = 10 * time.Second
)

// A node dies under load: nothing acknowledged is lost, its peers go offline, its wills are published once.
func TestANodeDiesUnderLoad(t *testing.T) {
	c := startCluster(t, 3, shortLease, endless)
	watcher := open(t, c.at(1), "watcher", opening{password: watching("idle0", "idle1", "idle2")})
	heir := open(t, c.at(2), "heir", opening{})
	for i := range 3 {
		open(t, c.at(0), fmt.Sprintf("idle%d", i), opening{
			password: watching("heir"), will: &will{topic: fmt.Sprintf("peer/heir/idle%d", i), payload: fmt.Sprintf("gone %d", i), qos: byte(i % 2)},
		})
	}
	for i := range 3 {
		waitUntil(t, "the watcher hears of nobody", func() bool {
			return slices.Equal(watcher.presence(fmt.Sprintf("idle%d", i)), []string{"offline", "online"})
		})
	}
	l := loadOfThree(c)
	l.moves(100)
	died := time.Now()
	c.kill(0)
	for i := range 3 {
		peer := fmt.Sprintf("idle%d", i)
		waitFor(t, endurance, peer+" does not go offline", func() bool {
			return slices.Equal(watcher.presence(peer), []string{"offline", "online", "offline"})
		})
	}
	if took := time.Since(died); took > shortLease+2*time.Second+slack {
		t.Errorf("the peers of the dead node went offline after %v; the lease is %v", took, shortLease)
	} else {
		t.Logf("the peers of the dead node went offline after %v", took.Round(time.Millisecond))
	}
	l.moves(100)
	l.finish()
	for i := range 3 {
		heir.wants(fmt.Sprintf("peer/heir/idle%d", i), fmt.Sprintf("gone %d", i))
	}
	heir.nothing("peer/")
}

// loadOfThree is two senders to a peer with two devices, and two to a group, which has them and two others as members, all over three nodes.
func loadOfThree(c *cluster) *load {
	c.at(0).rest(c.t, "POST", "/groups", `{"id":"room","members":["a","b","m0","m1"]}`)
	l := newLoad(c)
	one, two := l.sender("one", 0, "peer/bob"), l.sender("two", 1, "peer/bob")
	a, b := l.sender("a", 0, "group/room"), l.sender("b", 2, "group/room")
	l.receiver("bob/x", 0, one, two)
	l.receiver("bob/y", 1, one, two)
	l.receiver("m0", 0, a, b)
	l.receiver("m1", 2, a, b)
	return l
}

// With the lease as it comes, watchers hear within 15 s that the peers of a dead node are gone.
func TestPeersOfADeadNodeGoOfflineWithin15Seconds(t *testing.T) {
	c := startCluster(t, 2, 10*time.Second, "")
	watcher := open(t, c.at(1), "watcher", opening{password: watching("bob")})
	open(t, c.at(0), "bob", opening{})
	watcher.wants("presence/bob", "offline")
	watcher.wants("presence/bob", "online")
	died := time.Now()
	c.kill(0)
	waitFor(t, endurance, "bob does not go offline", func() bool {
		return slices.Equal(watcher.presence("bob"), []string{"offline", "online", "offline"})
	})
	took := time.Since(died)
	t.Logf("offline after %v", took.Round(time.Millisecond))
	if took > deathNews+slack {
		t.Errorf("offline after %v, promised are %v", took, deathNews)
	}
	if c.at(1).online(t, "bob") {
		t.Error("REST says that bob is online")
	}
}

// A node is stopped for longer than its lease and wakes up: it must not act for sessions that others may hold by then.
func TestANodeThatWakesUpAfterItsLeaseDoesNotResurrectItsSessions(t *testing.T) {
	c := startCluster(t, 3, shortLease, endless)
	watcher := open(t, c.at(1), "watcher", opening{password: watching("stayer", "mover")})
	heir := open(t, c.at(2), "heir", opening{})
	dying := func(peer string, qos byte) opening {
		return opening{password: watching("heir"), will: &will{topic: "peer/heir/" + peer, payload: "gone", qos: qos}}
	}
	stayer := open(t, c.at(0), "stayer", dying("stayer", 0)) // notices nothing while the node stands still
	open(t, c.at(0), "mover", dying("mover", 1))
	for _, peer := range []string{"stayer", "mover"} {
		waitUntil(t, "the watcher hears of nobody", func() bool { return slices.Equal(watcher.presence(peer), []string{"offline", "online"}) })
	}
	c.at(0).rest(t, "POST", "/groups", `{"id":"hall","members":["stayer","again","mover"]}`)
	stayer.send("group/hall/stayer", "here")
	l := loadOfThree(c)
	l.moves(100)
	c.freeze(0)
	l.leave(0)
	for _, peer := range []string{"stayer", "mover"} {
		waitFor(t, endurance, peer+" does not go offline", func() bool {
			return slices.Equal(watcher.presence(peer), []string{"offline", "online", "offline"})
		})
		heir.wants("peer/heir/"+peer, "gone")
	}
	mover := open(t, c.at(1), "mover", opening{password: watching("again")})
	l.moves(100)
	c.thaw(0)
	stayer.wasTold()
	waitFor(t, endurance, "the node does not come back", func() bool { return c.knows(1) == 3 })
	again := open(t, c.at(0), "again", opening{password: watching("mover")}) // the node serves as a new one
	again.wants("presence/mover", "online")
	mover.wants("presence/again", "offline")
	mover.wants("presence/again", "online")
	again.wants("group/hall/stayer", "here")
	waitUntil(t, "the other nodes do not find the group at the new node", func() bool { // what is transient, no comparison finds
		mover.publish("group/hall/mover", "now", publication{})
		return again.count("group/hall/mover") > 0
	})
	if s := c.at(1).sessions(t, "again"); len(s) != 1 || !s[0].Connected {
		t.Errorf("another node asks for the sessions of the new one: %+v", s)
	}
	c.down[0].Store(false)
	l.moves(20)
	l.finish()
	heir.nothing("peer/")
	if got := watcher.presence("stayer"); !slices.Equal(got, []string{"offline", "online", "offline"}) {
		t.Errorf("the watcher heard of the stayer: %v", got)
	}
	if got := watcher.presence("mover"); !slices.Equal(got, []string{"offline", "online", "offline", "online"}) {
		t.Errorf("the watcher heard of the mover: %v", got)
	}
}

// Redis dies and comes back under load: what it does not take is not acknowledged, sessions stay, everything resumes by itself.
func TestRedisIsRestartedUnderLoad(t *testing.T) {
	c := startCluster(t, 2, shortLease, endless)
	watcher := open(t, c.at(1), "watcher", opening{password: watching("idle")})
	idle := open(t, c.at(0), "idle", opening{})
	watcher.wants("presence/idle", "offline")
	watcher.wants("presence/idle", "online")
	l := loadOfTwo(c)
	const restarts = 2
	for range restarts {
		l.moves(100)
		c.redis.Kill()
		for i := range c.nodes {
			waitFor(t, endurance, "/readyz says yes", func() bool { return !c.at(i).ready(t) })
		}
		c.redis.Again(t)
		for i := range c.nodes {
			waitFor(t, endurance, "/readyz says no", func() bool { return c.at(i).ready(t) })
		}
	}
	l.moves(100)
	l.finish()
	for _, x := range l.clients() {
		if x.opens != 1 {
			t.Errorf("%s connected %d times (%x)", x.id, x.opens, x.codes)
		}
	}
	idle.does("status", `{"peers":["watcher"]}`)
	if got := watcher.presence("idle"); len(got) != 2 {
		t.Errorf("the watcher heard %v", got)
	}
	for i := range c.nodes {
		if c.knows(i) != len(c.nodes) {
			t.Errorf("a node is dead to node %d", i)
		}
	}
}

// loadOfTwo is that over two nodes.
func loadOfTwo(c *cluster) *load {
	c.at(0).rest(c.t, "POST", "/groups", `{"id":"room","members":["a","m0","m1"]}`)
	l := newLoad(c)
	one, two := l.sender("one", 0, "peer/bob"), l.sender("two", 1, "peer/bob")
	a := l.sender("a", 0, "group/room")
	l.receiver("bob/x", 0, one, two)
	l.receiver("bob/y", 1, one, two)
	l.receiver("m0", 0, a)
	l.receiver("m1", 1, a)
	return l
}

// The connections that carry the bus are cut again and again: what no note told is found in the store.
func TestTheBusIsCutUnderLoad(t *testing.T) {
	c := startCluster(t, 2, shortLease, endless)
	l := loadOfTwo(c)
	client := c.redis.Client()
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), endurance)
	defer cancel()
	const cuts = 20
	for range cuts {
		l.moves(20)
		if err := client.Do(ctx, "client", "kill", "type", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
	}
	l.moves(20)
	if n := l.finish(); n.duplicated > 0 {
		t.Error("messages came twice")
	}
}

// A node is asked to stop under load: its clients are sent to the others, and nobody who comes back is seen to go.
func TestANodeIsStoppedUnderLoad(t *testing.T) {
	c := startCluster(t, 3, 10*time.Second, endless)
	var watched []string
	for i := range 5 {
		watched = append(watched, fmt.Sprintf("idle%d", i))
	}
	watcher := open(t, c.at(1), "watcher", opening{password: watching(append(watched, "bob", "m0")...)})
	l := loadOfThree(c)
	var idle []*client
	for _, p := range watched {
		idle = append(idle, open(t, c.at(0), p, opening{}))
	}
	l.moves(100)
	for _, p := range append(watched, "bob", "m0") {
		waitUntil(t, "the watcher does not hear of "+p, func() bool { s := watcher.presence(p); return len(s) > 0 && s[len(s)-1] == "online" })
	}
	before := map[string]int{}
	for _, p := range append(watched, "bob", "m0") {
		before[p] = len(watcher.presence(p))
	}
	c.down[0].Store(true)
	stopped := make(chan error, 1)
	go func() { stopped <- c.nodes[0].stop() }()
	for i, p := range watched[1:] { // the first does not come back
		if code := idle[i+1].wasTold(); code != 0x9C {
			t.Errorf("%s is told 0x%02X", p, code)
		}
		open(t, c.at(1+i%2), p, opening{})
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	l.moves(100)
	waitFor(t, endurance, watched[0]+" does not go offline", func() bool {
		s := watcher.presence(watched[0])
		return s[len(s)-1] == "offline"
	})
	l.finish()
	for _, p := range append(watched[1:], "bob", "m0") {
		if got := watcher.presence(p); len(got) != before[p] {
			t.Errorf("the watcher heard of %s: %v", p, got)
		}
	}
}
