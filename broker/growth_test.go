package broker_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"kith/broker"
)

// BenchmarkSessions is a direct message of QoS 1 and 256 bytes between two peers, 100 at a time, while so many others are
// connected and each is watched by one of them. heap-B/session is what each of those keeps in memory.
func BenchmarkSessions(b *testing.B) {
	for _, n := range []int{1000, 5000, 20_000} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			br := benchBroker(b)
			before := heap()
			for i := range n {
				openBench(b, br, fmt.Sprintf("peer%05d", i), fmt.Sprintf(`{"watch":["peer%05d"]}`, (i+1)%n))
			}
			each := (heap() - before) / float64(n)
			bob := openBench(b, br, "bob", "")
			alice := openBench(b, br, "alice", `{"watch":["bob"]}`)
			alice.measure(b, "demo/peer/bob/alice", bob)
			b.ReportMetric(each, "heap-B/session")
		})
	}
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkGroupsOfPeer is what it costs a peer to be in many groups: to connect while all of them are quiet, and a message
// that comes from one of them.
func BenchmarkGroupsOfPeer(b *testing.B) {
	for _, n := range []int{1, 50, 500} {
		br := benchBroker(b)
		for i := range n {
			g := broker.NewGroup{ID: broker.GroupID(fmt.Sprintf("room%03d", i)), Members: []broker.PeerID{"alice", "bob"}}
			if _, _, err := br.CreateGroup(context.Background(), "demo", g); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprintf("connect/groups=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				openBench(b, br, "bob", "").End(broker.EndDisconnect, nil)
			}
		})
		b.Run(fmt.Sprintf("message/groups=%d", n), func(b *testing.B) {
			bob, alice := openBench(b, br, "bob", ""), openBench(b, br, "alice", "")
			alice.measure(b, "demo/group/room000/alice", bob)
		})
	}
}
