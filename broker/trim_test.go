package broker_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kith/broker"
)

func (w *world) trim() int {
	w.t.Helper()
	n, err := w.b.TrimHistory(w.t.Context(), "demo")
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// held is how many messages the store has, hidden ones too.
func (w *world) held() int {
	w.t.Helper()
	n := 0
	for _, kind := range []broker.LogKind{broker.LogApp, broker.LogPast} {
		entries, err := w.store.Read(w.t.Context(), broker.LogID{Kind: kind, App: "demo"}, broker.Range{Limit: 100_000})
		if err != nil {
			w.t.Fatal(err)
		}
		n += len(entries)
	}
	return n
}

func TestHistoryAgeFreesSpaceButNotWhatWaits(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) {
		c.History.Age, c.Queue.Age = 24*time.Hour, 72*time.Hour
	})
	alice := w.open("alice", watching("bob"))
	w.open("bob").leave(broker.EndDisconnect)
	long := strings.Repeat("x", 4000)
	for range 40 {
		alice.sent("demo/peer/bob/alice", long)
	}
	want(t, "trimmed at once", w.trim(), 0)
	w.pass(48 * time.Hour)
	alice.sent("demo/peer/bob/alice", "new")
	want(t, "history hides what is old", w.history(broker.HistoryQuery{}), []string{"new"})
	want(t, "trimmed while it may wait", w.trim(), 0)
	want(t, "held for the queue", w.held(), 41)
	want(t, "delivered to who was away", len(w.open("bob/second").messages(41)), 41)

	w.pass(48 * time.Hour)
	if n := w.trim(); n != 40 {
		t.Errorf("%d messages trimmed, not 40", n)
	}
	if n := w.held(); n > 3 {
		t.Errorf("%d messages are still held", n)
	}
	want(t, "trimmed again", w.trim(), 0)
	alice.sent("demo/peer/bob/alice", "newest")
	want(t, "history", w.history(broker.HistoryQuery{Peer: "bob"}), []string{"newest"})
}

// A commit for each few messages could not keep pace with who sends many.
func TestHistoryIsTrimmedInFewCommits(t *testing.T) {
	t.Parallel()
	const n = 10_000
	w, m := meddled(t, func(c *broker.AppConfig) { c.History.Age, c.Queue.Age = time.Hour, time.Hour })
	w.fill(n, func(i int) *broker.Message { return direct("alice", "bob", fmt.Sprint(i)) })
	w.pass(2 * time.Hour)
	var commits atomic.Int32
	m.set(func(m *meddler) {
		m.commit = func(b *broker.Batch) error {
			if len(b.Deletes) > 0 {
				commits.Add(1)
			}
			return nil
		}
	})
	want(t, "removed", w.trim(), n)
	want(t, "commits", commits.Load(), 2)
	if left := w.held(); left > 64 {
		t.Errorf("%d messages are still held", left)
	}
}

func TestHistoryBytesDropsTheOldest(t *testing.T) {
	t.Parallel()
	const bound = 2 << 20
	w := newWorld(t, func(c *broker.AppConfig) { c.History.Bytes, c.Queue.Age = bound, time.Hour })
	alice := w.open("alice", watching("bob"))
	var past []broker.PastMessage
	long := strings.Repeat("x", 4000)
	for i := range 1000 {
		m := w.past(time.Duration(2000-i)*time.Hour, &broker.Message{From: "dave", To: []broker.PeerID{"bob"}, Payload: []byte(long)})
		past = append(past, m)
	}
	w.imports(past[:500]...)
	w.imports(past[500:]...)
	alice.sent("demo/peer/bob/alice", "new")
	if n := w.trim(); n < 400 || n > 1000 {
		t.Errorf("%d of 1,000 messages trimmed", n)
	}
	size, err := w.store.HistoryBytes(t.Context(), "demo")
	if err != nil || size > bound {
		t.Errorf("%d bytes are held, %v", size, err)
	}
	texts := w.history(broker.HistoryQuery{From: "alice"})
	want(t, "what may wait", texts, []string{"new"})
	want(t, "trimmed again", w.trim(), 0)
	// What is imported again lies before where trimming was.
	w.imports(past[:500]...)
	if n := w.trim(); n == 0 {
		t.Error("what was imported again was not looked at")
	}
}

func TestWhatIsOlderThanHistoryAgeIsNotImported(t *testing.T) {
	w := newWorld(t, func(c *broker.AppConfig) { c.History.Age = time.Hour })
	outcome := w.imports(
		w.past(2*time.Hour, &broker.Message{From: "dave", To: []broker.PeerID{"bob"}, Payload: []byte("old")}),
		w.past(time.Minute, &broker.Message{From: "dave", To: []broker.PeerID{"bob"}, Payload: []byte("new")}),
	)
	if outcome[0] == nil || outcome[1] != nil {
		t.Errorf("%v", outcome)
	}
}
