package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kith/broker"
	"kith/broker/pebblestore"
)

// benchBroker is a broker on a store in memory that does not sync: what is measured is the processor's work.
func benchBroker(b *testing.B, change ...func(*broker.AppConfig)) *broker.Broker {
	b.Helper()
	store, err := pebblestore.Open(pebblestore.Config{Path: "store"}, pebblestore.Options{FS: vfs.NewMem()})
	if err != nil {
		b.Fatal(err)
	}
	app := broker.DefaultAppConfig("demo")
	app.Rate = broker.RateConfig{}
	for _, f := range change {
		f(&app)
	}
	br, err := broker.New(broker.Options{Store: store, Node: "bench", Apps: []broker.AppConfig{app}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- br.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	})
	return br
}

// benchLink only notes that there is something.
type benchLink struct{ wake chan struct{} }

func (l *benchLink) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *benchLink) Close(broker.CloseReason) {}

// benchSession is a session whose benchmark pulls by itself.
type benchSession struct {
	*broker.Session
	*benchLink
	out []broker.Out
}

func openBench(b *testing.B, br *broker.Broker, id, password string) *benchSession {
	b.Helper()
	s := &benchSession{benchLink: &benchLink{make(chan struct{}, 1)}, out: make([]broker.Out, 0, 64)}
	var err error
	s.Session, _, err = br.Open(context.Background(), &broker.OpenRequest{
		App: "demo", ClientID: id, Password: []byte(password), Version: 5, CleanStart: true, Remote: "127.0.0.1", Transport: "tcp",
	}, s.benchLink)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.End(broker.EndDisconnect, nil) })
	return s
}

// pull takes what is there until n of a kind have come, and acknowledges deliveries.
func (s *benchSession) pull(b *testing.B, n int, kind broker.OutKind) {
	b.Helper()
	for n > 0 {
		out := s.Next(s.out[:0])
		if len(out) == 0 {
			select {
			case <-s.wake:
			case <-time.After(20 * time.Second):
				b.Fatalf("%d have not come", n)
			}
			continue
		}
		s.Written()
		for i := range out {
			if out[i].Kind == kind {
				n--
			}
			if o := &out[i]; o.Tag != 0 && (o.Kind == broker.OutMessage || o.Kind == broker.OutPublish) {
				s.Acked(o.Tag)
			}
		}
	}
}

const benchBatch = 100 // messages that one read of a busy connection brings

func (s *benchSession) publishBatch(p *broker.Publish) {
	for tag := range uint16(benchBatch) {
		p.Tag = tag + 1
		s.Publish(p)
	}
	s.Submit()
}

// benchMessage is of QoS 1 and 256 bytes.
func benchMessage(topic string) *broker.Publish {
	return &broker.Publish{Topic: []byte(topic), Payload: make([]byte, 256), QoS: 1}
}

// measure publishes b.N messages, a batch at a time. Each batch reaches the receivers, and is then acknowledged.
func (s *benchSession) measure(b *testing.B, topic string, receivers ...*benchSession) {
	b.Helper()
	p := benchMessage(topic)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += benchBatch {
		s.publishBatch(p)
		for _, r := range receivers {
			r.pull(b, benchBatch, broker.OutMessage)
		}
		s.pull(b, benchBatch, broker.OutAck)
	}
}

// BenchmarkPublish is the way of a direct message of QoS 1 through the gate, the stage and the commit to its acknowledgement,
// 100 at a time from one session, to a peer who is away.
func BenchmarkPublish(b *testing.B) {
	alice := openBench(b, benchBroker(b), "alice", `{"watch":["bob"]}`)
	alice.measure(b, "demo/peer/bob/alice")
}

// BenchmarkPump is the receiving half: Next and Acked of messages that are there, 100 at a time.
func BenchmarkPump(b *testing.B) {
	for _, trace := range []bool{true, false} {
		b.Run(fmt.Sprintf("trace=%t", trace), func(b *testing.B) {
			pump(b, benchBroker(b, func(c *broker.AppConfig) { c.Trace = trace }))
		})
	}
}

func pump(b *testing.B, br *broker.Broker) {
	bob := openBench(b, br, "bob", "")
	alice := openBench(b, br, "alice", `{"watch":["bob"]}`)
	p := benchMessage("demo/peer/bob/alice")
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += benchBatch {
		b.StopTimer()
		alice.publishBatch(p)
		alice.pull(b, benchBatch, broker.OutAck)
		b.StartTimer()
		bob.pull(b, benchBatch, broker.OutMessage)
	}
}

// BenchmarkPeerToPeer is both halves, on as many pairs as there are processors.
func BenchmarkPeerToPeer(b *testing.B) {
	br := benchBroker(b)
	pairs := make(chan [2]*benchSession, 64)
	for i := range cap(pairs) {
		to := openBench(b, br, fmt.Sprintf("r%d", i), "")
		pairs <- [2]*benchSession{openBench(b, br, fmt.Sprintf("s%d", i), fmt.Sprintf(`{"watch":["r%d"]}`, i)), to}
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		pair := <-pairs
		from, to := pair[0], pair[1]
		p := benchMessage(fmt.Sprintf("demo/peer/%s/%s", to.Peer(), from.Peer()))
		n := 0
		for pb.Next() {
			if n++; n%benchBatch == 0 {
				from.publishBatch(p)
				from.pull(b, benchBatch, broker.OutAck)
				to.pull(b, benchBatch, broker.OutMessage)
			}
		}
	})
}
