package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	paho3 "github.com/eclipse/paho.mqtt.golang"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
)

// opening says how a client opens its session. The zero value is a stock MQTT 5 client without a password.
type opening struct {
	version    int    // 3 (MQTT 3.1.1) or 5; 0: 5
	password   string // JSON
	clean      bool
	expiry     uint32 // session expiry in seconds, MQTT 5
	manual     bool   // the test acknowledges what arrives itself
	will       *will
	receiveMax uint16
	maxPacket  uint32
	noProblem  bool                     // Request Problem Information 0
	askInfo    bool                     // Request Response Information 1
	via        func() (net.Conn, error) // nil: TCP
}

type will struct {
	topic, payload string
	qos            byte
	delay          uint32 // seconds
}

// refusal is a CONNACK that says no.
type refusal struct {
	code   byte
	reason string // MQTT 5
}

// client is a peer on one device, with a stock client.
type client struct {
	t       testing.TB
	app     *app
	peer    string
	version int
	present bool   // Session Present
	info    string // Response Information
	conn    net.Conn
	v5      *paho.Client
	v3      paho3.Client
	told    chan byte     // reason codes of the server's DISCONNECT
	ended   chan struct{} // closed when the connection has

	mu      sync.Mutex
	all     []arrival // all that ever arrived on this connection
	waiting []arrival // of those, what no test has taken yet
	changed chan struct{}
}

// arrival is a PUBLISH that a client received. Its topic is that behind the app's id.
type arrival struct {
	topic, payload string
	qos            byte
	retain, dup    bool
	props          *paho.PublishProperties // nil for MQTT 3.1.1
	ack            func()
}

// user returns the values of a user property.
func (a arrival) user(name string) string {
	if a.props == nil {
		return ""
	}
	return strings.Join(a.props.User.GetAll(name), ",")
}

// open opens a session, as the client id says: {peer} or {peer}/{device}.
func open(t testing.TB, a *app, clientID string, o opening) *client {
	t.Helper()
	c, no := dial(t, a, clientID, o)
	if no != nil {
		t.Fatalf("%s is refused: 0x%02X %s", clientID, no.code, no.reason)
	}
	return c
}

// refused opens a session that must be refused.
func refused(t testing.TB, a *app, clientID string, o opening) refusal {
	t.Helper()
	c, no := dial(t, a, clientID, o)
	if no == nil {
		c.drop()
		t.Fatalf("%s is let in", clientID)
	}
	return *no
}

func dial(t testing.TB, a *app, clientID string, o opening) (*client, *refusal) {
	t.Helper()
	peer, _, _ := strings.Cut(clientID, "/")
	c := &client{
		t: t, app: a, peer: peer, version: cmp.Or(o.version, 5), told: make(chan byte, 1),
		ended: make(chan struct{}), changed: make(chan struct{}, 1),
	}
	if o.via == nil {
		o.via = func() (net.Conn, error) { return net.DialTimeout("tcp", a.MQTT, patience) }
	}
	var err error
	if c.conn, err = o.via(); err != nil {
		t.Fatal(err)
	}
	if c.version == 5 {
		c.conn = packets.NewThreadSafeConn(c.conn) // as the library asks for what is no plain TCP
	}
	t.Cleanup(c.drop)
	var no *refusal
	if c.version == 5 {
		no, err = c.dial5(clientID, &o)
	} else {
		no, err = c.dial3(clientID, &o)
	}
	if err != nil {
		t.Fatalf("open %s: %v", clientID, err)
	}
	return c, no
}

func (c *client) dial5(clientID string, o *opening) (*refusal, error) {
	c.v5 = paho.NewClient(paho.ClientConfig{
		Conn: c.conn, PacketTimeout: patience, EnableManualAcknowledgment: o.manual, SendAcksInterval: time.Millisecond,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			p := r.Packet
			c.arrived(arrival{
				topic: p.Topic, payload: string(p.Payload), qos: p.QoS, retain: p.Retain, dup: p.Duplicate(), props: p.Properties,
				ack: func() {
					if err := r.Client.Ack(p); err != nil {
						c.t.Errorf("acknowledge: %v", err)
					}
				},
			})
			return true, nil
		}},
		OnServerDisconnect: func(d *paho.Disconnect) { c.told <- d.ReasonCode },
		OnClientError:      func(error) {},
	})
	cp := &paho.Connect{
		ClientID: clientID, CleanStart: o.clean, KeepAlive: 60, UsernameFlag: true, Username: c.app.id,
		PasswordFlag: o.password != "", Password: []byte(o.password),
		Properties: &paho.ConnectProperties{RequestProblemInfo: !o.noProblem, RequestResponseInfo: o.askInfo},
	}
	if o.expiry > 0 {
		cp.Properties.SessionExpiryInterval = &o.expiry
	}
	if o.receiveMax > 0 {
		cp.Properties.ReceiveMaximum = &o.receiveMax
	}
	if o.maxPacket > 0 {
		cp.Properties.MaximumPacketSize = &o.maxPacket
	}
	if w := o.will; w != nil {
		cp.WillMessage = &paho.WillMessage{Topic: c.filter(w.topic), Payload: []byte(w.payload), QoS: w.qos}
		if w.delay > 0 {
			cp.WillProperties = &paho.WillProperties{WillDelayInterval: &w.delay}
		}
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	ack, err := c.v5.Connect(ctx, cp)
	if ack == nil {
		close(c.ended)
		return nil, err
	}
	if ack.ReasonCode >= 0x80 {
		close(c.ended)
		return &refusal{ack.ReasonCode, ack.Properties.ReasonString}, nil
	}
	go func() {
		<-c.v5.Done()
		close(c.ended)
	}()
	c.present, c.info = ack.SessionPresent, ack.Properties.ResponseInfo
	return nil, err
}

func (c *client) dial3(clientID string, o *opening) (*refusal, error) {
	opts := paho3.NewClientOptions().AddBroker("tcp://" + c.app.MQTT).SetProtocolVersion(4).SetClientID(clientID).
		SetUsername(c.app.id).SetPassword(o.password).SetCleanSession(o.clean).SetAutoReconnect(false).SetKeepAlive(time.Minute).
		SetConnectTimeout(patience).SetWriteTimeout(patience).SetAutoAckDisabled(o.manual).
		SetCustomOpenConnectionFn(func(*url.URL, paho3.ClientOptions) (net.Conn, error) { return c.conn, nil }).
		SetConnectionLostHandler(func(paho3.Client, error) { close(c.ended) }).
		SetDefaultPublishHandler(func(_ paho3.Client, m paho3.Message) {
			c.arrived(arrival{topic: m.Topic(), payload: string(m.Payload()), qos: m.Qos(), retain: m.Retained(), dup: m.Duplicate(), ack: m.Ack})
		})
	if w := o.will; w != nil {
		opts.SetWill(c.filter(w.topic), w.payload, w.qos, false)
	}
	c.v3 = paho3.NewClient(opts)
	token, _ := c.v3.Connect().(*paho3.ConnectToken)
	if !token.WaitTimeout(patience) {
		return nil, errors.New("no CONNACK")
	}
	if code := token.ReturnCode(); code != 0 && code < 6 {
		return &refusal{code: code}, nil
	}
	c.present = token.SessionPresent()
	return nil, token.Error()
}

func (c *client) arrived(a arrival) {
	a.topic = strings.TrimPrefix(a.topic, c.app.id+"/")
	c.mu.Lock()
	c.all, c.waiting = append(c.all, a), append(c.waiting, a)
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// drop ends the connection without a word, as a lost network does.
func (c *client) drop() { _ = c.conn.Close() }

// close says DISCONNECT.
func (c *client) close() {
	c.t.Helper()
	if c.v5 != nil {
		if err := c.v5.Disconnect(&paho.Disconnect{}); err != nil {
			c.t.Errorf("disconnect: %v", err)
		}
		return
	}
	c.v3.Disconnect(1000)
}

// wasTold waits for the end of the connection and returns the reason code that the server gave to an MQTT 5 client.
func (c *client) wasTold() (code byte) {
	c.t.Helper()
	end := time.After(patience)
	if c.version == 5 {
		select {
		case code = <-c.told:
		case <-end:
			c.t.Fatalf("%s is not told that its connection ends", c.peer)
		}
	}
	select {
	case <-c.ended:
	case <-end:
		c.t.Fatalf("%s's connection does not end", c.peer)
	}
	return code
}

// take waits for the first untaken arrival that is wanted, and takes it.
func (c *client) take(what string, wanted func(*arrival) bool) arrival {
	c.t.Helper()
	end := time.After(patience)
	for {
		c.mu.Lock()
		for i := range c.waiting {
			if a := c.waiting[i]; wanted(&a) {
				c.waiting = append(c.waiting[:i:i], c.waiting[i+1:]...)
				c.mu.Unlock()
				return a
			}
		}
		c.mu.Unlock()
		select {
		case <-c.changed:
		case <-end:
			c.t.Fatalf("%s gets no %s; it got:\n%s", c.peer, what, c.heard())
		}
	}
}

// next takes the next arrival on a topic (without the app's id).
func (c *client) next(topic string) arrival {
	c.t.Helper()
	return c.take(topic, func(a *arrival) bool { return a.topic == topic })
}

// wants takes the next arrival on a topic, which must have this payload.
func (c *client) wants(topic, payload string) arrival {
	c.t.Helper()
	a := c.next(topic)
	if a.payload != payload {
		c.t.Fatalf("%s gets %q on %s, want %q; it got:\n%s", c.peer, a.payload, topic, payload, c.heard())
	}
	return a
}

// messages takes n messages to this peer or its groups and returns their payloads, in order.
func (c *client) messages(n int) []string {
	c.t.Helper()
	got := make([]string, 0, n)
	for range n {
		got = append(got, c.take("message", isMessage).payload)
	}
	return got
}

func isMessage(a *arrival) bool {
	return strings.HasPrefix(a.topic, "peer/") || strings.HasPrefix(a.topic, "group/") && !strings.HasSuffix(a.topic, "/$event")
}

// nothing checks that no untaken arrival lies on a topic that begins so. What was sent to this client before a round
// trip on its connection, or before something it has received since, would be there.
func (c *client) nothing(prefix string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.waiting {
		if strings.HasPrefix(c.waiting[i].topic, prefix) {
			c.t.Errorf("%s gets %q on %s, which it should not", c.peer, c.waiting[i].payload, c.waiting[i].topic)
		}
	}
}

func (c *client) heard() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	const shown = 40
	if len(c.all) > shown {
		fmt.Fprintf(&b, "  (%d more)\n", len(c.all)-shown)
	}
	for i := max(0, len(c.all)-shown); i < len(c.all); i++ {
		payload := c.all[i].payload
		fmt.Fprintf(&b, "  %s %.200s\n", c.all[i].topic, payload)
	}
	return b.String()
}

// first is the very first packet that came.
func (c *client) first() arrival {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[0]
}

// count is how many arrivals on a topic there have been.
func (c *client) count(topic string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.all {
		if c.all[i].topic == topic {
			n++
		}
	}
	return n
}

// publication is what a client publishes; the rest is MQTT 5.
type publication struct {
	qos    byte
	retain bool
	user   []string // names and values of user properties
	props  paho.PublishProperties
}

// acknowledgement is what came of a publish.
type acknowledgement struct {
	code   byte
	reason string
	id, ts string
}

// publish publishes and returns its acknowledgement; that of MQTT 3.1.1 is empty.
func (c *client) publish(topic, payload string, p publication) acknowledgement {
	c.t.Helper()
	topic = c.filter(topic)
	if c.v5 == nil {
		token := c.v3.Publish(topic, p.qos, p.retain, payload)
		if !token.WaitTimeout(patience) || token.Error() != nil {
			c.t.Fatalf("%s's publish to %s is not acknowledged (%v); it got:\n%s", c.peer, topic, token.Error(), c.heard())
		}
		return acknowledgement{}
	}
	for i := 0; i+1 < len(p.user); i += 2 {
		p.props.User.Add(p.user[i], p.user[i+1])
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	r, err := c.v5.Publish(ctx, &paho.Publish{Topic: topic, QoS: p.qos, Retain: p.retain, Payload: []byte(payload), Properties: &p.props})
	if r == nil {
		c.t.Fatalf("%s's publish to %s: %v", c.peer, topic, err)
	}
	a := acknowledgement{code: r.ReasonCode}
	if r.Properties != nil {
		a.reason, a.id, a.ts = r.Properties.ReasonString, r.Properties.User.Get("id"), r.Properties.User.Get("ts")
	}
	return a
}

// send sends a message at QoS 1 which must be accepted.
func (c *client) send(topic, payload string, user ...string) acknowledgement {
	c.t.Helper()
	a := c.publish(topic, payload, publication{qos: 1, user: user})
	if a.code >= 0x80 {
		c.t.Fatalf("%s's %q to %s is refused: 0x%02X %s", c.peer, payload, topic, a.code, a.reason)
	}
	return a
}

// subscribe returns the reason codes.
func (c *client) subscribe(qos byte, filters ...string) []byte {
	c.t.Helper()
	if c.v5 == nil {
		var codes []byte
		for _, f := range filters {
			token, _ := c.v3.Subscribe(c.filter(f), qos, nil).(*paho3.SubscribeToken)
			if !token.WaitTimeout(patience) {
				c.t.Fatalf("%s's SUBSCRIBE %s is not answered", c.peer, f)
			}
			for _, code := range token.Result() { // of a shared subscription under another name
				codes = append(codes, code)
			}
		}
		return codes
	}
	s := &paho.Subscribe{}
	for _, f := range filters {
		s.Subscriptions = append(s.Subscriptions, paho.SubscribeOptions{Topic: c.filter(f), QoS: qos})
	}
	return c.subscribe5(s)
}

func (c *client) subscribe5(s *paho.Subscribe) []byte {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	ack, err := c.v5.Subscribe(ctx, s)
	if ack == nil {
		c.t.Fatalf("%s's SUBSCRIBE: %v", c.peer, err)
	}
	return ack.Reasons
}

// filter makes a topic or filter whole: it puts the app's id before a filter, behind $share/{name}/; one that begins with / is taken as it is, without that.
func (c *client) filter(f string) string {
	if rest, ok := strings.CutPrefix(f, "/"); ok {
		return rest
	}
	if strings.HasPrefix(f, "$share/") {
		parts := strings.SplitN(f, "/", 3)
		return parts[0] + "/" + parts[1] + "/" + c.app.id + "/" + parts[2]
	}
	return c.app.id + "/" + f
}

func (c *client) unsubscribe(filter string) {
	c.t.Helper()
	if c.v5 == nil {
		if token := c.v3.Unsubscribe(c.filter(filter)); !token.WaitTimeout(patience) {
			c.t.Fatalf("%s's UNSUBSCRIBE %s is not answered", c.peer, filter)
		}
		return
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if _, err := c.v5.Unsubscribe(ctx, &paho.Unsubscribe{Topics: []string{c.filter(filter)}}); err != nil {
		c.t.Fatalf("%s's UNSUBSCRIBE: %v", c.peer, err)
	}
}

// body is the JSON of an event, a reply, or a message in an envelope.
type body struct {
	ID           json.RawMessage
	OK           bool
	Code         int
	Error        string
	Event        string
	Peer, Device string
	Group, By    string
	From         string
	To           any
	Topic        string
	Packet       int
	Message      *string
	Data         []byte
	MessageID    string `json:"message_id"`
	TS, Since    int64
	Conversation string
	Online       []string
	Groups       []string
	Members      []string
	Peers        []string
	Messages     []historyItem
	Next         string
	Waiting      int
	Count        int
	Transient    bool
	Offline      bool
}

func (a arrival) body(t testing.TB) (b body) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.payload), &b); err != nil {
		t.Fatalf("%s: %v: %s", a.topic, err, a.payload)
	}
	return b
}

// event takes the next event of a kind to this peer.
func (c *client) event(kind string) body {
	c.t.Helper()
	return c.next("event/" + c.peer + "/" + kind).body(c.t)
}

// ask publishes a request, a JSON object, and returns its reply.
func (c *client) ask(verb, request string) body {
	c.t.Helper()
	c.publish("request/"+c.peer+"/"+verb, request, publication{qos: 1})
	return c.event("reply")
}

// does makes a request that must succeed.
func (c *client) does(verb, request string) body {
	c.t.Helper()
	r := c.ask(verb, request)
	if !r.OK {
		c.t.Fatalf("%s's %s is refused: %d %s", c.peer, verb, r.Code, r.Error)
	}
	return r
}

// inBothVersions runs a test with MQTT 5 and with 3.1.1 clients.
func inBothVersions(t *testing.T, test func(t *testing.T, version int)) {
	t.Helper()
	for _, version := range []int{5, 3} {
		t.Run(map[int]string{5: "mqtt5", 3: "mqtt3.1.1"}[version], func(t *testing.T) {
			t.Parallel()
			test(t, version)
		})
	}
}

// watching is a password with a watch list.
func watching(peers ...string) string {
	text, _ := json.Marshal(map[string]any{"watch": peers})
	return string(text)
}
