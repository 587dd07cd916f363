package storetest

import (
	"slices"

	"kith/broker"
)

// window is what Read promises, over the whole log.
func window(log []broker.Entry, r broker.Range) []broker.Entry {
	var in []broker.Entry
	for _, e := range log {
		if (r.After.IsZero() || e.ID.Compare(r.After) > 0) && (r.Before.IsZero() || e.ID.Compare(r.Before) < 0) {
			in = append(in, e)
		}
	}
	if r.Reverse {
		slices.Reverse(in)
	}
	return in[:min(len(in), r.Limit)]
}

func rangesAreExclusive(h *harness) {
	for _, size := range []int{1, 2, 127, 1, 130, 3} {
		b := &broker.Batch{}
		for range size {
			b.Appends = append(b.Appends, toGroup("tom", "some text to fill blocks with, so that more than one is needed", "team"))
			if size < 4 {
				b.Appends = append(b.Appends, event("tom", "e", 0))
			}
		}
		h.commit(b)
	}
	for _, log := range []broker.LogID{logOf(broker.LogConversation, "team"), logOf(broker.LogApp, ""), logOf(broker.LogSent, "tom"), logOf(broker.LogEvents, "tom")} {
		all := h.all(log)
		check := func(r broker.Range) {
			h.Helper()
			h.same(text("log %v, range %+v", log, r), window(all, r), h.read(log, r))
		}
		check(broker.Range{Limit: 1 << 20, Reverse: true})
		check(broker.Range{Limit: 0})
		check(broker.Range{After: all[len(all)-1].ID, Limit: 5})
		check(broker.Range{Before: all[0].ID, Limit: 5, Reverse: true})
		check(broker.Range{Before: all[0].ID, Limit: 5})
		check(broker.Range{After: all[len(all)-1].ID, Limit: 5, Reverse: true})
		for i := 0; i < len(all); i += 1 + i%3 {
			e := all[i]
			between := e.ID // an id that is not in the log, just behind one that is
			between[len(between)-1]++
			other := all[(i*7)%len(all)].ID
			for _, reverse := range []bool{false, true} {
				check(broker.Range{After: e.ID, Limit: 3, Reverse: reverse})
				check(broker.Range{Before: e.ID, Limit: 3, Reverse: reverse})
				check(broker.Range{After: between, Limit: 2, Reverse: reverse})
				check(broker.Range{Before: between, Limit: 2, Reverse: reverse})
				if i%11 == 0 {
					check(broker.Range{After: e.ID, Before: other, Limit: 1000, Reverse: reverse})
					check(broker.Range{After: e.ID, Before: e.ID, Limit: 10, Reverse: reverse})
				}
			}
		}
		at := broker.FirstIDAt(all[0].ID.Time())
		check(broker.Range{After: at, Limit: 4})
		check(broker.Range{Before: broker.FirstIDAt(all[0].ID.Time() + 3_600_000), Limit: 4, Reverse: true})
	}
	h.same("a log that is not there", []broker.Entry(nil), h.all(logOf(broker.LogInbox, "nobody")))
}

func lastIsTheEnd(h *harness) {
	logs := []broker.LogID{logOf(broker.LogInbox, "bo"), logOf(broker.LogInbox, "bob"), logOf(broker.LogInbox, "bobby"), logOf(broker.LogConversation, "team")}
	h.same("empty logs", make([]broker.Entry, 4), h.last(logs...))
	b := h.commit(&broker.Batch{Appends: []broker.Append{toPeers("tom", "1", "bob"), toPeers("tom", "2", "bob"), toGroup("tom", "3", "team")}})
	h.same("logs", []broker.Entry{{}, {N: 2, ID: b.Appends[1].ID}, {}, {N: 1, ID: b.Appends[2].ID}}, h.last(logs...))
	slices.Reverse(logs)
	h.same("logs reversed", []broker.Entry{{N: 1, ID: b.Appends[2].ID}, {}, {N: 2, ID: b.Appends[1].ID}, {}}, h.last(logs...))
	h.same("no logs", []broker.Entry{}, h.last())
}
