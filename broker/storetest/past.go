package storetest

import (
	"errors"
	"slices"

	"kith/broker"
)

// inPast is the append of a message that came from elsewhere, accepted there at ms, with an id that ends in last.
func inPast(m *broker.Message, ms int64, last byte) broker.Append {
	m.ID = broker.FirstIDAt(ms)
	m.ID[11] = last
	return broker.Append{App: app, Message: m, Past: true}
}

func pastTakesItsPlace(h *harness) {
	live := h.commit(&broker.Batch{Appends: []broker.Append{toPeers("tom", "live", "bob"), toGroup("tom", "live", "team")}})
	now := h.now()
	// Newest first, then older ones between them, in batches of their own and together, some in the same millisecond.
	var ids []broker.MessageID
	want := map[broker.MessageID]string{}
	put := func(appends ...broker.Append) {
		h.Helper()
		h.commit(&broker.Batch{Appends: appends})
		for i := range appends {
			a := &appends[i]
			if a.Duplicate || a.ID != a.Message.ID {
				h.Fatalf("append %d: %+v", i, a)
			}
			ids, want[a.ID] = append(ids, a.ID), string(a.Message.Payload)
		}
		slices.SortFunc(ids, broker.MessageID.Compare)
	}
	for i := range int64(5) {
		put(inPast(direct("tom", text("direct %d", i), "bob"), now-1000*i-1000, 1))
	}
	put(inPast(direct("tom", "same", "bob"), now-3000, 0), inPast(direct("tom", "between", "bob"), now-2500, 0), inPast(direct("tom", "same too", "bob"), now-3000, 2))
	put(inPast(direct("bob", "first of all", "tom"), 1, 0))
	conversation := logOf(broker.LogPastConversation, broker.DirectConversation("tom", "bob"))
	check := func() {
		h.Helper()
		entries := make([]broker.Entry, len(ids))
		for i, id := range ids {
			entries[i] = broker.Entry{ID: id}
		}
		h.same("past", entries, h.all(logOf(broker.LogPast, "")))
		h.same("conversation", entries, h.all(conversation))
		h.same("sent", entries[1:], h.all(logOf(broker.LogPastSent, "tom")))
		h.same("received", entries[1:], h.all(logOf(broker.LogPastReceived, "bob")))
		h.same("received by tom", entries[:1], h.all(logOf(broker.LogPastReceived, "tom")))
		h.same("backward", []broker.Entry{entries[5], entries[4]}, h.read(conversation, broker.Range{Before: ids[6], Reverse: true, Limit: 2}))
		h.same("forward", entries[4:6], h.read(logOf(broker.LogPast, ""), broker.Range{After: ids[3], Before: ids[6], Limit: 9}))
		h.same("last", entries[len(ids)-1:], h.last(logOf(broker.LogPast, "")))
		var payload []string
		for _, id := range ids {
			payload = append(payload, want[id])
		}
		h.same("messages", append(payload, "live"), payloads(h.messages(app, append(slices.Clone(ids), live.Appends[0].ID)...)))
	}
	check()
	h.restart()
	check()
	full := inGroup("tom", "\x00\xff", "team")
	full.Original, full.FromIP, full.Receipt = "vdkGm4dtRNmhQ5gqUTFBiA", "192.0.2.1", true
	put(inPast(full, now-500, 9))
	h.same("a group's message", []*broker.Message{full}, h.messages(app, full.ID))
	h.same("in its group", []broker.MessageID{full.ID}, idsOf(h.all(logOf(broker.LogPastConversation, "team"))))
	h.same("seen from the other app", []string{"gone"}, payloads(h.messages("dem", full.ID)))
}

func pastTakesOnce(h *harness) {
	first := h.send(inPast(direct("tom", "first", "bob"), h.now()-1000, 1))
	again := h.send(inPast(direct("tom", "again", "bob"), first.ID.Time(), 1))
	if !again.Duplicate || again.ID != first.ID {
		h.Fatalf("the second time: %+v", again)
	}
	b := h.commit(&broker.Batch{Appends: []broker.Append{
		inPast(direct("tom", "new", "bob"), first.ID.Time(), 2), inPast(direct("tom", "new again", "bob"), first.ID.Time(), 2),
	}})
	if b.Appends[0].Duplicate || !b.Appends[1].Duplicate {
		h.Fatalf("twice in one batch: %+v", b.Appends)
	}
	for _, log := range []broker.LogID{
		logOf(broker.LogPast, ""), logOf(broker.LogPastSent, "tom"), logOf(broker.LogPastReceived, "bob"),
		logOf(broker.LogPastConversation, broker.DirectConversation("tom", "bob")),
	} {
		h.same(text("log %v", log), []broker.MessageID{first.ID, b.Appends[0].ID}, idsOf(h.all(log)))
	}
	h.same("messages", []string{"first", "new"}, payloads(h.messages(app, first.ID, b.Appends[0].ID)))
}

func pastTakesNoNumber(h *harness) {
	before := h.commit(&broker.Batch{Appends: []broker.Append{toGroup("tom", "1", "team"), toPeers("tom", "1", "bob")}})
	h.commit(&broker.Batch{Appends: []broker.Append{
		inPast(inGroup("tom", "old", "team"), h.now()-1000, 1), inPast(direct("tom", "old", "bob"), h.now()-1000, 2),
	}})
	after := h.commit(&broker.Batch{Appends: []broker.Append{toGroup("tom", "2", "team"), toPeers("tom", "2", "bob")}})
	h.same("group", []broker.Entry{{N: 1, ID: before.Appends[0].ID}, {N: 2, ID: after.Appends[0].ID}}, h.all(logOf(broker.LogConversation, "team")))
	h.same("inbox", []broker.Entry{{N: 1, ID: before.Appends[1].ID}, {N: 2, ID: after.Appends[1].ID}}, h.all(logOf(broker.LogInbox, "bob")))
	h.same("app", 4, len(h.all(logOf(broker.LogApp, ""))))
	h.same("sent", 4, len(h.all(logOf(broker.LogSent, "tom"))))
	if after.Appends[0].ID.Compare(before.Appends[1].ID) <= 0 {
		h.Fatal("ids do not increase any more")
	}
}

func pastCanBeDeleted(h *harness) {
	b := &broker.Batch{}
	for i := range byte(5) {
		b.Appends = append(b.Appends, inPast(direct("tom", text("%d", i), "bob"), h.now()-1000, i))
	}
	h.commit(b)
	h.deleteMessages(b.Appends[0].ID, b.Appends[3].ID, b.Appends[3].ID)
	h.same("past", []broker.MessageID{b.Appends[1].ID, b.Appends[2].ID, b.Appends[4].ID}, idsOf(h.all(logOf(broker.LogPast, ""))))
	h.same("messages", []string{"gone", "1", "2", "gone", "4"}, payloads(h.messages(app, idsOf(entriesOf(b))...)))
	again := h.send(inPast(direct("tom", "once more", "bob"), b.Appends[0].ID.Time(), 0))
	if again.Duplicate {
		h.Fatal("what was deleted is there")
	}
	for _, log := range []broker.LogID{logOf(broker.LogPastSent, "tom"), logOf(broker.LogPast, "")} {
		h.commit(&broker.Batch{Deletes: []broker.Delete{{App: app, Log: log}}})
		h.same(text("log %v", log), []broker.Entry{}, h.all(log))
	}
	h.same("after its log was emptied", []string{"gone"}, payloads(h.messages(app, again.ID)))
	h.restart()
	h.same("received", 5, len(h.all(logOf(broker.LogPastReceived, "bob"))))
}

func entriesOf(b *broker.Batch) []broker.Entry {
	entries := make([]broker.Entry, len(b.Appends))
	for i := range b.Appends {
		entries[i].ID = b.Appends[i].ID
	}
	return entries
}

func pastIsChecked(h *harness) {
	change := inPast(inGroup("tom", "joined", "team"), h.now()-1000, 1)
	change.Message.Kind = broker.KindMembership
	for what, a := range map[string]broker.Append{
		"an event":     {App: app, Event: []byte("e"), EventPeer: "bob", Past: true},
		"no id":        {App: app, Message: direct("tom", "x", "bob"), Past: true},
		"a membership": change,
	} {
		if err := h.await(h.begin(&broker.Batch{Appends: []broker.Append{a}})); !errors.Is(err, broker.ErrPast) {
			h.Errorf("%s: %v", what, err)
		}
	}
}
