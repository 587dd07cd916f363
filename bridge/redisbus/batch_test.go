package redisbus_test

import (
	"fmt"
	"strings"
	"testing"

	"kith/bridge/redisbus"
	"kith/broker/redisstore/redistest"
)

// What gathers while a pipeline is in flight goes out as one PUBLISH a node.
func TestBatchIsOnePublish(t *testing.T) {
	const each = 1000
	server := redistest.Start(t)
	a := start(t, []string{server.Addr}, "a#1", redisbus.Options{})
	b := start(t, []string{server.Addr}, "b#1", redisbus.Options{})
	c := start(t, []string{server.Addr}, "c#1", redisbus.Options{})
	whileStopped(t, server, a, "b#1", func() {
		for i := range each {
			a.Send("b#1", fmt.Append(nil, i))
			a.Send("c#1", fmt.Append(nil, i))
		}
	})
	b.hears(t, event{from: "a#1", note: "first"})
	for i := range each {
		b.hears(t, event{from: "a#1", note: fmt.Sprint(i)})
		c.hears(t, event{from: "a#1", note: fmt.Sprint(i)})
	}
	if n := publishes(t, server); n != 3 {
		t.Errorf("%d notes took %d PUBLISH, not one for the first and one for each node", 1+2*each, n)
	}
	until(t, "the answers are counted", func() bool { return a.Metrics().SentNotes == 1+2*each })
	if m := a.Metrics(); m.Pipelines != 2 || m.SentFrames != 3 || m.Dropped != 0 {
		t.Errorf("counted %+v", m)
	}
}

// A PUBLISH has a bound; what is over it follows in the next, in order. A note over it is dropped and told.
func TestPublishIsBounded(t *testing.T) {
	const bound, each = 1000, 100
	server := redistest.Start(t)
	a := start(t, []string{server.Addr}, "a#1", redisbus.Options{FrameBytes: bound})
	b := start(t, []string{server.Addr}, "b#1", redisbus.Options{})
	note := func(i int) string { return fmt.Sprintf("%04d", i) + strings.Repeat("x", 296) }
	whileStopped(t, server, a, "b#1", func() {
		for i := range each {
			a.Send("b#1", []byte(note(i)))
		}
		a.Send("b#1", make([]byte, bound))
		a.Send("b#1", []byte("last"))
	})
	b.hears(t, event{from: "a#1", note: "first"})
	for i := range each {
		b.hears(t, event{from: "a#1", note: note(i)})
	}
	b.hears(t, event{from: "a#1", lost: true})
	b.hears(t, event{from: "a#1", note: "last"})
	if m := b.Metrics(); m.ReceivedBytes > bound*m.ReceivedFrames || m.ReceivedFrames != 1+(each+2)/3+1 {
		t.Errorf("%d bytes came in %d frames", m.ReceivedBytes, m.ReceivedFrames)
	}
}

// What waits for a node is bounded. The rest is dropped, and the node hears of it before what follows.
func TestDroppedNoteIsTold(t *testing.T) {
	const bound = 10_000
	server := redistest.Start(t)
	a := start(t, []string{server.Addr}, "a#1", redisbus.Options{QueueBytes: bound})
	b := start(t, []string{server.Addr}, "b#1", redisbus.Options{})
	sent := 0
	whileStopped(t, server, a, "b#1", func() {
		for ; a.Metrics().Dropped == 0; sent++ {
			a.Send("b#1", fmt.Append(nil, sent, strings.Repeat("x", 300)))
			if waits := a.Metrics().QueuedBytes; waits > bound {
				t.Fatalf("%d bytes wait", waits)
			}
		}
		a.Send("b#1", []byte("small")) // there is room for this one, behind the gap
	})
	b.hears(t, event{from: "a#1", note: "first"})
	for range sent - 1 {
		if e := b.next(t); e.lost {
			t.Fatalf("hears %v", e)
		}
	}
	b.hears(t, event{from: "a#1", lost: true})
	b.hears(t, event{from: "a#1", note: "small"})
	a.Send("b#1", []byte("later"))
	b.hears(t, event{from: "a#1", note: "later"})
}
