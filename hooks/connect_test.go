package hooks

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

func TestConnackTells(t *testing.T) {
	ts := startServer(t)
	c := ts.dial(t, 5)
	pk := connectPacket(5, "alice/phone")
	pk.Connect.Keepalive, pk.Connect.Clean = 0, false
	pk.Connect.Password, pk.Connect.PasswordFlag = []byte(`{"watch":["bob"]}`), true
	pk.Properties = packets.Properties{
		SessionExpiryInterval: 0xFFFFFFFF, SessionExpiryIntervalFlag: true, RequestResponseInfo: 1, ReceiveMaximum: 7, MaximumPacketSize: 9999,
	}
	c.send(pk)
	ack := c.expect(packets.Connack)
	p := ack.Properties
	switch {
	case ack.ReasonCode != 0 || !ack.SessionPresent:
		t.Errorf("reason %#x, session present %v", ack.ReasonCode, ack.SessionPresent)
	case p.ServerKeepAlive != 600 || !p.ServerKeepAliveFlag:
		t.Errorf("server keep alive %d", p.ServerKeepAlive)
	case p.MaximumPacketSize != 256<<10 || p.ReceiveMaximum != 1000 || p.TopicAliasMaximum != 32:
		t.Errorf("maxima %d, %d, %d", p.MaximumPacketSize, p.ReceiveMaximum, p.TopicAliasMaximum)
	case p.ResponseInfo != "demo/event/alice/":
		t.Errorf("response information %q", p.ResponseInfo)
	case p.SessionExpiryInterval != 7*24*3600:
		t.Errorf("session expiry %d", p.SessionExpiryInterval)
	}
	r := ts.request("alice/phone")
	if r.App != "demo" || string(r.Password) != `{"watch":["bob"]}` || r.ReceiveMaximum != 7 || r.MaximumPacket != 9999 ||
		r.Expiry != 7*24*time.Hour || r.Remote != "127.0.0.1" || r.Transport != "tcp" || r.Version != 5 || r.CleanStart {
		t.Errorf("%+v", r)
	}
}

func TestConnackKeepsWhatTheClientAskedFor(t *testing.T) {
	ts := startServer(t)
	c := ts.dial(t, 5)
	c.send(connectPacket(5, "alice"))
	p := c.expect(packets.Connack).Properties
	if p.ServerKeepAliveFlag || p.SessionExpiryIntervalFlag || p.ResponseInfo != "" {
		t.Errorf("%+v", p)
	}
}

func TestConnectIsRefused(t *testing.T) {
	ts := startServer(t)
	for name, c := range map[string]struct {
		app, clientID string
		code5, code3  byte
		reason        string
	}{
		"unknown app":     {"nosuchapp", "alice", 0x86, 4, "4100 app_not_found: no such app"},
		"banned":          {"banned", "alice", 0x8A, 5, "4106 banned: go away"},
		"store away":      {"away", "alice", 0x88, 3, "4200 internal: the store does not answer; nothing was accepted, try again"},
		"no client id":    {"demo", "", 0x85, 2, "4103 invalid_peer: client id"},
		"not a client id": {"demo", "a b", 0x85, 2, "4103 invalid_peer: client id"},
	} {
		for _, version := range []byte{4, 5} {
			t.Run(name, func(t *testing.T) {
				client := ts.dial(t, version)
				pk := connectPacket(version, c.clientID)
				pk.Connect.Username = []byte(c.app)
				client.send(pk)
				ack := client.expect(packets.Connack)
				want, reason := c.code5, c.reason
				if version == 4 {
					want, reason = c.code3, ""
				}
				if ack.ReasonCode != want || ack.Properties.ReasonString != reason || ack.SessionPresent {
					t.Errorf("%#x %q", ack.ReasonCode, ack.Properties.ReasonString)
				}
				client.expectEnd(0)
			})
		}
	}
}

func TestMalformedConnect(t *testing.T) {
	ts := startServer(t)
	connect := func(body ...byte) []byte { return append([]byte{0x10, byte(len(body))}, body...) }
	v5 := func(flags byte, rest ...byte) []byte {
		return connect(append([]byte{0, 4, 'M', 'Q', 'T', 'T', 5, flags, 0, 60}, rest...)...)
	}
	v4 := func(flags byte, rest ...byte) []byte {
		return connect(append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, flags, 0, 60}, rest...)...)
	}
	id := []byte{0, 1, 'a'}
	for name, c := range map[string]struct {
		in   []byte
		want []byte // the start of the answer
	}{
		"not CONNECT":              {[]byte{0xC0, 0}, nil},
		"MQTT 3.1":                 {connect(append([]byte{0, 6, 'M', 'Q', 'I', 's', 'd', 'p', 3, 2, 0, 60}, id...)...), []byte{0x20, 2, 0, 1}},
		"MQTT 6":                   {connect(append([]byte{0, 4, 'M', 'Q', 'T', 'T', 6, 2, 0, 60, 0}, id...)...), []byte{0x20, 0x34, 0, 0x84}},
		"another protocol":         {connect(append([]byte{0, 4, 'A', 'M', 'Q', 'P', 4, 2, 0, 60}, id...)...), nil},
		"reserved flag, 3.1.1":     {v4(3, id...), nil},
		"reserved flag, 5":         {v5(3, append([]byte{0}, id...)...), []byte{0x20, 0x16, 0, 0x81}},
		"will qos 3":               {v5(0x1e, 0, 0, 1, 'a', 0, 0, 1, 'w', 0, 0), []byte{0x20, 0x16, 0, 0x81}},
		"will qos without will":    {v5(0x0a, append([]byte{0}, id...)...), []byte{0x20, 0x16, 0, 0x81}},
		"will retain without will": {v5(0x22, append([]byte{0}, id...)...), []byte{0x20, 0x16, 0, 0x81}},
		"password alone, 3.1.1":    {v4(0x42, 0, 1, 'a', 0, 1, 'p'), nil},
		"bytes behind it":          {v5(2, 0, 0, 1, 'a', 9), []byte{0x20, 0x16, 0, 0x81}},
		"will topic with wildcard": {v5(6, 0, 0, 1, 'a', 0, 0, 1, '#', 0, 0), []byte{0x20, 0x18, 0, 0x90}},
		"receive maximum 0":        {v5(2, 3, 0x21, 0, 0, 0, 1, 'a'), []byte{0x20, 0x24, 0, 0x82}},
		"authentication method":    {v5(2, 4, 0x15, 0, 1, 'x', 0, 1, 'a'), []byte{0x20, 0x1f, 0, 0x8C}},
		"property twice":           {v5(2, 4, 0x19, 1, 0x19, 1, 0, 1, 'a'), []byte{0x20, 0x2a, 0, 0x82}},
		"client id not UTF-8":      {v5(2, 0, 0, 1, 0xff), []byte{0x20, 0x16, 0, 0x81}},
		"truncated":                {v5(2), []byte{0x20, 0x16, 0, 0x81}},
		"too large":                {append([]byte{0x10, 0xff, 0xff, 0xff, 0x7f}, 0, 4, 'M', 'Q', 'T', 'T', 5), []byte{0x20, 0x16, 0, 0x95}},
	} {
		t.Run(name, func(t *testing.T) {
			c1 := ts.dial(t, 4)
			c1.raw(c.in...)
			var got bytes.Buffer
			_ = c1.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := got.ReadFrom(c1.nc); err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(got.Bytes(), slices.Concat(c.want[:min(len(c.want), 1)])) || len(c.want) == 0 && got.Len() > 0 ||
				len(c.want) > 0 && !bytes.Equal(got.Bytes()[2:4], c.want[2:4]) {
				t.Errorf("% x, want % x", got.Bytes(), c.want)
			}
		})
	}
}

func TestWillReachesTheBroker(t *testing.T) { // trap 19: it is judged at CONNECT
	ts := startServer(t)
	_, _ = ts.open(t, 5, "alice", func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillQos, pk.Connect.WillRetain = true, 1, true
		pk.Connect.WillTopic, pk.Connect.WillPayload = "demo/peer/bob/alice", nil
		pk.Connect.WillProperties = packets.Properties{
			WillDelayInterval: 30, ContentType: "text/plain", User: []packets.UserProperty{{Key: "k", Val: "v"}, {Key: "id", Val: "mine"}},
		}
	})
	r := ts.request("alice")
	w := r.Will
	if w == nil || string(w.Topic) != "demo/peer/bob/alice" || len(w.Payload) != 0 || w.QoS != 1 || !w.Retain || w.SenderID != "mine" ||
		w.Props.ContentType != "text/plain" || len(w.Props.User) != 1 || r.WillDelay != 30*time.Second {
		t.Errorf("%+v %+v", w, r)
	}
}

func TestPacketsBehindConnectAreHandled(t *testing.T) {
	ts := startServer(t)
	c := ts.dial(t, 5)
	c.send(connectPacket(5, "alice"), publishPacket(1, 7, "demo/x", "hi"), packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	c.expect(packets.Connack)
	c.expect(packets.Pingresp)
	if ack := c.expect(packets.Puback); ack.PacketID != 7 {
		t.Errorf("%+v", ack)
	}
}

func TestConnectInPieces(t *testing.T) {
	ts := startServer(t)
	c := ts.dial(t, 5)
	for _, b := range encodePacket(t, 5, connectPacket(5, "alice")) {
		c.raw(b)
	}
	c.expect(packets.Connack)
}

// TestTrap14FirstPacketDeadline: a connection that sends no whole CONNECT is cut, also one that sends it byte by byte.
func TestTrap14FirstPacketDeadline(t *testing.T) {
	ts := startServer(t, func(s *Server) { s.limits.connect = 200 * time.Millisecond })
	silent, slow := ts.dial(t, 5), ts.dial(t, 5)
	go func() {
		for _, b := range encodePacket(t, 5, connectPacket(5, strings.Repeat("x", 40))) {
			if _, err := slow.nc.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	begin := time.Now()
	silent.expectEnd(0)
	if _, err := slow.read(); err == nil {
		t.Error("the slow client was let in")
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
}

// TestTrap14AnnouncedLength: what a packet announces is not allocated, and over 256 KB is cut.
func TestTrap14AnnouncedLength(t *testing.T) {
	ts := startServer(t)
	c, f := ts.open(t, 5, "alice")
	c.raw(0x30, 0xff, 0xff, 0xff, 0x7f)
	c.expectEnd(0x95)
	expectEnded(t, f, broker.EndLost)
}

func TestLargestPacket(t *testing.T) {
	ts := startServer(t)
	c, f := ts.open(t, 4, "alice")
	payload := strings.Repeat("x", maxPacket-4-2-3-2) // fixed header, topic length, topic, id
	c.send(publishPacket(1, 1, "a/b", payload), publishPacket(1, 2, "a/b", "small"))
	c.expect(packets.Puback)
	c.expect(packets.Puback)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.published) != 2 || string(f.published[0].Payload) != payload || string(f.published[1].Payload) != "small" {
		t.Errorf("%d publishes", len(f.published))
	}
}
