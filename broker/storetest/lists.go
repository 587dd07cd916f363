package storetest

import (
	"slices"
	"strings"

	"kith/broker"
)

// pages reads a list in pages of the limit.
func (h *harness) pages(q broker.ListQuery) []broker.Key {
	h.Helper()
	var keys []broker.Key
	for {
		page := h.list(q)
		if len(page) > q.Limit {
			h.Fatalf("a page of %d holds %d", q.Limit, len(page))
		}
		for _, r := range page {
			keys = append(keys, r.Key)
		}
		if len(page) < q.Limit {
			return keys
		}
		q.After = page[len(page)-1].Key
	}
}

var listed = []broker.Key{
	record(broker.SpaceMember, "a", "x"), record(broker.SpaceMember, "a", "xy"), record(broker.SpaceMember, "a", "y"),
	record(broker.SpaceMember, "a.b", "x"), record(broker.SpaceMember, "ab", ""), record(broker.SpaceMember, "ab", "a\x00b"),
	record(broker.SpaceMember, "ab", "日本"), record(broker.SpaceMember, "b", "x"), record(broker.SpaceMember, "日", "x"),
}

func (h *harness) fillLists() {
	h.Helper()
	b := &broker.Batch{}
	for i := range listed {
		k := listed[(i*5)%len(listed)]
		b.Writes = append(b.Writes, broker.Write{Key: k, Value: []byte(k.Owner + "/" + k.Name)})
	}
	for _, k := range []broker.Key{
		{Space: broker.SpaceMember, App: "dem", Owner: "a", Name: "x"}, {Space: broker.SpaceMember, App: "demo2", Owner: "a", Name: "x"},
		{Space: broker.SpaceMembership, App: app, Owner: "a", Name: "x"}, {Space: broker.SpaceGroup, App: app, Owner: "a", Name: "x"},
	} {
		b.Writes = append(b.Writes, broker.Write{Key: k, Value: []byte("other")})
	}
	h.commit(b)
}

func listsPage(h *harness) {
	h.fillLists()
	for _, owner := range []string{"a", "a.b", "ab", "b", "日", "none"} {
		for _, prefix := range []string{"", "x", "xy", "日", "z"} {
			var want []broker.Key
			for _, k := range listed {
				if k.Owner == owner && strings.HasPrefix(k.Name, prefix) {
					want = append(want, k)
				}
			}
			for limit := 1; limit <= 4; limit++ {
				q := broker.ListQuery{Space: broker.SpaceMember, App: app, Owner: owner, Prefix: prefix, Limit: limit}
				h.same(text("%+v", q), want, h.pages(q))
			}
		}
	}
	got := h.list(broker.ListQuery{Space: broker.SpaceMember, App: app, Owner: "a", Limit: 2})
	h.same("values", []broker.Record{{Key: listed[0], Value: []byte("a/x")}, {Key: listed[1], Value: []byte("a/xy")}}, got)
	h.same("limit 0", []broker.Record{}, h.list(broker.ListQuery{Space: broker.SpaceMember, App: app, Owner: "a"}))
}

func listsPageOverOwners(h *harness) {
	h.fillLists()
	for _, prefix := range []string{"", "a", "ab", "日", "c"} {
		var want []broker.Key
		for _, k := range listed {
			if strings.HasPrefix(k.Owner, prefix) {
				want = append(want, k)
			}
		}
		for limit := 1; limit <= 10; limit += 3 {
			q := broker.ListQuery{Space: broker.SpaceMember, App: app, Prefix: prefix, Limit: limit}
			h.same(text("%+v", q), want, h.pages(q))
		}
	}
	// A page that ended at a record which is gone by now goes on behind its place.
	h.put(broker.Write{Key: listed[3]})
	want := slices.Clone(listed[4:6])
	var got []broker.Key
	for _, r := range h.list(broker.ListQuery{Space: broker.SpaceMember, App: app, After: listed[3], Limit: 2}) {
		got = append(got, r.Key)
	}
	h.same("behind a removed record", want, got)
}
