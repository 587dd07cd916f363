package broker_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	"kith/broker"
	"kith/broker/pebblestore"
)

// benchSizes are the sizes of history to measure: from 1,000 tenfold up to the variable KITH_BENCH_MESSAGES, else to 10,000.
func benchSizes(b *testing.B) (sizes []int) {
	b.Helper()
	largest := 10_000
	if text := os.Getenv("KITH_BENCH_MESSAGES"); text != "" {
		var err error
		if largest, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	for n := 1000; n <= largest; n *= 10 {
		sizes = append(sizes, n)
	}
	return sizes
}

// BenchmarkHistoryFirstPage is the newest 100 messages, from a store on the disk that holds so many: half of them from alice to
// bob, half to a group. heap-B is what the process keeps afterwards.
//
//	KITH_BENCH_MESSAGES=10000000 go test -run '^$' -bench HistoryFirstPage -benchmem -timeout 2h ./broker
func BenchmarkHistoryFirstPage(b *testing.B) {
	store, err := pebblestore.Open(pebblestore.Config{Path: b.TempDir()}, pebblestore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			b.Error(err)
		}
	}()
	br, err := broker.New(broker.Options{Store: store, Node: "bench", Apps: []broker.AppConfig{broker.DefaultAppConfig("demo")}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, held := context.Background(), 0
	for _, n := range benchSizes(b) {
		seedHistory(b, store, n-held)
		held = n
		for _, mode := range []struct {
			name  string
			query broker.HistoryQuery
		}{
			{"conversation", broker.HistoryQuery{Conversation: broker.DirectConversation("alice", "bob")}},
			{"group", broker.HistoryQuery{Conversation: "team"}},
			{"from", broker.HistoryQuery{From: "alice"}},
			{"peer", broker.HistoryQuery{Peer: "bob"}},
			{"app", broker.HistoryQuery{}},
		} {
			mode.query.Limit = 100
			b.Run(fmt.Sprintf("messages=%d/%s", n, mode.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					page, err := br.History(ctx, "demo", mode.query)
					if err != nil || len(page.Items) != mode.query.Limit {
						b.Fatal(len(page.Items), err)
					}
				}
				b.ReportMetric(heap(), "heap-B")
			})
		}
	}
}

// seedHistory stores messages as sessions would, many in one batch.
func seedHistory(b *testing.B, store broker.Store, n int) {
	b.Helper()
	const size = 500
	payload := make([]byte, 100)
	failed := make(chan error, n/size+1)
	for left := n; left > 0; left -= size {
		batch := &broker.Batch{Lazy: left > size, Done: func(_ *broker.Batch, err error) { failed <- err }}
		for i := range min(left, size) {
			m := &broker.Message{App: "demo", From: "alice", Device: "default", Payload: payload, QoS: 1}
			a := broker.Append{App: "demo", Message: m}
			if i%2 == 0 {
				m.To, m.Conversation = []broker.PeerID{"bob"}, broker.DirectConversation("alice", "bob")
				a.Inboxes = m.To
			} else {
				m.Group, m.Conversation = "team", "team"
			}
			batch.Appends = append(batch.Appends, a)
		}
		store.Commit(batch)
	}
	for left := n; left > 0; left -= size {
		if err := <-failed; err != nil {
			b.Fatal(err)
		}
	}
}
