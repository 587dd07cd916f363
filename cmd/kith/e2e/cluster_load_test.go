package e2e_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// load is senders and receivers that go on whatever happens to the nodes: they connect again, to the next node that is up, and send
// again what was not acknowledged. What each was told and heard is compared at the end.
type load struct {
	t         testing.TB
	c         *cluster
	ctx       context.Context // ends it all
	every     time.Duration   // a sender's pace
	work      sync.WaitGroup
	stopping  atomic.Bool // nothing new is sent
	senders   []*loadSender
	receivers []*loadReceiver
}

// loadClient is a client with the same client id on one connection after the other.
type loadClient struct {
	load     *load
	id       string
	password string
	expiry   uint32

	mu    sync.Mutex
	node  int // that it is connected to, or tries next
	conn  net.Conn
	opens int    // CONNACKs that let it in
	codes []byte // with which the server ended connections; 0: without a word
}

// loadSender sends numbered messages on one topic, a window of them at a time.
type loadSender struct {
	loadClient
	topic string // without the app's id and the sender

	first, next int   // those from first to next are not answered
	acked       []int // in the order of their acknowledgements
	refused     map[int]bool
}

// loadReceiver hears from who sends to it.
type loadReceiver struct {
	loadClient
	from  []*loadSender
	seen  map[string]bool
	pongs chan struct{}
	order []string // what it heard, each message the first time, and the notices of its groups

	heard, duplicated, disordered int
	highest                       map[string]int
}

// sendWindow is how much of a sender is under way.
const sendWindow = 16

func newLoad(c *cluster) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{t: c.t, c: c, ctx: ctx, every: 4 * time.Millisecond}
	c.t.Cleanup(func() {
		cancel()
		for _, x := range l.clients() {
			x.drop()
		}
		l.work.Wait()
	})
	return l
}

// sender starts a sender at a node. to is "peer/{peer}" or "group/{group}".
func (l *load) sender(name string, node int, to string) *loadSender {
	password := `{"receive":"none"}`
	if peer, ok := strings.CutPrefix(to, "peer/"); ok {
		password = fmt.Sprintf(`{"receive":"none","watch":[%q]}`, peer)
	}
	s := &loadSender{loadClient: loadClient{load: l, id: name, password: password, node: node}, topic: to, refused: map[int]bool{}}
	l.senders = append(l.senders, s)
	l.work.Go(func() { s.run(s.serve) })
	return s
}

// receiver starts a receiver at a node.
func (l *load) receiver(id string, node int, from ...*loadSender) *loadReceiver {
	r := &loadReceiver{
		loadClient: loadClient{load: l, id: id, expiry: 600, node: node},
		from:       from, seen: map[string]bool{}, highest: map[string]int{}, pongs: make(chan struct{}, 2),
	}
	l.receivers = append(l.receivers, r)
	if node != nowhere {
		l.work.Go(func() { r.run(r.serve) })
	}
	return r
}

// nowhere is the node of a receiver whose connections the test opens itself.
const nowhere = -1

func (l *load) clients() (all []*loadClient) {
	for _, s := range l.senders {
		all = append(all, &s.loadClient)
	}
	for _, r := range l.receivers {
		all = append(all, &r.loadClient)
	}
	return all
}

// leave makes the clients of a node that is down notice it, as their keep-alive would in time.
func (l *load) leave(node int) {
	for _, x := range l.clients() {
		if x.at() == node {
			x.drop()
		}
	}
}

func (x *loadClient) at() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.node
}

func (x *loadClient) drop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.conn != nil {
		_ = x.conn.Close()
	}
}

// run serves one connection after the other.
func (x *loadClient) run(serve func(net.Conn) byte) {
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for x.load.ctx.Err() == nil {
		if conn := x.connect(); conn != nil {
			code := serve(conn)
			x.mu.Lock()
			x.codes = append(x.codes, code)
			x.mu.Unlock()
			_ = conn.Close()
		}
		select {
		case <-pause.C:
		case <-x.load.ctx.Done():
		}
	}
}

// connect opens a session at the client's node, or makes the next its node.
func (x *loadClient) connect() net.Conn {
	c := x.load.c
	x.mu.Lock()
	for c.down[x.node].Load() {
		x.node = (x.node + 1) % len(c.nodes)
	}
	addr := c.nodes[x.node].MQTT
	x.mu.Unlock()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err == nil {
		x.mu.Lock()
		x.conn = conn
		x.mu.Unlock()
		if err = x.open(conn); err == nil {
			return conn
		}
		_ = conn.Close()
	}
	x.mu.Lock()
	x.node = (x.node + 1) % len(c.nodes)
	x.mu.Unlock()
	return nil
}

func (x *loadClient) open(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := connect5(x.id, x.password, x.expiry).WriteTo(conn); err != nil {
		return err
	}
	p, err := packets.ReadPacket(conn)
	if err != nil {
		return err
	}
	ack, ok := p.Content.(*packets.Connack)
	if !ok || ack.ReasonCode != 0 {
		return fmt.Errorf("refused: %+v", p.Content)
	}
	x.mu.Lock()
	x.opens++
	x.mu.Unlock()
	return conn.SetDeadline(time.Time{})
}

// serve sends what is unacknowledged again, in order, and goes on.
func (s *loadSender) serve(conn net.Conn) (code byte) {
	gone := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() { s.write(conn, gone) })
	defer writing.Wait()
	defer close(gone)
	for {
		p, err := packets.ReadPacket(conn)
		if err != nil {
			return code
		}
		switch m := p.Content.(type) {
		case *packets.Puback:
			s.answered(m)
		case *packets.Disconnect:
			code = m.ReasonCode
		}
	}
}

func (s *loadSender) write(conn net.Conn, gone <-chan struct{}) {
	s.mu.Lock()
	at := s.first
	again := s.next
	s.mu.Unlock()
	tick := time.NewTicker(s.load.every)
	defer tick.Stop()
	for {
		s.mu.Lock()
		n, send := at, false
		switch {
		case at < again: // once more
			at, send = at+1, true
		case s.next-s.first < sendWindow && !s.load.stopping.Load():
			s.next++
			at, send = s.next, true
		}
		s.mu.Unlock()
		if send {
			text := s.id + ":" + strconv.Itoa(n)
			p := publish5("demo/"+s.topic+"/"+s.id, text, 1, packetID(n), packets.User{Key: "id", Value: text})
			if _, err := p.WriteTo(conn); err != nil {
				return
			}
		}
		select {
		case <-tick.C:
		case <-gone:
			return
		}
	}
}

func packetID(n int) uint16 { return uint16(n%60000 + 1) }

// answered takes an acknowledgement, which must be of the oldest.
func (s *loadSender) answered(ack *packets.Puback) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.first
	switch {
	case n == s.next || packetID(n) != ack.PacketID:
		s.load.t.Errorf("%s: packet %d is acknowledged, want %d", s.id, ack.PacketID, packetID(n))
		return
	case ack.ReasonCode < 0x80:
		s.acked = append(s.acked, n)
	case ack.ReasonCode == 0x83: // the store is away
		s.refused[n] = true
	default:
		s.load.t.Errorf("%s: %d is refused: 0x%02X %s", s.id, n, ack.ReasonCode, ack.Properties.ReasonString)
	}
	s.first++
}

func (s *loadSender) acknowledged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acked)
}

// serve acknowledges what arrives. It returns the reason code that the server gave at the end.
func (r *loadReceiver) serve(conn net.Conn) (code byte) {
	for {
		p, err := packets.ReadPacket(conn)
		if err != nil {
			return code
		}
		switch m := p.Content.(type) {
		case *packets.Publish:
			if m.QoS == 0 {
				continue
			}
			r.note(m)
			if _, err := (&packets.Puback{PacketID: m.PacketID, Properties: &packets.Properties{}}).WriteTo(conn); err != nil {
				return code
			}
		case *packets.Pingresp:
			r.pongs <- struct{}{}
		case *packets.Disconnect:
			code = m.ReasonCode
		}
	}
}

func (r *loadReceiver) note(m *packets.Publish) {
	text := string(m.Payload)
	switch {
	case strings.HasSuffix(m.Topic, "/$event"): // has its place among the messages of its group
		r.mu.Lock()
		r.order = append(r.order, text)
		r.mu.Unlock()
		return
	case strings.HasPrefix(m.Topic, "demo/event/"):
		return
	}
	name, number, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(number)
	if err != nil {
		r.load.t.Errorf("%s hears %q", r.id, text)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard++
	if r.seen[text] {
		r.duplicated++
		return
	}
	if last, ok := r.highest[name]; ok && n < last {
		r.disordered++
	}
	r.highest[name] = n
	r.seen[text] = true
	r.order = append(r.order, text)
}

func (r *loadReceiver) hears() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heard
}

// missing returns what was acknowledged to the receiver's senders and did not arrive.
func (r *loadReceiver) missing() (lost []string) {
	for _, s := range r.from {
		s.mu.Lock()
		acked := slices.Clone(s.acked)
		s.mu.Unlock()
		r.mu.Lock()
		for _, n := range acked {
			if text := s.id + ":" + strconv.Itoa(n); !r.seen[text] {
				lost = append(lost, text)
			}
		}
		r.mu.Unlock()
	}
	return lost
}

// moves waits until every sender had n more acknowledged, and every receiver that expects something heard n more.
func (l *load) moves(n int) {
	l.t.Helper()
	var want []func() bool
	for _, s := range l.senders {
		acked := s.acknowledged()
		want = append(want, func() bool { return s.acknowledged() >= acked+n })
	}
	for _, r := range l.receivers {
		heard := r.hears()
		want = append(want, func() bool { return len(r.from) == 0 || r.hears() >= heard+n })
	}
	waitFor(l.t, endurance, "nothing moves", func() bool {
		return !slices.ContainsFunc(want, func(has func() bool) bool { return !has() })
	})
}

// counts is what came of a load.
type counts struct{ acknowledged, delivered, lost, duplicated, disordered, refused, refusedDelivered int }

func (n counts) String() string {
	return fmt.Sprintf("acknowledged %d, delivered %d, lost %d, duplicated %d, out of order %d (refused %d, of those delivered %d)",
		n.acknowledged, n.delivered, n.lost, n.duplicated, n.disordered, n.refused, n.refusedDelivered)
}

// finish lets the senders come to their end and the receivers hear all, and counts. Nothing may be lost or out of order.
func (l *load) finish() (n counts) {
	l.t.Helper()
	l.stopping.Store(true)
	end := time.Now().Add(endurance)
	settled := func() bool {
		for _, s := range l.senders {
			s.mu.Lock()
			open := s.first < s.next
			s.mu.Unlock()
			if open {
				return false
			}
		}
		for _, r := range l.receivers {
			if len(r.missing()) > 0 {
				return false
			}
		}
		return true
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !settled() && time.Now().Before(end) {
		<-tick.C
	}
	refused := map[string]bool{}
	for _, s := range l.senders {
		s.mu.Lock()
		n.acknowledged += len(s.acked)
		for k := range s.refused {
			refused[s.id+":"+strconv.Itoa(k)] = true
		}
		if s.first < s.next {
			l.t.Errorf("%s has %d messages without an answer", s.id, s.next-s.first)
		}
		s.mu.Unlock()
	}
	n.refused = len(refused)
	for _, r := range l.receivers {
		lost := r.missing()
		if len(lost) > 0 {
			l.t.Errorf("%s misses %d: %.300v", r.id, len(lost), lost)
		}
		r.mu.Lock()
		n.lost += len(lost)
		n.delivered += len(r.seen)
		n.duplicated += r.duplicated
		n.disordered += r.disordered
		for text := range refused {
			if r.seen[text] {
				n.refusedDelivered++
			}
		}
		r.mu.Unlock()
	}
	l.t.Log(n)
	if n.disordered > 0 {
		l.t.Error("messages came out of order")
	}
	return n
}
