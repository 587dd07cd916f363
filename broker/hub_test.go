package broker_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"kith/broker"
)

// clustered makes every test's broker the only node of a cluster, which must change nothing.
var clustered bool

// TestMain runs all tests twice: on a broker by itself, and on the only node of a cluster.
func TestMain(m *testing.M) {
	code := m.Run()
	given := func(name string) bool { return flag.Lookup(name).Value.String() != "" }
	if code == 0 && !given("test.list") && !given("test.fuzz") && !given("test.bench") {
		fmt.Println("once more, as a cluster of one node")
		clustered = true
		code = m.Run()
	}
	os.Exit(code)
}

// hub is a bus within the process, between brokers that share a store.
type hub struct {
	mu    sync.Mutex
	lines map[broker.NodeID]chan note
}

type note struct {
	from broker.NodeID
	body []byte
}

func newHub() *hub {
	return &hub{lines: map[broker.NodeID]chan note{}}
}

// port is one node's end of the hub.
type port struct {
	hub  *hub
	mu   sync.Mutex
	self broker.NodeID
	to   broker.BusReceiver
	dead bool // what is sent to it is lost
}

// cut makes the node lose all that is sent to it, or ends that.
func (p *port) cut(dead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = dead
}

// mend ends that, and has the node find out.
func (p *port) mend() {
	p.cut(false)
	p.mu.Lock()
	to := p.to
	p.mu.Unlock()
	to.Lost("")
}

func (p *port) isCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

func (h *hub) bus() *port { return &port{hub: h} }

// Send implements broker.Bus.
func (p *port) Send(to broker.NodeID, body []byte) {
	p.mu.Lock()
	self := p.self
	p.mu.Unlock()
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if line := p.hub.lines[to]; line != nil {
		select {
		case line <- note{self, body}:
		default:
		}
	}
}

// Run implements broker.Bus.
func (p *port) Run(ctx context.Context, self broker.NodeID, r broker.BusReceiver) error {
	line := make(chan note, 1<<16)
	p.mu.Lock()
	p.self, p.to = self, r
	p.mu.Unlock()
	p.hub.mu.Lock()
	p.hub.lines[self] = line
	p.hub.mu.Unlock()
	for {
		select {
		case n := <-line:
			if !p.isCut() {
				r.Receive(n.from, n.body)
			}
		case <-ctx.Done():
			p.hub.mu.Lock()
			delete(p.hub.lines, self)
			p.hub.mu.Unlock()
			return nil
		}
	}
}

func awaitReady(t testing.TB, b *broker.Broker) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for b.Ready(ctx) != nil {
		if ctx.Err() != nil {
			t.Fatal("the broker did not become ready")
		}
		time.Sleep(time.Millisecond)
	}
}
