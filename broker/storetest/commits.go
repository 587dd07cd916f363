package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"kith/broker"
)

func doneInOrder(h *harness) {
	const callers, each = 8, 60
	var mu sync.Mutex
	var ids []broker.MessageID
	told := make([]int, callers)
	var all sync.WaitGroup
	all.Add(callers * each)
	var wrong atomic.Pointer[string]
	complain := func(s string) { wrong.CompareAndSwap(nil, &s) }
	for c := range callers {
		go func() {
			for i := range each {
				called := false
				b := &broker.Batch{Lazy: (c+i)%3 == 0, Appends: []broker.Append{toPeers(broker.PeerID(text("p%d", c)), "x", "bob")}}
				b.Done = func(got *broker.Batch, err error) {
					mu.Lock()
					defer mu.Unlock()
					defer all.Done()
					switch {
					case err != nil:
						complain(err.Error())
					case called:
						complain("Done came twice")
					case got != b:
						complain("Done got another batch")
					case told[c] != i:
						complain(text("caller %d: batch %d came when %d was due", c, i, told[c]))
					}
					called = true
					told[c]++
					ids = append(ids, got.Appends[0].ID)
				}
				h.store.Commit(b)
			}
		}()
	}
	h.awaitAll(&all)
	if s := wrong.Load(); s != nil {
		h.Fatal(*s)
	}
	for i := 1; i < len(ids); i++ {
		if ids[i].Compare(ids[i-1]) <= 0 {
			h.Fatalf("Done told of id %s after %s", ids[i], ids[i-1])
		}
	}
	h.same("app log", ids, idsOf(h.all(logOf(broker.LogApp, ""))))
}

func (h *harness) awaitAll(wg *sync.WaitGroup) {
	h.Helper()
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		h.Fatal("not all Done functions were called")
	}
}

// What is tied to a batch that failed fails behind it, until the chain is renewed; nobody else does.
func chainsBreak(h *harness) {
	var chain broker.Chain
	tied := func(payload string) *broker.Batch {
		return &broker.Batch{Chain: &chain, Appends: []broker.Append{toPeers("tom", payload, "bob")}}
	}
	bad, behind := tied("bad"), tied("behind")
	bad.Appends[0].Message.From = "a\x00b"
	again := tied("again")
	again.Renews = true
	before, failed, other := h.begin(tied("before")), h.begin(bad), h.begin(&broker.Batch{Appends: []broker.Append{toPeers("eve", "other", "bob")}})
	if err := h.await(before); err != nil {
		h.Error(err)
	}
	if h.await(failed) == nil {
		h.Error("a name with a zero byte was taken")
	}
	if err := h.await(h.begin(behind)); !errors.Is(err, broker.ErrChainBroken) {
		h.Errorf("behind the failed batch: %v", err)
	}
	if err := h.await(other); err != nil {
		h.Errorf("another sender: %v", err)
	}
	h.commit(again)
	h.commit(tied("after"))
	h.same("stored", []string{"before", "other", "again", "after"}, payloads(h.messages(app, idsOf(h.all(logOf(broker.LogInbox, "bob")))...)))
}

func doneMayCommit(h *harness) {
	const callers, chain = 24, 15
	var all sync.WaitGroup
	var failed atomic.Int64
	all.Add(callers * chain)
	var follow func(left int) *broker.Batch
	follow = func(left int) *broker.Batch {
		b := &broker.Batch{Appends: make([]broker.Append, 60)}
		for i := range b.Appends {
			b.Appends[i] = toPeers("tom", "0123456789", "bob")
		}
		b.Done = func(_ *broker.Batch, err error) {
			if err != nil {
				failed.Add(1)
			}
			if left > 1 {
				h.store.Commit(follow(left - 1))
			}
			all.Done()
		}
		return b
	}
	for range callers {
		go h.store.Commit(follow(chain))
	}
	h.awaitAll(&all)
	if failed.Load() != 0 {
		h.Fatalf("%d commits failed", failed.Load())
	}
	h.same("last number", uint64(callers*chain*60), h.last(logOf(broker.LogInbox, "bob"))[0].N)
}

func readsSeeWhatDoneTold(h *harness) {
	key := record(broker.SpaceCursor, "bob", "default\x00inbox")
	for i := range 50 {
		b := h.commit(&broker.Batch{
			Lazy:    i%2 == 0,
			Appends: []broker.Append{toPeers("tom", text("%d", i), "bob"), event("bob", text("%d", i), 0)},
			Writes:  []broker.Write{{Key: key, Value: []byte(text("%d", i))}},
		})
		last := h.last(logOf(broker.LogInbox, "bob"), logOf(broker.LogEvents, "bob"), logOf(broker.LogApp, ""), logOf(broker.LogSent, "tom"))
		id := b.Appends[0].ID
		h.same("last", []broker.Entry{
			{N: uint64(i + 1), ID: id}, {N: uint64(i + 1), ID: b.Appends[1].ID, Value: []byte(text("%d", i))}, {ID: id}, {ID: id},
		}, last)
		h.same("message", []string{text("%d", i)}, payloads(h.messages(app, id)))
		h.same("record", [][]byte{[]byte(text("%d", i))}, h.get(key))
	}
}

func readsHonourContext(h *harness) {
	a := h.send(toPeers("tom", "x", "bob"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := h.store.Read(ctx, logOf(broker.LogInbox, "bob"), broker.Range{Limit: 1})
	errs := []error{err}
	_, err = h.store.Last(ctx, []broker.LogID{logOf(broker.LogInbox, "bob")})
	errs = append(errs, err)
	_, err = h.store.Messages(ctx, app, []broker.MessageID{a.ID})
	errs = append(errs, err)
	_, err = h.store.Get(ctx, []broker.Key{record(broker.SpaceBan, "bob", "")})
	errs = append(errs, err)
	_, err = h.store.List(ctx, broker.ListQuery{Space: broker.SpaceBan, App: app, Limit: 1})
	errs = append(errs, err)
	for i, err := range errs {
		if !errors.Is(err, context.Canceled) {
			h.Errorf("read %d of a cancelled context: %v", i, err)
		}
	}
}

func commitsAndReads(h *harness) {
	const writers, each = 4, 50
	var all sync.WaitGroup
	all.Add(writers * each)
	for w := range writers {
		go func() {
			for i := range each {
				b := &broker.Batch{Appends: []broker.Append{toPeers("tom", text("%d.%d", w, i), "bob"), toGroup("tom", "g", "team"), event("bob", "e", 10)}}
				b.Done = func(_ *broker.Batch, err error) {
					if err != nil {
						h.Errorf("commit: %v", err)
					}
					all.Done()
				}
				h.store.Commit(b)
			}
		}()
	}
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			seen := uint64(0)
			for seen < writers*each && !h.Failed() {
				entries := h.all(logOf(broker.LogInbox, "bob"))
				for i, e := range entries {
					if e.N != uint64(i+1) {
						h.Errorf("entry %d has number %d", i, e.N)
						return
					}
				}
				if n := uint64(len(entries)); n < seen {
					h.Errorf("%d entries after %d", n, seen)
					return
				}
				seen = uint64(len(entries))
				if at := h.last(logOf(broker.LogConversation, "team"))[0].N; at > writers*each {
					h.Errorf("number %d", at)
				}
				for i, m := range h.messages(app, idsOf(entries)...) {
					if m == nil {
						h.Errorf("message %d is listed and not there", i)
						return
					}
				}
			}
		})
	}
	h.awaitAll(&all)
	h.awaitAll(&readers)
}
