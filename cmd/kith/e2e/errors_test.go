package e2e_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/eclipse/paho.golang/packets"
)

// refusals are publishes that a rule refuses, of alice who watches bob.
func refusals(group string) []struct {
	name, topic, payload string
	code                 int
	reason               byte
} {
	long := strings.Repeat("x", 5121)
	return []struct {
		name, topic, payload string
		code                 int
		reason               byte
	}{
		{"not watched", "peer/carol/alice", "m", 4401, 0x87},
		{"another sender", "peer/bob/carol", "m", 4401, 0x87},
		{"another peer's inbox", "peer/bob", "m", 4401, 0x87},
		{"another app", "/other/peer/bob/alice", "m", 4401, 0x87},
		{"a topic of one's own making", "whatever", "m", 4401, 0x87},
		{"presence", "presence/alice", "online", 4401, 0x87},
		{"an event", "event/bob/reply", "{}", 4401, 0x87},
		{"another's request", "request/bob/status", "{}", 4401, 0x87},
		{"an open topic, switched off", "topic/news", "m", 4401, 0x87},
		{"the server's own topics", "/$SYS/broker", "m", 4401, 0x87},
		{"5,121 bytes", "peer/bob/alice", long, 4109, 0x97},
		{"no such group", "group/nothing/alice", "m", 4303, 0x87},
		{"not a member", "group/" + group + "/alice", "m", 4317, 0x87},
		{"a group's notices", "group/" + group + "/$event", "{}", 4401, 0x87},
	}
}

// strangersGroup makes a group that alice is no member of.
func strangersGroup(t *testing.T, a *app) string {
	t.Helper()
	return open(t, a, "carol", opening{}).does("join", `{}`).Group
}

// With MQTT 5 a refusal stands in PUBACK and PUBREC, with the code in the reason string; at QoS 0 it is an error event.
func TestRefusedPublishesMQTT5(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	group := strangersGroup(t, a)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	bob := open(t, a, "bob", opening{})
	for _, tt := range refusals(group) {
		for qos := byte(1); qos < 3; qos++ {
			ack := alice.publish(tt.topic, tt.payload, publication{qos: qos})
			if ack.code != tt.reason || !strings.HasPrefix(ack.reason, fmt.Sprintf("%d ", tt.code)) || ack.id != "" {
				t.Errorf("%s at QoS %d: %+v", tt.name, qos, ack)
			}
		}
		alice.nothing("event/alice/error")
		alice.publish(tt.topic, tt.payload, publication{})
		if e := alice.event("error"); e.Code != tt.code || e.Topic != alice.filter(tt.topic) || e.Packet != 0 || e.Error == "" || e.Message == nil {
			t.Errorf("%s at QoS 0: %+v", tt.name, e)
		}
	}
	alice.send("peer/bob/alice", "and it goes on")
	bob.wants("peer/bob/alice", "and it goes on")
	bob.nothing("peer/")
}

// With MQTT 3.1.1 every refusal is an error event, which names the packet, and comes before its PUBACK or PUBREC.
func TestRefusedPublishesMQTT311(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	group := strangersGroup(t, a)
	alice := open3(t, a, "alice", watching("bob"))
	bob := open(t, a, "bob", opening{version: 3})
	helper := &client{app: a}
	packet := uint16(100)
	errorEvent := func() body {
		p := until3(alice, func(p *packets3.PublishPacket) bool { return p.TopicName == a.id+"/event/alice/error" })
		return arrival{payload: string(p.Payload)}.body(t)
	}
	for _, tt := range refusals(group) {
		for qos := range byte(3) {
			packet++
			alice.write(publish3(helper.filter(tt.topic), tt.payload, qos, packet))
			e := errorEvent()
			want := int(packet)
			if qos == 0 {
				want = 0
			}
			if e.Code != tt.code || e.Topic != helper.filter(tt.topic) || e.Packet != want {
				t.Errorf("%s at QoS %d: %+v", tt.name, qos, e)
			}
			switch qos {
			case 1:
				if p := until3(alice, anyOf[*packets3.PubackPacket]); p.MessageID != packet {
					t.Errorf("%s: PUBACK of %d", tt.name, p.MessageID)
				}
			case 2:
				if p := until3(alice, anyOf[*packets3.PubrecPacket]); p.MessageID != packet {
					t.Errorf("%s: PUBREC of %d", tt.name, p.MessageID)
				}
				rel, _ := packets3.NewControlPacket(packets3.Pubrel).(*packets3.PubrelPacket)
				rel.MessageID = packet
				alice.write(rel)
				until3(alice, anyOf[*packets3.PubcompPacket])
			}
		}
	}
	alice.write(publish3(a.id+"/peer/bob/alice", "and it goes on", 1, 1))
	until3(alice, anyOf[*packets3.PubackPacket])
	bob.wants("peer/bob/alice", "and it goes on")
	bob.nothing("peer/")
}

// 5,120 bytes are a message; the 5,121st byte is refused, over every way to send.
func TestThe5121stByte(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{version: version, password: watching("bob")})
		bob := open(t, a, "bob", opening{version: version})
		fits, long := strings.Repeat("x", 5120), strings.Repeat("x", 5121)
		alice.send("peer/bob/alice", fits)
		bob.wants("peer/bob/alice", fits)
		alice.does("send", `{"to":["bob"],"message":"`+fits+`"}`)
		bob.wants("peer/bob/alice", fits)
		if r := alice.ask("send", `{"to":["bob"],"message":"`+long+`"}`); r.Code != 4109 {
			t.Errorf("%+v", r)
		}
	})
}

func TestPropertiesOver1KBAreRefused(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	bob := open(t, a, "bob", opening{})
	alice.send("peer/bob/alice", "fits", "k", strings.Repeat("v", 1023))
	bob.wants("peer/bob/alice", "fits")
	if ack := alice.publish("peer/bob/alice", "m", publication{qos: 1, user: []string{"k", strings.Repeat("v", 1024)}}); ack.code != 0x97 || !strings.HasPrefix(ack.reason, "4113 ") {
		t.Errorf("%+v", ack)
	}
	if ack := alice.publish("peer/bob/alice", "m", publication{qos: 1, user: []string{"id", strings.Repeat("v", 65)}}); ack.code != 0x97 || !strings.HasPrefix(ack.reason, "4113 ") {
		t.Errorf("an id of 65 bytes: %+v", ack)
	}
}

// Over the rate MQTT 5 is refused; MQTT 3.1.1 is delayed at QoS 1, and dropped with an event at QoS 0.
func TestTheMessageRate(t *testing.T) {
	t.Parallel()
	a := newApp(t, "rate: {messages_per_second: 20, burst: 5}")
	alice := open(t, a, "alice", opening{password: watching("bob")})
	over := 0
	for range 20 {
		if ack := alice.publish("peer/bob/alice", "m", publication{qos: 1}); ack.code == 0x97 && strings.HasPrefix(ack.reason, "4116 ") {
			over++
		} else if ack.code != 0 {
			t.Fatalf("%+v", ack)
		}
	}
	if over == 0 {
		t.Error("nothing is over the rate")
	}
	bob := open(t, a, "carol", opening{})
	old := open(t, a, "old", opening{version: 3, password: watching("carol")})
	for i := range 15 {
		old.send("peer/carol/old", strconv.Itoa(i)) // each is acknowledged, in its time
	}
	bob.messages(15)
	for range 30 {
		old.publish("peer/carol/old", "m", publication{})
	}
	if e := old.event("error"); e.Code != 4116 || e.Packet != 0 {
		t.Errorf("%+v", e)
	}
}

// A request always gets a reply; the acknowledgement only says that it arrived.
func TestRefusedRequestsGetAReply(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{version: version})
		many := strings.TrimSuffix(strings.Repeat(`"x",`, 101), ",")
		tests := []struct {
			verb, request, id string
			code              int
		}{
			{"watch", `{"id":"7","peers":["bob","bob"]}`, `"7"`, 4114},
			{"watch", `{"id":"8","peers":[""]}`, `"8"`, 4114},
			{"watch", `{"id":9,"peers":"bob"}`, "9", 4114},
			{"watch", `{"peers":[` + many + `]}`, "", 4113},
			{"status", `this is no JSON`, "", 4114},
			{"status", ``, "", 4114},
			{"status", `[]`, "", 4114},
			{"fly", `{"id":"10"}`, `"10"`, 4114},
			{"watch", `{"timestamp":"1","id":"11","peers":["bob"]}`, `"11"`, 4114},
			{"send", `{"to":[],"message":"m"}`, "", 4114},
			{"send", `{"to":["bob"]}`, "", 4114},
			{"send", `{"to":["bob"],"message":"m"}`, "", 4401},
			{"send", `{"group":"nothing","message":"m"}`, "", 4303},
			{"history", `{"peer":"bob","limit":1001}`, "", 4114},
			{"history", `{}`, "", 4114},
			{"history", `{"group":"nothing"}`, "", 4303},
			{"join", `{"group":"nothing"}`, "", 4303},
			{"leave", `{"group":"nothing"}`, "", 4303},
			{"invite", `{"group":"nothing","peers":["bob"]}`, "", 4303},
			{"kick", `{"group":"nothing","peers":["bob"]}`, "", 4303},
			{"members", `{"group":"nothing"}`, "", 4303},
			{"join", `{"attributes":{"a":"` + strings.Repeat("x", 4096) + `"}}`, "", 4113},
			{"status", `{"peers":["` + strings.Repeat("x", 16<<10) + `"]}`, "", 4109},
		}
		for _, tt := range tests {
			r := alice.ask(tt.verb, tt.request)
			if r.OK || r.Code != tt.code || r.Error == "" || r.Message == nil || string(r.ID) != tt.id {
				t.Errorf("%s %.60s: %d %s, id %s; want %d, id %s", tt.verb, tt.request, r.Code, r.Error, r.ID, tt.code, tt.id)
			}
		}
	})
}

// Bad input is logged with the peer and the code, never with the payload.
func TestRefusalsAreLoggedWithoutThePayload(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	alice := open(t, a, "alice", opening{password: watching("bob")})
	alice.publish("peer/carol/alice", "top-secret-payload", publication{qos: 1})
	alice.ask("watch", `{"peers":"top-secret-payload"}`)
	refused(t, a, "bob", opening{password: "top-secret-payload"})
	if log := shared.log.text("app=" + a.id); !strings.Contains(log, "peer=alice code=4401") {
		t.Errorf("log:\n%s", log)
	}
	if strings.Contains(shared.log.text(""), "top-secret") {
		t.Error("the log holds a payload")
	}
}

// Malformed MQTT ends the connection, and no other.
func TestMalformedMQTTEndsTheConnection(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	bob := open(t, a, "bob", opening{})
	for name, b := range map[string][]byte{
		"QoS 3":                   {0x36, 5, 0, 1, 'a', 0, 1},
		"SUBSCRIBE, no options":   {0x82, 6, 0, 1, 0, 0, 1, 'a'},
		"SUBSCRIBE, no filter":    {0x82, 3, 0, 1, 0},
		"packet id 0":             {0x32, 6, 0, 1, 'a', 0, 0, 0},
		"reserved type":           {0x00, 0},
		"endless length":          {0x30, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"a server's packet":       {0x20, 3, 0, 0, 0},
		"a second CONNECT":        {0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 0, 0, 0},
		"a topic alias over most": {0x30, 7, 0, 1, 'a', 3, 0x23, 0xff, 0xff},
	} {
		alice, _ := open5(t, a, "alice", "")
		alice.bytes(b...)
		if d := until5(alice, anyOf[*packets.Disconnect]); d.ReasonCode < 0x80 {
			t.Errorf("%s: DISCONNECT 0x%02X", name, d.ReasonCode)
		}
		alice.closes()
		old := open3(t, a, "old", "")
		if !strings.Contains(name, "options") && !strings.Contains(name, "alias") {
			old.bytes(b...)
			old.closes()
		}
	}
	bob.does("status", `{"peers":["alice"]}`)
	if status, _ := a.call(t, http.MethodGet, "/readyz", "", ""); status != http.StatusOK {
		t.Errorf("/readyz: %d", status)
	}
}
