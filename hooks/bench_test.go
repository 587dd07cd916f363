package hooks

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

// benchSession does nothing but count: what is measured is the path from the socket and to it.
type benchSession struct {
	fakeSession
	acks    []broker.Out
	message *broker.Message
	owed    int // deliveries to be made
	window  int
	tag     uint16
}

func (s *benchSession) Publish(p *broker.Publish) {
	s.mu.Lock()
	s.acks = append(s.acks, broker.Out{Kind: broker.OutAck, Tag: p.Tag, QoS: p.QoS, ID: testID})
	s.mu.Unlock()
}

func (s *benchSession) Submit() { s.link.Wake() }

func (s *benchSession) Acked(uint16) {
	s.mu.Lock()
	s.window++
	s.mu.Unlock()
	s.link.Wake()
}

func (s *benchSession) Next(out []broker.Out) []broker.Out {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.acks), cap(out)-len(out))
	out = append(out, s.acks[:n]...)
	s.acks = append(s.acks[:0], s.acks[n:]...)
	for s.owed > 0 && s.window > 0 && len(out) < cap(out) {
		s.tag++
		s.owed--
		s.window--
		out = append(out, broker.Out{Kind: broker.OutMessage, Tag: max(s.tag, 1), QoS: 1, To: "bob", Message: s.message, ID: testID})
	}
	return out
}

func benchConnection(b *testing.B) (net.Conn, *benchSession) {
	b.Helper()
	var s *benchSession
	ts := startServer(b, func(srv *Server) {
		srv.open = func(_ context.Context, r *broker.OpenRequest, link broker.Link) (session, bool, error) {
			s = &benchSession{window: 500, message: &broker.Message{ID: testID, From: "alice", To: []broker.PeerID{"bob"}, Payload: make([]byte, 256)}}
			s.app, s.peer, s.link, s.ended = "demo", "bob", link, make(chan ending, 1)
			return s, false, nil
		}
	})
	c := ts.dial(b, 5)
	c.send(connectPacket(5, "bob"))
	c.expect(packets.Connack)
	return c.nc, s
}

// BenchmarkPublish: a client sends QoS 1 publishes of 256 bytes, 500 unacknowledged at most, and reads PUBACKs.
func BenchmarkPublish(b *testing.B) {
	nc, _ := benchConnection(b)
	one := encodePacket(b, 5, publishPacket(1, 7, "demo/peer/bob/alice", string(make([]byte, 256))))
	const window, chunk = 500, 50
	var many []byte
	for range chunk {
		many = append(many, one...)
	}
	ackSize := len(encodePacket(b, 5, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: 7,
		Properties: packets.Properties{User: []packets.UserProperty{{Key: "id", Val: testID.String()}, {Key: "ts", Val: "1795415154394"}}}}))
	room := make(chan struct{}, window/chunk)
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	chunks := (b.N + chunk - 1) / chunk
	wg.Go(func() {
		buf := make([]byte, chunk*ackSize)
		for range chunks {
			if _, err := io.ReadFull(nc, buf); err != nil {
				b.Error(err)
				return
			}
			<-room
		}
	})
	for range chunks {
		room <- struct{}{}
		if _, err := nc.Write(many); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
}

// BenchmarkDeliver: a client reads QoS 1 messages of 256 bytes and acknowledges each.
func BenchmarkDeliver(b *testing.B) {
	nc, s := benchConnection(b)
	size := len(func() []byte {
		e := encoder{v5: true, problemInfo: true, app: "demo", now: time.Now}
		sc := &scratch{}
		e.out(sc, &broker.Out{Kind: broker.OutMessage, Tag: 1, QoS: 1, To: "bob", Message: s.message, ID: testID})
		return sc.buf
	}())
	b.ReportAllocs()
	b.ResetTimer()
	s.mu.Lock()
	s.owed = b.N
	s.mu.Unlock()
	s.link.Wake()
	buf := make([]byte, 64<<10)
	ack := []byte{0x40, 2, 0, 7}
	var acks []byte
	for got, acked := 0, 0; acked < b.N; {
		n, err := nc.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		got += n
		acks = acks[:0]
		for ; acked < got/size; acked++ {
			acks = append(acks, ack...)
		}
		if _, err := nc.Write(acks); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodePublish(b *testing.B) {
	first, body, _, _ := splitFrame(encodePacket(b, 5, publishPacket(1, 7, "demo/peer/bob/alice", string(make([]byte, 256)))))
	d := publishDecoder{v5: true, now: time.Now}
	var p broker.Publish
	b.ReportAllocs()
	for b.Loop() {
		_ = d.decode(&p, first, body)
	}
}

func BenchmarkEncodeMessage(b *testing.B) {
	e := encoder{v5: true, problemInfo: true, app: "demo", now: time.Now}
	s := &scratch{}
	o := broker.Out{Kind: broker.OutMessage, Tag: 1, QoS: 1, To: "bob", Message: &broker.Message{ID: testID, From: "alice", To: []broker.PeerID{"bob"}, Payload: make([]byte, 256)}}
	b.ReportAllocs()
	for b.Loop() {
		s.buf = s.buf[:0]
		e.out(s, &o)
	}
}
