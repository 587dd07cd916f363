package storetest

import (
	"encoding/binary"
	"math"
	"sync"

	"kith/broker"
)

func writesSetAndRemove(h *harness) {
	a, b, c := record(broker.SpaceDevice, "bob", "phone"), record(broker.SpaceDevice, "bob", "tablet"), record(broker.SpaceDevice, "bo", "bphone")
	h.same("absent", [][]byte{nil, nil, nil}, h.get(a, b, c))
	h.put(broker.Write{Key: a, Value: []byte("1")}, broker.Write{Key: b, Value: []byte{}}, broker.Write{Key: a, Value: []byte("2")})
	h.same("set", [][]byte{[]byte("2"), {}, nil}, h.get(a, b, c))
	h.put(broker.Write{Key: a}, broker.Write{Key: b}, broker.Write{Key: b, Value: []byte("3")}, broker.Write{Key: c})
	h.same("removed", [][]byte{nil, []byte("3"), nil, []byte("3")}, h.get(a, b, c, b))
	h.same("another space", [][]byte{nil}, h.get(broker.Key{Space: broker.SpaceCursor, App: app, Owner: "bob", Name: "tablet"}))
	h.same("no keys", [][]byte{}, h.get())
	h.restart()
	h.same("after a restart", [][]byte{nil, []byte("3")}, h.get(a, b))
}

func conditionsHold(h *harness) {
	k := record(broker.SpaceGroup, "team", "")
	v := func(s string) []byte { return []byte(s) }
	type outcome struct {
		Conflict bool
		Current  []byte
	}
	for i, step := range []struct {
		write broker.Write
		want  outcome
		value []byte
	}{
		{broker.Write{Value: v("1"), If: broker.IfEqual, Have: v("0")}, outcome{true, nil}, nil},
		{broker.Write{Value: v("1"), If: broker.IfAbsent}, outcome{}, v("1")},
		{broker.Write{Value: v("2"), If: broker.IfAbsent}, outcome{true, v("1")}, v("1")},
		{broker.Write{Value: v("2"), If: broker.IfEqual, Have: v("0")}, outcome{true, v("1")}, v("1")},
		{broker.Write{Value: v("2"), If: broker.IfEqual, Have: v("1")}, outcome{}, v("2")},
		{broker.Write{Value: nil, If: broker.IfEqual, Have: v("1")}, outcome{true, v("2")}, v("2")},
		{broker.Write{Value: nil, If: broker.IfEqual, Have: v("2")}, outcome{}, nil},
		{broker.Write{Value: v("3"), If: broker.IfEqual, Have: v("2")}, outcome{true, nil}, nil},
		{broker.Write{Value: v("3")}, outcome{}, v("3")},
	} {
		step.write.Key = k
		w := h.put(step.write)[0]
		h.same(text("outcome of step %d", i), step.want, outcome{w.Conflict, w.Current})
		h.same(text("value after step %d", i), [][]byte{step.value}, h.get(k))
	}
	// Each write of a batch sees those before it; one that conflicts does not undo the others.
	o := record(broker.SpaceGroup, "other", "")
	writes := h.put(
		broker.Write{Key: o, Value: v("a"), If: broker.IfAbsent}, broker.Write{Key: o, Value: v("b"), If: broker.IfAbsent},
		broker.Write{Key: o, Value: v("c"), If: broker.IfEqual, Have: v("a")}, broker.Write{Key: k, Value: v("z")})
	var conflicts []bool
	for _, w := range writes {
		conflicts = append(conflicts, w.Conflict)
	}
	h.same("conflicts", []bool{false, true, false, false}, conflicts)
	h.same("values", [][]byte{v("c"), v("z")}, h.get(o, k))
}

func guardsHold(h *harness) {
	guard, k := record(broker.SpaceDevice, "bob", "lease"), record(broker.SpaceDevice, "bob", "phone")
	guarded := func(value, has string) broker.Write {
		return broker.Write{Key: k, Value: []byte(value), Guard: guard, GuardHas: []byte(has)}
	}
	if w := h.put(guarded("1", "a"))[0]; !w.Conflict {
		h.Fatalf("written without its guard: %+v", w)
	}
	h.put(broker.Write{Key: guard, Value: []byte("phone=a#1 tablet=b#2")})
	if w := h.put(guarded("2", "phone=a#1"))[0]; w.Conflict {
		h.Fatalf("the guard stands: %+v", w)
	}
	if w := h.put(guarded("3", "phone=a#2"))[0]; !w.Conflict {
		h.Fatalf("written after the guard went: %+v", w)
	}
	expiring := guarded("4", "tablet=b")
	expiring.Expires = h.now() + 100*3_600_000
	if w := h.put(expiring)[0]; w.Conflict {
		h.Fatalf("the guard holds it: %+v", w)
	}
	h.same("value", [][]byte{[]byte("4")}, h.get(k))
}

func placesAreWritten(h *harness) {
	k, l := record(broker.SpaceMember, "team", "bob"), record(broker.SpaceMember, "team", "eve")
	h.send(toGroup("tom", "1", "team"))
	b := h.commit(&broker.Batch{
		Appends: []broker.Append{toGroup("tom", "2", "team"), toGroup("tom", "3", "team")},
		Writes:  []broker.Write{{Key: k, Value: []byte("joined"), Place: 2}, {Key: l, Value: []byte{}, Place: 1, If: broker.IfAbsent}},
	})
	place := func(value string, a *broker.Append) []byte {
		return append(binary.BigEndian.AppendUint64([]byte(value), a.N), a.ID[:]...)
	}
	want := [][]byte{place("joined", &b.Appends[1]), place("", &b.Appends[0])}
	h.same("records", want, h.get(k, l))
	h.same("numbers", []uint64{2, 3}, []uint64{b.Appends[0].N, b.Appends[1].N})
	h.same("the caller's value", []byte("joined"), b.Writes[0].Value)
	h.restart()
	h.same("records after a restart", want, h.get(k, l))
	c := h.put(broker.Write{Key: k, Value: []byte("x"), If: broker.IfEqual, Have: want[0]})
	if c[0].Conflict {
		h.Fatalf("compared with its place: %+v", c[0])
	}
}

func conditionsUnderConcurrency(h *harness) {
	const callers, each = 6, 25
	k := record(broker.SpaceServer, "counter", "")
	count := func(b []byte) uint64 { return binary.BigEndian.Uint64(b) }
	h.put(broker.Write{Key: k, Value: binary.BigEndian.AppendUint64(nil, 0)})
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			have := binary.BigEndian.AppendUint64(nil, 0)
			for done := 0; done < each && !h.Failed(); {
				next := binary.BigEndian.AppendUint64(nil, count(have)+1)
				b := &broker.Batch{Writes: []broker.Write{{Key: k, Value: next, If: broker.IfEqual, Have: have}}}
				if err := <-h.begin(b); err != nil {
					h.Errorf("commit: %v", err)
					return
				}
				if b.Writes[0].Conflict {
					have = b.Writes[0].Current
					continue
				}
				have = next
				done++
			}
		})
	}
	h.awaitAll(&all)
	h.same("counter", uint64(callers*each), count(h.get(k)[0]))
}

func recordsExpire(h *harness) {
	short, long := record(broker.SpaceNonce, "n1", ""), record(broker.SpaceNonce, "n2", "")
	soon := h.soon()
	h.put(broker.Write{Key: short, Value: []byte("s"), Expires: soon}, broker.Write{Key: long, Value: []byte("l"), Expires: h.now() + 100*3_600_000})
	if h.f.Advance != nil {
		h.same("before", [][]byte{[]byte("s"), []byte("l")}, h.get(short, long))
	}
	h.passed(short)
	h.same("after", [][]byte{nil, []byte("l")}, h.get(short, long))
	h.same("list", []broker.Record{{Key: long, Value: []byte("l")}}, h.list(broker.ListQuery{Space: broker.SpaceNonce, App: app, Limit: 10}))
	w := h.put(broker.Write{Key: short, Value: []byte("x"), If: broker.IfEqual, Have: []byte("s")})[0]
	if !w.Conflict || w.Current != nil {
		h.Fatalf("an expired record was compared: %+v", w)
	}
	if w := h.put(broker.Write{Key: short, Value: []byte("x"), If: broker.IfAbsent})[0]; w.Conflict {
		h.Fatalf("an expired record stood in the way: %+v", w)
	}
	h.same("set again", [][]byte{[]byte("x")}, h.get(short))
	h.put(broker.Write{Key: short, Value: []byte("y"), Expires: h.now() - 1})
	h.same("set with an expiry that has passed", [][]byte{nil}, h.get(short))
	h.put(broker.Write{Key: long, Value: []byte("for ever"), Expires: math.MaxInt64})
	h.same("set with the last expiry there is", [][]byte{[]byte("for ever")}, h.get(long))
}

func rewrittenRecordLives(h *harness) {
	a, b := record(broker.SpaceNonce, "a", ""), record(broker.SpaceNonce, "b", "")
	h.put(broker.Write{Key: a, Value: []byte("1"), Expires: h.soon()}, broker.Write{Key: b, Value: []byte("1"), Expires: h.soon()})
	marker := record(broker.SpaceNonce, "marker", "")
	h.put(broker.Write{Key: a, Value: []byte("2")}, broker.Write{Key: b, Value: []byte("2"), Expires: h.now() + 100*3_600_000},
		broker.Write{Key: marker, Value: []byte("m"), Expires: h.soon()})
	h.passed(marker)
	h.restart()
	h.same("records", [][]byte{[]byte("2"), []byte("2"), nil}, h.get(a, b, marker))
}
