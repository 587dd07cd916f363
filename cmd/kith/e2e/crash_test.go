package e2e_test

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// The server dies between PUBACK and delivery, several times over: what was acknowledged arrives, in order.
func TestNothingAcknowledgedIsLostBySIGKILL(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), "{id: demo, master_key: "+masterKey+", rate: {messages_per_second: 0}, queue: {messages: 100000}}")
	const senders, kills = 3, 3
	var (
		acknowledged [senders][]int // by each sender, in the order of its PUBACKs
		delivered    [senders][]int
		next         [senders]int
		duplicated   int
	)
	note := func(p *packets.Publish) {
		if p.QoS == 0 || len(p.Payload) < 3 {
			return
		}
		n, err := strconv.Atoi(string(p.Payload[2:]))
		if err != nil {
			t.Fatalf("a message %q", p.Payload)
		}
		delivered[p.Payload[0]-'a'] = append(delivered[p.Payload[0]-'a'], n)
	}
	for range kills {
		a := s.in("demo")
		var sending, reading sync.WaitGroup
		var acks, taken atomic.Int64
		bob, _ := open5(t, a, "bob", `{"receive":"messages"}`)
		reading.Go(func() { // reads until the server dies; acknowledges every other message
			for i := 0; ; i++ {
				p, err := packets.ReadPacket(bob)
				if err != nil {
					return
				}
				if m, ok := p.Content.(*packets.Publish); ok {
					note(m)
					taken.Add(1)
					if i%2 == 0 && m.QoS > 0 {
						_, _ = (&packets.Puback{PacketID: m.PacketID, Properties: &packets.Properties{}}).WriteTo(bob)
					}
				}
			}
		})
		for i := range senders {
			name := string(rune('a' + i))
			r, _ := open5(t, a, name, `{"receive":"none","watch":["bob"]}`)
			first := next[i]
			sending.Go(func() { // up to 20 under way, as stock clients do; counts what is acknowledged
				sent := first
				for ; sent < first+20; sent++ {
					r.write(publish5("demo/peer/bob/"+name, name+":"+strconv.Itoa(sent), 1, uint16(sent%60000+1)))
				}
				for acked := first; ; acked++ {
					p, err := packets.ReadPacket(r)
					if err != nil {
						break
					}
					if ack, ok := p.Content.(*packets.Puback); !ok || ack.PacketID != uint16(acked%60000+1) || ack.ReasonCode != 0 {
						t.Errorf("the acknowledgement of %d is %+v", acked, p.Content)
						return
					}
					acknowledged[i] = append(acknowledged[i], acked)
					acks.Add(1)
					if _, err := publish5("demo/peer/bob/"+name, name+":"+strconv.Itoa(sent), 1, uint16(sent%60000+1)).WriteTo(r); err != nil {
						continue // what was acknowledged before can still be read
					}
					sent++
				}
				next[i] = sent
			})
		}
		waitUntil(t, "nothing moves", func() bool { return acks.Load() > 300 && taken.Load() > 100 })
		s.kill()
		sending.Wait()
		reading.Wait()
		s = s.again(t)
	}
	bob, _ := open5(t, s.in("demo"), "bob", `{"receive":"messages"}`)
	last := open(t, s.in("demo"), "z", opening{password: watching("bob")})
	last.send("peer/bob/z", "z:0")
	for end := false; !end; {
		m := until5(bob, func(p *packets.Publish) bool { return p.QoS > 0 })
		if end = m.Payload[0] == 'z'; !end {
			note(m)
		}
		bob.write(&packets.Puback{PacketID: m.PacketID, Properties: &packets.Properties{}})
	}
	lost, disordered, total, arrived := 0, 0, 0, 0
	for i := range senders {
		total += len(acknowledged[i])
		arrived += len(delivered[i])
		seen := map[int]bool{}
		highest := -1
		for _, n := range delivered[i] {
			switch {
			case seen[n]:
				duplicated++
			case n < highest: // first seen behind a later one
				disordered++
			}
			seen[n] = true
			highest = max(highest, n)
		}
		for _, n := range acknowledged[i] {
			if !seen[n] {
				lost++
			}
		}
		if !slices.IsSorted(acknowledged[i]) {
			t.Error("acknowledged out of order")
		}
	}
	t.Logf("acknowledged %d, delivered %d, lost %d, duplicated %d, out of order %d", total, arrived, lost, duplicated, disordered)
	if lost > 0 || disordered > 0 {
		t.Fail()
	}
}
