package redisbus_test

import (
	"context"
	"testing"

	"kith/bridge/redisbus"
	"kith/broker"
	"kith/broker/redisstore/redistest"
)

// counter gives a permit for each page of notes that came.
type counter struct {
	ready, pages chan struct{}
	notes        int
}

const page = 1000

// Receive implements broker.BusReceiver.
func (c *counter) Receive(broker.NodeID, []byte) {
	if c.notes++; c.notes%page == 0 {
		c.pages <- struct{}{}
	}
}

// Lost implements broker.BusReceiver.
func (c *counter) Lost(broker.NodeID) {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// BenchmarkNotes sends notes of 300 bytes from one node to another, at most 8,000 on their way.
func BenchmarkNotes(b *testing.B) {
	const window = 8
	server := redistest.Start(b)
	a := start(b, []string{server.Addr}, "a#1", redisbus.Options{})
	bus := newBus(b, []string{server.Addr}, redisbus.Options{})
	c := &counter{ready: make(chan struct{}, 1), pages: make(chan struct{}, window)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- bus.Run(ctx, "b#1", c) }()
	<-c.ready
	for range window {
		c.pages <- struct{}{}
	}
	note := make([]byte, 300)
	b.ReportAllocs()
	pages := (b.N + page - 1) / page
	b.ResetTimer()
	for range pages {
		<-c.pages
		for range page {
			a.Send("b#1", note)
		}
	}
	for range window {
		<-c.pages
	}
	b.StopTimer()
	m := bus.Metrics()
	b.ReportMetric(float64(pages*page)/b.Elapsed().Seconds(), "notes/s")
	b.ReportMetric(float64(m.ReceivedNotes)/float64(m.ReceivedFrames), "notes/publish")
	cancel()
	if err := <-ended; err != nil || a.Metrics().Dropped > 0 {
		b.Errorf("%d dropped: %v", a.Metrics().Dropped, err)
	}
}
