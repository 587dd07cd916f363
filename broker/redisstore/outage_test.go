package redisstore_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

// Redis is killed and started again under load, with every write synced. The stores go on by themselves, and what was told is there.
func TestAcknowledgedSurvivesKill(t *testing.T) {
	server := redistest.Start(t)
	cfg := redisstore.Config{Addrs: []string{server.Addr}}
	stores := []*redisstore.Store{openNew(t, cfg, redisstore.Options{}), openNew(t, cfg, redisstore.Options{})}
	const callers = 4
	l := &ledger{}
	var stop atomic.Bool
	var failures atomic.Int64
	var all sync.WaitGroup
	for i, s := range stores {
		for c := range callers {
			from := broker.PeerID(text("p%d.%d", i, c))
			all.Go(func() {
				window := make(chan struct{}, 8)
				told := -1
				for n := 0; !stop.Load(); n++ {
					window <- struct{}{}
					at := text("%s %d", from, n)
					b := &broker.Batch{Appends: []broker.Append{direct(from, at, "bob", from), toGroup(from, at, "team"), {App: "demo", EventPeer: "bob", Event: []byte(at)}}}
					b.Done = func(b *broker.Batch, err error) {
						if n != told+1 {
							t.Errorf("Done of batch %d came behind that of %d", n, told)
						}
						told = n
						if err == nil {
							l.add(b)
						} else {
							failures.Add(1)
							time.Sleep(100 * time.Microsecond) // as if it was told to somebody
						}
						<-window
					}
					s.Commit(b)
				}
				for range cap(window) {
					window <- struct{}{}
				}
			})
		}
	}
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.acked)
	}
	for range 4 {
		for had := count(); count() < had+300; {
			time.Sleep(time.Millisecond)
			if t.Failed() {
				break
			}
		}
		server.Restart(t)
	}
	for _, s := range stores { // one may be back before the other
		for end := time.Now().Add(patience); s.Ping(context.Background()) != nil && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
	for had := count(); count() < had+100; {
		time.Sleep(time.Millisecond)
	}
	stop.Store(true)
	all.Wait()
	l.check(t, stores[0])
	dense(t, "inbox", read(t, stores[1], broker.LogInbox, "bob"))
	dense(t, "group", read(t, stores[1], broker.LogConversation, "team"))
	dense(t, "events", read(t, stores[1], broker.LogEvents, "bob"))
	t.Logf("%d batches failed", failures.Load())
	if failures.Load() == 0 {
		t.Error("no batch failed: the server was not missed")
	}
}

// A connection is cut in the middle of pipelines. Messages with ids of their own are sent again until they are acknowledged:
// each is there once.
func TestCutPipelineIsResolvedByItsKey(t *testing.T) {
	server := redistest.Start(t, "--appendfsync", "no")
	for name, shards := range map[string]int{"one shard": 1, "many shards": 7} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t, server.Addr)
			s := openNew(t, redisstore.Config{Addrs: []string{p.addr()}, Prefix: newPrefix()}, redisstore.Options{Shards: shards})
			failed, retried := 0, 0
			for i := range 60 {
				p.cutAfter.Store(int64(1 + i*i*7%9000))
				batch := func() *broker.Batch {
					b := &broker.Batch{}
					for j := range 10 {
						at := text("%02d.%d", i, j)
						b.Appends = append(b.Appends, withOnce(direct("tom", at, "bob", "tom"), at), withOnce(toGroup("tom", at, "team"), at), broker.Append{
							App: "demo", EventPeer: "tom", Event: []byte(at),
							Once: broker.Key{Space: broker.SpaceReceipt, App: "demo", Owner: at},
						})
					}
					return b
				}
				for {
					b := batch()
					err := within(t, begin(s, b))
					if err == nil {
						break
					}
					failed++
					for k := range b.Appends {
						if !b.Appends[k].ID.IsZero() {
							retried++
						}
					}
				}
			}
			p.cutAfter.Store(0)
			for _, log := range []broker.LogID{
				{Kind: broker.LogInbox, Owner: "bob"}, {Kind: broker.LogInbox, Owner: "tom"}, {Kind: broker.LogConversation, Owner: "team"},
				{Kind: broker.LogEvents, Owner: "tom"}, {Kind: broker.LogSent, Owner: "tom"}, {Kind: broker.LogApp},
				{Kind: broker.LogConversation, Owner: string(broker.DirectConversation("tom", "bob"))},
			} {
				entries := read(t, s, log.Kind, log.Owner)
				texts := payloads(t, s, entries)
				seen := map[string]int{}
				for k, e := range entries {
					if log.Kind == broker.LogEvents {
						texts[k] = string(e.Value)
					}
					seen[texts[k]]++
				}
				delete(seen, "")
				each := 1
				if log.Kind == broker.LogApp || log.Kind == broker.LogSent {
					each = 2
				}
				for at, n := range seen {
					if n != each {
						t.Errorf("log %v holds %q %d times", log, at, n)
					}
				}
				if len(seen) != 600 {
					t.Errorf("log %v holds %d messages", log, len(seen))
				}
			}
			t.Logf("%d commits failed", failed)
			if failed < 20 {
				t.Error("the connection was hardly cut")
			}
		})
	}
}

// A server that takes everything and answers nothing costs each call its deadline, no more.
func TestSilentServerFailsWithinDeadline(t *testing.T) {
	server := redistest.Start(t, "--appendfsync", "no")
	p := startProxy(t, server.Addr)
	s := openNew(t, redisstore.Config{Addrs: []string{p.addr()}, Prefix: newPrefix()}, redisstore.Options{Timeout: 200 * time.Millisecond})
	commit(t, s, &broker.Batch{Appends: []broker.Append{direct("tom", "1", "bob")}})
	p.held.Store(true)
	began := time.Now()
	var waits []<-chan error
	for range 5 {
		waits = append(waits, begin(s, &broker.Batch{Appends: []broker.Append{direct("tom", "2", "bob")}}))
	}
	for _, done := range waits {
		if err := within(t, done); err == nil {
			t.Error("a commit without an answer succeeded")
		}
	}
	ctx := context.Background()
	if _, err := s.Read(ctx, broker.LogID{Kind: broker.LogInbox, App: "demo", Owner: "bob"}, broker.Range{Limit: 1}); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read without an answer: %v", err)
	}
	if err := s.Ping(ctx); err == nil {
		t.Error("a ping without an answer succeeded")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	p.held.Store(false)
	p.cut()
	commit(t, s, &broker.Batch{Appends: []broker.Append{direct("tom", "3", "bob")}})
	dense(t, "inbox", read(t, s, broker.LogInbox, "bob"))
}

// Without a server everything fails at once, in order, and goes on when it is back.
func TestServerAwayAndBack(t *testing.T) {
	server := redistest.Start(t)
	s := openNew(t, redisstore.Config{Addrs: []string{server.Addr}}, redisstore.Options{})
	commit(t, s, &broker.Batch{Appends: []broker.Append{direct("tom", "1", "bob")}})
	server.Kill()
	var order []int
	var all sync.WaitGroup
	for i := range 200 {
		all.Add(1)
		s.Commit(&broker.Batch{Appends: []broker.Append{direct("tom", "2", "bob")}, Done: func(_ *broker.Batch, err error) {
			if err == nil {
				t.Error("a commit succeeded without a server")
			}
			order = append(order, i)
			all.Done()
		}})
	}
	all.Wait()
	for i := range order {
		if order[i] != i {
			t.Fatalf("Done came in the order %v", order)
		}
	}
	if err := s.Ping(context.Background()); err == nil {
		t.Error("a ping succeeded without a server")
	}
	server.Again(t)
	commit(t, s, &broker.Batch{Appends: []broker.Append{direct("tom", "3", "bob")}})
	if got := read(t, s, broker.LogInbox, "bob"); len(got) != 2 || got[1].N != 2 {
		t.Errorf("inbox: %v", got)
	}
}

// While a server that came back loads its data it refuses new connections the scripts. What is asked meanwhile fails; it is not as if
// nothing were there.
func TestWhatAServerIsLoadingIsNotMissing(t *testing.T) {
	server := redistest.Start(t, "--key-load-delay", "200", "--appendfsync", "no")
	s := openNew(t, redisstore.Config{Addrs: []string{server.Addr}}, redisstore.Options{})
	record := func(i int) broker.Key {
		return broker.Key{Space: broker.SpaceDevice, App: "demo", Owner: "bob", Name: text("%d", i)}
	}
	b := &broker.Batch{}
	for i := range 3000 {
		b.Writes = append(b.Writes, broker.Write{Key: record(i), Value: []byte("there")})
	}
	commit(t, s, b)
	server.Kill()
	back := make(chan error, 1)
	go func() { back <- server.Relaunch() }()
	loading := 0
	for deadline := time.Now().Add(30 * time.Second); ; {
		values, err := s.Get(t.Context(), []broker.Key{record(7)})
		if err == nil {
			if string(values[0]) != "there" {
				t.Fatalf("read %q", values[0])
			}
			break
		}
		if strings.Contains(err.Error(), "LOADING") {
			loading++
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if err := <-back; err != nil {
		t.Fatal(err)
	}
	if loading == 0 {
		t.Error("the server was not met while it was loading")
	}
}
