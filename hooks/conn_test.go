package hooks

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

// TestTrap01MalformedPackets sends what no client may send: the connection ends with the right code, the server goes on.
func TestTrap01MalformedPackets(t *testing.T) {
	ts := startServer(t)
	for name, c := range map[string]struct {
		in   []byte
		code byte // of MQTT 5
	}{
		"SUBSCRIBE without its option byte": {[]byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}, 0x81},
		"SUBSCRIBE without filters":         {[]byte{0x82, 3, 0, 1, 0}, 0x82},
		"SUBSCRIBE with id 0":               {[]byte{0x82, 7, 0, 0, 0, 0, 1, 'a', 0}, 0x82},
		"SUBSCRIBE with reserved bits":      {[]byte{0x82, 7, 0, 1, 0, 0, 1, 'a', 0x40}, 0x81},
		"SUBSCRIBE with qos 3":              {[]byte{0x82, 7, 0, 1, 0, 0, 1, 'a', 3}, 0x81},
		"SUBSCRIBE with retain handling 3":  {[]byte{0x82, 7, 0, 1, 0, 0, 1, 'a', 0x30}, 0x81},
		"SUBSCRIBE with flags 0":            {[]byte{0x80, 7, 0, 1, 0, 0, 1, 'a', 0}, 0x81},
		"SUBSCRIBE with identifier 0":       {[]byte{0x82, 9, 0, 1, 2, 0x0b, 0, 0, 1, 'a', 0}, 0x82},
		"SUBSCRIBE of nothing":              {[]byte{0x82, 6, 0, 1, 0, 0, 0, 0}, 0x81},
		"SUBSCRIBE with cut properties":     {[]byte{0x82, 3, 0, 1, 9}, 0x81},
		"shared SUBSCRIBE with no local":    {append([]byte{0x82, 16, 0, 1, 0, 0, 10}, "$share/g/a\x04"...), 0x82},
		"UNSUBSCRIBE without filters":       {[]byte{0xA2, 3, 0, 1, 0}, 0x82},
		"UNSUBSCRIBE cut":                   {[]byte{0xA2, 6, 0, 1, 0, 0, 2, 'a'}, 0x81},
		"UNSUBSCRIBE not UTF-8":             {[]byte{0xA2, 6, 0, 1, 0, 0, 1, 0xff}, 0x81},
		"PUBLISH with qos 3":                {[]byte{0x36, 0}, 0x81},
		"PUBLISH to a wildcard":             {[]byte{0x30, 4, 0, 1, '#', 0}, 0x90},
		"PUBLISH to an unknown alias":       {[]byte{0x30, 6, 0, 0, 3, 0x23, 0, 1}, 0x82},
		"PUBLISH to alias 33":               {[]byte{0x30, 7, 0, 1, 'a', 3, 0x23, 0, 33}, 0x94},
		"PUBACK with id 0":                  {[]byte{0x40, 2, 0, 0}, 0x82},
		"PUBACK too short":                  {[]byte{0x40, 1, 0}, 0x81},
		"PUBREL with flags 0":               {[]byte{0x60, 2, 0, 1}, 0x81},
		"PUBREC with bad properties":        {[]byte{0x50, 5, 0, 1, 0, 1, 0x7f}, 0x81},
		"PINGREQ with a body":               {[]byte{0xC0, 1, 0}, 0x81},
		"DISCONNECT with a strange reason":  {[]byte{0xE0, 1, 0x55}, 0x82},
		"DISCONNECT raising session expiry": {[]byte{0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9}, 0x82},
		"second CONNECT":                    {encodePacket(t, 5, connectPacket(5, "alice")), 0x82},
		"AUTH":                              {[]byte{0xF0, 2, 0x18, 0}, 0x82},
		"CONNACK":                           {[]byte{0x20, 3, 0, 0, 0}, 0x82},
		"type 0":                            {[]byte{0x00, 0}, 0x82},
		"length of five bytes":              {[]byte{0x30, 0xff, 0xff, 0xff, 0xff, 1}, 0x81},
	} {
		for _, version := range []byte{4, 5} {
			t.Run(fmt.Sprintf("%s/%d", name, version), func(t *testing.T) {
				in, code := c.in, c.code
				if version == 4 {
					if strings.Contains(name, "DISCONNECT") {
						t.Skip("MQTT 5 only")
					}
					code = 0
					in = withoutProperties(in)
				}
				client, f := ts.open(t, version, "alice")
				client.raw(in...)
				client.expectEnd(code)
				expectEnded(t, f, broker.EndLost)
			})
		}
	}
	ts.open(t, 5, "still/here")
}

// withoutProperties makes the MQTT 5 packets above malformed ones of 3.1.1 by keeping them: what is malformed in 5 is so in 3.1.1 too.
func withoutProperties(in []byte) []byte {
	switch in[0] {
	case 0x82, 0xA2: // a filter of length 0 in front
		return []byte{in[0], 4, 0, 1, 0, 0}
	case 0x30:
		if in[1] == 4 || in[1] == 6 || in[1] == 7 {
			return []byte{0x30, 2, 0, 0}
		}
	}
	return in
}

// TestTrap01PanicBarrier: a panic ends its own connection only.
func TestTrap01PanicBarrier(t *testing.T) {
	ts := startServer(t)
	c, f := ts.open(t, 5, "alice")
	f.panics = true
	other, _ := ts.open(t, 5, "bob")
	c.send(publishPacket(0, 0, "panic", ""))
	expectEnded(t, f, broker.EndLost)
	other.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	other.expect(packets.Pingresp)
	if log := ts.log.String(); !strings.Contains(log, "panic on a connection") {
		t.Error("nothing was logged")
	}
}

// TestTrap02PacketIdentifiers: ids that the client chose and ids of our deliveries are apart.
func TestTrap02PacketIdentifiers(t *testing.T) {
	ts := startServer(t)
	c, f := ts.open(t, 5, "alice")
	f.send(broker.Out{Kind: broker.OutPublish, Topic: "t", QoS: 1, Tag: 5})
	c.expect(packets.Publish)
	c.send(publishPacket(1, 5, "demo/x", ""))
	c.expect(packets.Puback)
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe}, PacketID: 5, Filters: packets.Subscriptions{{Filter: "demo/x"}}})
	if ack := c.expect(packets.Suback); !bytes.Equal(ack.ReasonCodes, []byte{0}) { // trap 27
		t.Errorf("% x", ack.ReasonCodes)
	}
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: 5})
	eventually(t, "the delivery is acknowledged", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Equal(f.acked, []uint16{5})
	})
}

// TestTrap10StuckReader: a client that reads nothing holds up nobody, and is cut when it takes nothing for too long.
func TestTrap10StuckReader(t *testing.T) {
	ts := startServer(t, func(s *Server) { s.limits.write = 500 * time.Millisecond })
	stuck, f := ts.open(t, 5, "stuck")
	_ = stuck.nc.(*net.TCPConn).SetReadBuffer(4096)
	payload := bytes.Repeat([]byte("x"), 64<<10)
	for range 500 {
		begin := time.Now()
		f.send(broker.Out{Kind: broker.OutPublish, Topic: "t", Payload: payload})
		if d := time.Since(begin); d > 400*time.Millisecond {
			t.Fatalf("queueing took %v", d)
		}
	}
	other, _ := ts.open(t, 5, "other")
	other.send(publishPacket(1, 1, "demo/x", ""))
	other.expect(packets.Puback)
	expectEnded(t, f, broker.EndLost)
}

// TestTrap11TakeOverOfAStalledConnection: the old session ends at once, whatever its socket does.
func TestTrap11TakeOverOfAStalledConnection(t *testing.T) {
	ts := startServer(t)
	_, f := ts.open(t, 5, "stuck")
	payload := bytes.Repeat([]byte("x"), 64<<10)
	for range 500 {
		f.send(broker.Out{Kind: broker.OutPublish, Topic: "t", Payload: payload})
	}
	eventually(t, "the writer is stuck", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		n := len(f.out)
		return n > 0 && n < 500
	})
	begin := time.Now()
	f.link.Close(broker.CloseTakenOver)
	expectEnded(t, f, broker.EndServer)
	if d := time.Since(begin); d > 200*time.Millisecond {
		t.Errorf("it took %v", d)
	}
}

// TestTrap12KeepAlive: a 3.1.1 client's value holds up to 65,535 s and a half; MQTT 5 is bounded; 0 of 3.1.1 is never cut.
func TestTrap12KeepAlive(t *testing.T) {
	ts := startServer(t)
	for _, c := range []struct {
		version byte
		asked   uint16
		want    time.Duration
	}{
		{4, 65535, 65535 * 1500 * time.Millisecond}, {4, 43691, 43691 * 1500 * time.Millisecond}, {4, 1, 1500 * time.Millisecond}, {4, 0, 0},
		{5, 65535, 900 * time.Second}, {5, 0, 900 * time.Second}, {5, 30, 45 * time.Second},
	} {
		id := fmt.Sprintf("a%d-%d", c.version, c.asked)
		client, f := ts.open(t, c.version, id, func(pk *packets.Packet) { pk.Connect.Keepalive = c.asked })
		client.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		client.expect(packets.Pingresp)
		conn, _ := f.link.(*conn)
		conn.mu.Lock()
		if conn.keepAlive != c.want {
			t.Errorf("version %d, %d s: %v, want %v", c.version, c.asked, conn.keepAlive, c.want)
		}
		left := time.Until(conn.readUntil)
		if c.want == 0 && !conn.readUntil.IsZero() || c.want != 0 && (left < c.want-time.Second || left > c.want+c.want/15) {
			t.Errorf("version %d, %d s: deadline in %v", c.version, c.asked, left)
		}
		conn.mu.Unlock()
	}
}

func TestKeepAliveCuts(t *testing.T) { // [MQTT-3.1.2-22]
	ts := startServer(t)
	begin := time.Now()
	c, f := ts.open(t, 5, "alice", func(pk *packets.Packet) { pk.Connect.Keepalive = 1 })
	c.expectEnd(0x8D)
	if d := time.Since(begin); d < 1500*time.Millisecond || d > 3*time.Second {
		t.Errorf("after %v", d)
	}
	expectEnded(t, f, broker.EndLost)
}

func TestPacketsKeepAlive(t *testing.T) {
	ts := startServer(t)
	c, _ := ts.open(t, 4, "alice", func(pk *packets.Packet) { pk.Connect.Keepalive = 1 })
	for range 5 {
		time.Sleep(500 * time.Millisecond)
		c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
		c.expect(packets.Pingresp)
	}
}

// failingListener fails to accept a few times first.
type failingListener struct {
	net.Listener
	left atomic.Int32
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.left.Add(-1) >= 0 {
		return nil, fmt.Errorf("accept: too many open files")
	}
	return l.Listener.Accept()
}

// TestTrap15AcceptGoesOn: an accept that fails does not end the listener.
func TestTrap15AcceptGoesOn(t *testing.T) {
	ts := startServer(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := &failingListener{Listener: inner}
	ln.left.Store(3)
	go func() { _ = ts.Serve(t.Context(), ln) }()
	ts.addr = ln.Addr().String()
	ts.open(t, 5, "alice")
}

// TestTrap17RefusedPublish: a refusal is an acknowledgement of the right kind, in order, and the connection stays.
func TestTrap17RefusedPublish(t *testing.T) {
	ts := startServer(t)
	for _, version := range []byte{4, 5} {
		c, _ := ts.open(t, version, fmt.Sprintf("alice%d", version))
		c.send(publishPacket(1, 1, "demo/refused", ""), publishPacket(2, 2, "demo/refused", ""), publishPacket(1, 3, "$SYS/x", ""))
		one, two, three := c.expect(packets.Puback), c.expect(packets.Pubrec), c.expect(packets.Puback) // trap 27: $SYS too
		if one.PacketID != 1 || two.PacketID != 2 || three.PacketID != 3 {
			t.Errorf("ids %d, %d, %d", one.PacketID, two.PacketID, three.PacketID)
		}
		if version == 5 && (one.ReasonCode != 0x87 || two.ReasonCode != 0x87 || one.Properties.ReasonString != "4401 invalid_target: not yours") {
			t.Errorf("%#x %q, %#x", one.ReasonCode, one.Properties.ReasonString, two.ReasonCode)
		}
		if version == 4 && one.ReasonCode != 0 {
			t.Errorf("%#x", one.ReasonCode)
		}
	}
}

// TestTrap26Acknowledgements: PUBACK, PUBREC, PUBREL and PUBCOMP reach the session, and nothing else answers them.
func TestTrap26Acknowledgements(t *testing.T) {
	ts := startServer(t)
	c, f := ts.open(t, 5, "alice")
	ack := func(kind byte, id uint16, reason byte) packets.Packet {
		return packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id, ReasonCode: reason}
	}
	c.send(ack(packets.Puback, 1, 0), ack(packets.Pubrec, 2, 0), ack(packets.Pubrec, 3, 0x80), ack(packets.Pubcomp, 4, 0), ack(packets.Pubrel, 5, 0))
	if pk := c.expect(packets.Pubrel); pk.PacketID != 2 {
		t.Errorf("PUBREL %d", pk.PacketID)
	}
	if pk := c.expect(packets.Pubcomp); pk.PacketID != 5 {
		t.Errorf("PUBCOMP %d", pk.PacketID)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.acked, []uint16{1, 3, 4}) || !slices.Equal(f.received, []uint16{2}) || !slices.Equal(f.released, []uint16{5}) {
		t.Errorf("acked %v, received %v, released %v", f.acked, f.received, f.released)
	}
}

// TestTrap26ReceiveMaximum: more than 1,000 unanswered publishes are a protocol error; answered ones do not count.
func TestTrap26ReceiveMaximum(t *testing.T) {
	ts := startServer(t)
	c, f := ts.open(t, 5, "alice")
	for i := range uint16(3000) {
		c.send(publishPacket(1, i+1, "demo/x", ""))
		c.expect(packets.Puback)
	}
	f.mu.Lock()
	f.silent = true
	f.mu.Unlock()
	var batch []packets.Packet
	for i := range uint16(receiveMaximum) {
		batch = append(batch, publishPacket(1, i+1, "demo/x", ""))
	}
	c.send(batch...)
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	c.expect(packets.Pingresp)
	c.send(publishPacket(1, 2000, "demo/x", ""))
	c.expectEnd(0x93)
}

func TestReceiveMaximumIsForMQTT5(t *testing.T) {
	ts := startServer(t)
	c, f := ts.open(t, 4, "alice")
	f.mu.Lock()
	f.silent = true
	f.mu.Unlock()
	for i := range uint16(2 * receiveMaximum) {
		c.send(publishPacket(1, i+1, "demo/x", ""))
	}
	c.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	c.expect(packets.Pingresp)
}

func TestOneReadIsSubmittedOnce(t *testing.T) {
	ts := startServer(t)
	c, f := ts.open(t, 5, "alice")
	var batch []packets.Packet
	for i := range uint16(50) {
		batch = append(batch, publishPacket(1, i+1, "demo/x", "hello"))
	}
	c.send(batch...)
	for i := range uint16(50) {
		if ack := c.expect(packets.Puback); ack.PacketID != i+1 {
			t.Fatalf("%d, want %d", ack.PacketID, i+1)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.submits > 5 {
		t.Errorf("%d submits", f.submits)
	}
}

func TestDisconnect(t *testing.T) {
	for name, c := range map[string]struct {
		version byte
		in      []byte
		how     broker.EndReason
		expiry  time.Duration
	}{
		"3.1.1":             {4, []byte{0xE0, 0}, broker.EndDisconnect, -1},
		"5":                 {5, []byte{0xE0, 0}, broker.EndDisconnect, -1},
		"with will":         {5, []byte{0xE0, 1, 4}, broker.EndDisconnectWill, -1}, // which the engine's decoder overlooks
		"with will, props":  {5, []byte{0xE0, 2, 4, 0}, broker.EndDisconnectWill, -1},
		"error of its own":  {5, []byte{0xE0, 1, 0x80}, broker.EndDisconnectWill, -1},
		"expiry":            {5, []byte{0xE0, 7, 0, 5, 0x11, 0, 0, 0, 9}, broker.EndDisconnect, 9 * time.Second},
		"connection closed": {5, nil, broker.EndLost, -1},
	} {
		t.Run(name, func(t *testing.T) {
			ts := startServer(t)
			client, f := ts.open(t, c.version, "alice", func(pk *packets.Packet) {
				pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 60, true
			})
			if c.in == nil {
				_ = client.nc.Close()
			} else {
				client.raw(c.in...)
				client.expectEnd(0)
			}
			e := expectEnded(t, f, c.how)
			if (e.expiry == nil) != (c.expiry < 0) || e.expiry != nil && *e.expiry != c.expiry {
				t.Errorf("expiry %v", e.expiry)
			}
		})
	}
}

func TestServerCloses(t *testing.T) {
	for why, code := range map[broker.CloseReason]byte{
		broker.CloseTakenOver: 0x8E, broker.CloseKicked: 0x98, broker.CloseShutdown: 0x8B, broker.CloseStoreAway: 0x83,
		broker.CloseMoved: 0x9C,
	} {
		ts := startServer(t)
		five, f5 := ts.open(t, 5, "five")
		three, f3 := ts.open(t, 4, "three")
		f5.link.Close(why)
		f3.link.Close(why)
		f3.link.Close(why)
		five.expectEnd(code)
		three.expectEnd(0)
		expectEnded(t, f5, broker.EndServer)
		expectEnded(t, f3, broker.EndServer)
	}
}

func TestDrainTellsWhereToGo(t *testing.T) {
	for reference, code := range map[string]byte{"": 0x9C, "chat.example.com:1883": 0x9D} {
		ts := startServer(t, func(s *Server) { s.reference = reference })
		c, f := ts.open(t, 5, "alice")
		f.link.Close(broker.CloseMoved)
		if pk := c.expect(packets.Disconnect); pk.ReasonCode != code || pk.Properties.ServerReference != reference {
			t.Errorf("DISCONNECT %#x %q", pk.ReasonCode, pk.Properties.ServerReference)
		}
		late := ts.dial(t, 5)
		connect := connectPacket(5, "late")
		connect.Connect.Username = []byte("drained")
		late.send(connect)
		if pk := late.expect(packets.Connack); pk.ReasonCode != code || pk.Properties.ServerReference != reference {
			t.Errorf("CONNACK %#x %q", pk.ReasonCode, pk.Properties.ServerReference)
		}
	}
}

func TestShutdownTellsAll(t *testing.T) {
	ts := startServer(t)
	var clients []*rawClient
	for i := range 20 {
		c, _ := ts.open(t, 5, fmt.Sprintf("c%d", i))
		clients = append(clients, c)
	}
	for _, c := range clients {
		go func() { _, _ = c.nc.Read(nil) }()
	}
	done := make(chan error, 1)
	go func() { done <- ts.Shutdown(t.Context()) }()
	for _, c := range clients {
		c.expectEnd(0x8B)
		_ = c.nc.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := ts.Stats().Connections["tcp"]; n != 0 {
		t.Errorf("%d connections left", n)
	}
}

// TestManyPacketsInOrder lets one session send much more than a batch.
func TestManyPacketsInOrder(t *testing.T) {
	ts := startServer(t)
	c, f := ts.open(t, 5, "alice")
	const n = 5000
	go func() {
		for i := range n {
			f.send(broker.Out{Kind: broker.OutPublish, Topic: "t", Payload: fmt.Appendf(nil, "%d", i)})
		}
	}()
	for i := range n {
		if pk := c.expect(packets.Publish); string(pk.Payload) != fmt.Sprint(i) {
			t.Fatalf("%s, want %d", pk.Payload, i)
		}
	}
}

func TestPacketsInPieces(t *testing.T) {
	ts := startServer(t)
	c, f := ts.open(t, 5, "alice")
	b := encodePacket(t, 5, publishPacket(1, 9, "demo/x", strings.Repeat("y", 20000)))
	for len(b) > 0 {
		n := min(len(b), 1999)
		c.raw(b[:n]...)
		b = b[n:]
		time.Sleep(time.Millisecond)
	}
	c.expect(packets.Puback)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.published) != 1 || len(f.published[0].Payload) != 20000 {
		t.Errorf("%d published", len(f.published))
	}
}

func TestOversizeDeliveryIsDropped(t *testing.T) { // [MQTT-3.1.2-24] [MQTT-3.1.2-25]
	ts := startServer(t)
	c, f := ts.open(t, 5, "alice", func(pk *packets.Packet) { pk.Properties.MaximumPacketSize = 200 })
	f.send(
		broker.Out{Kind: broker.OutPublish, Topic: "big", QoS: 1, Tag: 9, Payload: make([]byte, 300)},
		broker.Out{Kind: broker.OutPublish, Topic: "small"},
	)
	if pk := c.expect(packets.Publish); pk.TopicName != "small" {
		t.Errorf("%q", pk.TopicName)
	}
	eventually(t, "its tag is free again", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Equal(f.acked, []uint16{9})
	})
}
