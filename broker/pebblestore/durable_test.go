package pebblestore_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"kith/broker"
	"kith/broker/pebblestore"
)

func TestReadsShowOnlyWhatIsDurable(t *testing.T) {
	var hold atomic.Bool
	reached, release := make(chan struct{}, 8), make(chan struct{})
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
		if sync && hold.Load() && strings.HasSuffix(op.Path, ".log") {
			reached <- struct{}{}
			<-release
		}
		return nil
	}))
	s := open(t, pebblestore.Config{Path: "data", Sync: true}, pebblestore.Options{FS: fs})
	defer s.Close()
	first := &broker.Batch{Appends: []broker.Append{message("tom", "bob", "1")}}
	if err := commit(t, s, first); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	inbox := broker.LogID{Kind: broker.LogInbox, App: "demo", Owner: "bob"}
	check := func(want broker.MessageID, count int) {
		t.Helper()
		last, err := s.Last(ctx, []broker.LogID{inbox})
		if err != nil || last[0].ID != want {
			t.Errorf("last entry %v, want %s: %v", last, want, err)
		}
		for _, reverse := range []bool{false, true} {
			if entries, err := s.Read(ctx, inbox, broker.Range{Limit: 9, Reverse: reverse}); err != nil || len(entries) != count {
				t.Errorf("%d entries, want %d: %v", len(entries), count, err)
			}
		}
	}

	hold.Store(true)
	done := make(chan error, 1)
	second := &broker.Batch{Appends: []broker.Append{message("tom", "bob", "2")}, Done: func(_ *broker.Batch, err error) { done <- err }}
	s.Commit(second)
	within(t, reached)
	check(first.Appends[0].ID, 1)
	select {
	case <-done:
		t.Error("Done came before the disk had the batch")
	default:
	}
	hold.Store(false)
	close(release)
	if err := within(t, done); err != nil {
		t.Fatal(err)
	}
	check(second.Appends[0].ID, 2)
}
