package pebblestore_test

import (
	"testing"
	"time"

	"kith/broker"
	"kith/broker/pebblestore"
)

// TestDoneMayCommitMoreThanThereIsRoomFor: a Done function waits for room in a queue that gathers while its own group is in flight.
func TestDoneMayCommitMoreThanThereIsRoomFor(t *testing.T) {
	s := open(t, pebblestore.Config{Path: t.TempDir(), Sync: true}, pebblestore.Options{})
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	batch := func(writes int, done func()) *broker.Batch {
		b := &broker.Batch{Done: func(_ *broker.Batch, err error) {
			if err != nil {
				t.Error(err)
			}
			done()
		}}
		for range writes {
			b.Writes = append(b.Writes, broker.Write{Key: broker.Key{Space: broker.SpacePeer, App: "demo", Owner: "alice"}, Value: []byte("x")})
		}
		return b
	}
	finished := make(chan struct{})
	s.Commit(batch(1, func() {
		s.Commit(batch(10, func() {}))
		s.Commit(batch(1020, func() { close(finished) }))
	}))
	select {
	case <-finished:
	case <-time.After(30 * time.Second):
		t.Fatal("the store stands still")
	}
}
