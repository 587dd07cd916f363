package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"kith/broker"
	"kith/broker/redisstore/redistest"
)

const patience = 20 * time.Second

func newGathered(t *testing.T) (*redistest.Server, *Store) {
	t.Helper()
	server := redistest.Start(t)
	s, err := Open(Config{Addrs: []string{server.Addr}}, Options{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return server, s
}

// awaitReads returns when so many pipelines of reads run, and so many reads wait for one.
func awaitReads(t *testing.T, s *Store, running, waiting int) {
	t.Helper()
	g := &s.gathered
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		g.mu.Lock()
		run, wait := g.running, len(g.waiting)
		g.mu.Unlock()
		if run == running && wait == waiting {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d pipelines run and %d reads wait, want %d and %d", run, wait, running, waiting)
		}
	}
}

func keyOf(i int) broker.Key {
	return broker.Key{Space: broker.SpaceBan, App: "demo", Owner: fmt.Sprint("peer", i)}
}

// pipelines is how often Redis has read from its connections.
func pipelines(t *testing.T, server *redistest.Server) (n int) {
	t.Helper()
	client := server.Client()
	defer client.Close()
	info, err := client.InfoMap(t.Context(), "stats").Result()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(info["Stats"]["total_reads_processed"], &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReadsOfAStormSharePipelines(t *testing.T) {
	server, s := newGathered(t)
	const reads = 3000
	batch := &broker.Batch{}
	for i := range reads {
		batch.Writes = append(batch.Writes, broker.Write{Key: keyOf(i), Value: []byte(fmt.Sprint(i))})
	}
	committed := make(chan error, 1)
	batch.Done = func(_ *broker.Batch, err error) { committed <- err }
	s.Commit(batch)
	if err := <-committed; err != nil {
		t.Fatal(err)
	}
	before := pipelines(t, server)
	server.Signal(syscall.SIGSTOP)
	var all sync.WaitGroup
	for i := range reads {
		all.Go(func() {
			if got, err := s.Get(t.Context(), []broker.Key{keyOf(i), keyOf(-1)}); err != nil || string(got[0]) != fmt.Sprint(i) || got[1] != nil {
				t.Errorf("read %d: %q, %v", i, got, err)
			}
		})
	}
	awaitReads(t, s, maxReads, reads-maxReads)
	server.Signal(syscall.SIGCONT)
	all.Wait()
	if n := pipelines(t, server) - before; n > reads/10 {
		t.Errorf("%d reads took Redis %d reads from its connections", reads, n)
	}
	awaitReads(t, s, 0, 0)
}

func TestAReadThatIsGivenUpCostsTheOthersNothing(t *testing.T) {
	server, s := newGathered(t)
	server.Signal(syscall.SIGSTOP)
	var all sync.WaitGroup
	get := func(ctx context.Context) error {
		_, err := s.Get(ctx, []broker.Key{keyOf(1)})
		return err
	}
	for range maxReads {
		all.Go(func() {
			if err := get(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	awaitReads(t, s, maxReads, 0)
	ctx, giveUp := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() { given <- get(ctx) }()
	awaitReads(t, s, maxReads, 1)
	all.Go(func() {
		if err := get(t.Context()); err != nil {
			t.Error(err)
		}
	})
	awaitReads(t, s, maxReads, 2)
	giveUp()
	if err := <-given; !errors.Is(err, context.Canceled) { // at once, while Redis stands still
		t.Errorf("the read that was given up: %v", err)
	}
	server.Signal(syscall.SIGCONT)
	all.Wait()
}
