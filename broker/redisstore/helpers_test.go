package redisstore_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"kith/broker"
)

const patience = 30 * time.Second

func direct(from broker.PeerID, payload string, to ...broker.PeerID) broker.Append {
	return broker.Append{App: "demo", Inboxes: to, Message: &broker.Message{
		App: "demo", From: from, Device: "default", To: to, QoS: 1, Payload: []byte(payload),
		Conversation: broker.DirectConversation(append([]broker.PeerID{from}, to...)...),
	}}
}

func toGroup(from broker.PeerID, payload string, group broker.GroupID) broker.Append {
	return broker.Append{App: "demo", Message: &broker.Message{
		App: "demo", From: from, Device: "default", Group: group, QoS: 1, Payload: []byte(payload),
		Conversation: broker.ConversationID(group),
	}}
}

func withOnce(a broker.Append, id string) broker.Append {
	a.Once = broker.Key{Space: broker.SpaceOnce, App: "demo", Owner: string(a.Message.Conversation), Name: string(a.Message.From) + "\x00" + id}
	a.OnceExpires = time.Now().Add(10 * time.Minute).UnixMilli()
	return a
}

func begin(s broker.Store, b *broker.Batch) <-chan error {
	done := make(chan error, 1)
	b.Done = func(_ *broker.Batch, err error) { done <- err }
	s.Commit(b)
	return done
}

func within[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	return v
}

func commit(t testing.TB, s broker.Store, b *broker.Batch) {
	t.Helper()
	if err := within(t, begin(s, b)); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, s broker.Store, kind broker.LogKind, owner string) []broker.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	log := broker.LogID{Kind: kind, App: "demo", Owner: owner}
	entries, err := s.Read(ctx, log, broker.Range{Limit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(entries); i++ {
		if entries[i].ID.Compare(entries[i-1].ID) <= 0 {
			t.Fatalf("log %v: id %s behind %s", log, entries[i].ID, entries[i-1].ID)
		}
	}
	return entries
}

// payloads returns what the entries refer to, "" for what is gone.
func payloads(t testing.TB, s broker.Store, entries []broker.Entry) []string {
	t.Helper()
	ids := make([]broker.MessageID, len(entries))
	for i := range entries {
		ids[i] = entries[i].ID
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	messages, err := s.Messages(ctx, "demo", ids)
	if err != nil {
		t.Fatal(err)
	}
	texts := make([]string, len(messages))
	for i, m := range messages {
		if m != nil {
			texts[i] = string(m.Payload)
		}
	}
	return texts
}

func dense(t testing.TB, what string, entries []broker.Entry) {
	t.Helper()
	for i, e := range entries {
		if e.N != uint64(i+1) {
			t.Fatalf("%s: entry %d has number %d", what, i, e.N)
		}
	}
}

// ledger is what stores told of.
type ledger struct {
	mu    sync.Mutex
	acked []*broker.Batch
}

func (l *ledger) add(b *broker.Batch) {
	l.mu.Lock()
	l.acked = append(l.acked, b)
	l.mu.Unlock()
}

// check proves that all that was told is in its logs, at its place.
func (l *ledger) check(t testing.TB, s broker.Store) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	type place struct {
		n  uint64
		id broker.MessageID
	}
	logs := map[broker.LogID]map[place]bool{}
	expect := func(kind broker.LogKind, owner string, p place) {
		t.Helper()
		log := broker.LogID{Kind: kind, App: "demo", Owner: owner}
		if logs[log] == nil {
			logs[log] = map[place]bool{}
			for _, e := range read(t, s, kind, owner) {
				logs[log][place{e.N, e.ID}] = true
			}
		}
		if !logs[log][p] {
			t.Errorf("log %v lost %d %s", log, p.n, p.id)
		}
	}
	count := 0
	var entries []broker.Entry
	var texts []string
	for _, b := range l.acked {
		for i := range b.Appends {
			a := &b.Appends[i]
			if a.Duplicate || a.Refused {
				continue
			}
			count++
			if a.Message == nil {
				expect(broker.LogEvents, string(a.EventPeer), place{a.N, a.ID})
				continue
			}
			entries, texts = append(entries, broker.Entry{ID: a.ID}), append(texts, string(a.Message.Payload))
			expect(broker.LogApp, "", place{0, a.ID})
			expect(broker.LogSent, string(a.Message.From), place{0, a.ID})
			expect(broker.LogConversation, string(a.Message.Conversation), place{a.N, a.ID})
			for j, p := range a.Inboxes {
				expect(broker.LogInbox, string(p), place{a.InboxN[j], a.ID})
			}
		}
	}
	for i, got := range payloads(t, s, entries) {
		if got != texts[i] {
			t.Errorf("message %s is %q, not %q", entries[i].ID, got, texts[i])
		}
	}
	t.Logf("%d acknowledged, all there", count)
}

func text(format string, args ...any) string { return fmt.Sprintf(format, args...) }
