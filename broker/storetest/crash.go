package storetest

import (
	"math/rand/v2"
	"slices"
	"sync"

	"kith/broker"
)

// ledger is what clients were told, and what they asked for.
type ledger struct {
	mu    sync.Mutex
	acked []*broker.Batch
	stop  bool
}

// crash loses what is not durable and opens what is left.
func (h *harness) crash() {
	h.Helper()
	if h.f.Crash == nil {
		h.Skip("this engine cannot be crashed by a test")
	}
	h.f.Crash(h.TB)
	h.restart()
}

// publish lets callers commit one batch after the other until the ledger stops them. Each message tells its place.
func (h *harness) publish(l *ledger, callers, round int, all *sync.WaitGroup) {
	for c := range callers {
		rng := rand.New(rand.NewPCG(uint64(c), uint64(round)))
		all.Go(func() {
			window := make(chan struct{}, 4)
			for i := 0; ; i++ {
				window <- struct{}{}
				l.mu.Lock()
				stop := l.stop
				l.mu.Unlock()
				if stop {
					break
				}
				b := &broker.Batch{}
				for j := range 1 + rng.IntN(5) {
					at := text("%d.%d.%d.%d", round, c, i, j)
					a := toPeers("tom", at, broker.PeerID(text("p%d", rng.IntN(3))))
					if rng.IntN(2) == 0 {
						a = toGroup("tom", at, "team")
					}
					b.Appends = append(b.Appends, a)
				}
				b.Done = func(b *broker.Batch, err error) {
					if err == nil {
						l.mu.Lock()
						l.acked = append(l.acked, b)
						l.mu.Unlock()
					}
					<-window
				}
				h.store.Commit(b)
			}
		})
	}
}

func acknowledgedSurvives(h *harness) {
	if h.f.Crash == nil {
		h.Skip("this engine cannot be crashed by a test")
	}
	var known []*broker.Batch
	for round := range 4 {
		l := &ledger{}
		var all sync.WaitGroup
		h.publish(l, 6, round, &all)
		var told []*broker.Batch
		for len(told) < 25*(round+1) {
			if err := h.store.Ping(h.ctx); err != nil {
				h.Fatal(err)
			}
			l.mu.Lock()
			told = slices.Clip(l.acked)
			l.mu.Unlock()
		}
		h.f.Crash(h.TB)
		l.mu.Lock()
		l.stop = true
		l.mu.Unlock()
		h.awaitAll(&all)
		h.restart()
		known = append(known, told...)
		h.checkLedger(known)
	}
}

// checkLedger proves that all that was told is there, and that what is there is whole.
func (h *harness) checkLedger(acked []*broker.Batch) {
	h.Helper()
	type place struct {
		n  uint64
		id broker.MessageID
	}
	logs := map[broker.LogID][]broker.Entry{}
	want := map[broker.LogID]map[place]bool{}
	expect := func(log broker.LogID, p place) {
		if want[log] == nil {
			want[log] = map[place]bool{}
		}
		want[log][p] = true
	}
	for _, b := range acked {
		for i := range b.Appends {
			a := &b.Appends[i]
			expect(logOf(broker.LogApp, ""), place{0, a.ID})
			expect(logOf(broker.LogSent, "tom"), place{0, a.ID})
			if a.Message.Group != "" {
				expect(logOf(broker.LogConversation, "team"), place{a.N, a.ID})
			} else {
				expect(logOf(broker.LogInbox, a.Inboxes[0]), place{a.InboxN[0], a.ID})
			}
			if got := h.messages(app, a.ID)[0]; got == nil || string(got.Payload) != string(a.Message.Payload) {
				h.Fatalf("message %s was acknowledged as %q and is %+v", a.ID, a.Message.Payload, got)
			}
		}
	}
	deliveries := 0
	for log, places := range want {
		logs[log] = h.all(log)
		for i, e := range logs[log] {
			delete(places, place{e.N, e.ID})
			if e.N != 0 && e.N != uint64(i+1) {
				h.Fatalf("entry %d of log %v has number %d", i, log, e.N)
			}
			if i > 0 && e.ID.Compare(logs[log][i-1].ID) <= 0 {
				h.Fatalf("entry %d of log %v has id %s", i, log, e.ID)
			}
			if e.N != 0 {
				deliveries++
			}
		}
		if len(places) > 0 {
			h.Fatalf("log %v lost %d acknowledged entries", log, len(places))
		}
	}
	// Each message is in its app's log, in its sender's, and in one inbox or the group.
	h.same("sent log", idsOf(h.all(logOf(broker.LogApp, ""))), idsOf(h.all(logOf(broker.LogSent, "tom"))))
	for peer := range 3 {
		if log := logOf(broker.LogInbox, text("p%d", peer)); want[log] == nil {
			deliveries += len(h.all(log))
		}
	}
	h.same("deliveries", len(h.all(logOf(broker.LogApp, ""))), deliveries)
}

func lazyBeforeLater(h *harness) {
	key := func(i int) broker.Key { return record(broker.SpaceCursor, "bob", text("%03d", i)) }
	for i := range 20 {
		lazy := h.begin(&broker.Batch{Lazy: true, Writes: []broker.Write{{Key: key(i), Value: []byte("x")}}})
		h.commit(&broker.Batch{}) // not lazy, and nothing in it
		if err := h.await(lazy); err != nil {
			h.Fatal(err)
		}
		h.crash()
		h.same("records", i+1, len(h.list(broker.ListQuery{Space: broker.SpaceCursor, App: app, Owner: "bob", Limit: 100})))
	}
}

func numbersAfterCrash(h *harness) {
	var last *broker.Append
	for range 10 {
		b := &broker.Batch{Appends: []broker.Append{toGroup("tom", "1", "team"), toGroup("tom", "2", "team")}}
		h.commit(b)
		if last != nil && (b.Appends[0].N <= last.N || b.Appends[0].ID.Compare(last.ID) <= 0) {
			h.Fatalf("number %d and id %s came after %d and %s", b.Appends[0].N, b.Appends[0].ID, last.N, last.ID)
		}
		last = &b.Appends[1]
		h.commit(&broker.Batch{Deletes: []broker.Delete{{App: app, Message: last.ID}, {App: app, Log: logOf(broker.LogConversation, "team")}}})
		h.crash()
	}
}
