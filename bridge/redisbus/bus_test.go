package redisbus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"kith/bridge/redisbus"
	"kith/broker"
	"kith/broker/redisstore/redistest"
)

// Four nodes send to each other at once. All arrives, and what one sent to another in the order in which it was sent.
func TestNotesArriveInOrder(t *testing.T) {
	eachKind(t, func(t *testing.T, servers []*redistest.Server) {
		const each = 5000
		var nodes []*node
		for i := range 4 {
			nodes = append(nodes, start(t, redistest.Addrs(servers), broker.NodeID(fmt.Sprintf("n%d#x", i)), redisbus.Options{}))
		}
		var all sync.WaitGroup
		for _, from := range nodes {
			for _, to := range nodes { // to itself too
				all.Go(func() {
					for i := range each {
						from.Send(to.self, fmt.Append(nil, i))
					}
				})
			}
		}
		all.Wait()
		for _, to := range nodes {
			next := map[broker.NodeID]int{}
			for range len(nodes) * each {
				e := to.next(t)
				if want := fmt.Sprint(next[e.from]); e.lost || e.note != want {
					t.Fatalf("%s hears %v, not %s", to.self, e, want)
				}
				next[e.from]++
			}
		}
		m := nodes[0].Metrics()
		t.Logf("%d notes in %d frames and %d pipelines", m.SentNotes, m.SentFrames, m.Pipelines)
	})
}

// A subscription that is cut is made again, and the receiver hears that notes may be lost.
func TestCutSubscriptionIsToldAndMended(t *testing.T) {
	eachKind(t, func(t *testing.T, servers []*redistest.Server) {
		a := start(t, redistest.Addrs(servers), "a#1", redisbus.Options{})
		b := start(t, redistest.Addrs(servers), "b#1", redisbus.Options{})
		a.Send("b#1", []byte("before"))
		b.hears(t, event{from: "a#1", note: "before"})
		for _, server := range servers {
			client := server.Client()
			defer client.Close()
			if err := client.ClientKillByFilter(context.Background(), "TYPE", "pubsub").Err(); err != nil {
				t.Fatal(err)
			}
		}
		a.hears(t, event{lost: true})
		b.hears(t, event{lost: true})
		a.Send("b#1", []byte("after"))
		b.Send("a#1", []byte("back"))
		b.hears(t, event{from: "a#1", note: "after"})
		a.hears(t, event{from: "b#1", note: "back"})
	})
}
