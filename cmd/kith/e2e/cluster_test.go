package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kith/broker/redisstore/redistest"
)

const (
	// shortLease is the lease of nodes whose death a test waits for. On a busy machine a shorter one would run out by itself.
	shortLease = 6 * time.Second
	// endurance is how long a test waits for what takes a lease, and for a load to come to its end.
	endurance = 90 * time.Second
)

// cluster is several nodes that share a Redis.
type cluster struct {
	t     testing.TB
	redis *redistest.Server
	nodes []*server
	down  []atomic.Bool // which of them clients pass over
}

// startCluster starts n nodes with the app demo on a Redis of their own. settings are YAML keys of the app. The tests of many nodes run
// on Redis whatever -store says: once is enough.
func startCluster(t *testing.T, n int, lease time.Duration, settings string) *cluster {
	t.Helper()
	if *engine != "pebble" {
		t.Skip("runs without -store")
	}
	t.Parallel()
	c := &cluster{t: t, redis: redistest.Start(t), down: make([]atomic.Bool, n)}
	dir := t.TempDir()
	for i := range n {
		own := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		c.nodes = append(c.nodes, startWith(t, &config{
			dir: own, node: fmt.Sprintf("n%d, lease: %v", i, lease), redis: fmt.Sprintf(", engine: redis, redis: {addrs: [%q]}", c.redis.Addr),
			apps: []string{"{id: demo, master_key: " + masterKey + settings + "}"},
		}))
	}
	for i := range n {
		waitFor(t, endurance, "the nodes do not find each other", func() bool { return c.knows(i) == n })
	}
	return c
}

// endless are settings of an app that bounds neither rates nor what waits, for who counts.
const endless = ", rate: {messages_per_second: 0}, queue: {messages: 100000, connected: 1000000}"

// knows returns how many nodes a node says there are.
func (c *cluster) knows(node int) int {
	var p struct{ Items []struct{ Name string } }
	_, body := c.nodes[node].call(c.t, "GET", "/v1/nodes", "", "Bearer "+adminToken)
	mustDecode(c.t, string(body), &p)
	return len(p.Items)
}

// at is the app at a node.
func (c *cluster) at(node int) *app { return c.nodes[node].in("demo") }

// kill ends a node as a power cut would.
func (c *cluster) kill(node int) {
	c.down[node].Store(true)
	c.nodes[node].kill()
}

// freeze stops a node's process, until thaw.
func (c *cluster) freeze(node int) {
	c.t.Helper()
	c.down[node].Store(true)
	c.signal(node, syscall.SIGSTOP)
	c.t.Cleanup(func() { _ = c.nodes[node].cmd.Process.Signal(syscall.SIGCONT) })
}

func (c *cluster) thaw(node int) { c.signal(node, syscall.SIGCONT) }

func (c *cluster) signal(node int, sig os.Signal) {
	c.t.Helper()
	if err := c.nodes[node].cmd.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
}

// presence is what a watcher heard of a peer, in order.
func (c *client) presence(peer string) (states []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.all {
		if c.all[i].topic == "presence/"+peer {
			states = append(states, c.all[i].payload)
		}
	}
	return states
}
