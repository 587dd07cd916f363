package hooks

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kith/broker"
	"kith/broker/pebblestore"
)

const fanoutWindow = 10 // messages on their way to the group at once

// fanoutNode is a real broker on a store in memory that does not sync, with a group of so many members, and its MQTT side.
func fanoutNode(b *testing.B, size int) (*broker.Broker, *Server) {
	b.Helper()
	store, err := pebblestore.Open(pebblestore.Config{Path: "data"}, pebblestore.Options{FS: vfs.NewMem()})
	if err != nil {
		b.Fatal(err)
	}
	app := broker.DefaultAppConfig("demo")
	app.Rate = broker.RateConfig{}
	app.GroupMembers = size + 1
	br, err := broker.New(broker.Options{Store: store, Node: "bench", Apps: []broker.AppConfig{app}})
	if err != nil {
		b.Fatal(err)
	}
	s, err := New(br, Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- br.Run(ctx) }()
	b.Cleanup(func() {
		down, stop := context.WithTimeout(context.Background(), 10*time.Second)
		defer stop()
		if err := s.Shutdown(down); err != nil {
			b.Error(err)
		}
		cancel()
		<-ran
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	members := []broker.PeerID{"publisher"}
	for i := range size {
		members = append(members, memberName(i))
	}
	if _, _, err := br.CreateGroup(ctx, "demo", broker.NewGroup{ID: "room", Members: members}); err != nil {
		b.Fatal(err)
	}
	return br, s
}

func memberName(i int) broker.PeerID { return broker.PeerID(fmt.Sprintf("member%05d", i)) }

// fanoutDeliveries counts what all members got, and says when that is as much as is awaited.
type fanoutDeliveries struct {
	count  atomic.Int64
	target atomic.Int64
	there  chan struct{}
}

func (d *fanoutDeliveries) add(n int) {
	if got := d.count.Add(int64(n)); n > 0 && got >= d.target.Load() && got-int64(n) < d.target.Load() {
		d.there <- struct{}{}
	}
}

// publisher sends to the group as one session.
type fanoutPublisher struct {
	*broker.Session
	wake chan struct{}
}

func (l *fanoutPublisher) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *fanoutPublisher) Close(broker.CloseReason) {}

// fanOut publishes b.N deliveries' worth of messages and reports for each delivery.
func fanOut(b *testing.B, br *broker.Broker, d *fanoutDeliveries, size int) {
	b.Helper()
	p := &fanoutPublisher{wake: make(chan struct{}, 1)}
	var err error
	p.Session, _, err = br.Open(context.Background(), &broker.OpenRequest{
		App: "demo", ClientID: "publisher", Password: []byte(`{"receive":"none"}`), Version: 5, CleanStart: true, Remote: "127.0.0.1", Transport: "tcp",
	}, p)
	if err != nil {
		b.Fatal(err)
	}
	defer p.End(broker.EndDisconnect, nil)
	message := &broker.Publish{Topic: []byte("demo/group/room/publisher"), Payload: make([]byte, 256), QoS: 1}
	outs := make([]broker.Out, 0, 64)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	total := 0
	for total < b.N {
		d.target.Store(d.count.Load() + int64(fanoutWindow*size))
		for tag := range uint16(fanoutWindow) {
			message.Tag = tag + 1
			p.Publish(message)
		}
		p.Submit()
		select {
		case <-d.there:
		case <-time.After(20 * time.Second):
			b.Fatalf("%d of %d deliveries", d.count.Load(), d.target.Load())
		}
		for len(p.Next(outs[:0])) > 0 { // its acknowledgements
			p.Written()
		}
		total += fanoutWindow * size
	}
	b.StopTimer()
	runtime.ReadMemStats(&after)
	each := func(n uint64) float64 { return float64(n) / float64(total) }
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(total), "ns/delivery")
	b.ReportMetric(each(after.Mallocs-before.Mallocs), "allocs/delivery")
	b.ReportMetric(each(after.TotalAlloc-before.TotalAlloc), "B/delivery")
	b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "deliveries/s")
}

// BenchmarkFanOut is a message of QoS 1 and 256 bytes to a group whose members are all connected; b.N counts deliveries.
//
//	members=N  the broker, and hooks' encoding into connections that are thrown away: what Kith itself does, as groups grow
//	tcp        the whole way over 1,000 connections of the loopback, whose other ends share the processors
func BenchmarkFanOut(b *testing.B) {
	for _, size := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("members=%d", size), func(b *testing.B) {
			br, _ := fanoutNode(b, size)
			d := &fanoutDeliveries{there: make(chan struct{}, 1)}
			for i := range size {
				openDiscarded(b, br, d, string(memberName(i)))
			}
			fanOut(b, br, d, size)
		})
	}
	b.Run("tcp", func(b *testing.B) {
		const size = 1000
		br, s := fanoutNode(b, size)
		d := &fanoutDeliveries{there: make(chan struct{}, 1)}
		addr := serveBench(b, s)
		for i := range size {
			dialMember(b, d, addr, string(memberName(i)))
		}
		fanOut(b, br, d, size)
	})
}

// discarded is a connection to nobody: what a session sends is encoded and counts as acknowledged. It pulls as conn does.
type discarded struct {
	session *broker.Session
	d       *fanoutDeliveries
	enc     encoder
	state   atomic.Int32
}

func openDiscarded(b *testing.B, br *broker.Broker, d *fanoutDeliveries, id string) {
	b.Helper()
	l := &discarded{d: d, enc: encoder{v5: true, problemInfo: true, app: "demo", now: time.Now}}
	l.state.Store(flushHeld)
	s, _, err := br.Open(context.Background(), &broker.OpenRequest{
		App: "demo", ClientID: id, Version: 5, CleanStart: true, Remote: "127.0.0.1", Transport: "tcp",
	}, l)
	if err != nil {
		b.Fatal(err)
	}
	l.session = s
	l.state.Store(flushIdle)
	l.Wake()
	b.Cleanup(func() { s.End(broker.EndDisconnect, nil) })
}

func (l *discarded) Close(broker.CloseReason) {}

func (l *discarded) Wake() {
	for {
		switch state := l.state.Load(); {
		case state == flushIdle && l.state.CompareAndSwap(state, flushRunning):
			go l.flush()
			return
		case state == flushRunning && l.state.CompareAndSwap(state, flushAgain), state == flushAgain, state == flushHeld:
			return
		}
	}
}

func (l *discarded) flush() {
	s, _ := scratches.Get().(*scratch)
	defer putScratch(s)
	for {
		l.state.CompareAndSwap(flushAgain, flushRunning)
		for {
			outs := l.session.Next(s.outs[:0])
			if len(outs) == 0 {
				break
			}
			s.buf = s.buf[:0]
			for i := range outs {
				l.enc.out(s, &outs[i])
			}
			l.session.Written()
			messages := 0
			for i := range outs {
				if o := &outs[i]; o.Tag != 0 && (o.Kind == broker.OutMessage || o.Kind == broker.OutPublish) {
					l.session.Acked(o.Tag)
				}
				if outs[i].Kind == broker.OutMessage {
					messages++
				}
			}
			s.outs = outs[:0]
			clear(outs)
			l.d.add(messages)
		}
		if l.state.CompareAndSwap(flushRunning, flushIdle) {
			return
		}
	}
}

func serveBench(b *testing.B, s *Server) (addr string) {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	b.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			b.Error(err)
		}
	})
	return ln.Addr().String()
}

// dialMember is a client that acknowledges what comes, without allocating.
func dialMember(b *testing.B, d *fanoutDeliveries, addr, id string) {
	b.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := nc.Write(encodePacket(b, 5, connectPacket(5, id))); err != nil {
		b.Fatal(err)
	}
	connected, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		memberLoop(nc, d, connected)
	}()
	if err := <-connected; err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = nc.Close()
		<-done
	})
}

func memberLoop(nc net.Conn, d *fanoutDeliveries, connected chan<- error) {
	buf, acks, have := make([]byte, 16<<10), make([]byte, 0, 1<<10), 0
	marker := []byte("demo/group/room/publisher")
	for first := true; ; {
		n, err := nc.Read(buf[have:])
		if err != nil {
			if first {
				connected <- io.ErrUnexpectedEOF
			}
			return
		}
		have += n
		at, messages := 0, 0
		acks = acks[:0]
		for {
			rest := buf[at:have]
			if len(rest) < 2 {
				break
			}
			remaining, n := varint(rest[1:])
			if n <= 0 || len(rest) < 1+n+remaining {
				break
			}
			head, body := rest[0], rest[1+n:1+n+remaining]
			at += 1 + n + remaining
			if first {
				first = false
				connected <- nil
			}
			if head>>4 != 3 {
				continue
			}
			topic := 2 + int(body[0])<<8 + int(body[1])
			if head&6 != 0 {
				acks = append(acks, 0x40, 2, body[topic], body[topic+1])
			}
			if string(body[2:topic]) == string(marker) {
				messages++
			}
		}
		have = copy(buf, buf[at:have])
		if len(acks) > 0 {
			if _, err := nc.Write(acks); err != nil {
				return
			}
		}
		d.add(messages)
	}
}
