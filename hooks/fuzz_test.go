package hooks

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

// seeds are packets of every type that a client sends, good and bad.
func seeds(f *testing.F) [][]byte {
	user := packets.Properties{User: []packets.UserProperty{{Key: "id", Val: "x"}, {Key: "k", Val: "v"}}}
	var all [][]byte
	for _, version := range []byte{4, 5} {
		will := connectPacket(version, "alice")
		will.Connect.WillFlag, will.Connect.WillTopic, will.Connect.WillPayload = true, "demo/peer/b/alice", []byte("w")
		will.Connect.Password, will.Connect.PasswordFlag = []byte("{}"), true
		alias := publishPacket(1, 2, "demo/topic/x", "hello")
		alias.Properties = packets.Properties{TopicAlias: 1, TopicAliasFlag: true, ContentType: "t", ResponseTopic: "r", CorrelationData: []byte{1}, MessageExpiryInterval: 5}
		kind := func(k byte) packets.Packet {
			return packets.Packet{FixedHeader: packets.FixedHeader{Type: k}, PacketID: 3, Properties: user, Filters: packets.Subscriptions{{Filter: "demo/topic/#"}, {Filter: "#"}}}
		}
		for _, pk := range []packets.Packet{
			connectPacket(version, "alice"), will, publishPacket(0, 0, "a", ""), alias, publishPacket(2, 3, "demo/topic/x", "y"),
			kind(packets.Puback), kind(packets.Pubrec), kind(packets.Pubrel), kind(packets.Pubcomp), kind(packets.Subscribe),
			kind(packets.Unsubscribe), kind(packets.Pingreq), kind(packets.Disconnect), kind(packets.Auth),
		} {
			all = append(all, encodePacket(f, version, pk))
		}
	}
	return append(all, []byte{0x82, 6, 0, 1, 0, 0, 1, 'a'}, []byte{0x30, 0xff, 0xff, 0xff, 0xff}, []byte{0xE0, 1, 4})
}

// FuzzSplitFrame checks that a frame is what its header says, and that more bytes never change what was found.
func FuzzSplitFrame(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		first, body, size, err := splitFrame(b)
		if err != nil || size == 0 {
			return
		}
		if first != b[0] || size > len(b) || !bytes.HasSuffix(b[:size], body) || size-len(body) < 2 || size-len(body) > 5 {
			t.Fatalf("% x: body of %d in %d", b, len(body), size)
		}
		if _, _, again, err := splitFrame(b[:size]); again != size || err != nil {
			t.Fatalf("% x: %d, %v", b, again, err)
		}
		for i := range min(size, 64) {
			if _, _, part, _ := splitFrame(b[:i]); part != 0 {
				t.Fatalf("% x: whole with %d bytes", b, i)
			}
		}
	})
}

// FuzzDecodePublish checks our decoder against the engine's: what we take, it takes, and reads alike.
func FuzzDecodePublish(f *testing.F) {
	for _, b := range seeds(f) {
		if first, body, size, err := splitFrame(b); err == nil && size > 0 && first>>4 == packets.Publish {
			f.Add(first, body, true)
			f.Add(first, body, false)
		}
	}
	f.Fuzz(func(t *testing.T, first byte, body []byte, v5 bool) {
		first = packets.Publish<<4 | first&0x0f
		if checkFirst(first) != nil {
			return
		}
		d := publishDecoder{v5: v5, now: time.Now}
		var p broker.Publish
		if err := d.decode(&p, first, body); err != nil {
			return
		}
		pk := packets.Packet{ProtocolVersion: 4}
		if v5 {
			pk.ProtocolVersion = 5
		}
		if err := pk.FixedHeader.Decode(first); err != nil {
			t.Fatal(err)
		}
		if err := pk.PublishDecode(bytes.Clone(body)); err != nil {
			t.Fatalf("% x: the engine says %v", body, err)
		}
		if pk.TopicName != string(p.Topic) || pk.PacketID != p.Tag || !bytes.Equal(pk.Payload, p.Payload) ||
			pk.FixedHeader.Qos != p.QoS || pk.FixedHeader.Dup != p.Dup || pk.FixedHeader.Retain != p.Retain {
			t.Fatalf("% x: %+v, the engine says %+v", body, p, pk)
		}
		if p.Props.Size() > maxPassed || len(p.Props.User) > maxUserProperties || len(p.SenderID) > maxSenderID {
			t.Fatalf("% x: bounds", body)
		}
		if !p.PropsTooLong && (p.Props.ContentType != pk.Properties.ContentType || p.Props.ResponseTopic != pk.Properties.ResponseTopic ||
			!bytes.Equal(p.Props.CorrelationData, pk.Properties.CorrelationData)) {
			t.Fatalf("% x: %+v, the engine says %+v", body, p.Props, pk.Properties)
		}
	})
}

// FuzzConnection sends anything over a connection, before and after CONNECT: nothing panics, and the server ends it or waits.
func FuzzConnection(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b, true, true)
		f.Add(b, false, true)
		f.Add(append(b, b...), true, false)
	}
	ts := startServer(f, func(s *Server) { s.limits.linger = time.Millisecond })
	f.Fuzz(func(t *testing.T, b []byte, connected, v5 bool) {
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() { // whatever comes
			defer close(done)
			buf := make([]byte, 4096)
			for {
				if _, err := client.Read(buf); err != nil {
					return
				}
			}
		}()
		ts.start(server, overTCP)
		version := byte(4)
		if v5 {
			version = 5
		}
		_ = client.SetWriteDeadline(time.Now().Add(5 * time.Second))
		if connected {
			if _, err := client.Write(encodePacket(t, version, connectPacket(version, "alice"))); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = client.Write(b)
		_ = client.Close()
		<-done
		if log := ts.log.String(); bytes.Contains([]byte(log), []byte("panic on")) {
			t.Fatal(log)
		}
		ts.log.mu.Lock()
		ts.log.b.Reset()
		ts.log.mu.Unlock()
	})
}

// FuzzConnect checks our reading of CONNECT against the engine's: what we let pass, it can decode, and reads alike.
func FuzzConnect(f *testing.F) {
	for _, b := range seeds(f) {
		if first, body, size, err := splitFrame(b); err == nil && size > 0 && first>>4 == packets.Connect {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		o := &opening{}
		if err := o.check(body); err != nil {
			if _, ok := err.(*fault); !ok { //nolint:errorlint // check returns nothing else
				t.Fatalf("% x: %v", body, err)
			}
			return
		}
		pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect, Remaining: len(body)}}
		if err := pk.ConnectDecode(bytes.Clone(body)); err != nil {
			return // stricter than we are, and refused there
		}
		if pk.ProtocolVersion != o.version || pk.Connect.WillFlag != (o.will != nil) {
			t.Fatalf("% x: version %d, the engine says %d", body, o.version, pk.ProtocolVersion)
		}
		if o.will != nil && (pk.Connect.WillTopic != string(o.will.Topic) || !bytes.Equal(pk.Connect.WillPayload, o.will.Payload) || pk.Connect.WillQos != o.will.QoS) {
			t.Fatalf("% x: will %+v, the engine says %+v", body, o.will, pk.Connect)
		}
	})
}
