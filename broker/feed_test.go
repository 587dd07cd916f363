package broker

import "testing"

func TestAReaderTooSlowForPresenceIsToldHowMuchItMissed(t *testing.T) {
	var f feed
	f.note(PresenceChange{Peer: "nobody reads yet"})
	at := f.enter()
	const missed = 100
	for i := range int64(maxPresenceKept + missed) {
		f.note(PresenceChange{Peer: "bob", TS: i})
	}
	var told []PresenceChange
	at, lost := f.changes(at, maxPresenceKept, func(c PresenceChange) { told = append(told, c) })
	if lost != missed || len(told) != maxPresenceKept || told[0].TS != missed || told[len(told)-1].TS != maxPresenceKept+missed-1 {
		t.Errorf("lost %d, told %d from %+v", lost, len(told), told[0])
	}
	if _, lost := f.changes(at, 1, func(c PresenceChange) { t.Errorf("%+v comes twice", c) }); lost != 0 {
		t.Errorf("lost %d more", lost)
	}
	f.leave()
	if f.presence != nil {
		t.Error("changes are kept for nobody")
	}
}

func TestAWakeReachesWhoAskedBefore(t *testing.T) {
	var f feed
	f.wake()
	first, second := f.wait(), f.wait()
	f.wake()
	<-first
	<-second
	select {
	case <-f.wait():
		t.Error("an old wake reaches who asks now")
	default:
	}
}
