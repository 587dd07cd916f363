package broker_test

import (
	"testing"
	"time"

	"kith/broker"
)

func TestTheAuditLogForgetsWhatIsOlderThanItsAge(t *testing.T) {
	w := newWorld(t)
	if err := w.b.Audit(t.Context(), broker.AuditEntry{App: "demo", Who: "ops", Action: "ban-peer"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	read := func() int {
		entries, _, err := w.b.AuditLog(t.Context(), broker.AuditQuery{Apps: []broker.AppID{"demo"}, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if n := read(); n != 1 {
		t.Errorf("%d entries", n)
	}
	w.pass(time.Hour + time.Second)
	if n := read(); n != 0 {
		t.Errorf("%d entries after their age", n)
	}
}

// A page looks at so many entries and no more; where it ends early it says where to go on.
func TestARareEntryIsFoundByPaging(t *testing.T) {
	w := newWorld(t)
	audit := func(action string) {
		if err := w.b.Audit(t.Context(), broker.AuditEntry{App: "demo", Who: "ops", Action: action}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	audit("rare")
	for range 5100 {
		audit("common")
	}
	q := broker.AuditQuery{Apps: []broker.AppID{"demo"}, Action: "rare", Limit: 10}
	pages := 0
	for {
		found, next, err := w.b.AuditLog(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		if len(found) == 1 {
			break
		}
		if next.IsZero() {
			t.Fatal("not found")
		}
		q.After = next
	}
	if pages < 2 {
		t.Errorf("found on page %d", pages)
	}
}
