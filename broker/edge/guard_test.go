package edge_test

import (
	"bytes"
	"fmt"
	"net"
	"testing"
	"time"

	"kith/broker"
	"kith/broker/edge"
)

// door is a listener with a guard and a clock.
type door struct {
	t     *testing.T
	now   time.Time
	guard *edge.Guard
	in    *pipeListener
	ln    *edge.Listener
}

func newDoor(t *testing.T, l edge.Limits) *door {
	d := &door{t: t, now: time.Unix(1_800_000_000, 0), in: &pipeListener{conns: make(chan net.Conn, 1)}}
	if l.Connections == 0 {
		l.Connections = 1000
	}
	d.guard = edge.NewGuard(l, nil, func() time.Time { return d.now })
	d.ln = edge.NewListener(d.in, edge.ProxyConfig{}, d.guard, nil)
	return d
}

// enter accepts a connection; nil when it was cut.
func (d *door) enter(from string) *edge.Conn {
	d.t.Helper()
	client, end := net.Pipe()
	d.t.Cleanup(func() { _ = client.Close() })
	d.in.conns <- pipeEnd{end, tcpAddr(from + ":1")}
	nc, err := d.ln.Accept()
	if err != nil {
		d.t.Fatal(err)
	}
	c := edge.Of(nc)
	if c.Identify() != nil {
		_ = c.Close()
		return nil
	}
	return c
}

func (d *door) wants(c *edge.Conn, code broker.Code) {
	d.t.Helper()
	got := broker.Code(0)
	if err := c.Connect(); err != nil {
		got = err.Code
	}
	if got != code {
		d.t.Errorf("CONNECT from %s: %d, want %d", c.RemoteAddr(), got, code)
	}
}

func TestConnectionsOfOneAddressAreBounded(t *testing.T) {
	d := newDoor(t, edge.Limits{Exempt: []string{"127.0.0.0/8"}, Address: edge.AddressLimits{Connections: 3}})
	var conns []*edge.Conn
	for range 3 {
		conns = append(conns, d.enter("198.51.100.7"))
		d.wants(conns[len(conns)-1], 0)
	}
	over := d.enter("198.51.100.7")
	d.wants(over, broker.LimitExceeded)
	d.wants(d.enter("198.51.100.8"), 0)
	_ = over.Close()
	_ = over.Close() // counts once
	_ = conns[0].Close()
	d.wants(d.enter("198.51.100.7"), 0)
	cut := 0
	for range 50 {
		if d.enter("198.51.100.7") == nil {
			cut++
		}
	}
	if cut == 0 || d.guard.Stats().Cut != uint64(cut) {
		t.Errorf("%d cut, counted %d", cut, d.guard.Stats().Cut)
	}
	for range 100 {
		d.wants(d.enter("127.0.0.1"), 0)
	}
	// A subscriber chooses freely from its /64.
	for i := range 3 {
		d.wants(d.enter(fmt.Sprintf("[2001:db8::%d]", i+1)), 0)
	}
	d.wants(d.enter("[2001:db8::9]"), broker.LimitExceeded)
	d.wants(d.enter("[2001:db8:0:1::9]"), 0)
}

// A connection stays counted as it was, whatever the limits become.
func TestLimitsChangeUnderOpenConnections(t *testing.T) {
	limits := edge.Limits{Connections: 1000, Exempt: []string{"198.51.100.7"}, Address: edge.AddressLimits{Connections: 1}}
	d := newDoor(t, limits)
	exempt := d.enter("198.51.100.7")
	limits.Exempt = nil
	d.guard.SetLimits(limits)
	counted := d.enter("198.51.100.7")
	_ = exempt.Close()
	d.wants(counted, 0)
	d.wants(d.enter("198.51.100.7"), broker.LimitExceeded)
	if n := d.guard.Stats().Open; n != 2 {
		t.Errorf("%d open", n)
	}
}

func TestANodeHasAsManyConnectionsAsItMay(t *testing.T) {
	d := newDoor(t, edge.Limits{Connections: 5, Exempt: []string{"0.0.0.0/0"}})
	var last *edge.Conn
	for i := range 5 {
		last = d.enter(fmt.Sprintf("198.51.100.%d", i))
		d.wants(last, 0)
	}
	over := d.enter("198.51.100.9")
	if err := over.Connect(); !edge.IsBusy(err) {
		t.Errorf("over the limit: %v", err)
	}
	_ = over.Close()
	_ = last.Close()
	d.wants(d.enter("198.51.100.9"), 0)
}

func TestAnAddressConnectsAsFastAsItMay(t *testing.T) {
	d := newDoor(t, edge.Limits{Address: edge.AddressLimits{ConnectsPerSecond: 2, Burst: 3}})
	c := d.enter("198.51.100.7")
	for range 3 {
		d.wants(c, 0)
	}
	d.wants(c, broker.RateLimited)
	d.wants(d.enter("198.51.100.8"), 0)
	d.now = d.now.Add(500 * time.Millisecond)
	d.wants(c, 0)
	d.wants(c, broker.RateLimited)
}

// Each ban is twice as long as the one before, up to an hour; who stays away starts anew.
func TestFailedSignaturesBanAnAddress(t *testing.T) {
	d := newDoor(t, edge.Limits{Address: edge.AddressLimits{Failures: 3, Ban: time.Minute}})
	c, bystander := d.enter("198.51.100.7"), d.enter("198.51.100.8")
	fail := func(n int) {
		for range n {
			c.SignatureFailed()
		}
	}
	fail(2)
	d.now = d.now.Add(time.Minute) // slow enough
	fail(2)
	d.wants(c, 0)
	fail(1)
	for _, length := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		length *= time.Minute
		d.wants(c, broker.Banned)
		d.wants(bystander, 0)
		d.now = d.now.Add(length - time.Second)
		d.wants(c, broker.Banned)
		d.now = d.now.Add(time.Second)
		d.wants(c, 0)
		fail(3)
	}
	d.now = d.now.Add(2*time.Hour + time.Second)
	fail(3)
	d.now = d.now.Add(time.Minute)
	d.wants(c, 0)
	if n := d.guard.Stats().Bans; n != 10 {
		t.Errorf("%d bans", n)
	}
}

func TestShortMemoryRefusesNewWork(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "off") // the test's own collector stays as it is
	d := newDoor(t, edge.Limits{MemoryBytes: 1 << 40})
	c := d.enter("198.51.100.7")
	d.wants(c, 0)
	if err := d.guard.Overloaded(); err != nil {
		t.Error(err)
	}
	d.guard.SetLimits(edge.Limits{Connections: 10, MemoryBytes: 1 << 10})
	if err := c.Connect(); !edge.IsBusy(err) {
		t.Errorf("CONNECT: %v", err)
	}
	if d.guard.Overloaded() == nil {
		t.Error("a call is taken")
	}
	if s := d.guard.Stats(); s.MemoryNeed < 100<<10 || s.MemoryLimit != 1<<10 || s.Memory != 2 {
		t.Errorf("%+v", s)
	}
}

func TestRecentForgetsTheOneUnheardOfForLongest(t *testing.T) {
	r := edge.Recent[int]{Max: 2}
	a, b, c := edge.Addr(tcpAddr("198.51.100.1:1")), edge.Addr(tcpAddr("198.51.100.2:1")), edge.Addr(tcpAddr("198.51.100.3:1"))
	*r.Heard(a) = 1
	*r.Heard(b) = 2
	r.Heard(a)
	*r.Heard(c) = 3
	if r.Get(b) != nil || r.Get(a) == nil || *r.Get(a) != 1 || *r.Get(c) != 3 {
		t.Errorf("%v %v %v", r.Get(a), r.Get(b), r.Get(c))
	}
}

// Who uses no listener of the edge's is let in.
func TestWithoutAGuardEverybodyPasses(t *testing.T) {
	client, end := net.Pipe()
	defer client.Close()
	if c := edge.Of(end); c.Identify() != nil || c.Connect() != nil {
		t.Error("refused")
	}
	var log bytes.Buffer
	_, server := accepted(t, "198.51.100.7:1", edge.ProxyConfig{}, &log)
	if c := edge.Of(server); c.Identify() != nil || c.Connect() != nil {
		t.Error("refused")
	}
	if (*edge.Guard)(nil).Overloaded() != nil {
		t.Error("overloaded")
	}
}
