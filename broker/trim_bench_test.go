package broker_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"kith/broker"
	"kith/broker/pebblestore"
)

// BenchmarkTrimHistory removes 256 byte messages that became too old, of 200 peers and of 20,000, of which each writes to another.
func BenchmarkTrimHistory(b *testing.B) {
	const messages, size = 100_000, 250
	for _, peers := range []int{200, 20_000} {
		b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) {
			store, err := pebblestore.Open(pebblestore.Config{Path: b.TempDir(), Sync: true}, pebblestore.Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() {
				if err := store.Close(); err != nil {
					b.Error(err)
				}
			}()
			cfg := broker.DefaultAppConfig("demo")
			cfg.History.Age, cfg.Queue.Age = time.Minute, time.Minute
			var ahead atomic.Int64
			br, err := broker.New(broker.Options{Store: store, Node: "bench", Apps: []broker.AppConfig{cfg}, Now: func() time.Time {
				return time.Now().Add(time.Duration(ahead.Load()))
			}})
			if err != nil {
				b.Fatal(err)
			}
			payload := make([]byte, 256)
			for b.Loop() {
				b.StopTimer()
				done := make(chan error, messages/size)
				for from := 0; from < messages; from += size {
					batch := &broker.Batch{Lazy: from+size < messages, Done: func(_ *broker.Batch, err error) { done <- err }}
					for i := from; i < from+size; i++ {
						m := direct(broker.PeerID(fmt.Sprintf("p%d", i%peers)), broker.PeerID(fmt.Sprintf("p%d", (i+1)%peers)), "")
						m.Payload = payload
						batch.Appends = append(batch.Appends, broker.Append{App: "demo", Message: m, Inboxes: m.To})
					}
					store.Commit(batch)
				}
				for range messages / size {
					if err := <-done; err != nil {
						b.Fatal(err)
					}
				}
				ahead.Add(int64(time.Hour))
				b.StartTimer()
				n, err := br.TrimHistory(b.Context(), "demo")
				if err != nil || n != messages {
					b.Fatal(n, err)
				}
				ahead.Add(-int64(time.Hour))
			}
			b.ReportMetric(float64(messages*b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
