package hooks

import (
	"slices"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

func dup(pk *packets.Packet) { pk.FixedHeader.Dup = true }

func numbered(id uint16) tweak { return func(pk *packets.Packet) { pk.PacketID = id } }

// [MQTT-2.2.1-5] [MQTT-3.3.4-1] [MQTT-3.4.2-1] [MQTT-3.5.2-1] [MQTT-3.7.2-1] [MQTT-4.3.2-4] [MQTT-4.3.2-5] [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT-4.3.3-12]
// [MQTT3-2.3.1-6] [MQTT3-3.3.4-1] [MQTT3-4.3.2-2] [MQTT3-4.3.3-2]
func TestPublishIsAnsweredAsItsQoSSays(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		c, watch := ts.client(t, version, "alice"), ts.client(t, version, "bob")
		watch.sub("a", 0)
		for qos := range byte(3) {
			for _, text := range []string{"first", "second"} { // the same identifier is a new message, also with DUP
				c.pub("a", text, qos)
				watch.gets("a", text)
				if qos > 0 {
					c.pub("a", text, qos, dup)
					watch.gets("a", text)
				}
			}
		}
		c.ping() // nothing more came
	})
}

// [MQTT-4.3.3-10] [MQTT-4.3.3-13] [MQTT-3.6.2-1] [MQTT3-4.3.3-2]
func TestQoS2IsDeliveredOnce(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		watch := ts.client(t, version, "bob")
		watch.sub("a", 2)
		c := ts.client(t, version, "alice", resuming)
		once := publishPacket(2, 9, "demo/topic/a", "once")
		c.send(once)
		c.expect(packets.Pubrec)
		dup(&once)
		c.send(once)
		c.expect(packets.Pubrec)
		c.drop()
		c = ts.present(t, version, "alice", true, resuming) // it knows the identifier still
		c.send(once)
		c.expect(packets.Pubrec)
		c.send(ackPacket(packets.Pubrel, 9, 0))
		c.expect(packets.Pubcomp)
		watch.takes("a", "once")
		c.send(ackPacket(packets.Pubrel, 9, 0)) // again: it is answered all the same
		want := map[byte]byte{4: 0, 5: packets.ErrPacketIdentifierNotFound.Code}[version]
		if comp := c.expect(packets.Pubcomp); comp.PacketID != 9 || comp.ReasonCode != want {
			t.Errorf("%d %#x", comp.PacketID, comp.ReasonCode)
		}
		c.pub("a", "next", 2, numbered(9))
		watch.takes("a", "next")
	})
}

// [MQTT-4.3.3-9] [MQTT-4.4.0-2] [MQTT3-3.3.5-2]
func TestRefusedPublishLeavesTheIdentifierFree(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		watch := ts.client(t, version, "bob")
		watch.sub("a", 2)
		c := ts.client(t, version, "alice")
		for qos, kind := range map[byte]byte{1: packets.Puback, 2: packets.Pubrec} {
			c.send(publishPacket(qos, 3, "demo/elsewhere", ""))
			if version == 4 { // it cannot refuse: spec 10
				if pk := c.expect(packets.Publish); pk.TopicName != "demo/event/alice/error" {
					t.Errorf("%s", pk.TopicName)
				}
			}
			ack := c.expect(kind)
			if refused := ack.ReasonCode >= 0x80; refused != (version == 5) || ack.PacketID != 3 {
				t.Errorf("qos %d: %d %#x", qos, ack.PacketID, ack.ReasonCode)
			}
			if version == 4 && qos == 2 {
				c.send(ackPacket(packets.Pubrel, 3, 0))
				c.expect(packets.Pubcomp)
			}
			c.pub("a", "allowed", qos, numbered(3))
			watch.takes("a", "allowed")
		}
	})
}

// [MQTT-2.1.3-1] [MQTT-2.2.1-2] [MQTT-2.2.1-3] [MQTT-3.3.1-2] [MQTT-3.3.1-4] [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-3.6.1-1] [MQTT-3.8.1-1]
// [MQTT-3.10.1-1] [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2] [MQTT-1.5.4-1] [MQTT-1.5.4-2]
// [MQTT3-1.5.3-1] [MQTT3-1.5.3-2] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2] [MQTT3-2.3.1-1] [MQTT3-2.3.1-5] [MQTT3-3.3.1-2] [MQTT3-3.3.1-4]
// [MQTT3-3.3.2-1] [MQTT3-3.3.2-2] [MQTT3-3.6.1-1] [MQTT3-3.8.1-1] [MQTT3-3.10.1-1] [MQTT3-4.7.1-1] [MQTT3-4.7.3-1] [MQTT3-4.7.3-2] [MQTT3-4.8.0-2]
func TestMalformedPackets(t *testing.T) {
	inVersions(t, func(t *testing.T, ts *testServer, version byte) {
		props, id := noProps(version), []byte{0, 1}
		for name, c := range map[string]struct {
			in   []byte
			code byte
		}{
			"QoS 3":                       {frame(0x36, str("demo/topic/a"), id, props), 0x81},
			"DUP at QoS 0":                {frame(0x38, str("demo/topic/a"), props), 0x81},
			"PUBLISH with identifier 0":   {frame(0x32, str("demo/topic/a"), []byte{0, 0}, props), 0x82},
			"PUBLISH without identifier":  {frame(0x32, str("demo/topic/a")), 0x81},
			"PUBLISH to +":                {frame(0x30, str("demo/topic/+"), props), 0x90},
			"PUBLISH to #":                {frame(0x30, str("#"), props), 0x90},
			"PUBLISH to nothing":          {frame(0x30, str(""), props), 0x82},
			"PUBLISH without a topic":     {frame(0x30), 0x81},
			"topic not UTF-8":             {frame(0x30, str("demo/topic/\xff"), props), 0x81},
			"topic with a surrogate":      {frame(0x30, str("demo/topic/\xed\xa0\x80"), props), 0x81},
			"topic longer than UTF-8":     {frame(0x30, str("demo/topic/\xc0\x80"), props), 0x81},
			"topic with a null":           {frame(0x30, str("demo/topic/\x00"), props), 0x81},
			"PUBREL without its flags":    {frame(0x60, id), 0x81},
			"SUBSCRIBE without its flags": {frame(0x80, id, props, str("a"), []byte{0}), 0x81},
			"UNSUBSCRIBE without flags":   {frame(0xA0, id, props, str("a")), 0x81},
			"SUBSCRIBE with identifier 0": {frame(0x82, []byte{0, 0}, props, str("a"), []byte{0}), 0x82},
			"UNSUBSCRIBE with 0":          {frame(0xA2, []byte{0, 0}, props, str("a")), 0x82},
			"PUBACK with 0":               {frame(0x40, []byte{0, 0}), 0x82},
			"PINGREQ with flags":          {frame(0xC1), 0x81},
			"PINGREQ with a body":         {frame(0xC0, []byte{0}), 0x81},
			"type 0":                      {frame(0x00), 0x82},
			"CONNACK":                     {frame(0x20, []byte{0, 0}, props), 0x82},
			"SUBACK":                      {frame(0x90, id, props, []byte{0}), 0x82},
			"PINGRESP":                    {frame(0xD0), 0x82},
			"length of five bytes":        {[]byte{0xC0, 0x80, 0x80, 0x80, 0x80, 1}, 0x81},
			"more than is taken":          {[]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, 0x95},
		} {
			t.Run(name, func(t *testing.T) { ts.refuses(t, version, c.code, c.in) })
		}
	})
}

// [MQTT-1.5.5-1] [MQTT-1.5.7-1] [MQTT-3.3.2-8] [MQTT-3.3.2-13] [MQTT-3.3.2-14] [MQTT-3.3.2-19] [MQTT-3.3.4-6]
func TestMalformedProperties(t *testing.T) {
	ts := startNode(t)
	for name, c := range map[string]struct {
		props []byte
		code  byte
	}{
		"unknown":                     {[]byte{2, 0x7e, 0}, 0x81},
		"of another packet":           {[]byte{3, packets.PropReceiveMaximum, 0, 1}, 0x81},
		"subscription identifier":     {[]byte{2, packets.PropSubscriptionIdentifier, 1}, 0x81},
		"cut":                         {[]byte{9, packets.PropMessageExpiryInterval, 0}, 0x81},
		"twice":                       {[]byte{4, packets.PropPayloadFormat, 1, packets.PropPayloadFormat, 1}, 0x82},
		"a length longer than needed": {[]byte{0x80, 0}, 0x81},
		"response topic not UTF-8":    {[]byte{4, packets.PropResponseTopic, 0, 1, 0xff}, 0x81},
		"response topic with +":       {append([]byte{4, packets.PropResponseTopic}, str("+")...), 0x82},
		"content type not UTF-8":      {[]byte{4, packets.PropContentType, 0, 1, 0xff}, 0x81},
		"user name not UTF-8":         {[]byte{6, packets.PropUser, 0, 1, 0xff, 0, 0}, 0x81},
		"user value with a null":      {[]byte{6, packets.PropUser, 0, 0, 0, 1, 0}, 0x81},
		"alias 0":                     {[]byte{3, packets.PropTopicAlias, 0, 0}, 0x94},
	} {
		t.Run(name, func(t *testing.T) { ts.refuses(t, 5, c.code, frame(0x30, str("demo/topic/a"), c.props)) })
	}
}

// [MQTT-3.3.4-7] [MQTT-4.9.0-3]
func TestReceiveMaximumOfTheServer(t *testing.T) {
	ts := startNode(t)
	c, ack := ts.clientAck(t, 5, "alice")
	limit := ack.Properties.ReceiveMaximum
	if limit == 0 {
		t.Fatal("CONNACK does not say")
	}
	for id := range limit {
		c.send(publishPacket(2, id+1, "demo/topic/a", ""))
		c.expect(packets.Pubrec)
	}
	c.ping()
	c.sub("b", 0)
	c.send(ackPacket(packets.Pubrel, 1, 0)) // gives one back
	c.expect(packets.Pubcomp)
	c.send(publishPacket(2, 1, "demo/topic/a", ""))
	c.expect(packets.Pubrec)
	c.send(publishPacket(2, limit+1, "demo/topic/a", ""))
	c.expectEnd(0x93)
}

// aliased gives a publish a topic alias, in the place of its topic if that is not the first.
func aliased(alias uint16, first bool) tweak {
	return func(pk *packets.Packet) {
		pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = alias, true
		if !first {
			pk.TopicName = ""
		}
	}
}

// [MQTT-3.3.2-7] [MQTT-3.3.2-8] [MQTT-3.3.2-9] [MQTT-3.3.2-12]
func TestTopicAliasesOfAClient(t *testing.T) {
	ts := startNode(t)
	watch := ts.client(t, 5, "watch")
	watch.sub("#", 0)
	c, ack := ts.clientAck(t, 5, "alice", resuming)
	most := ack.Properties.TopicAliasMaximum
	if most == 0 {
		t.Fatal("CONNACK offers none")
	}
	for _, alias := range []uint16{1, most} {
		c.pub("a", "set", 1, aliased(alias, true))
		watch.gets("a", "set")
		c.pub("", "used", 1, aliased(alias, false))
		watch.gets("a", "used")
		c.pub("b", "set anew", 1, aliased(alias, true))
		watch.gets("b", "set anew")
		c.pub("", "used", 0, aliased(alias, false))
		watch.gets("b", "used")
	}
	c.drop()
	c = ts.present(t, 5, "alice", true, resuming)
	c.pub("", "", 0, aliased(1, false)) // that was another connection's
	c.expectEnd(0x82)
	c = ts.client(t, 5, "bob")
	c.pub("a", "", 0, aliased(most+1, true))
	c.expectEnd(0x94)
	last := ts.client(t, 5, "carol")
	last.pub("c", "last", 0)
	watch.gets("c", "last")
}

// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20] [MQTT-2.2.2-1]
func TestPropertiesPassThrough(t *testing.T) {
	ts := startNode(t)
	c, watch := ts.client(t, 5, "alice"), ts.client(t, 5, "bob")
	watch.sub("a", 2)
	for qos := range byte(3) {
		for _, p := range []packets.Properties{
			{},
			{PayloadFormat: 1, PayloadFormatFlag: true, ContentType: "text/plain", ResponseTopic: "demo/topic/r", CorrelationData: []byte{0, 0xff},
				User: []packets.UserProperty{{Key: "b", Val: "1"}, {Key: "a", Val: "2"}, {Key: "b", Val: ""}, {Key: "", Val: "4"}}},
		} {
			c.pub("a", "x", qos, func(pk *packets.Packet) { pk.Properties = p })
			got := watch.takes("a", "x").Properties
			if got.PayloadFormat != p.PayloadFormat || got.ContentType != p.ContentType || got.ResponseTopic != p.ResponseTopic ||
				string(got.CorrelationData) != string(p.CorrelationData) || !slices.Equal(got.User, p.User) {
				t.Errorf("%+v", got)
			}
		}
	}
}

// Request and response between two clients, and a byte order mark kept as it is.
//
// [MQTT-1.5.4-3] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-4.7.3-4] [MQTT3-1.5.3-3] [MQTT3-4.7.3-4]
func TestRequestAndResponse(t *testing.T) {
	ts := startNode(t)
	asks, answers := ts.client(t, 5, "asks"), ts.client(t, 5, "answers")
	asks.sub("\ufeffreply", 1)
	answers.sub("ask", 1)
	asks.pub("ask", "?", 1, func(pk *packets.Packet) {
		pk.Properties.ResponseTopic, pk.Properties.CorrelationData = "demo/topic/\ufeffreply", []byte("7")
	})
	request := answers.takes("ask", "?")
	answer := publishPacket(1, 1, request.Properties.ResponseTopic, "!")
	answer.Properties.CorrelationData = request.Properties.CorrelationData
	answers.send(answer)
	answers.expect(packets.Puback)
	if pk := asks.takes("\ufeffreply", "!"); string(pk.Properties.CorrelationData) != "7" {
		t.Errorf("%+v", pk.Properties)
	}
	for _, other := range []string{"reply", "\ufeffRepl\u00ffy", "\ufeffrepl", "\ufeffreply/"} {
		answers.pub(other, "", 0)
	}
	asks.hearsNothing(answers)
	old := ts.client(t, 4, "old")
	old.sub("e\u0301", 0)
	old.pub("\u00e9", "composed", 0)
	old.pub("e\u0301", "decomposed", 0)
	old.gets("e\u0301", "decomposed")
}
