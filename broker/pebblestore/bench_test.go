package pebblestore_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"kith/broker"
	"kith/broker/pebblestore"
)

// publisher keeps one batch in flight, as a connection with a window of its size does.
type publisher struct {
	store broker.Store
	batch broker.Batch
	left  int
	ended chan error
}

func newPublisher(store broker.Store, i, size, batches int) *publisher {
	p := &publisher{store: store, left: batches, ended: make(chan error, 1)}
	from, to := broker.PeerID(fmt.Sprintf("sender%d", i)), broker.PeerID(fmt.Sprintf("receiver%d", i))
	payload := []byte(strings.Repeat("0123456789abcdef", 16))
	for range size {
		p.batch.Appends = append(p.batch.Appends, broker.Append{
			App: "demo", Inboxes: []broker.PeerID{to},
			Message: &broker.Message{
				App: "demo", From: from, Device: "default", To: []broker.PeerID{to}, Payload: payload, QoS: 1, FromIP: "203.0.113.9",
				Conversation: broker.DirectConversation(from, to),
			},
		})
	}
	p.batch.Done = p.done
	return p
}

func (p *publisher) done(b *broker.Batch, err error) {
	p.left--
	if err != nil || p.left <= 0 {
		p.ended <- err
		return
	}
	p.store.Commit(b)
}

// BenchmarkAppend is 100 publishers that each send batches of 20 messages of 256 bytes and wait for the disk.
func BenchmarkAppend(b *testing.B) {
	for _, sync := range []bool{true, false} {
		b.Run(fmt.Sprintf("sync=%v", sync), func(b *testing.B) {
			const publishers, size = 100, 20
			s := open(b, pebblestore.Config{Path: b.TempDir(), Sync: sync}, pebblestore.Options{MemTableBytes: 32 << 20})
			batches := b.N/(publishers*size) + 1
			var all []*publisher
			for i := range publishers {
				all = append(all, newPublisher(s, i, size, batches))
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b.ResetTimer()
			for _, p := range all {
				s.Commit(&p.batch)
			}
			for _, p := range all {
				if err := <-p.ended; err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			runtime.ReadMemStats(&after)
			messages := float64(batches * publishers * size)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/messages, "ns/msg")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/messages, "allocs/msg")
			b.ReportMetric(messages/b.Elapsed().Seconds(), "msg/s")
			m := s.Metrics()
			b.ReportMetric(float64(m.Appends)/float64(m.Groups), "msg/group")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkHistory reads the newest 100 messages of a conversation of 2,000 among 100 conversations.
func BenchmarkHistory(b *testing.B) {
	s := open(b, pebblestore.Config{Path: b.TempDir()}, pebblestore.Options{MemTableBytes: 4 << 20})
	defer s.Close()
	var all []*publisher
	for i := range 100 {
		all = append(all, newPublisher(s, i, 20, 100))
	}
	for _, p := range all {
		s.Commit(&p.batch)
	}
	for _, p := range all {
		if err := <-p.ended; err != nil {
			b.Fatal(err)
		}
	}
	ctx := context.Background()
	log := broker.LogID{Kind: broker.LogConversation, App: "demo", Owner: string(all[7].batch.Appends[0].Message.Conversation)}
	b.ResetTimer()
	b.ReportAllocs()
	for range b.N {
		entries, err := s.Read(ctx, log, broker.Range{Limit: 100, Reverse: true})
		if err != nil || len(entries) != 100 {
			b.Fatal(len(entries), err)
		}
		ids := make([]broker.MessageID, len(entries))
		for i := range entries {
			ids[i] = entries[i].ID
		}
		messages, err := s.Messages(ctx, "demo", ids)
		if err != nil || messages[99] == nil {
			b.Fatal(err)
		}
	}
}
