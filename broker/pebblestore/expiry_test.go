package pebblestore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kith/broker"
	"kith/broker/pebblestore"
)

func TestSweepRemovesWhatHasExpired(t *testing.T) {
	fs, c := vfs.NewMem(), newClock()
	s := open(t, pebblestore.Config{Path: "data", Sync: true}, pebblestore.Options{FS: fs, Now: c.now})
	defer func() { s.Close() }()
	key := func(i int) broker.Key {
		return broker.Key{Space: broker.SpaceOnce, App: "demo", Owner: "team", Name: fmt.Sprintf("tom\x00%04d", i)}
	}
	put := func(i int, after time.Duration) broker.Write {
		w := broker.Write{Key: key(i), Value: []byte("x")}
		if after != 0 {
			w.Expires = c.now().Add(after).UnixMilli()
		}
		return w
	}
	sweep := func(want int) {
		t.Helper()
		if got, err := s.Sweep(context.Background()); err != nil || got != want {
			t.Fatalf("sweep removed %d, want %d: %v", got, want, err)
		}
	}
	write := func(writes ...broker.Write) {
		t.Helper()
		if err := commit(t, s, &broker.Batch{Writes: writes}); err != nil {
			t.Fatal(err)
		}
	}
	var many []broker.Write
	for i := range 1000 {
		many = append(many, put(i, time.Duration(i+1)*time.Second))
	}
	write(many...)
	sweep(0)
	write(put(0, 0), put(1, 24*time.Hour), put(2, 3*time.Second), broker.Write{Key: key(3)})
	c.advance(1000*time.Second + 2*time.Minute)
	sweep(997)
	sweep(0)
	values, err := s.Get(context.Background(), []broker.Key{key(0), key(1), key(2), key(3), key(999)})
	if err != nil || values[0] == nil || values[1] == nil || values[2] != nil || values[3] != nil || values[4] != nil {
		t.Fatalf("records: %q, %v", values, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, pebblestore.Config{Path: "data", Sync: true}, pebblestore.Options{FS: fs, Now: c.now})
	c.advance(25 * time.Hour)
	sweep(1)
}

func TestEventsAreTrimmed(t *testing.T) {
	const keep = 40
	s := open(t, pebblestore.Config{Path: "data", Sync: true}, pebblestore.Options{FS: vfs.NewMem()})
	defer s.Close()
	log := broker.LogID{Kind: broker.LogEvents, App: "demo", Owner: "bob"}
	for range 100 {
		b := &broker.Batch{}
		for range 7 {
			b.Appends = append(b.Appends, broker.Append{App: "demo", Event: []byte("e"), EventPeer: "bob", Keep: keep})
		}
		if err := commit(t, s, b); err != nil {
			t.Fatal(err)
		}
		entries, err := s.Read(context.Background(), log, broker.Range{Limit: 1000})
		if err != nil || len(entries) > keep+keep/8+16 {
			t.Fatalf("%d events are left: %v", len(entries), err)
		}
	}
}

func TestMetricsCount(t *testing.T) {
	s := open(t, pebblestore.Config{Path: "data", Sync: true}, pebblestore.Options{FS: vfs.NewMem()})
	defer s.Close()
	for range 3 {
		if err := commit(t, s, &broker.Batch{Appends: []broker.Append{message("tom", "bob", "0123456789"), message("tom", "bob", "x")}}); err != nil {
			t.Fatal(err)
		}
	}
	if m := s.Metrics(); m.Commits != 3 || m.Appends != 6 || m.Groups == 0 || m.Bytes < 33 || m.SyncLast <= 0 || m.DiskBytes == 0 {
		t.Errorf("metrics: %+v", m)
	}
}
