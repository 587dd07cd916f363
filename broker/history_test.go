package broker_test

import (
	"fmt"
	"testing"
	"time"

	"kith/broker"
)

// fill commits n messages past the broker, size at once, and returns their ids in order.
func (w *world) fill(n int, message func(i int) *broker.Message) []broker.MessageID {
	w.t.Helper()
	const size = 1000
	var ids []broker.MessageID
	for from := 0; from < n; from += size {
		batch := &broker.Batch{}
		for i := from; i < min(n, from+size); i++ {
			m := message(i)
			batch.Appends = append(batch.Appends, broker.Append{App: m.App, Message: m, Inboxes: m.To})
		}
		w.commit(batch)
		for i := range batch.Appends {
			ids = append(ids, batch.Appends[i].ID)
		}
	}
	return ids
}

func (w *world) commit(b *broker.Batch) {
	w.t.Helper()
	done := make(chan error, 1)
	b.Done = func(_ *broker.Batch, err error) { done <- err }
	w.store.Commit(b)
	if err := <-done; err != nil {
		w.t.Fatal(err)
	}
}

// direct is a direct message as the store takes it.
func direct(from, to broker.PeerID, text string) *broker.Message {
	return &broker.Message{
		App: "demo", From: from, Device: "default", To: []broker.PeerID{to}, Conversation: broker.DirectConversation(from, to),
		Payload: []byte(text), QoS: 1, FromIP: "203.0.113.9",
	}
}

// A page that meets only what was deleted ends early, and the next one goes on behind it.
func TestHistoryPagesGoOnPastWhatWasDeleted(t *testing.T) {
	t.Parallel()
	const gone, kept = 7_000, 3
	w := newWorld(t)
	ids := w.fill(kept+gone+kept, func(i int) *broker.Message { return direct("alice", "bob", fmt.Sprint(i)) })
	batch := &broker.Batch{}
	for _, id := range ids[kept : kept+gone] {
		batch.Deletes = append(batch.Deletes, broker.Delete{App: "demo", Message: id})
	}
	w.commit(batch)
	for _, ascending := range []bool{false, true} {
		for _, limit := range []int{2, 100} {
			q := broker.HistoryQuery{Conversation: broker.DirectConversation("alice", "bob"), Ascending: ascending, Limit: limit}
			var got []string
			early := 0
			for {
				page, err := w.b.History(t.Context(), "demo", q)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range page.Items {
					got = append(got, *m.Message)
				}
				if page.Next.IsZero() {
					break
				}
				if len(page.Items) < limit {
					early++
				}
				q.Cursor = page.Next
			}
			last := fmt.Sprint(kept + gone + kept - 1)
			if len(got) != 2*kept || ascending && got[5] != last || !ascending && got[0] != last {
				t.Errorf("ascending %t, limit %d: %v", ascending, limit, got)
			}
			if early == 0 {
				t.Errorf("ascending %t, limit %d: %d pages ended early: the scan is not bounded", ascending, limit, early)
			}
		}
	}
}

// BenchmarkHistory reads the first page, the newest 100, of 100,000 messages of 200 bytes between 100 peers.
func BenchmarkHistory(b *testing.B) {
	const messages, peers = 100_000, 100
	w := newWorld(b)
	peer := func(i int) broker.PeerID { return broker.PeerID(fmt.Sprintf("peer%02d", i%peers)) }
	w.fill(messages, func(i int) *broker.Message {
		return direct(peer(i), peer(i+1+i/peers%4), fmt.Sprintf("%0200d", i))
	})
	for name, q := range map[string]broker.HistoryQuery{
		"conversation": {Conversation: broker.DirectConversation(peer(7), peer(8))},
		"from":         {From: peer(7)},
		"peer":         {Peer: peer(7)},
		"app":          {},
	} {
		for _, ascending := range []bool{false, true} {
			q.Limit, q.Ascending = 100, ascending
			b.Run(fmt.Sprintf("%s/ascending=%t", name, ascending), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					page, err := w.b.History(b.Context(), "demo", q)
					if err != nil || len(page.Items) != q.Limit || page.Next.IsZero() {
						b.Fatal(len(page.Items), err)
					}
				}
			})
		}
	}
}

func TestHistoryAgeHidesWhatIsOlder(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.History.Age = time.Hour })
	alice := w.open("alice", watching("bob"))
	old := alice.sent("demo/peer/bob/alice", "old")
	w.pass(2 * time.Hour)
	alice.sent("demo/peer/bob/alice", "new")
	page, err := w.b.History(t.Context(), "demo", broker.HistoryQuery{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(page.Items) != 1 || *page.Items[0].Message != "new" {
		t.Errorf("history: %+v", page.Items)
	}
	if _, found, err := w.b.Message(t.Context(), "demo", old.ID); found || err != nil {
		t.Errorf("the old message: found %t, %v", found, err)
	}
}
