package broker_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"kith/broker"
	"kith/broker/pebblestore"
)

// follow starts a live reader that ends with the test.
func follow(t testing.TB, b *broker.Broker, q broker.LiveQuery) *broker.Live {
	t.Helper()
	l, err := b.Live(context.Background(), "demo", q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// liveTexts takes live messages until there are n.
func liveTexts(t testing.TB, l *broker.Live, n int) (texts []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for len(texts) < n {
		events, err := l.Next(ctx)
		if err != nil {
			t.Fatalf("%v after %q", err, texts)
		}
		for _, m := range events.Messages {
			texts = append(texts, *m.Message)
		}
	}
	return texts
}

func TestALiveReaderMissesNothingThatHistoryHas(t *testing.T) {
	w := newWorld(t)
	l := follow(t, w.b, broker.LiveQuery{Messages: true})
	const n = 500 // more than a page
	var senders sync.WaitGroup
	for i := range 5 {
		senders.Go(func() {
			for j := range n / 5 {
				if _, err := w.b.Send(context.Background(), "demo", broker.SendRequest{
					From: "alice", To: []broker.PeerID{"bob"}, Payload: fmt.Appendf(nil, "%d-%d", i, j),
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	got := liveTexts(t, l, n)
	senders.Wait()
	slices.Sort(got)
	if len(slices.Compact(got)) != n {
		t.Errorf("%d different messages, want %d", len(slices.Compact(got)), n)
	}
}

func TestALiveReaderOfALongTimeAgoIsToldWhatHistoryForgot(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.History.Age = time.Hour })
	sent, err := w.b.Send(context.Background(), "demo", broker.SendRequest{From: "alice", To: []broker.PeerID{"bob"}, Payload: []byte("old")})
	if err != nil {
		t.Fatal(err)
	}
	w.pass(2 * time.Hour)
	events, err := follow(t, w.b, broker.LiveQuery{Messages: true, After: sent.MessageID}).Next(context.Background())
	if diff := cmp.Diff([]broker.LiveSkip{{Of: "message", Since: sent.TS}}, events.Skipped); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// lateStore hides a message from the app's log until it is shown, as another node's may come below one that was read.
type lateStore struct {
	broker.Store
	mu     sync.Mutex
	hidden broker.MessageID
}

func (s *lateStore) Read(ctx context.Context, log broker.LogID, r broker.Range) ([]broker.Entry, error) {
	entries, err := s.Store.Read(ctx, log, r)
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(entries, func(e broker.Entry) bool { return e.ID == s.hidden }), err
}

func (s *lateStore) hide(id broker.MessageID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = id
}

func TestALiveReaderFindsWhatCameLateAndTellsNothingTwice(t *testing.T) {
	inner, err := pebblestore.Open(pebblestore.Config{Path: "store"}, pebblestore.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	store := &lateStore{Store: inner}
	b, err := broker.New(broker.Options{Store: store, Apps: []broker.AppConfig{broker.DefaultAppConfig("demo")}, Late: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	send := func(text string) broker.MessageID {
		sent, err := b.Send(context.Background(), "demo", broker.SendRequest{From: "alice", To: []broker.PeerID{"bob"}, Payload: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		return sent.MessageID
	}
	l := follow(t, b, broker.LiveQuery{Messages: true})
	store.hide(send("late"))
	send("early")
	if got := liveTexts(t, l, 1); !slices.Equal(got, []string{"early"}) {
		t.Fatalf("%q", got)
	}
	store.hide(broker.MessageID{})
	if got := liveTexts(t, l, 1); !slices.Equal(got, []string{"late"}) {
		t.Errorf("%q", got)
	}
}

// BenchmarkPublishFollowed is BenchmarkPublish with live readers: 0 is what a sender pays when nobody reads.
func BenchmarkPublishFollowed(b *testing.B) {
	for _, readers := range []int{0, 1, 100} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			br := benchBroker(b)
			ctx, cancel := context.WithCancel(context.Background())
			var reading sync.WaitGroup
			defer reading.Wait()
			defer cancel()
			for range readers {
				l := follow(b, br, broker.LiveQuery{Messages: true, Presence: true})
				reading.Go(func() {
					for ctx.Err() == nil {
						_, _ = l.Next(ctx) // ends with ctx
					}
				})
			}
			alice := openBench(b, br, "alice", `{"watch":["bob"]}`)
			alice.measure(b, "demo/peer/bob/alice")
		})
	}
}
