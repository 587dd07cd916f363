package storetest

import (
	"slices"
	"strings"

	"kith/broker"
)

// trimLogs are the logs of what trimmedLogKeepsNewer stores.
var trimLogs = []broker.LogID{
	logOf(broker.LogApp, ""), logOf(broker.LogConversation, "team"), logOf(broker.LogSent, "tom"), logOf(broker.LogInbox, "bob"),
	logOf(broker.LogConversation, broker.DirectConversation("tom", "bob")),
	logOf(broker.LogPast, ""), logOf(broker.LogPastConversation, "team"), logOf(broker.LogPastSent, "tom"), logOf(broker.LogPastReceived, "bob"),
}

func (h *harness) trim(before broker.MessageID, logs ...broker.LogID) {
	h.Helper()
	b := &broker.Batch{}
	for _, log := range logs {
		b.Deletes = append(b.Deletes, broker.Delete{App: app, Log: log, Before: before})
	}
	h.commit(b)
}

func trimmedLogKeepsNewer(h *harness) {
	const rounds = 120
	now := h.now()
	var middle broker.MessageID
	for i := range rounds {
		b := h.commit(&broker.Batch{Appends: []broker.Append{
			toGroup("tom", strings.Repeat("g", 500), "team"), toPeers("tom", strings.Repeat("d", 500), "bob"),
			inPast(inGroup("tom", "past", "team"), now-int64(rounds-i)*1000, 1), inPast(direct("tom", "past", "bob"), now-int64(rounds-i)*1000, 2),
		}})
		if i == rounds/2 {
			middle = b.Appends[0].ID
		}
	}
	pastMiddle := broker.FirstIDAt(now - rounds/2*1000)
	ends := h.last(trimLogs...)
	held := map[broker.LogID][]broker.Entry{}
	for _, log := range trimLogs {
		held[log] = h.all(log)
	}
	check := func(log broker.LogID, at broker.MessageID) {
		h.Helper()
		left := h.all(log)
		newer := slices.DeleteFunc(slices.Clone(held[log]), func(e broker.Entry) bool { return e.ID.Compare(at) < 0 })
		if len(left) < len(newer) {
			h.Fatalf("log %v: %d entries left of %d that are newer", log, len(left), len(newer))
		}
		h.same(text("log %v", log), newer, left[len(left)-len(newer):])
		if len(left) == len(held[log]) {
			h.Errorf("log %v: nothing is gone", log)
		}
	}
	for _, log := range trimLogs {
		at := middle
		if log.Kind.IsPast() {
			at = pastMiddle
		}
		h.trim(at, log)
		check(log, at)
	}
	oldest := []broker.MessageID{held[trimLogs[0]][0].ID, held[logOf(broker.LogPast, "")][0].ID}
	h.same("the oldest messages", []string{"gone", "gone"}, payloads(h.messages(app, oldest...)))
	h.restart()
	h.same("ends", ends, h.last(trimLogs...))

	// Numbers go on where all is gone.
	h.trim(broker.FirstIDAt(h.now()+60_000), trimLogs...)
	b := h.commit(&broker.Batch{Appends: []broker.Append{toGroup("tom", "next", "team"), toPeers("tom", "next", "bob")}})
	h.same("number in the group", uint64(rounds+1), b.Appends[0].N)
	h.same("number in the inbox", []uint64{rounds + 1}, b.Appends[1].InboxN)
	h.same("messages", []string{"next", "next"}, payloads(h.messages(app, b.Appends[0].ID, b.Appends[1].ID)))
	h.same("past", []broker.Entry{}, h.all(logOf(broker.LogPast, "")))
	if err := h.await(h.begin(&broker.Batch{Deletes: []broker.Delete{{App: app, Log: logOf(broker.LogEvents, "bob"), Before: middle}}})); err == nil {
		h.Error("a log of events was trimmed")
	}
}

func sizeFollows(h *harness) {
	size := func() int64 {
		h.Helper()
		sizer, ok := h.store.(broker.Sizer)
		if !ok {
			h.Skip("the store does not know its size")
		}
		n, err := sizer.HistoryBytes(h.ctx, app)
		if err != nil {
			h.Fatal(err)
		}
		return n
	}
	h.same("of nothing", int64(0), size())
	const count, each = 100, 4000
	var ids []broker.MessageID
	for i := range count {
		b := h.commit(&broker.Batch{Appends: []broker.Append{
			toPeers("tom", strings.Repeat("x", each), "bob"), inPast(direct("tom", strings.Repeat("x", each), "bob"), 1000+int64(i), 1),
		}})
		ids = append(ids, b.Appends[0].ID, b.Appends[1].ID)
	}
	full := size()
	if full < 2*count*each || full > 4*count*each {
		h.Fatalf("%d bytes for %d messages of %d", full, 2*count, each)
	}
	h.restart()
	h.same("after a restart", full, size())
	h.deleteMessages(ids[0], ids[1])
	if n := size(); n > full-each {
		h.Errorf("%d bytes of %d after two messages were deleted", n, full)
	}
	h.trim(ids[count], logOf(broker.LogApp, ""))
	if n := size(); n > full*4/5 {
		h.Errorf("%d bytes of %d after a quarter was trimmed", n, full)
	}
	h.trim(broker.FirstIDAt(h.now()+60_000), logOf(broker.LogApp, ""), logOf(broker.LogPast, ""))
	if n := size(); n > 3*each {
		h.Errorf("%d bytes after all was trimmed", n)
	}
}
