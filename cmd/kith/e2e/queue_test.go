package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

const unlimited = "rate: {messages_per_second: 0}"

// numbers are the texts from first to last.
func numbers(first, last int) []string {
	var texts []string
	for i := first; i <= last; i++ {
		texts = append(texts, strconv.Itoa(i))
	}
	return texts
}

// away opens a device, and closes it once it is known.
func away(t *testing.T, a *app, clientID string, version int) {
	t.Helper()
	peer, _, _ := strings.Cut(clientID, "/")
	c := open(t, a, clientID, opening{version: version})
	c.event("session")
	c.close()
	c.isGone(peer)
	waitUntil(t, clientID+" is not remembered", func() bool { return len(a.sessions(t, peer)) > 0 })
}

// isGone waits until the server knows that the peer went.
func (c *client) isGone(peer string) {
	c.t.Helper()
	waitUntil(c.t, peer+" stays online", func() bool { return !c.app.online(c.t, peer) })
	offline := time.Now().UnixMilli() // what is accepted in this millisecond still counts as before
	waitUntil(c.t, "time stands still", func() bool { return time.Now().UnixMilli() > offline })
}

func TestTheNewest50WaitAndTheRestIsMissed(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t, unlimited)
		alice := open(t, a, "alice", opening{password: watching("bob")})
		away(t, a, "bob", version)
		group := alice.does("join", `{}`).Group
		alice.does("invite", `{"group":"`+group+`","peers":["bob"]}`)
		first := alice.send("peer/bob/alice", "0")
		for i := 1; i < 60; i++ { // direct and group messages are counted together
			if i%2 == 0 {
				alice.send("peer/bob/alice", strconv.Itoa(i))
			} else {
				alice.send("group/"+group+"/alice", strconv.Itoa(i))
			}
		}
		if got := a.rest(t, http.MethodGet, "/peers/bob/queue", "").Items; len(got) != 50 {
			t.Errorf("REST shows %d in the queue", len(got))
		}
		bob := open(t, a, "bob", opening{version: version})
		e := bob.event("session")
		missed := bob.event("missed")
		got := bob.messages(50)
		slices.SortFunc(got, func(x, y string) int { return len(x)*1000 - len(y)*1000 + strings.Compare(x, y) })
		if !slices.Equal(got, numbers(10, 59)) {
			t.Errorf("bob gets %v", got)
		}
		if e.Waiting != 50 || missed.Count != 10 || fmt.Sprint(missed.Since) != first.ts {
			t.Errorf("session event %+v, missed %+v; the first was at %s", e, missed, first.ts)
		}
		if a.rest(t, http.MethodGet, "/messages?limit=1000&peers=alice,bob", "").Items[29].Message != "0" {
			t.Error("what was missed is not in history")
		}
		bob.event("group")
		bob.nothing("peer/")
		bob.nothing("group/")
	})
}

func TestADeviceSeenBeforeGetsWhatItMissed(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{password: watching("bob")})
		away(t, a, "bob/tablet", version)
		phone := open(t, a, "bob/phone", opening{version: version})
		alice.send("peer/bob/alice", "one")
		phone.wants("peer/bob/alice", "one")
		waitUntil(t, "the phone did not acknowledge", func() bool {
			return len(a.rest(t, http.MethodGet, "/peers/bob/queue?device=phone", "").Items) == 0
		})
		open(t, a, "bob/tablet", opening{version: version}).wants("peer/bob/alice", "one")
		fresh := open(t, a, "bob/new", opening{version: version}) // never seen: only what no device acknowledged
		alice.send("peer/bob/alice", "two")
		fresh.wants("peer/bob/alice", "two")
	})
}

func TestThe21stDevice(t *testing.T) {
	t.Parallel()
	a := newApp(t, "devices: 2")
	inBothVersions(t, func(t *testing.T, version int) {
		peer := fmt.Sprintf("bob%d", version)
		topic := "peer/" + peer + "/alice" + peer
		alice := open(t, a, "alice"+peer, opening{password: watching(peer)})
		one := open(t, a, peer+"/1", opening{version: version})
		two := open(t, a, peer+"/2", opening{version: version})
		want := byte(0x97)
		if version == 3 {
			want = 5
		}
		if got := refused(t, a, peer+"/3", opening{version: version}); got.code != want { // all are connected
			t.Errorf("a device too many: 0x%02X", got.code)
		}
		one.close()
		waitUntil(t, "device 1 stays", func() bool { return fmt.Sprint(connected(t, a, peer)) == "[2]" })
		three := open(t, a, peer+"/3", opening{version: version}) // the longest absent is forgotten
		alice.send(topic, "hello")
		two.wants(topic, "hello")
		three.wants(topic, "hello")
		waitUntil(t, "the longest absent device is remembered", func() bool { return len(a.sessions(t, peer)) == 2 })
	})
}

// connected are the devices of a peer that are.
func connected(t *testing.T, a *app, peer string) (devices []string) {
	t.Helper()
	for _, s := range a.sessions(t, peer) {
		if s.Connected {
			devices = append(devices, s.Device)
		}
	}
	return devices
}

// What was due when the connection ended stays, beyond the 50 and up to queue.connected; and comes first.
func TestWhatWasDueWhileConnectedStaysBeyondThe50(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t, unlimited, "queue: {messages: 5, connected: 100}")
		alice := open(t, a, "alice", opening{password: watching("bob")})
		bob := open(t, a, "bob", opening{version: version, manual: true, clean: true, receiveMax: 10})
		for i := 1; i <= 120; i++ {
			alice.send("peer/bob/alice", strconv.Itoa(i))
		}
		bob.next("peer/bob/alice")
		bob.drop()
		bob.isGone("bob")
		for i := 121; i <= 130; i++ {
			alice.send("peer/bob/alice", strconv.Itoa(i))
		}
		bob = open(t, a, "bob", opening{version: version, clean: true})
		want := append(numbers(21, 120), numbers(126, 130)...)
		if got := bob.messages(105); !slices.Equal(got, want) {
			t.Errorf("bob gets %v", got)
		}
		count := bob.event("missed").Count
		for count < 25 {
			count += bob.event("missed").Count
		}
		if count != 25 {
			t.Errorf("missed %d, want 25", count)
		}
	})
}

func TestAMessageWhoseExpiryPassedIsNotDelivered(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{password: watching("bob")})
		away(t, a, "bob", version)
		short, long := uint32(1), uint32(60)
		ack := alice.publish("peer/bob/alice", "short", publication{qos: 1, props: paho.PublishProperties{MessageExpiry: &short}})
		alice.publish("peer/bob/alice", "long", publication{qos: 1, props: paho.PublishProperties{MessageExpiry: &long}})
		accepted, _ := strconv.ParseInt(ack.ts, 10, 64)
		waitUntil(t, "time stands still", func() bool {
			last, _ := strconv.ParseInt(alice.send("peer/bob/alice", "clock", "transient", "true", "id", "").ts, 10, 64)
			return last > accepted+1000
		})
		bob := open(t, a, "bob", opening{version: version})
		bob.wants("peer/bob/alice", "long")
		bob.does("status", `{"peers":["alice"]}`)
		bob.nothing("peer/")
	})
}

func TestAMessageOverTheClientsMaximumPacketSizeIsSkippedAndMissed(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	phone := open(t, a, "bob/phone", opening{maxPacket: 1000})
	laptop := open(t, a, "bob/laptop", opening{})
	large := strings.Repeat("x", 1500)
	alice.send("peer/bob/alice", large)
	alice.send("peer/bob/alice", "small")
	phone.wants("peer/bob/alice", "small")
	if e := phone.event("missed"); e.Count != 1 {
		t.Errorf("missed %+v", e)
	}
	laptop.wants("peer/bob/alice", large)
	laptop.wants("peer/bob/alice", "small")
}

// One that a client cannot take does not hold up the rest for ever.
func TestAMessageLeftUnacknowledgedOver5ConnectionsIsSkipped(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{password: watching("bob")})
		o := opening{version: version, manual: true, clean: true, receiveMax: 1}
		bob := open(t, a, "bob", o)
		alice.send("peer/bob/alice", "poison")
		for i := range 5 {
			if i > 0 {
				bob = open(t, a, "bob", o)
			}
			bob.wants("peer/bob/alice", "poison")
			bob.drop()
		}
		bob.isGone("bob")
		alice.send("peer/bob/alice", "food")
		bob = open(t, a, "bob", o)
		bob.wants("peer/bob/alice", "food")
		if e := bob.event("missed"); e.Count != 1 {
			t.Errorf("missed %+v", e)
		}
	})
}

func TestAnEmptiedQueueDeliversNothing(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	away(t, a, "bob", 5)
	alice.send("peer/bob/alice", "old")
	a.rest(t, http.MethodDelete, "/peers/bob/queue", "")
	alice.send("peer/bob/alice", "new")
	bob := open(t, a, "bob", opening{})
	bob.wants("peer/bob/alice", "new")
	bob.nothing("peer/")
}
