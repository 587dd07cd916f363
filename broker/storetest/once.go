package storetest

import (
	"kith/broker"
)

func onceKey(id string) broker.Key {
	return record(broker.SpaceOnce, "team", "tom\x00"+id)
}

func withOnce(a broker.Append, id string, expires int64) broker.Append {
	a.Once, a.OnceExpires = onceKey(id), expires
	return a
}

func onceIsIdempotent(h *harness) {
	first := h.send(withOnce(toGroup("tom", "1", "team"), "a", 0))
	again := h.send(withOnce(toGroup("tom", "1", "team"), "a", 0))
	if first.Duplicate || !again.Duplicate || again.ID != first.ID {
		h.Fatalf("first %+v, again %+v", first, again)
	}
	other := h.send(withOnce(toGroup("tom", "2", "team"), "b", 0))
	h.same("group", []broker.Entry{{N: 1, ID: first.ID}, {N: 2, ID: other.ID}}, h.all(logOf(broker.LogConversation, "team")))
	h.same("sent", 2, len(h.all(logOf(broker.LogSent, "tom"))))
	h.same("app", 2, len(h.all(logOf(broker.LogApp, ""))))
	e := event("bob", "e", 0)
	e.Once = record(broker.SpaceReceipt, first.ID.String(), "")
	one, two := h.send(e), h.send(e)
	if one.Duplicate || !two.Duplicate || two.ID != one.ID || one.N != 1 {
		h.Fatalf("events: %+v, %+v", one, two)
	}
	h.same("events", []broker.Entry{{N: 1, ID: one.ID, Value: []byte("e")}}, h.all(logOf(broker.LogEvents, "bob")))
	h.put(broker.Write{Key: onceKey("c"), Value: first.ID[:]})
	if a := h.send(withOnce(toGroup("tom", "3", "team"), "c", 0)); !a.Duplicate || a.ID != first.ID {
		h.Fatalf("after a write of the key: %+v", a)
	}
	h.put(broker.Write{Key: onceKey("c")})
	if a := h.send(withOnce(toGroup("tom", "3", "team"), "c", 0)); a.Duplicate || a.N != 3 {
		h.Fatalf("after the key's removal: %+v", a)
	}
}

func onceWithinBatch(h *harness) {
	b := h.commit(&broker.Batch{Appends: []broker.Append{
		withOnce(toGroup("tom", "1", "team"), "a", 0), withOnce(toGroup("tom", "1", "team"), "a", 0), toGroup("tom", "2", "team"),
	}})
	if b.Appends[0].Duplicate || !b.Appends[1].Duplicate || b.Appends[1].ID != b.Appends[0].ID || b.Appends[2].N != 2 {
		h.Fatalf("batch: %+v", b.Appends)
	}
	// Many callers with the same key at once: one is stored.
	waits := make([]<-chan error, 0, 40)
	batches := make([]*broker.Batch, 0, 40)
	for range 40 {
		b := &broker.Batch{Appends: []broker.Append{withOnce(toGroup("tom", "3", "team"), "same", 0)}}
		batches, waits = append(batches, b), append(waits, h.begin(b))
	}
	stored := 0
	for i, done := range waits {
		if err := h.await(done); err != nil {
			h.Fatal(err)
		}
		a := &batches[i].Appends[0]
		if !a.Duplicate {
			stored++
		}
		if a.ID != batches[0].Appends[0].ID {
			h.Fatalf("append %d has id %s", i, a.ID)
		}
	}
	h.same("stored", 1, stored)
	h.same("last number", uint64(3), h.last(logOf(broker.LogConversation, "team"))[0].N)
}

func onceExpires(h *harness) {
	expires := h.soon()
	first := h.send(withOnce(toGroup("tom", "1", "team"), "a", expires))
	forever := h.send(withOnce(toGroup("tom", "2", "team"), "b", 0))
	h.restart()
	if h.f.Advance != nil {
		if a := h.send(withOnce(toGroup("tom", "1", "team"), "a", expires)); !a.Duplicate || a.ID != first.ID {
			h.Fatalf("after a restart: %+v", a)
		}
	}
	h.passed(onceKey("a"))
	a := h.send(withOnce(toGroup("tom", "1", "team"), "a", h.now()+3_600_000))
	if a.Duplicate || a.N != 3 || a.ID.Compare(forever.ID) <= 0 {
		h.Fatalf("after its expiry: %+v", a)
	}
	if b := h.send(withOnce(toGroup("tom", "1", "team"), "a", 0)); !b.Duplicate || b.ID != a.ID {
		h.Fatalf("the second time round: %+v", b)
	}
	if b := h.send(withOnce(toGroup("tom", "2", "team"), "b", 0)); !b.Duplicate || b.ID != forever.ID {
		h.Fatalf("a key without expiry: %+v", b)
	}
}
