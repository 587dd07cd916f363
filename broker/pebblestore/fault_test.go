package pebblestore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"kith/broker"
	"kith/broker/pebblestore"
)

var errDisk = errors.New("the disk is gone")

// failing is a file system whose engine log fails in one way once on is set.
func failing(fs vfs.FS, on *atomic.Bool, kinds ...errorfs.OpKind) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !on.Load() || !strings.HasSuffix(op.Path, ".log") {
			return nil
		}
		if slices.Contains(kinds, op.Kind) {
			return errDisk
		}
		return nil
	}))
}

func message(from, to broker.PeerID, payload string) broker.Append {
	return broker.Append{App: "demo", Inboxes: []broker.PeerID{to}, Message: &broker.Message{
		App: "demo", From: from, Device: "default", To: []broker.PeerID{to}, Payload: []byte(payload), QoS: 1,
		Conversation: broker.DirectConversation(from, to),
	}}
}

func within[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("it did not come")
	}
	return v
}

func commit(t testing.TB, s *pebblestore.Store, b *broker.Batch) error {
	t.Helper()
	done := make(chan error, 1)
	b.Done = func(_ *broker.Batch, err error) { done <- err }
	s.Commit(b)
	return within(t, done)
}

func TestFailingDiskAcknowledgesNothing(t *testing.T) {
	for name, kinds := range map[string][]errorfs.OpKind{
		"sync":  {errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo},
		"write": {errorfs.OpFileWrite},
	} {
		for _, payload := range []int{10, 5000} {
			t.Run(fmt.Sprintf("%s, %d bytes", name, payload), func(t *testing.T) {
				mem := vfs.NewCrashableMem()
				var on atomic.Bool
				s := open(t, pebblestore.Config{Path: "data", Sync: true}, pebblestore.Options{FS: failing(mem, &on, kinds...)})
				var mu sync.Mutex
				var acked []broker.MessageID
				var failed bool
				var all sync.WaitGroup
				text := strings.Repeat("x", payload)
				for c := range 8 {
					all.Go(func() {
						for i := range 60 {
							b := &broker.Batch{Lazy: i%5 == 4, Appends: []broker.Append{message(broker.PeerID(fmt.Sprint("p", c)), "bob", text)}}
							done := make(chan struct{})
							b.Done = func(b *broker.Batch, err error) {
								mu.Lock()
								defer mu.Unlock()
								defer close(done)
								if err == nil && failed {
									t.Error("a batch was acknowledged after one that failed")
								}
								failed = failed || err != nil
								if err == nil && !b.Lazy {
									acked = append(acked, b.Appends[0].ID)
								}
								if len(acked) == 100 {
									on.Store(true)
								}
							}
							s.Commit(b)
							<-done
						}
					})
				}
				all.Wait()
				if !failed {
					t.Fatal("no batch failed")
				}
				if err := s.Ping(context.Background()); err == nil {
					t.Error("a ping of a failed store succeeded")
				}
				shown, err := s.Read(context.Background(), broker.LogID{Kind: broker.LogInbox, App: "demo", Owner: "bob"}, broker.Range{Limit: 1000})
				if err != nil {
					t.Errorf("read of a failed store: %v", err)
				}
				crashed := mem.CrashClone(vfs.CrashCloneCfg{})
				closed := make(chan error, 1)
				go func() { closed <- s.Close() }()
				_ = within(t, closed)

				s = open(t, pebblestore.Config{Path: "data", Sync: true}, pebblestore.Options{FS: crashed})
				defer s.Close()
				messages, err := s.Messages(context.Background(), "demo", acked)
				if err != nil {
					t.Fatal(err)
				}
				for i, m := range messages {
					if m == nil {
						t.Fatalf("message %d of %d was acknowledged and is lost", i, len(acked))
					}
				}
				if len(shown) < len(acked) {
					t.Errorf("%d entries were shown, %d acknowledged", len(shown), len(acked))
				}
			})
		}
	}
}

func TestAFailedStoreTellsWhenItsDiskIsMended(t *testing.T) {
	var full atomic.Bool
	tried, mended := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !full.Load() || op.Kind != errorfs.OpFileWrite {
			return nil
		}
		if strings.HasSuffix(op.Path, "probe") {
			once.Do(func() { close(tried) })
		}
		return errDisk
	}))
	s := open(t, pebblestore.Config{Path: "data", Sync: true}, pebblestore.Options{FS: fs, OnMended: func(failure error) { mended <- failure }})
	full.Store(true)
	if err := commit(t, s, &broker.Batch{Appends: []broker.Append{message("alice", "bob", "lost")}}); err == nil {
		t.Fatal("a full disk took a message")
	}
	within(t, tried)
	select {
	case <-mended:
		t.Fatal("it was told that the disk is mended while it is full")
	default:
	}
	full.Store(false)
	if failure := within(t, mended); !errors.Is(failure, errDisk) {
		t.Errorf("the failure that is told is %v; want that of the disk", failure)
	}
	if err := s.Ping(context.Background()); err == nil {
		t.Error("the store takes writes again without having been opened anew")
	}
	_ = s.Close() // tells the failure
}
