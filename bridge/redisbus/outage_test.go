package redisbus_test

import (
	"bytes"
	"context"
	"log/slog"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"

	"kith/bridge/redisbus"
	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

// hearsAgain sends until a note arrives and skips the losses before it: right after an outage a pipeline may fail still.
func hearsAgain(t *testing.T, from, to *node) {
	t.Helper()
	until(t, "a note arrives again", func() bool {
		from.Send(to.self, []byte("again"))
		for {
			select {
			case e := <-to.heard:
				if e.from == from.self && e.note == "again" {
					return true
				}
			default:
				return false
			}
		}
	})
}

// Redis restarts: the receivers hear that notes may be lost, and all goes on by itself.
func TestRestartIsToldAndMended(t *testing.T) {
	eachKind(t, func(t *testing.T, servers []*redistest.Server) {
		a := start(t, redistest.Addrs(servers), "a#1", redisbus.Options{})
		b := start(t, redistest.Addrs(servers), "b#1", redisbus.Options{})
		for _, server := range servers {
			server.Kill()
		}
		a.Send("b#1", []byte("into the void"))
		until(t, "what cannot be sent is counted", func() bool { return a.Metrics().Dropped > 0 })
		for _, server := range servers {
			server.Again(t)
		}
		a.hears(t, event{lost: true})
		b.hears(t, event{lost: true})
		hearsAgain(t, a, b)
		hearsAgain(t, b, a)
	})
}

// The master is lost; the Sentinels make its replica the master. The receivers hear that notes may be lost, and all goes on with it.
func TestFailoverIsToldAndMended(t *testing.T) {
	master := redistest.Start(t)
	_, sentinels := redistest.StartSentinels(t, master, 3, 2)
	cfg := redisstore.Config{Addrs: sentinels, MasterName: redistest.MasterName}
	a := run(t, redisbus.New(connect(t, cfg), "kith", redisbus.Options{}), "a#1")
	b := run(t, redisbus.New(connect(t, cfg), "kith", redisbus.Options{}), "b#1")
	a.Send("b#1", []byte("before"))
	b.hears(t, event{from: "a#1", note: "before"})
	master.Kill()
	a.hears(t, event{lost: true})
	b.hears(t, event{lost: true})
	hearsAgain(t, a, b)
	hearsAgain(t, b, a)
}

// A connection that is dead without having been closed is given up, and made again once there is an answer.
func TestSilentConnectionIsGivenUp(t *testing.T) {
	server := redistest.Start(t)
	log := make(logged, 16)
	a := start(t, []string{server.Addr}, "a#1", redisbus.Options{Logger: slog.New(log)})
	server.Signal(syscall.SIGSTOP)
	defer server.Signal(syscall.SIGCONT)
	select {
	case got := <-log:
		if got != "bus is not subscribed" {
			t.Errorf("logged %q", got)
		}
	case <-time.After(patience):
		t.Error("the silence is not noticed")
	}
	server.Signal(syscall.SIGCONT)
	a.hears(t, event{lost: true})
	hearsAgain(t, a, a)
}

// A receiver that takes nothing costs Redis's buffer, which is bounded, and hears of its loss when it goes on.
func TestSlowReceiverIsToldOfItsLoss(t *testing.T) {
	server := redistest.Start(t, "--client-output-buffer-limit", "pubsub 1mb 1mb 1")
	a := start(t, []string{server.Addr}, "a#1", redisbus.Options{})
	slow := &blocked{entered: make(chan struct{}, 1), release: make(chan struct{}), lost: make(chan broker.NodeID, 1<<10)}
	bus := newBus(t, []string{server.Addr}, redisbus.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- bus.Run(ctx, "b#1", slow) }()
	<-slow.lost // subscribed
	a.Send("b#1", []byte("stop here"))
	<-slow.entered
	client := server.Client()
	defer client.Close()
	until(t, "Redis ends the subscription", func() bool {
		a.Send("b#1", make([]byte, 500_000))
		return client.PubSubNumSub(context.Background(), "kith:bus:b#1").Val()["kith:bus:b#1"] == 0
	})
	close(slow.release)
	for end := time.After(patience); ; {
		select {
		case from := <-slow.lost:
			if from != "" {
				continue
			}
		case <-end:
			t.Error("the loss is not told")
		}
		break
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// blocked is a receiver that breaks its contract.
type blocked struct {
	entered, release chan struct{}
	lost             chan broker.NodeID
}

// Receive implements broker.BusReceiver.
func (b *blocked) Receive(broker.NodeID, []byte) {
	select {
	case b.entered <- struct{}{}:
	default:
	}
	<-b.release
}

// Lost implements broker.BusReceiver.
func (b *blocked) Lost(from broker.NodeID) { b.lost <- from }

// A bus runs again, as another, after it ended. In between it drops, which is told; and no goroutine is left.
func TestBusRunsAgainAsAnother(t *testing.T) {
	server := redistest.Start(t)
	bus := newBus(t, []string{server.Addr}, redisbus.Options{})
	b := start(t, []string{server.Addr}, "b#1", redisbus.Options{})
	a := run(t, bus, "a#1")
	if err := bus.Run(context.Background(), "a#2", a); err == nil {
		t.Error("two run at once")
	}
	a.Send("b#1", []byte("one"))
	b.hears(t, event{from: "a#1", note: "one"})
	a.Send("b#1", []byte("the last"))
	a.stop(t)
	b.hears(t, event{from: "a#1", note: "the last"})
	bus.Send("b#1", []byte("nobody's"))
	if n := bus.Metrics().Dropped; n != 1 {
		t.Errorf("%d dropped", n)
	}
	again := run(t, bus, "a#2")
	again.Send("b#1", []byte("two"))
	b.hears(t, event{from: "a#2", lost: true})
	b.hears(t, event{from: "a#2", note: "two"})
	b.Send("a#1", []byte("to the dead"))
	b.Send("a#2", []byte("back"))
	again.hears(t, event{from: "b#1", note: "back"})
	until(t, "a note that nobody hears is counted", func() bool { return b.Metrics().Unheard == 1 })
	again.stop(t)
	b.stop(t)
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 1); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(stacks.String(), "redisbus.(*Bus)") {
		t.Errorf("goroutines are left:\n%s", stacks.String())
	}
}

// What a stranger publishes is told as a loss and does no harm.
func TestStrangersFramesDoNoHarm(t *testing.T) {
	server := redistest.Start(t)
	a := start(t, []string{server.Addr}, "a#1", redisbus.Options{})
	client := server.Client()
	defer client.Close()
	for _, frame := range []string{"", "hello", "\x01\xff", "\x01\x00" + strings.Repeat("\x00", 16)} {
		if err := client.Publish(context.Background(), "kith:bus:a#1", frame).Err(); err != nil {
			t.Fatal(err)
		}
		a.hears(t, event{lost: true})
	}
	a.Send("a#1", []byte("still here"))
	a.hears(t, event{from: "a#1", note: "still here"})
}

// A Redis Cluster without sharded pub/sub is refused in words.
func TestClusterWithoutShardedPubSubIsRefused(t *testing.T) {
	server := redistest.Start(t, "--cluster-enabled", "yes", "--rename-command", "SSUBSCRIBE", "")
	client := server.Client()
	defer client.Close()
	if err := client.Do(context.Background(), "cluster", "addslotsrange", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	bus := newBus(t, []string{server.Addr}, redisbus.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := bus.Run(ctx, "a#1", nil)
	if err == nil || !strings.Contains(err.Error(), "Redis 7") {
		t.Errorf("refused with %v", err)
	}
}
