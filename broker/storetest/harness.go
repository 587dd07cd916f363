package storetest

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kith/broker"
)

// patience is how long the suite waits for what must come. Nothing waits that long unless it failed.
const patience = 30 * time.Second

const app broker.AppID = "demo"

// harness is a store under test with what tests ask of it.
type harness struct {
	testing.TB
	f     Factory
	store broker.Store
	ctx   context.Context // of every call but those that test cancelling
}

func start(t testing.TB, f Factory) *harness {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	h := &harness{TB: t, f: f, ctx: ctx}
	h.store = f.Open(t)
	t.Cleanup(func() {
		if err := h.store.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return h
}

// restart closes the store and opens it again.
func (h *harness) restart() {
	h.Helper()
	if err := h.store.Close(); err != nil {
		h.Fatalf("close: %v", err)
	}
	h.store = h.f.Open(h.TB)
}

// begin commits and returns what Done will tell.
func (h *harness) begin(b *broker.Batch) <-chan error {
	done := make(chan error, 1)
	b.Done = func(_ *broker.Batch, err error) { done <- err }
	h.store.Commit(b)
	return done
}

func (h *harness) await(done <-chan error) error {
	h.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		h.Fatal("Done was not called")
		return nil
	}
}

// commit commits and waits; an error fails the test.
func (h *harness) commit(b *broker.Batch) *broker.Batch {
	h.Helper()
	if err := h.await(h.begin(b)); err != nil {
		h.Fatalf("commit: %v", err)
	}
	return b
}

// send commits one append.
func (h *harness) send(a broker.Append) *broker.Append {
	h.Helper()
	return &h.commit(&broker.Batch{Appends: []broker.Append{a}}).Appends[0]
}

// put commits writes.
func (h *harness) put(writes ...broker.Write) []broker.Write {
	h.Helper()
	return h.commit(&broker.Batch{Writes: writes}).Writes
}

func (h *harness) read(log broker.LogID, r broker.Range) []broker.Entry {
	h.Helper()
	entries, err := h.store.Read(h.ctx, log, r)
	if err != nil {
		h.Fatalf("read %v: %v", log, err)
	}
	return entries
}

// all reads a whole log.
func (h *harness) all(log broker.LogID) []broker.Entry {
	h.Helper()
	return h.read(log, broker.Range{Limit: 1 << 20})
}

func (h *harness) last(logs ...broker.LogID) []broker.Entry {
	h.Helper()
	entries, err := h.store.Last(h.ctx, logs)
	if err != nil {
		h.Fatalf("last: %v", err)
	}
	if len(entries) != len(logs) {
		h.Fatalf("last of %d logs: %d entries", len(logs), len(entries))
	}
	return entries
}

func (h *harness) messages(app broker.AppID, ids ...broker.MessageID) []*broker.Message {
	h.Helper()
	messages, err := h.store.Messages(h.ctx, app, ids)
	if err != nil {
		h.Fatalf("messages: %v", err)
	}
	if len(messages) != len(ids) {
		h.Fatalf("messages of %d ids: %d", len(ids), len(messages))
	}
	return messages
}

func (h *harness) get(keys ...broker.Key) [][]byte {
	h.Helper()
	values, err := h.store.Get(h.ctx, keys)
	if err != nil {
		h.Fatalf("get: %v", err)
	}
	if len(values) != len(keys) {
		h.Fatalf("get of %d keys: %d values", len(keys), len(values))
	}
	return values
}

func (h *harness) list(q broker.ListQuery) []broker.Record {
	h.Helper()
	records, err := h.store.List(h.ctx, q)
	if err != nil {
		h.Fatalf("list: %v", err)
	}
	return records
}

// now is the store's time in Unix milliseconds.
func (h *harness) now() int64 {
	if h.f.Now != nil {
		return h.f.Now().UnixMilli()
	}
	return time.Now().UnixMilli()
}

// soon is an expiry that passed can wait for.
func (h *harness) soon() int64 {
	if h.f.Advance != nil {
		return h.now() + time.Hour.Milliseconds()
	}
	return h.now() + 300
}

// passed waits until the time soon returned has passed, told by a record of that expiry being gone.
func (h *harness) passed(key broker.Key) {
	h.Helper()
	if h.f.Advance != nil {
		h.f.Advance(2 * time.Hour)
		return
	}
	for end := time.Now().Add(patience); h.get(key)[0] != nil; {
		if time.Now().After(end) {
			h.Fatal("the record did not expire")
		}
	}
}

// same fails the test unless got is want; nil and empty are alike, but not for bytes.
func (h *harness) same(what string, want, got any) {
	h.Helper()
	if reflect.DeepEqual(want, got) { // far quicker over long logs
		return
	}
	if diff := cmp.Diff(want, got, equateEmpty); diff != "" {
		h.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

var equateEmpty = cmp.FilterValues(func(x, y any) bool {
	_, bytes := x.([]byte)
	return !bytes
}, cmpopts.EquateEmpty())

func direct(from broker.PeerID, payload string, to ...broker.PeerID) *broker.Message {
	return &broker.Message{
		App: app, From: from, Device: "default", To: to, QoS: 1, Payload: []byte(payload),
		Conversation: broker.DirectConversation(append([]broker.PeerID{from}, to...)...),
	}
}

func inGroup(from broker.PeerID, payload string, group broker.GroupID) *broker.Message {
	return &broker.Message{
		App: app, From: from, Device: "default", Group: group, QoS: 1, Payload: []byte(payload),
		Conversation: broker.ConversationID(group),
	}
}

// toPeers is the append of a direct message.
func toPeers(from broker.PeerID, payload string, to ...broker.PeerID) broker.Append {
	return broker.Append{App: app, Message: direct(from, payload, to...), Inboxes: to}
}

// toGroup is the append of a group message.
func toGroup(from broker.PeerID, payload string, group broker.GroupID) broker.Append {
	return broker.Append{App: app, Message: inGroup(from, payload, group)}
}

func event(peer broker.PeerID, payload string, keep uint64) broker.Append {
	return broker.Append{App: app, Event: []byte(payload), EventPeer: peer, Keep: keep}
}

func logOf[T ~string](kind broker.LogKind, owner T) broker.LogID {
	return broker.LogID{Kind: kind, App: app, Owner: string(owner)}
}

func record(space broker.Space, owner, name string) broker.Key {
	return broker.Key{Space: space, App: app, Owner: owner, Name: name}
}

func idsOf(entries []broker.Entry) []broker.MessageID {
	ids := make([]broker.MessageID, len(entries))
	for i := range entries {
		ids[i] = entries[i].ID
	}
	return ids
}

func payloads(messages []*broker.Message) []string {
	texts := make([]string, len(messages))
	for i, m := range messages {
		if m == nil {
			texts[i] = "gone"
			continue
		}
		texts[i] = string(m.Payload)
	}
	return texts
}

func text(format string, args ...any) string { return fmt.Sprintf(format, args...) }
