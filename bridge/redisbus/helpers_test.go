package redisbus_test

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"kith/bridge/redisbus"
	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

const patience = 30 * time.Second

// event is what a receiver heard: a note, or a loss.
type event struct {
	from broker.NodeID
	note string
	lost bool
}

func (e event) String() string {
	if e.lost {
		return fmt.Sprintf("lost of %q", e.from)
	}
	return fmt.Sprintf("%q from %q", e.note, e.from)
}

// node is a bus that runs.
type node struct {
	*redisbus.Bus
	self   broker.NodeID
	heard  chan event
	cancel context.CancelFunc
	ended  chan error
}

// Receive implements broker.BusReceiver.
func (n *node) Receive(from broker.NodeID, note []byte) {
	n.heard <- event{from: from, note: string(note)}
}

// Lost implements broker.BusReceiver.
func (n *node) Lost(from broker.NodeID) { n.heard <- event{from: from, lost: true} }

// next returns what is heard next.
func (n *node) next(t testing.TB) event {
	t.Helper()
	select {
	case e := <-n.heard:
		return e
	case err := <-n.ended:
		t.Fatalf("%s ended: %v", n.self, err)
	case <-time.After(patience):
		t.Fatalf("%s hears nothing", n.self)
	}
	return event{}
}

// hears fails the test if anything else is heard next.
func (n *node) hears(t testing.TB, want event) {
	t.Helper()
	if got := n.next(t); got != want {
		t.Fatalf("%s hears %v, not %v", n.self, got, want)
	}
}

// stop ends its Run.
func (n *node) stop(t testing.TB) {
	t.Helper()
	n.cancel()
	select {
	case err := <-n.ended:
		if err != nil {
			t.Errorf("%s: %v", n.self, err)
		}
		n.ended <- nil
	case <-time.After(patience):
		t.Fatalf("%s does not end", n.self)
	}
}

// run runs a bus as self and waits until it is subscribed.
func run(t testing.TB, bus *redisbus.Bus, self broker.NodeID) *node {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{Bus: bus, self: self, heard: make(chan event, 1<<20), cancel: cancel, ended: make(chan error, 1)}
	go func() { n.ended <- bus.Run(ctx, self, n) }()
	t.Cleanup(func() { n.stop(t) })
	n.hears(t, event{lost: true})
	return n
}

// newBus returns a bus over connections of its own.
func newBus(t testing.TB, addrs []string, opts redisbus.Options) *redisbus.Bus {
	t.Helper()
	return redisbus.New(connect(t, redisstore.Config{Addrs: addrs}), "kith", opts)
}

// connect returns connections as the program makes them.
func connect(t testing.TB, cfg redisstore.Config) redis.UniversalClient {
	t.Helper()
	store, err := redisstore.Open(cfg, redisstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store.Client()
}

// start is newBus and run.
func start(t testing.TB, addrs []string, self broker.NodeID, opts redisbus.Options) *node {
	t.Helper()
	return run(t, newBus(t, addrs, opts), self)
}

// eachKind runs a test on a single server and on a Redis Cluster.
func eachKind(t *testing.T, test func(t *testing.T, servers []*redistest.Server)) {
	t.Run("single", func(t *testing.T) { test(t, []*redistest.Server{redistest.Start(t)}) })
	t.Run("cluster", func(t *testing.T) { test(t, redistest.StartCluster(t)) })
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// publishes returns how many PUBLISH and SPUBLISH a server has run.
func publishes(t testing.TB, server *redistest.Server) (n int) {
	t.Helper()
	client := server.Client()
	defer client.Close()
	stats, err := client.Info(context.Background(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range regexp.MustCompile(`cmdstat_s?publish:calls=(\d+)`).FindAllStringSubmatch(stats, -1) {
		calls, _ := strconv.Atoi(found[1])
		n += calls
	}
	return n
}

// whileStopped runs act while the server answers nothing and a first note of n to another node is under way.
func whileStopped(t testing.TB, server *redistest.Server, n *node, to broker.NodeID, act func()) {
	t.Helper()
	server.Signal(syscall.SIGSTOP)
	defer server.Signal(syscall.SIGCONT)
	n.Send(to, []byte("first"))
	until(t, "the first note is under way", func() bool { return n.Metrics().QueuedBytes == 0 })
	act()
}

// logged gives what is logged at a channel.
type logged chan string

// Enabled implements slog.Handler.
func (l logged) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (l logged) Handle(_ context.Context, r slog.Record) error {
	select {
	case l <- r.Message:
	default:
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (l logged) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l logged) WithGroup(string) slog.Handler { return l }
