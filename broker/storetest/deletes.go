package storetest

import (
	"slices"

	"kith/broker"
)

func (h *harness) deleteMessages(ids ...broker.MessageID) {
	h.Helper()
	b := &broker.Batch{}
	for _, id := range ids {
		b.Deletes = append(b.Deletes, broker.Delete{App: app, Message: id})
	}
	h.commit(b)
}

func deletedMessageIsGone(h *harness) {
	b := &broker.Batch{}
	for i := range 60 {
		b.Appends = append(b.Appends, toGroup("tom", text("%d", i), "team"))
	}
	h.commit(b)
	single := h.send(toPeers("tom", "single", "bob"))
	gone := map[broker.MessageID]bool{}
	remove := func(ids ...broker.MessageID) {
		h.Helper()
		h.deleteMessages(ids...)
		for _, id := range ids {
			gone[id] = true
		}
		var ids2, left []broker.MessageID
		var want []string
		for i := range b.Appends {
			id := b.Appends[i].ID
			ids2 = append(ids2, id)
			if gone[id] {
				want = append(want, "gone")
				continue
			}
			left, want = append(left, id), append(want, text("%d", i))
		}
		if !gone[single.ID] {
			left = append(left, single.ID)
		}
		h.same("messages", want, payloads(h.messages(app, ids2...)))
		h.same("app log", left, idsOf(h.all(logOf(broker.LogApp, ""))))
		newest := h.last(logOf(broker.LogApp, ""))[0].ID
		if len(left) > 0 && newest != left[len(left)-1] {
			h.Fatalf("the last of the app's log is %s", newest)
		}
	}
	remove(b.Appends[0].ID) // the first of what was written together
	remove(b.Appends[30].ID, b.Appends[31].ID, b.Appends[31].ID, b.Appends[2].ID)
	remove(b.Appends[59].ID)
	remove(broker.FirstIDAt(1), b.Appends[59].ID) // not there
	remove(single.ID)                             // the newest of all, alone
	h.restart()
	remove(b.Appends[40].ID)
	var rest []broker.MessageID
	for i := range b.Appends {
		rest = append(rest, b.Appends[i].ID)
	}
	slices.Reverse(rest)
	remove(rest...)
	h.same("app log", []broker.Entry{}, h.all(logOf(broker.LogApp, "")))
	// Numbers go on, although the newest messages are gone.
	c := h.commit(&broker.Batch{Appends: []broker.Append{toGroup("tom", "next", "team"), toPeers("tom", "next", "bob")}})
	h.same("number in the group", uint64(61), c.Appends[0].N)
	h.same("number in the inbox", []uint64{2}, c.Appends[1].InboxN)
	h.restart()
	h.same("number after a restart", uint64(62), h.send(toGroup("tom", "next", "team")).N)
}

func emptiedLogGoesOn(h *harness) {
	conversation := broker.DirectConversation("tom", "bob")
	logs := []broker.LogID{
		logOf(broker.LogInbox, "bob"), logOf(broker.LogConversation, "team"), logOf(broker.LogEvents, "bob"),
		logOf(broker.LogSent, "tom"), logOf(broker.LogConversation, conversation),
	}
	near := []broker.LogID{logOf(broker.LogInbox, "bo"), logOf(broker.LogInbox, "bobb"), logOf(broker.LogEvents, "bobb")}
	three := func() []broker.Append {
		return []broker.Append{
			toPeers("tom", "1", "bob"), toGroup("tom", "2", "team"), event("bob", "3", 0),
			toPeers("x", "n", "bo"), toPeers("x", "n", "bobb"), event("bobb", "n", 0),
		}
	}
	n := uint64(0)
	for round := range 3 {
		rounds := []int{1, 200, 3}[round]
		for range rounds {
			b := &broker.Batch{Appends: three()}
			n++
			h.commit(b)
			h.same("numbers", []uint64{n, n, n}, []uint64{b.Appends[0].InboxN[0], b.Appends[1].N, b.Appends[2].N})
		}
		var wants [][]broker.Entry
		for _, log := range near {
			wants = append(wants, h.all(log))
		}
		b := &broker.Batch{}
		for _, log := range logs {
			b.Deletes = append(b.Deletes, broker.Delete{App: app, Log: log})
		}
		if round == 2 {
			b.Appends = three() // appended first, then emptied with the rest
			n++
		}
		h.commit(b)
		for _, log := range logs {
			h.same(text("log %v", log), []broker.Entry{}, h.all(log))
			h.same(text("log %v backwards", log), []broker.Entry{}, h.read(log, broker.Range{Limit: 5, Reverse: true}))
		}
		h.same("last", make([]broker.Entry, len(logs)), h.last(logs...))
		if round < 2 {
			for i, log := range near {
				h.same(text("log %v", log), wants[i], h.all(log))
			}
		}
		if round > 0 {
			h.restart()
		}
	}
	b := h.commit(&broker.Batch{Appends: three()})
	n++
	h.same("numbers", []uint64{n, n, n}, []uint64{b.Appends[0].InboxN[0], b.Appends[1].N, b.Appends[2].N})
	h.same("inbox", []broker.Entry{{N: n, ID: b.Appends[0].ID}}, h.all(logs[0]))
	h.same("events", []broker.Entry{{N: n, ID: b.Appends[2].ID, Value: []byte("3")}}, h.all(logs[2]))
	h.commit(&broker.Batch{Deletes: []broker.Delete{{App: app, Log: logOf(broker.LogApp, "")}}})
	h.same("emptied app log", []broker.Entry{}, h.all(logOf(broker.LogApp, "")))
	h.same("its messages", []string{"gone"}, payloads(h.messages(app, b.Appends[0].ID)))
}
