package e2e_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"kith/broker/redisstore/redistest"
)

// onRedis starts a server whose store is in the Redis that keys, of store.redis, name.
func onRedis(t *testing.T, keys string) *app {
	t.Helper()
	s := startWith(t, &config{
		dir: t.TempDir(), redis: ", engine: redis, redis: {" + keys + "}",
		apps: []string{"{id: demo, master_key: " + masterKey + ", " + unlimited + ", queue: {messages: 100000}}"},
	})
	return s.in("demo")
}

func addrs(list ...string) string {
	return fmt.Sprintf("addrs: [%s]", `"`+strings.Join(list, `","`)+`"`)
}

// ready asks /readyz.
func (a *app) ready(t testing.TB) bool {
	t.Helper()
	status, _ := a.call(t, http.MethodGet, "/readyz", "", "")
	return status == http.StatusOK
}

// traffic is senders that go on through an outage, and one receiver that stays connected. Those of MQTT 5 name each
// message, have one under way, and send what was refused again; the one of MQTT 3.1.1 has up to ten, which are held.
type traffic struct {
	t       *testing.T
	senders sync.WaitGroup
	reader  sync.WaitGroup
	stop    atomic.Bool
	acked   [trafficSenders]atomic.Int64 // each acknowledges 0, 1, 2 … in turn
	refused atomic.Int64
	heard   [trafficSenders][]int
	closed  chan struct{} // when the receiver has the last message
}

const trafficSenders = 3

func startTraffic(t *testing.T, a *app) *traffic {
	t.Helper()
	f := &traffic{t: t, closed: make(chan struct{})}
	bob, _ := open5(t, a, "bob", `{"receive":"messages"}`)
	f.reader.Go(func() { f.read(bob) })
	for i := range trafficSenders - 1 {
		r, _ := open5(t, a, f.name(i), `{"receive":"none","watch":["bob"]}`)
		f.senders.Go(func() { f.send5(i, r) })
	}
	r := open3(t, a, f.name(trafficSenders-1), `{"receive":"none","watch":["bob"]}`)
	f.senders.Go(func() { f.send3(trafficSenders-1, r) })
	return f
}

func (f *traffic) name(i int) string { return string(rune('a' + i)) }

func (f *traffic) total() (n int64) {
	for i := range f.acked {
		n += f.acked[i].Load()
	}
	return n
}

// goesOn waits until each sender has n more acknowledged.
func (f *traffic) goesOn(n int64) {
	f.t.Helper()
	var want [trafficSenders]int64
	for i := range want {
		want[i] = f.acked[i].Load() + n
	}
	end := time.After(3 * patience)
	for i := range want {
		for f.acked[i].Load() < want[i] {
			select {
			case <-end:
				f.t.Fatalf("sender %s has %d acknowledged, not %d", f.name(i), f.acked[i].Load(), want[i])
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
}

func (f *traffic) send5(i int, r *raw) {
	for n := 0; !f.stop.Load(); {
		id := uint16(n%60000 + 1)
		r.write(publish5("demo/peer/bob/"+f.name(i), f.name(i)+":"+strconv.Itoa(n), 1, id, packets.User{Key: "id", Value: strconv.Itoa(n)}))
		ack := until5(r, func(p *packets.Puback) bool { return p.PacketID == id })
		switch ack.ReasonCode {
		case 0:
			n++
			f.acked[i].Add(1)
		case 0x83:
			f.refused.Add(1)
			if reason := ack.Properties.ReasonString; !strings.HasPrefix(reason, "4200 internal") {
				f.t.Errorf("refused with %q", reason)
			}
		default:
			f.t.Errorf("refused with %#x", ack.ReasonCode)
			return
		}
	}
}

func (f *traffic) send3(i int, r *raw) {
	send := func(n int) {
		r.write(publish3("demo/peer/bob/"+f.name(i), f.name(i)+":"+strconv.Itoa(n), 1, uint16(n%60000+1)))
	}
	sent := 0
	for ; sent < 10; sent++ {
		send(sent)
	}
	for n := 0; n < sent; n++ {
		_ = r.SetReadDeadline(time.Now().Add(3 * patience))
		for acked := false; !acked; {
			p, err := packets3.ReadPacket(r)
			if err != nil {
				f.t.Errorf("the sender of MQTT 3.1.1 after %d: %v", n, err)
				return
			}
			ack, ok := p.(*packets3.PubackPacket)
			if acked = ok; ok && ack.MessageID != uint16(n%60000+1) {
				f.t.Errorf("%d is acknowledged in the place of %d", ack.MessageID, n)
			}
		}
		f.acked[i].Add(1)
		if !f.stop.Load() {
			send(sent)
			sent++
		}
	}
}

func (f *traffic) read(bob *raw) {
	defer close(f.closed)
	for {
		_ = bob.SetDeadline(time.Now().Add(5 * patience))
		p, err := packets.ReadPacket(bob)
		if err != nil {
			f.t.Errorf("the receiver: %v", err)
			return
		}
		m, ok := p.Content.(*packets.Publish)
		if !ok || m.QoS == 0 {
			continue
		}
		if _, err := (&packets.Puback{PacketID: m.PacketID, Properties: &packets.Properties{}}).WriteTo(bob); err != nil {
			f.t.Errorf("the receiver: %v", err)
			return
		}
		n, err := strconv.Atoi(string(m.Payload[2:]))
		if m.Payload[0] == 'z' {
			return
		}
		if err != nil {
			f.t.Errorf("a message %q", m.Payload)
			return
		}
		f.heard[m.Payload[0]-'a'] = append(f.heard[m.Payload[0]-'a'], n)
	}
}

// end stops the senders, waits for all that is on its way, and counts.
func (f *traffic) end(a *app) {
	t := f.t
	t.Helper()
	f.stop.Store(true)
	f.senders.Wait()
	last := open(t, a, "z", opening{password: watching("bob")})
	last.send("peer/bob/z", "z:0")
	select {
	case <-f.closed:
	case <-time.After(3 * patience):
		t.Fatal("the last message does not arrive")
	}
	lost, duplicated, disordered, delivered := 0, 0, 0, 0
	for i, heard := range f.heard {
		seen := map[int]bool{}
		highest := -1
		for _, n := range heard {
			switch {
			case seen[n]:
				duplicated++
				if i < trafficSenders-1 {
					t.Errorf("%s:%d, which has a name, arrives twice", f.name(i), n)
				}
			case n < highest:
				disordered++
			}
			seen[n] = true
			highest = max(highest, n)
		}
		for n := range int(f.acked[i].Load()) {
			if !seen[n] {
				lost++
			}
		}
		delivered += len(heard)
	}
	t.Logf("acknowledged %d, refused %d, delivered %d, lost %d, duplicated %d, out of order %d",
		f.total(), f.refused.Load(), delivered, lost, duplicated, disordered)
	if lost > 0 || disordered > 0 {
		t.Fail()
	}
}

// Redis is killed and started again under load. Sessions stay, everything goes on by itself, nothing acknowledged is missing.
func TestRedisKilledUnderLoad(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendfsync", "everysec")
	a := onRedis(t, addrs(server.Addr))
	f := startTraffic(t, a)
	for range 3 {
		f.goesOn(100)
		server.Kill()
		waitUntil(t, "/readyz stays ready without Redis", func() bool { return !a.ready(t) })
		server.Again(t)
		waitUntil(t, "/readyz stays unready", func() bool { return a.ready(t) })
	}
	f.goesOn(100)
	f.end(a)
}

// Redis stands still for longer than a call may take, and goes on.
func TestRedisStoppedUnderLoad(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendfsync", "everysec")
	a := onRedis(t, addrs(server.Addr))
	f := startTraffic(t, a)
	f.goesOn(100)
	server.Signal(syscall.SIGSTOP)
	waitUntil(t, "nothing is refused while Redis stands still", func() bool { return f.refused.Load() > 0 })
	if a.ready(t) {
		t.Error("/readyz is ready while Redis stands still")
	}
	server.Signal(syscall.SIGCONT)
	f.goesOn(100)
	f.end(a)
}

// The master is killed under load; the Sentinels make the replica the master that has most. With wait_replicas nothing is lost.
func TestRedisFailsOverUnderLoad(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, "--appendfsync", "everysec")
	redistest.Start(t, "--appendfsync", "everysec", "--replicaof", "127.0.0.1", master.Port())
	_, sentinels := redistest.StartSentinels(t, master, 3, 2)
	a := onRedis(t, addrs(sentinels...)+", master_name: "+redistest.MasterName+", wait_replicas: 1")
	f := startTraffic(t, a)
	f.goesOn(100)
	master.Kill()
	killed := time.Now()
	waitUntil(t, "nothing is refused without a master", func() bool { return f.refused.Load() > 0 })
	f.goesOn(100)
	t.Logf("it goes on %v after the master was killed", time.Since(killed).Round(time.Millisecond))
	f.end(a)
}

// While Redis is away a publish of MQTT 5 is refused with 4200, one of MQTT 3.1.1 is held, and its connection closed after 30 s
// so that it is sent again. Neither is acknowledged. Sessions stay.
func TestPublishesWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a := onRedis(t, addrs(server.Addr))
	bob := open(t, a, "bob", opening{})
	alice, _ := open5(t, a, "alice", watching("bob"))
	old := open3(t, a, "old", watching("bob"))
	server.Kill()
	began := time.Now()
	old.write(publish3("demo/peer/bob/old", "held", 1, 7))
	alice.write(publish5("demo/peer/bob/alice", "refused", 1, 9))
	ack := until5(alice, func(p *packets.Puback) bool { return true })
	if ack.PacketID != 9 || ack.ReasonCode != 0x83 || !strings.HasPrefix(ack.Properties.ReasonString, "4200 internal") {
		t.Errorf("refused with %#x %q", ack.ReasonCode, ack.Properties.ReasonString)
	}
	_ = old.SetReadDeadline(time.Now().Add(4 * patience))
	for {
		p, err := packets3.ReadPacket(old)
		if err != nil {
			break
		}
		if ack, ok := p.(*packets3.PubackPacket); ok {
			t.Fatalf("acknowledged: %+v", ack)
		}
	}
	if held := time.Since(began); held < 29*time.Second || held > 45*time.Second {
		t.Errorf("held for %v", held)
	}
	server.Again(t)
	waitUntil(t, "/readyz stays unready", func() bool { return a.ready(t) })
	old = open3(t, a, "old", watching("bob"))
	old.write(publish3("demo/peer/bob/old", "again", 1, 7))
	until3(old, anyOf[*packets3.PubackPacket])
	alice.write(publish5("demo/peer/bob/alice", "taken", 1, 9))
	if ack := until5(alice, anyOf[*packets.Puback]); ack.ReasonCode != 0 {
		t.Errorf("still refused with %#x", ack.ReasonCode)
	}
	bob.wants("peer/bob/old", "again")
	bob.wants("peer/bob/alice", "taken")
}
