package hooks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

// fakeSession stands for the broker's: it records what a connection asks of it and sends what a test queues.
type fakeSession struct {
	app  broker.AppID
	peer broker.PeerID
	link broker.Link

	mu        sync.Mutex
	out       []broker.Out
	published []broker.Publish
	submits   int
	acked     []uint16
	received  []uint16
	released  []uint16
	written   int
	proof     *broker.WatchProof
	subs      []broker.Subscription
	silent    bool // publishes are not acknowledged
	ended     chan ending
	topics    *topicRouter
	panics    bool // on a publish to the topic "panic"
}

type ending struct {
	how    broker.EndReason
	expiry *time.Duration
}

func (f *fakeSession) App() broker.AppID   { return f.app }
func (f *fakeSession) Peer() broker.PeerID { return f.peer }

func (f *fakeSession) Publish(p *broker.Publish) {
	kept := *p
	kept.Topic, kept.Payload = bytes.Clone(p.Topic), bytes.Clone(p.Payload)
	var err *broker.Error
	switch topic := string(p.Topic); {
	case strings.HasPrefix(topic, string(f.app)+"/topic/"):
		err = broker.AsError(publishTopic(f.topics, f, f.app, p))
	case strings.HasSuffix(topic, "/refused"):
		err = broker.Errorf(broker.InvalidTarget, "not yours")
	case topic == "panic" && f.panics:
		panic("a test's")
	}
	f.mu.Lock()
	f.published = append(f.published, kept)
	if p.QoS > 0 && !f.silent {
		f.out = append(f.out, broker.Out{Kind: broker.OutAck, Tag: p.Tag, QoS: p.QoS, Err: err, ID: testID})
	}
	f.mu.Unlock()
}

// publishTopic publishes as the broker of one node does.
func publishTopic(r *topicRouter, from session, app broker.AppID, p *broker.Publish) error {
	if err := r.Check(app, p); err != nil {
		return err
	}
	if p.Retain {
		r.Retain(app, topicIDs.Next(), p)
	}
	r.publish(from, p, nil)
	return nil
}

var topicIDs = broker.NewIDClock(1, broker.MessageID{}, time.Now)

func (f *fakeSession) Submit() {
	f.mu.Lock()
	f.submits++
	f.mu.Unlock()
	f.link.Wake()
}

func (f *fakeSession) note(list *[]uint16, tag uint16, out ...broker.Out) {
	f.mu.Lock()
	*list = append(*list, tag)
	f.out = append(f.out, out...)
	f.mu.Unlock()
	f.link.Wake()
}

func (f *fakeSession) Release(tag uint16) {
	f.note(&f.released, tag, broker.Out{Kind: broker.OutComplete, Tag: tag})
}

func (f *fakeSession) Received(tag uint16) {
	f.note(&f.received, tag, broker.Out{Kind: broker.OutRelease, Tag: tag})
}
func (f *fakeSession) Acked(tag uint16) { f.note(&f.acked, tag) }

func (f *fakeSession) Rejected(tag uint16) { f.note(&f.acked, tag) }

func (f *fakeSession) Next(out []broker.Out) []broker.Out {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(f.out), cap(out)-len(out))
	out = append(out, f.out[:n]...)
	f.out = slices.Delete(f.out, 0, n)
	return out
}

func (f *fakeSession) Behind() bool { return false }

func (f *fakeSession) Backlog() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.out)
}

func (f *fakeSession) Written() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written++
}

// Subscribe grants what lies in the app, except what a test names to be refused.
func (f *fakeSession) Subscribe(_ context.Context, subs []broker.Subscription, proof *broker.WatchProof) ([]*broker.Error, []bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.proof = proof
	errs, topics := make([]*broker.Error, len(subs)), make([]bool, len(subs))
	for i := range subs {
		filter := subs[i].Filter
		if rest, ok := strings.CutPrefix(filter, "$share/"); ok {
			_, filter, _ = strings.Cut(rest, "/")
		}
		switch {
		case filter == string(f.app)+"/limited":
			errs[i] = broker.Errorf(broker.LimitExceeded, "too many")
		case !strings.HasPrefix(filter, string(f.app)+"/"):
			errs[i] = broker.Errorf(broker.InvalidTarget, "not yours")
		default:
			topics[i] = strings.HasPrefix(filter, string(f.app)+"/topic/")
			f.subs = append(f.subs, subs[i])
		}
	}
	return errs, topics
}

func (f *fakeSession) Unsubscribe(filters []string) []bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	existed := make([]bool, len(filters))
	for i, filter := range filters {
		n := len(f.subs)
		f.subs = slices.DeleteFunc(f.subs, func(s broker.Subscription) bool { return s.Filter == filter })
		existed[i] = len(f.subs) < n
	}
	return existed
}

func (f *fakeSession) Deliver(o broker.Out) bool {
	f.send(o)
	return true
}

func (f *fakeSession) End(how broker.EndReason, expiry *time.Duration) {
	f.ended <- ending{how, expiry}
}

// send queues what the connection shall write.
func (f *fakeSession) send(o ...broker.Out) {
	f.mu.Lock()
	f.out = append(f.out, o...)
	f.mu.Unlock()
	f.link.Wake()
}

var testID, _ = broker.ParseMessageID("06h0e58ur80000000000")

// testServer is a Server over fake sessions.
type testServer struct {
	*Server
	addr string
	log  *logBuffer

	smu      sync.Mutex
	sessions map[string]*fakeSession // by client id
	requests map[string]*broker.OpenRequest
}

// startServer serves on a port of its own until the test ends, and fails the test if a connection panicked.
func startServer(t testing.TB, tweak ...func(*Server)) *testServer {
	t.Helper()
	log := &logBuffer{}
	s, err := newServer(Options{Config: Config{Origins: []string{AnyOrigin}}, Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	ts := &testServer{Server: s, log: log, sessions: make(map[string]*fakeSession), requests: make(map[string]*broker.OpenRequest)}
	s.app = func(id broker.AppID) (broker.AppConfig, bool) { return broker.DefaultAppConfig(id), true }
	s.open = ts.openFake
	for _, f := range tweak {
		f(s)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		down, stop := context.WithTimeout(context.Background(), 10*time.Second)
		defer stop()
		if err := s.Shutdown(down); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if n := len(s.topics.conns); n != 0 {
			t.Errorf("%d connections left in the topic router", n)
		}
		if strings.Contains(log.String(), "panic") && !strings.Contains(log.String(), "a test's") {
			t.Errorf("a connection panicked:\n%s", log)
		}
	})
	return ts
}

func (ts *testServer) openFake(_ context.Context, r *broker.OpenRequest, link broker.Link) (session, bool, error) {
	switch r.App {
	case "banned":
		return nil, false, broker.Errorf(broker.Banned, "go away")
	case "drained":
		return nil, false, broker.ErrDraining
	case "away":
		return nil, false, errors.New("disk on fire")
	case "nosuchapp":
		return nil, false, broker.Errorf(broker.AppNotFound, "no such app")
	}
	peer, _, ok := broker.ParseClientID(r.ClientID)
	if !ok {
		return nil, false, broker.Errorf(broker.InvalidPeer, "client id")
	}
	f := &fakeSession{app: broker.AppID(r.App), peer: peer, link: link, ended: make(chan ending, 1), topics: ts.topics}
	ts.smu.Lock()
	defer ts.smu.Unlock()
	kept := *r
	kept.Password = bytes.Clone(r.Password)
	ts.sessions[r.ClientID], ts.requests[r.ClientID] = f, &kept
	return f, !r.CleanStart, nil
}

func (ts *testServer) session(t testing.TB, clientID string) *fakeSession {
	t.Helper()
	ts.smu.Lock()
	defer ts.smu.Unlock()
	f := ts.sessions[clientID]
	if f == nil {
		t.Fatalf("no session of %q", clientID)
	}
	return f
}

func (ts *testServer) request(clientID string) *broker.OpenRequest {
	ts.smu.Lock()
	defer ts.smu.Unlock()
	return ts.requests[clientID]
}

// logBuffer is a log that a test reads while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// rawClient speaks MQTT in bytes, with the engine's packets as its codec.
type rawClient struct {
	t       testing.TB
	nc      net.Conn
	version byte
	buf     []byte
}

func (ts *testServer) dial(t testing.TB, version byte) *rawClient {
	t.Helper()
	nc, err := net.Dial("tcp", ts.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &rawClient{t: t, nc: nc, version: version}
}

// open dials and opens a session in the app "demo".
func (ts *testServer) open(t testing.TB, version byte, clientID string, tweak ...func(*packets.Packet)) (*rawClient, *fakeSession) {
	t.Helper()
	c := ts.dial(t, version)
	pk := connectPacket(version, clientID)
	for _, f := range tweak {
		f(&pk)
	}
	c.send(pk)
	if ack := c.expect(packets.Connack); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x %q", ack.ReasonCode, ack.Properties.ReasonString)
	}
	return c, ts.session(t, clientID)
}

func connectPacket(version byte, clientID string) packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: version,
		Connect: packets.ConnectParams{
			ProtocolName: []byte("MQTT"), ClientIdentifier: clientID, Clean: true, Keepalive: 60,
			UsernameFlag: true, Username: []byte("demo"),
		},
	}
}

func (c *rawClient) raw(b ...byte) {
	c.t.Helper()
	_ = c.nc.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *rawClient) send(pks ...packets.Packet) {
	c.t.Helper()
	var b []byte
	for _, pk := range pks {
		b = append(b, encodePacket(c.t, c.version, pk)...)
	}
	c.raw(b...)
}

func encodePacket(t testing.TB, version byte, pk packets.Packet) []byte {
	t.Helper()
	pk.ProtocolVersion = version
	pk.Mods.AllowResponseInfo = true
	switch pk.FixedHeader.Type {
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		pk.FixedHeader.Qos = 1
	}
	encode := map[byte]func(*packets.Packet, *bytes.Buffer) error{
		packets.Connect: (*packets.Packet).ConnectEncode, packets.Publish: (*packets.Packet).PublishEncode,
		packets.Puback: (*packets.Packet).PubackEncode, packets.Pubrec: (*packets.Packet).PubrecEncode,
		packets.Pubrel: (*packets.Packet).PubrelEncode, packets.Pubcomp: (*packets.Packet).PubcompEncode,
		packets.Subscribe: (*packets.Packet).SubscribeEncode, packets.Unsubscribe: (*packets.Packet).UnsubscribeEncode,
		packets.Pingreq: (*packets.Packet).PingreqEncode, packets.Disconnect: (*packets.Packet).DisconnectEncode,
		packets.Auth: (*packets.Packet).AuthEncode,
	}[pk.FixedHeader.Type]
	var b bytes.Buffer
	if err := encode(&pk, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read returns the next packet, or io.EOF when the server has closed.
func (c *rawClient) read() (packets.Packet, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		if pk, n := decodePacket(c.t, c.version, c.buf); n > 0 {
			c.buf = c.buf[n:]
			return pk, nil
		}
		b := make([]byte, 64<<10)
		n, err := c.nc.Read(b)
		if err != nil {
			return packets.Packet{}, err
		}
		c.buf = append(c.buf, b[:n]...)
	}
}

// decodePacket decodes the first packet of b with the engine's codec; n is 0 while bytes are missing.
func decodePacket(t testing.TB, version byte, b []byte) (pk packets.Packet, n int) {
	t.Helper()
	if len(b) < 2 {
		return pk, 0
	}
	remaining, size := varint(b[1:])
	if size <= 0 || len(b) < 1+size+remaining {
		return pk, 0
	}
	if err := pk.FixedHeader.Decode(b[0]); err != nil {
		t.Fatalf("server sent % x: %v", b[0], err)
	}
	pk.ProtocolVersion, pk.FixedHeader.Remaining = version, remaining
	body := bytes.Clone(b[1+size : 1+size+remaining])
	decode := map[byte]func(*packets.Packet, []byte) error{
		packets.Connack: (*packets.Packet).ConnackDecode, packets.Publish: (*packets.Packet).PublishDecode,
		packets.Puback: (*packets.Packet).PubackDecode, packets.Pubrec: (*packets.Packet).PubrecDecode,
		packets.Pubrel: (*packets.Packet).PubrelDecode, packets.Pubcomp: (*packets.Packet).PubcompDecode,
		packets.Suback: (*packets.Packet).SubackDecode, packets.Unsuback: (*packets.Packet).UnsubackDecode,
		packets.Pingresp: (*packets.Packet).PingrespDecode, packets.Disconnect: (*packets.Packet).DisconnectDecode,
	}[pk.FixedHeader.Type]
	if decode == nil {
		t.Fatalf("server sent packet type %d", pk.FixedHeader.Type)
	}
	if err := decode(&pk, body); err != nil {
		t.Fatalf("server sent % x: %v", b[:1+size+remaining], err)
	}
	return pk, 1 + size + remaining
}

// expect reads the next packet, which must be of that type.
func (c *rawClient) expect(kind byte) packets.Packet {
	c.t.Helper()
	pk, err := c.read()
	if err != nil {
		c.t.Fatalf("waiting for %s: %v", packets.PacketNames[kind], err)
	}
	if pk.FixedHeader.Type != kind {
		c.t.Fatalf("got %s (reason %#x %q), want %s", packets.PacketNames[pk.FixedHeader.Type], pk.ReasonCode, pk.Properties.ReasonString, packets.PacketNames[kind])
	}
	return pk
}

// expectEnd expects a DISCONNECT with that reason code, none when it is 0, and the end of the connection.
func (c *rawClient) expectEnd(code byte) {
	c.t.Helper()
	if code != 0 {
		if pk := c.expect(packets.Disconnect); pk.ReasonCode != code {
			c.t.Fatalf("DISCONNECT %#x %q, want %#x", pk.ReasonCode, pk.Properties.ReasonString, code)
		}
	}
	if pk, err := c.read(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("after the end: %v, %v", packets.PacketNames[pk.FixedHeader.Type], err)
	}
}

// expectEnded waits for the session's end.
func expectEnded(t testing.TB, f *fakeSession, how broker.EndReason) ending {
	t.Helper()
	select {
	case e := <-f.ended:
		if e.how != how {
			t.Fatalf("session ended with %d, want %d", e.how, how)
		}
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("session did not end")
		return ending{}
	}
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func publishPacket(qos byte, id uint16, topic, payload string) packets.Packet {
	return packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, PacketID: id, TopicName: topic, Payload: []byte(payload),
	}
}
