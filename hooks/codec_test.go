package hooks

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

func TestVarint(t *testing.T) {
	for _, v := range []int{0, 1, 127, 128, 16383, 16384, 2097151, 2097152, 268435455} {
		b := appendVarint(nil, v)
		if len(b) != varintLen(v) {
			t.Errorf("varintLen(%d) = %d, encoded in %d", v, varintLen(v), len(b))
		}
		if got, n := varint(append(b, 0xff)); got != v || n != len(b) {
			t.Errorf("varint(% x) = %d, %d", b, got, n)
		}
		for i := range b {
			if _, n := varint(b[:i]); n != 0 {
				t.Errorf("varint(% x) of %d bytes = %d", b, i, n)
			}
		}
	}
	if _, n := varint([]byte{0xff, 0xff, 0xff, 0xff, 1}); n != -1 {
		t.Error("five bytes were taken")
	}
}

func TestSplitFrame(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		size int
		err  error
	}{
		"nothing":             {nil, 0, nil},
		"first byte":          {[]byte{0xC0}, 0, nil},
		"ping":                {[]byte{0xC0, 0}, 2, nil},
		"ping and more":       {[]byte{0xC0, 0, 0x30}, 2, nil},
		"incomplete":          {[]byte{0x30, 5, 0, 1}, 0, nil},
		"reserved type":       {[]byte{0x00}, 0, faultType},
		"a server's type":     {[]byte{0x20}, 0, faultType},
		"qos 3":               {[]byte{0x36}, 0, faultQoS},
		"dup at qos 0":        {[]byte{0x38}, 0, faultFlags},
		"subscribe flags":     {[]byte{0x80}, 0, faultFlags},
		"pubrel flags":        {[]byte{0x60}, 0, faultFlags},
		"ping flags":          {[]byte{0xC1}, 0, faultFlags},
		"length of 5 bytes":   {[]byte{0x30, 0x80, 0x80, 0x80, 0x80}, 0, faultLength},
		"too large":           {append([]byte{0x30}, appendVarint(nil, maxPacket)...), 0, faultPacketSize},
		"as large as allowed": {append([]byte{0x30}, appendVarint(nil, maxPacket-4)...), 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, size, err := splitFrame(c.in)
			if size != c.size || err != c.err { //nolint:errorlint // sentinels
				t.Errorf("got %d, %v", size, err)
			}
		})
	}
}

// TestDecodePublishAgainstEngine decodes what the engine encodes.
func TestDecodePublishAgainstEngine(t *testing.T) {
	user := func(kv ...string) (u []packets.UserProperty) {
		for i := 0; i < len(kv); i += 2 {
			u = append(u, packets.UserProperty{Key: kv[i], Val: kv[i+1]})
		}
		return u
	}
	for name, c := range map[string]struct {
		pk   packets.Packet
		want broker.Publish
	}{
		"qos 0": {publishPacket(0, 0, "a/b", "x"), broker.Publish{}},
		"qos 1": {publishPacket(1, 7, "a/b", ""), broker.Publish{}},
		"qos 2, retained again": {packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 2, Dup: true, Retain: true}, PacketID: 65535, TopicName: "ü", Payload: []byte{0},
		}, broker.Publish{}},
		"properties": {packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, PacketID: 1, TopicName: "a",
			Properties: packets.Properties{
				PayloadFormat: 1, PayloadFormatFlag: true, ContentType: "text/plain", ResponseTopic: "r/t", CorrelationData: []byte{1, 2},
				User: user("k", "v", "id", "mine", "receipt", "true", "transient", "true", "ts", "1", "offline", "true", "to", "x", "conversation", "c", "k", "w"),
			},
		}, broker.Publish{SenderID: "mine", Receipt: true, Transient: true, Props: broker.Properties{
			TextFormat: true, ContentType: "text/plain", ResponseTopic: "r/t", CorrelationData: []byte{1, 2},
			User: []broker.UserProperty{{Name: "k", Value: "v"}, {Name: "k", Value: "w"}},
		}}},
		"not true is false": {packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: "a",
			Properties: packets.Properties{User: user("receipt", "yes", "transient", "1")},
		}, broker.Publish{}},
		"1 KB passes": {packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: "a",
			Properties: packets.Properties{User: user("k", strings.Repeat("v", 1023))},
		}, broker.Publish{Props: broker.Properties{User: []broker.UserProperty{{Name: "k", Value: strings.Repeat("v", 1023)}}}}},
		"more than 1 KB does not": {packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: "a",
			Properties: packets.Properties{ContentType: "x", User: user("k", strings.Repeat("v", 1023))},
		}, broker.Publish{PropsTooLong: true}},
		"many empty ones": {packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: "a",
			Properties: packets.Properties{User: make([]packets.UserProperty, maxUserProperties+1)},
		}, broker.Publish{PropsTooLong: true}},
		"a long id is cut, and still too long": {packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish}, TopicName: "a",
			Properties: packets.Properties{User: user("id", strings.Repeat("i", 60000))},
		}, broker.Publish{SenderID: strings.Repeat("i", maxSenderID)}},
	} {
		for _, version := range []byte{4, 5} {
			if version == 4 && (c.want.PropsTooLong || c.want.SenderID != "" || len(c.want.Props.User) > 0) {
				continue
			}
			t.Run(name+"/"+strconv.Itoa(int(version)), func(t *testing.T) {
				first, body, _, err := splitFrame(encodePacket(t, version, c.pk))
				if err != nil {
					t.Fatal(err)
				}
				d := publishDecoder{v5: version == 5, now: time.Now}
				var got broker.Publish
				if err := d.decode(&got, first, body); err != nil {
					t.Fatal(err)
				}
				want := c.want
				h := c.pk.FixedHeader
				want.QoS, want.Dup, want.Retain, want.Tag = h.Qos, h.Dup, h.Retain, c.pk.PacketID
				want.Topic, want.Payload = []byte(c.pk.TopicName), append([]byte{}, c.pk.Payload...)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestDecodePublishExpiry(t *testing.T) {
	pk := publishPacket(0, 0, "a", "")
	pk.Properties.MessageExpiryInterval = 60
	first, body, _, _ := splitFrame(encodePacket(t, 5, pk))
	d := publishDecoder{v5: true, now: time.Now}
	var p broker.Publish
	before := time.Now().UnixMilli()
	if err := d.decode(&p, first, body); err != nil {
		t.Fatal(err)
	}
	if left := p.Props.Expires - before; left < 60_000 || left > 61_000 {
		t.Errorf("expires in %d ms", left)
	}
}

func TestDecodePublishRefuses(t *testing.T) {
	props := func(p ...byte) []byte { return append([]byte{0, 1, 'a', byte(len(p))}, p...) }
	for name, c := range map[string]struct {
		version, first byte
		body           []byte
		want           *fault
	}{
		"no topic length":          {4, 0x30, []byte{0}, faultMalformed},
		"topic too long":           {4, 0x30, []byte{0, 9, 'a'}, faultMalformed},
		"empty topic":              {4, 0x30, []byte{0, 0}, faultNoTopic},
		"empty topic, no alias":    {5, 0x30, []byte{0, 0, 0}, faultNoTopic},
		"wildcard +":               {4, 0x30, []byte{0, 1, '+'}, faultTopicName},
		"wildcard #":               {5, 0x30, []byte{0, 3, 'a', '/', '#', 0}, faultTopicName},
		"NUL in topic":             {4, 0x30, []byte{0, 1, 0}, faultMalformed},
		"not UTF-8":                {4, 0x30, []byte{0, 2, 0xc3, 0x28}, faultMalformed},
		"surrogate":                {4, 0x30, []byte{0, 3, 0xed, 0xa0, 0x80}, faultMalformed},
		"no packet id":             {4, 0x32, []byte{0, 1, 'a', 0}, faultMalformed},
		"packet id 0":              {4, 0x32, []byte{0, 1, 'a', 0, 0}, faultPacketID},
		"no property length":       {5, 0x30, []byte{0, 1, 'a'}, faultMalformed},
		"property length too long": {5, 0x30, []byte{0, 1, 'a', 2, 1}, faultMalformed},
		"unknown property":         {5, 0x30, props(0x7f), faultProperty},
		"property of CONNECT":      {5, 0x30, props(0x21, 0, 1), faultProperty},
		"subscription identifier":  {5, 0x30, props(0x0b, 1), faultProperty},
		"payload format 2":         {5, 0x30, props(1, 2), faultProperty},
		"property twice":           {5, 0x30, props(1, 0, 1, 0), faultRepeated},
		"cut property":             {5, 0x30, props(2, 0, 0), faultProperty},
		"user property not UTF-8":  {5, 0x30, props(0x26, 0, 1, 0xff, 0, 0), faultProperty},
		"response topic wildcard":  {5, 0x30, props(8, 0, 1, '#'), faultResponse},
		"alias 0":                  {5, 0x30, props(0x23, 0, 0), faultAlias},
		"alias beyond the maximum": {5, 0x30, props(0x23, 0, aliasMaximum+1), faultAlias},
		"unknown alias":            {5, 0x30, []byte{0, 0, 3, 0x23, 0, 1}, faultAliasUnset},
	} {
		t.Run(name, func(t *testing.T) {
			d := publishDecoder{v5: c.version == 5, now: time.Now}
			var p broker.Publish
			if err := d.decode(&p, c.first, c.body); err != c.want { //nolint:errorlint // sentinels
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestTopicAlias(t *testing.T) {
	d := publishDecoder{v5: true, now: time.Now}
	for i, c := range []struct {
		body []byte
		want string
	}{
		{[]byte{0, 1, 'a', 3, 0x23, 0, 1}, "a"},
		{[]byte{0, 0, 3, 0x23, 0, 1}, "a"},
		{[]byte{0, 1, 'b', 3, 0x23, 0, 1}, "b"},
		{[]byte{0, 0, 3, 0x23, 0, 1}, "b"},
		{[]byte{0, 1, 'c', 3, 0x23, 0, 32}, "c"},
	} {
		var p broker.Publish
		if err := d.decode(&p, 0x30, c.body); err != nil || string(p.Topic) != c.want {
			t.Errorf("%d: %q, %v", i, p.Topic, err)
		}
	}
}

// TestEncodeAgainstEngine decodes with the engine what we encode.
func TestEncodeAgainstEngine(t *testing.T) {
	sent := testID.Time()
	ts := strconv.FormatInt(sent, 10)
	message := func(m *broker.Message) *broker.Message {
		m.ID = testID
		if m.From == "" {
			m.From = "alice"
		}
		if m.Payload == nil {
			m.Payload = []byte("hello")
		}
		return m
	}
	long := message(&broker.Message{To: []broker.PeerID{"bob"}, Payload: bytes.Repeat([]byte("x"), 5120)})
	type user = packets.UserProperty
	head := func(kind, qos byte) packets.FixedHeader { return packets.FixedHeader{Type: kind, Qos: qos} }
	for name, c := range map[string]struct {
		out  broker.Out
		want packets.Packet // for MQTT 5
	}{
		"puback": {broker.Out{Kind: broker.OutAck, Tag: 7, QoS: 1, ID: testID}, packets.Packet{
			FixedHeader: head(packets.Puback, 0), PacketID: 7,
			Properties: packets.Properties{User: []user{{Key: "id", Val: testID.String()}, {Key: "ts", Val: ts}}},
		}},
		"puback without id": {broker.Out{Kind: broker.OutAck, Tag: 7, QoS: 1}, packets.Packet{FixedHeader: head(packets.Puback, 0), PacketID: 7}},
		"pubrec refused": {broker.Out{Kind: broker.OutAck, Tag: 8, QoS: 2, Err: broker.Errorf(broker.RateLimited, "slow down")}, packets.Packet{
			FixedHeader: head(packets.Pubrec, 0), PacketID: 8, ReasonCode: 0x97,
			Properties: packets.Properties{ReasonString: "4116 rate_limited: slow down"},
		}},
		"pubcomp": {broker.Out{Kind: broker.OutComplete, Tag: 9}, packets.Packet{FixedHeader: head(packets.Pubcomp, 0), PacketID: 9}},
		"pubcomp unknown": {broker.Out{Kind: broker.OutComplete, Tag: 9, Unknown: true},
			packets.Packet{FixedHeader: head(packets.Pubcomp, 0), PacketID: 9, ReasonCode: 0x92}},
		"pubrel": {broker.Out{Kind: broker.OutRelease, Tag: 10}, packets.Packet{FixedHeader: head(packets.Pubrel, 1), PacketID: 10}},
		"direct": {broker.Out{Kind: broker.OutMessage, Tag: 1, QoS: 1, To: "bob", Message: message(&broker.Message{To: []broker.PeerID{"bob"}})}, packets.Packet{
			FixedHeader: head(packets.Publish, 1), PacketID: 1, TopicName: "demo/peer/bob/alice", Payload: []byte("hello"),
			Properties: packets.Properties{User: []user{{Key: "id", Val: testID.String()}, {Key: "ts", Val: ts}}},
		}},
		"5 KB": {broker.Out{Kind: broker.OutMessage, Tag: 1, QoS: 1, To: "bob", Message: long}, packets.Packet{
			FixedHeader: head(packets.Publish, 1), PacketID: 1, TopicName: "demo/peer/bob/alice", Payload: long.Payload,
			Properties: packets.Properties{User: []user{{Key: "id", Val: testID.String()}, {Key: "ts", Val: ts}}},
		}},
		"group, again, offline": {broker.Out{Kind: broker.OutMessage, Tag: 2, QoS: 2, Dup: true, Offline: true, SubIDs: []uint32{1, 268435455},
			Message: message(&broker.Message{Group: "room", Transient: true})}, packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 2, Dup: true}, PacketID: 2, TopicName: "demo/group/room/alice", Payload: []byte("hello"),
			Properties: packets.Properties{
				User:                   []user{{Key: "id", Val: testID.String()}, {Key: "ts", Val: ts}, {Key: "offline", Val: "true"}, {Key: "transient", Val: "true"}},
				SubscriptionIdentifier: []int{1, 268435455},
			},
		}},
		"to several, wrapped, with properties": {broker.Out{Kind: broker.OutMessage, To: "bob", Wrapped: true, Payload: []byte("{}"), Assigned: 1000,
			Message: message(&broker.Message{
				To: []broker.PeerID{"bob", "carol"}, Conversation: "c0ffee",
				Props: broker.Properties{
					ContentType: "text/plain", ResponseTopic: "demo/event/alice/r", CorrelationData: []byte{0}, TextFormat: true, Expires: 3500,
					User: []broker.UserProperty{{Name: "k", Value: ""}, {Name: "", Value: "v"}},
				},
			})}, packets.Packet{
			FixedHeader: head(packets.Publish, 0), TopicName: "demo/peer/bob/alice", Payload: []byte("{}"),
			Properties: packets.Properties{
				PayloadFormat: 1, PayloadFormatFlag: true, ContentType: "text/plain", ResponseTopic: "demo/event/alice/r", CorrelationData: []byte{0},
				MessageExpiryInterval: 3,
				User: []user{{Key: "id", Val: testID.String()}, {Key: "ts", Val: ts}, {Key: "to", Val: "bob"}, {Key: "to", Val: "carol"},
					{Key: "conversation", Val: "c0ffee"}, {Key: "k"}, {Val: "v"}},
			},
		}},
		"presence": {broker.Out{Kind: broker.OutPublish, Topic: "demo/presence/bob", Payload: []byte("online"), Retain: true, TS: 1700000000000}, packets.Packet{
			FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: true}, TopicName: "demo/presence/bob", Payload: []byte("online"),
			Properties: packets.Properties{User: []user{{Key: "ts", Val: "1700000000000"}}},
		}},
	} {
		for _, version := range []byte{4, 5} {
			t.Run(name+"/"+strconv.Itoa(int(version)), func(t *testing.T) {
				e := encoder{v5: version == 5, problemInfo: true, app: "demo", now: time.Now}
				s := &scratch{buf: []byte("before")}
				if !e.out(s, &c.out) {
					t.Fatal("did not fit")
				}
				got, n := decodePacket(t, version, s.buf[len("before"):])
				if n != len(s.buf)-len("before") {
					t.Fatalf("% x: %d bytes are a packet", s.buf[6:], n)
				}
				want := c.want
				want.ProtocolVersion = version
				want.FixedHeader.Remaining = got.FixedHeader.Remaining
				if version == 4 {
					want.ReasonCode, want.Properties = 0, packets.Properties{}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestRequestProblemInformation0(t *testing.T) { // [MQTT-3.1.2-29]
	e := encoder{v5: true, app: "demo", now: time.Now}
	s := &scratch{}
	e.out(s, &broker.Out{Kind: broker.OutAck, Tag: 1, QoS: 1, ID: testID})
	e.out(s, &broker.Out{Kind: broker.OutAck, Tag: 2, QoS: 1, Err: broker.Errorf(broker.Internal, "away")})
	if want := []byte{0x40, 2, 0, 1, 0x40, 3, 0, 2, 0x83}; !bytes.Equal(s.buf, want) {
		t.Errorf("% x", s.buf)
	}
}

func TestClientsMaximumPacketSize(t *testing.T) { // [MQTT-3.1.2-24] [MQTT-3.4.2-2]
	e := encoder{v5: true, problemInfo: true, app: "demo", maximum: 20, now: time.Now}
	s := &scratch{}
	if e.out(s, &broker.Out{Kind: broker.OutPublish, Topic: "demo/event/a/reply", Payload: []byte("{}")}) || len(s.buf) != 0 {
		t.Errorf("% x", s.buf)
	}
	e.out(s, &broker.Out{Kind: broker.OutAck, Tag: 1, QoS: 1, ID: testID})
	if want := []byte{0x40, 2, 0, 1}; !bytes.Equal(s.buf, want) {
		t.Errorf("% x", s.buf)
	}
}

func TestAckCodesAreOnesThatStockParsersTake(t *testing.T) {
	for code, r := range refusals {
		if !bytes.Contains([]byte{0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}, []byte{r.publish}) {
			t.Errorf("%d: %#x in PUBACK", code, r.publish)
		}
		if !bytes.Contains([]byte{0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2}, []byte{r.subscribe}) {
			t.Errorf("%d: %#x in SUBACK", code, r.subscribe)
		}
	}
}

func TestFilterForm(t *testing.T) {
	for filter, want := range map[string]byte{
		"a": 0, "a/b": 0, "+": 0, "#": 0, "a/+/#": 0, "/": 0, "a//b": 0, "$share/g/a/+": 0, "$SYS/#": 0,
		"": 0x8F, "a#": 0x8F, "a/#/b": 0x8F, "a+": 0x8F, "a/b+/c": 0x8F, "##": 0x8F,
		"$share/g": 0x8F, "$share//a": 0x8F, "$share/g/": 0x8F, "$share/+/a": 0x8F, "$share/#/a": 0x8F,
		strings.Repeat("a/", 63) + "a": 0, strings.Repeat("a/", 64) + "a": 0x97,
	} {
		if got := filterFault(filter); got != want {
			t.Errorf("%q: %#x, want %#x", filter, got, want)
		}
	}
}

func TestCodecAllocatesNothing(t *testing.T) {
	pk := publishPacket(1, 7, "demo/peer/bob/alice", "hello")
	first, body, _, _ := splitFrame(encodePacket(t, 5, pk))
	d := publishDecoder{v5: true, now: time.Now}
	var p broker.Publish
	if n := testing.AllocsPerRun(100, func() { _ = d.decode(&p, first, body) }); n != 0 {
		t.Errorf("decode allocates %v", n)
	}
	e := encoder{v5: true, problemInfo: true, app: "demo", now: time.Now}
	s := &scratch{buf: make([]byte, 0, 4096), props: make([]byte, 0, 512)}
	o := broker.Out{Kind: broker.OutMessage, Tag: 1, QoS: 1, To: "bob", Message: &broker.Message{ID: testID, From: "alice", To: []broker.PeerID{"bob"}, Payload: []byte("hello")}}
	ack := broker.Out{Kind: broker.OutAck, Tag: 1, QoS: 1, ID: testID}
	if n := testing.AllocsPerRun(100, func() {
		s.buf = s.buf[:0]
		e.out(s, &o)
		e.out(s, &ack)
	}); n != 0 {
		t.Errorf("encode allocates %v", n)
	}
}
