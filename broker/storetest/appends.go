package storetest

import (
	"slices"

	"kith/broker"
)

func idsIncrease(h *harness) {
	var last broker.MessageID
	for i := range 20 {
		b := &broker.Batch{}
		for j := range 1 + i%7 {
			b.Appends = append(b.Appends, toPeers("tom", text("%d.%d", i, j), "bob"), event("bob", "e", 0))
		}
		h.commit(b)
		for j := range b.Appends {
			a := &b.Appends[j]
			if a.ID.Compare(last) <= 0 {
				h.Fatalf("append %d of batch %d has id %s, after %s", j, i, a.ID, last)
			}
			if a.Message != nil && a.Message.ID != a.ID {
				h.Fatalf("the message has id %s, the append %s", a.Message.ID, a.ID)
			}
			last = a.ID
		}
	}
}

func appendIsInAllLogs(h *harness) {
	a := h.send(broker.Append{App: app, Message: direct("tom", "hi", "bob", "eve"), Inboxes: []broker.PeerID{"bob", "eve", "tom"}})
	g := h.send(toGroup("tom", "all", "team"))
	both := []broker.Entry{{ID: a.ID}, {ID: g.ID}}
	h.same("app log", both, h.all(logOf(broker.LogApp, "")))
	h.same("sent log", both, h.all(logOf(broker.LogSent, "tom")))
	h.same("direct conversation", []broker.MessageID{a.ID}, idsOf(h.all(logOf(broker.LogConversation, a.Message.Conversation))))
	h.same("group conversation", []broker.Entry{{N: 1, ID: g.ID}}, h.all(logOf(broker.LogConversation, "team")))
	for _, peer := range []string{"bob", "eve", "tom"} {
		h.same("inbox of "+peer, []broker.Entry{{N: 1, ID: a.ID}}, h.all(logOf(broker.LogInbox, peer)))
	}
	h.same("numbers in inboxes", []uint64{1, 1, 1}, a.InboxN)
	h.same("number in the group", uint64(1), g.N)
	h.same("sent log of a receiver", []broker.Entry(nil), h.all(logOf(broker.LogSent, "bob")))
}

func numbersAreDense(h *harness) {
	want := map[broker.LogID][]broker.Entry{}
	counts := map[broker.LogID]uint64{}
	next := func(log broker.LogID, id broker.MessageID, got uint64, value []byte) {
		h.Helper()
		counts[log]++
		if got != counts[log] {
			h.Fatalf("log %v gave number %d, not %d", log, got, counts[log])
		}
		want[log] = append(want[log], broker.Entry{N: got, ID: id, Value: value})
	}
	peers := []broker.PeerID{"a", "ab", "b", "日本", "a\x7f"}
	for i := range 40 {
		b := &broker.Batch{}
		for j := range 1 + i%13 {
			to := peers[(i+j)%len(peers)]
			b.Appends = append(b.Appends,
				toPeers("tom", "x", to, peers[(i+j+1)%len(peers)]),
				toGroup(to, "y", broker.GroupID(text("g%d", j%3))),
				event(to, text("e%d.%d", i, j), 0))
		}
		h.commit(b)
		for j := range b.Appends {
			a := &b.Appends[j]
			switch {
			case a.Message == nil:
				next(logOf(broker.LogEvents, a.EventPeer), a.ID, a.N, a.Event)
			case a.Message.Group != "":
				next(logOf(broker.LogConversation, a.Message.Group), a.ID, a.N, nil)
			default:
				for k, peer := range a.Inboxes {
					next(logOf(broker.LogInbox, peer), a.ID, a.InboxN[k], nil)
				}
			}
		}
	}
	for log, entries := range want {
		h.same(text("log %v", log), entries, h.all(log))
	}
}

func appsAreApart(h *harness) {
	other := toPeers("tom", "theirs", "bob")
	other.App, other.Message.App = "dem", "dem"
	mine := toPeers("tom", "mine", "bob")
	b := h.commit(&broker.Batch{Appends: []broker.Append{other, mine, other}})
	if got := b.Appends[1].InboxN[0]; got != 1 {
		h.Errorf("first number of the inbox is %d", got)
	}
	id := b.Appends[1].ID
	for _, log := range []broker.LogID{logOf(broker.LogApp, ""), logOf(broker.LogSent, "tom"), logOf(broker.LogInbox, "bob")} {
		h.same(text("log %v", log), []broker.MessageID{id}, idsOf(h.all(log)))
	}
	h.same("message seen from the other app", []string{"gone"}, payloads(h.messages("dem", id)))
	h.same("message", []string{"mine"}, payloads(h.messages(app, id)))
	h.put(broker.Write{Key: record(broker.SpaceBan, "bob", ""), Value: []byte("x")})
	h.same("record of the other app", [][]byte{nil}, h.get(broker.Key{Space: broker.SpaceBan, App: "dem", Owner: "bob"}))
	h.same("records of the other app", []broker.Record(nil), h.list(broker.ListQuery{Space: broker.SpaceBan, App: "dem", Limit: 9}))
}

func membershipIsNotSent(h *harness) {
	first := h.send(toGroup("tom", "before", "team"))
	m := inGroup("tom", `{"event":"members_joined"}`, "team")
	m.Kind = broker.KindMembership
	change := h.send(broker.Append{App: app, Message: m})
	b := h.commit(&broker.Batch{Appends: []broker.Append{toGroup("tom", "1", "team"), {App: app, Message: inGroup("tom", "2", "team")}}})
	h.same("group", []broker.Entry{
		{N: 1, ID: first.ID}, {N: 1, ID: change.ID, Kind: broker.KindMembership}, {N: 2, ID: b.Appends[0].ID}, {N: 3, ID: b.Appends[1].ID},
	}, h.all(logOf(broker.LogConversation, "team")))
	h.same("sent", []broker.MessageID{first.ID, b.Appends[0].ID, b.Appends[1].ID}, idsOf(h.all(logOf(broker.LogSent, "tom"))))
	h.same("app", []broker.Entry{{ID: first.ID}, {ID: change.ID, Kind: broker.KindMembership}, {ID: b.Appends[0].ID}, {ID: b.Appends[1].ID}},
		h.all(logOf(broker.LogApp, "")))
	h.same("kind", broker.KindMembership, h.messages(app, change.ID)[0].Kind)
}

func membershipTakesNoNumber(h *harness) {
	change := func() broker.Append {
		a := toGroup("tom", "change", "team")
		a.Message.Kind = broker.KindMembership
		return a
	}
	log := logOf(broker.LogConversation, "team")
	var want []broker.Entry
	n := uint64(0)
	// Changes before the first message, alone, between messages, behind a restart, and in stretches of every kind.
	for i, kinds := range []string{"c", "c", "cm", "m", "mcm", "ccc", "c", "mmcc", "c", "m"} {
		b := &broker.Batch{}
		for _, kind := range kinds {
			if kind == 'c' {
				b.Appends = append(b.Appends, change())
			} else {
				b.Appends = append(b.Appends, toGroup("tom", "m", "team"))
			}
		}
		h.commit(b)
		for j := range b.Appends {
			a := &b.Appends[j]
			if a.Message.Kind != broker.KindMembership {
				n++
			}
			if a.N != n {
				h.Fatalf("append %d of batch %d has number %d, not %d", j, i, a.N, n)
			}
			want = append(want, broker.Entry{N: n, ID: a.ID, Kind: a.Message.Kind})
		}
		h.same("group", want, h.all(log))
		h.same("last", want[len(want)-1], h.last(log)[0])
		if i%3 == 1 {
			h.restart()
		}
	}
}

func requiredRecordDecides(h *harness) {
	member := record(broker.SpaceMember, "team", "tom")
	requiring := func(payload string) broker.Append {
		a := withOnce(toGroup("tom", payload, "team"), payload, 0)
		a.Require = member
		return a
	}
	if a := h.send(requiring("1")); !a.Refused || a.Duplicate || !a.ID.IsZero() || a.N != 0 {
		h.Fatalf("without the record: %+v", a)
	}
	for _, log := range []broker.LogID{logOf(broker.LogConversation, "team"), logOf(broker.LogSent, "tom"), logOf(broker.LogApp, "")} {
		h.same(text("log %v", log), []broker.Entry{}, h.all(log))
	}
	h.same("once key of a refused append", [][]byte{nil}, h.get(onceKey("1")))
	h.put(broker.Write{Key: member, Value: []byte{}})
	if a := h.send(requiring("1")); a.Refused || a.N != 1 {
		h.Fatalf("with the record: %+v", a)
	}
	// A batch appends before it writes; the next one sees the record gone.
	b := &broker.Batch{Appends: []broker.Append{requiring("2")}, Writes: []broker.Write{{Key: member}}}
	first, second := h.begin(b), &broker.Batch{Appends: []broker.Append{requiring("3")}}
	then := h.begin(second)
	for _, done := range []<-chan error{first, then} {
		if err := h.await(done); err != nil {
			h.Fatal(err)
		}
	}
	if a, c := b.Appends[0], second.Appends[0]; a.Refused || a.N != 2 || !c.Refused {
		h.Fatalf("around the removal: %+v, %+v", a, c)
	}
	if a := h.send(requiring("2")); !a.Duplicate || a.ID != b.Appends[0].ID {
		h.Fatalf("a duplicate whose sender left since: %+v", a)
	}
}

func messagesComeBack(h *harness) {
	full := direct("tom", "\x00\xff binary", "bob", "eve")
	full.Receipt, full.QoS, full.FromIP, full.Device = true, 2, "2001:db8::1", "phone"
	full.Props = broker.Properties{
		ContentType: "text/plain", ResponseTopic: "demo/event/tom/x", CorrelationData: []byte{0, 1}, Expires: 1 << 41,
		TextFormat: true, User: []broker.UserProperty{{Name: "k", Value: "v"}, {Name: "k", Value: ""}},
	}
	large := inGroup("日本", string(make([]byte, 200_000)), "team")
	b := h.commit(&broker.Batch{Appends: []broker.Append{
		{App: app, Message: full, Inboxes: []broker.PeerID{"bob"}}, {App: app, Message: large}, toPeers("a", "", "b"),
	}})
	got := h.messages(app, b.Appends[0].ID, b.Appends[1].ID, b.Appends[2].ID)
	h.same("messages", []*broker.Message{full, large, b.Appends[2].Message}, got)
}

func messagesInOrderAsked(h *harness) {
	var ids []broker.MessageID
	var want []string
	for i := range 12 {
		b := &broker.Batch{}
		for j := range 40 {
			b.Appends = append(b.Appends, toPeers("tom", text("%d.%d", i, j), "bob"))
		}
		h.commit(b)
		for j := range b.Appends {
			ids, want = append(ids, b.Appends[j].ID), append(want, text("%d.%d", i, j))
		}
	}
	h.same("ascending", want, payloads(h.messages(app, ids...)))
	slices.Reverse(ids)
	slices.Reverse(want)
	h.same("descending", want, payloads(h.messages(app, ids...)))
	mixed := []broker.MessageID{ids[7], ids[400], ids[7], {}, broker.FirstIDAt(ids[0].Time() + 1000), ids[0], ids[479]}
	h.same("mixed", []string{want[7], want[400], want[7], "gone", "gone", want[0], want[479]}, payloads(h.messages(app, mixed...)))
	absent := ids[3]
	absent[11] ^= 1
	h.same("absent", []string{"gone", want[3]}, payloads(h.messages(app, absent, ids[3])))
	h.same("none", []string{}, payloads(h.messages(app)))
}
