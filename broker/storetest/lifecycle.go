package storetest

import (
	"errors"

	"kith/broker"
)

func eventsKeepNewest(h *harness) {
	const keep = 20
	log := logOf(broker.LogEvents, "bob")
	for i := range 300 {
		if i == 150 {
			h.restart()
		}
		size := 1 + i%3
		b := &broker.Batch{}
		for range size {
			b.Appends = append(b.Appends, event("bob", text("%d", i), keep))
		}
		h.commit(b)
		if i%25 != 0 {
			continue
		}
		entries := h.all(log)
		last := b.Appends[size-1].N
		if uint64(len(entries)) < min(keep, last) || entries[len(entries)-1].N != last {
			h.Fatalf("of %d events %d are left", last, len(entries))
		}
		for j, e := range entries {
			if e.N != last-uint64(len(entries)-1-j) {
				h.Fatalf("event %d of %d has number %d, the last is %d", j, len(entries), e.N, last)
			}
		}
	}
}

func restartKeepsEverything(h *harness) {
	var ids []broker.MessageID
	for i := range 5 {
		b := h.commit(&broker.Batch{
			Appends: []broker.Append{toPeers("tom", text("%d", i), "bob"), toGroup("tom", "g", "team"), event("bob", "e", 0)},
			Writes:  []broker.Write{{Key: record(broker.SpaceDevice, "bob", text("d%d", i)), Value: []byte(text("%d", i))}},
			Lazy:    i == 4,
		})
		ids = append(ids, b.Appends[0].ID)
		logs := []broker.LogID{logOf(broker.LogInbox, "bob"), logOf(broker.LogConversation, "team"), logOf(broker.LogEvents, "bob"), logOf(broker.LogApp, ""), logOf(broker.LogSent, "tom")}
		var want [][]broker.Entry
		for _, log := range logs {
			want = append(want, h.all(log))
		}
		h.restart()
		for j, log := range logs {
			h.same(text("log %v", log), want[j], h.all(log))
		}
		h.same("numbers", uint64(i+1), b.Appends[1].N)
		h.same("records", i+1, len(h.list(broker.ListQuery{Space: broker.SpaceDevice, App: app, Owner: "bob", Limit: 100})))
	}
	h.same("messages", []string{"0", "1", "2", "3", "4"}, payloads(h.messages(app, ids...)))
	if a := h.send(toPeers("tom", "x", "bob")); a.ID.Compare(ids[4]) <= 0 || a.InboxN[0] != 6 {
		h.Fatalf("after restarts: %+v, before: %s", a, ids[4])
	}
}

func closedStoreRefuses(h *harness) {
	b := &broker.Batch{Appends: []broker.Append{toPeers("tom", "x", "bob")}}
	before := h.begin(b)
	if err := h.store.Close(); err != nil {
		h.Fatal(err)
	}
	if err := h.await(before); err != nil {
		h.Fatalf("a batch from before Close: %v", err)
	}
	order := make(chan int, 10)
	for i := range 10 {
		late := &broker.Batch{Appends: []broker.Append{toPeers("tom", "y", "bob")}}
		late.Done = func(_ *broker.Batch, err error) {
			if !errors.Is(err, broker.ErrStoreClosed) {
				h.Errorf("a batch after Close: %v", err)
			}
			order <- i
		}
		h.store.Commit(late)
	}
	for i := range 10 {
		h.same("order", i, <-order)
	}
	if _, err := h.store.Get(h.ctx, []broker.Key{record(broker.SpaceBan, "bob", "")}); err == nil {
		h.Error("a read after Close succeeded")
	}
	if err := h.store.Ping(h.ctx); err == nil {
		h.Error("a ping after Close succeeded")
	}
	h.store = h.f.Open(h.TB)
	h.same("inbox", []broker.Entry{{N: 1, ID: b.Appends[0].ID}}, h.all(logOf(broker.LogInbox, "bob")))
}

func pingAnswers(h *harness) {
	for range 3 {
		if err := h.store.Ping(h.ctx); err != nil {
			h.Fatal(err)
		}
	}
	h.send(toPeers("tom", "x", "bob"))
	if err := h.store.Ping(h.ctx); err != nil {
		h.Fatal(err)
	}
}
