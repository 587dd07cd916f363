package e2e_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	packets3 "github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/eclipse/paho.golang/packets"
)

var nonces atomic.Int64

// signing is what a signature is made of; zero fields are fresh ones.
type signing struct {
	peer  string
	watch []string
	super bool
	at    time.Time
	nonce string
	key   string
	hash  func() hash.Hash
}

// sign returns timestamp, nonce and signature as JSON fields, made as the specification says, not by the product's code.
func (a *app) sign(s signing, more string) string {
	if s.at.IsZero() {
		s.at = time.Now()
	}
	if s.nonce == "" {
		s.nonce = fmt.Sprintf("n%d", nonces.Add(1))
	}
	if s.key == "" {
		s.key = a.key
	}
	if s.hash == nil {
		s.hash = sha1.New
	}
	sorted := slices.Sorted(slices.Values(s.watch))
	text := fmt.Sprintf("%s:%s:%s:%d:%s", a.id, s.peer, strings.Join(sorted, ":"), s.at.Unix(), s.nonce)
	if s.super {
		text += ":su"
	}
	return fmt.Sprintf(`"timestamp":%d,"nonce":"%s","signature":"%s"%s`, s.at.Unix(), s.nonce, hexMAC(s.hash, s.key, text), more)
}

// signGroup signs a group request.
func (a *app) signGroup(peer, group, action string, peers ...string) string {
	at, nonce := time.Now().Unix(), fmt.Sprintf("g%d", nonces.Add(1))
	sorted := slices.Sorted(slices.Values(peers))
	text := fmt.Sprintf("%s:%s:%s:%s:%d:%s:%s", a.id, peer, group, strings.Join(sorted, ":"), at, nonce, action)
	return fmt.Sprintf(`"timestamp":%d,"nonce":"%s","signature":"%s"`, at, nonce, hexMAC(sha1.New, a.key, text))
}

func hexMAC(h func() hash.Hash, key, text string) string {
	mac := hmac.New(h, []byte(key))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// password signs a CONNECT.
func (a *app) password(s signing) string {
	more := ""
	if s.watch != nil {
		list, _ := json.Marshal(s.watch)
		more += `,"watch":` + string(list)
	}
	if s.super {
		more += `,"super":true`
	}
	return "{" + a.sign(s, more) + "}"
}

const signed = "signature: {required: true}"

// Each refusal of CONNECT has its code in both versions, and in MQTT 5 its reason string.
func TestRefusalsOfConnect(t *testing.T) {
	t.Parallel()
	plain, strict := newApp(t), newApp(t, signed)
	nowhere := &app{server: shared, id: "nowhere"}
	plain.rest(t, http.MethodPut, "/bans/mallory", `{"reason":"spam"}`)
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("p%d", i)
	}
	tests := []struct {
		name   string
		app    *app
		client string
		o      opening
		code5  byte
		code3  byte
		reason string
	}{
		{"an unknown app", nowhere, "alice", opening{}, 0x86, 4, "4100 app_not_found: "},
		{"no signature", strict, "alice", opening{}, 0x87, 5, "4102 signature_failed: "},
		{"a wrong signature", strict, "alice", opening{password: `{` + strict.sign(signing{peer: "bob"}, "}")}, 0x87, 5, "4102 signature_failed: "},
		{"a signature over another list", strict, "alice", opening{password: `{` + strict.sign(signing{peer: "alice"}, `,"watch":["bob"]}`)}, 0x87, 5, "4102 signature_failed: "},
		{"a signature of yesterday", strict, "alice", opening{password: strict.password(signing{peer: "alice", at: time.Now().Add(-25 * time.Hour)})}, 0x87, 5, "4102 signature_failed: "},
		{"a signature of tomorrow", strict, "alice", opening{password: strict.password(signing{peer: "alice", at: time.Now().Add(7 * time.Hour)})}, 0x87, 5, "4102 signature_failed: "},
		{"an unsigned super peer", plain, "alice", opening{password: `{"super":true}`}, 0x87, 5, "4102 signature_failed: "},
		{"a peer with a colon", plain, "a:b", opening{}, 0x85, 2, "4103 invalid_peer: "},
		{"three levels", plain, "a/b/c", opening{}, 0x85, 2, "4103 invalid_peer: "},
		{"51 characters", plain, strings.Repeat("ä", 51), opening{}, 0x85, 2, "4103 invalid_peer: "},
		{"a device of 65 characters", plain, "a/" + strings.Repeat("d", 65), opening{}, 0x85, 2, "4103 invalid_peer: "},
		{"a banned peer", plain, "mallory/phone", opening{}, 0x8A, 5, "4106 banned: "},
		{"101 watched", plain, "alice", opening{password: watching(many...)}, 0x97, 5, "4113 limit_exceeded: "},
		{"a password that does not parse", plain, "alice", opening{password: "secret"}, 0x99, 4, "4114 malformed: "},
		{"a field of the wrong type", plain, "alice", opening{password: `{"watch":"bob"}`}, 0x99, 4, "4114 malformed: "},
		{"an id twice", plain, "alice", opening{password: watching("bob", "bob")}, 0x99, 4, "4114 malformed: "},
		{"an empty id", plain, "alice", opening{password: watching("")}, 0x99, 4, "4114 malformed: "},
		{"a nonce that is su", strict, "alice", opening{password: strict.password(signing{peer: "alice", nonce: "su"})}, 0x99, 4, "4114 malformed: "},
		{"a nonce with a colon", strict, "alice", opening{password: strict.password(signing{peer: "alice", nonce: "a:b"})}, 0x99, 4, "4114 malformed: "},
		{"a will to a stranger", plain, "alice", opening{will: &will{topic: "peer/bob/alice", qos: 1}}, 0x87, 5, "4401 invalid_target: "},
		{"a will of another", plain, "alice", opening{password: watching("bob"), will: &will{topic: "peer/bob/carol", qos: 1}}, 0x87, 5, "4401 invalid_target: "},
		{"a will of 5,121 bytes", plain, "alice", opening{password: watching("bob"), will: &will{topic: "peer/bob/alice", payload: strings.Repeat("x", 5121)}}, 0x97, 5, "4109 message_too_long: "},
		{"a will to a group that is not there", plain, "alice", opening{will: &will{topic: "group/g/alice", qos: 1}}, 0x87, 5, "4303 group_not_found: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := refused(t, tt.app, tt.client, tt.o); got.code != tt.code5 || !strings.HasPrefix(got.reason, tt.reason) {
				t.Errorf("MQTT 5: 0x%02X %q, want 0x%02X %q", got.code, got.reason, tt.code5, tt.reason)
			}
			tt.o.version = 3
			if got := refused(t, tt.app, tt.client, tt.o); got.code != tt.code3 {
				t.Errorf("MQTT 3.1.1: %d, want %d", got.code, tt.code3)
			}
		})
	}
}

func TestOtherProtocolVersionsAreRefused(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	r := rawConn(t, a.MQTT)
	r.bytes(0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 6, 2, 0, 60, 0, 0, 0)
	if ack, ok := r.read5().(*packets.Connack); !ok || ack.ReasonCode != 0x84 {
		t.Errorf("version 6: %+v, want 0x84", ack)
	}
	r = rawConn(t, a.MQTT)
	r.bytes(0x10, 14, 0, 6, 'M', 'Q', 'I', 's', 'd', 'p', 3, 2, 0, 60, 0, 0)
	if ack, ok := r.read3().(*packets3.ConnackPacket); !ok || ack.ReturnCode != 1 {
		t.Errorf("MQTT 3.1: %+v, want 1", ack)
	}
}

// A packet of over 256 KB is refused at its announcement.
func TestAConnectOfOver256KBIsRefused(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	r := rawConn(t, a.MQTT)
	r.bytes(0x10, 0x81, 0x80, 0x10, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60) // 262,145 bytes
	if ack, ok := r.read5().(*packets.Connack); !ok || ack.ReasonCode != 0x95 {
		t.Errorf("%+v, want 0x95", ack)
	}
	r.closes()
	r = rawConn(t, a.MQTT)
	r.bytes(0x10, 0x81, 0x80, 0x10, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60)
	r.closes()
	r, _ = open5(t, a, "alice", "")
	r.bytes(0x30, 0x81, 0x80, 0x10)
	if d := until5(r, anyOf[*packets.Disconnect]); d.ReasonCode != 0x95 {
		t.Errorf("a publish: 0x%02X, want 0x95", d.ReasonCode)
	}
}

// The published vectors, through a real CONNECT and real requests. All share a nonce, so each has a server of its own.
func TestPublishedSignatureVectors(t *testing.T) {
	t.Parallel()
	const open1 = `{"timestamp":1416290728,"nonce":"85561","signature":"%s"%s}`
	const group1 = `{"timestamp":1416290879,"nonce":"07995","signature":"%s"%s}`
	const watch, its, both = `,"watch":["4","2","3"]`, `,"group":"4ad934r23bjhcas"`, `,"group":"4ad934r23bjhcas","peers":["3","2"]`
	tests := []struct {
		name, password string
		verb, request  string
		code           int // of the reply; 4303: the signature was right and there is no such group
	}{
		{"watch list, create", fmt.Sprintf(open1, "cf4a1b6b55ff87753da4ae7f5dd2c33273108b62", watch),
			"join", fmt.Sprintf(group1, "ce8ead522fc8db9b3fefdf72606756b600585b56", ""), 0},
		{"no watch list, join", fmt.Sprintf(open1, "8331138904990a6c9649b164df5dba34c5427d22", ""),
			"join", fmt.Sprintf(group1, "a37540d5b9700e3130a195822056b6cd7d6216dd", its), 4303},
		{"super, invite", fmt.Sprintf(open1, "cd999c7fb9023b0b081b156e994f39b2df4b5cad", watch+`,"super":true`),
			"invite", fmt.Sprintf(group1, "491504b9afb6a7a058af7db4245000f2522c773e", both), 4303},
		{"no watch list, kick", fmt.Sprintf(open1, "8331138904990a6c9649b164df5dba34c5427d22", ""),
			"kick", fmt.Sprintf(group1, "3f3377b1776d6dcde107c5884ec26aeb53e2552f", both), 4303},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, t.TempDir(), "{id: your-app-id, master_key: your-master-key, signature: {required: true, window: 200000h}}")
			a := s.in("your-app-id")
			wrong := strings.Replace(tt.password, `"signature":"`, `"signature":"0`, 1)
			if got := refused(t, a, "1", opening{password: wrong}); got.code != 0x87 {
				t.Errorf("a wrong signature: 0x%02X", got.code)
			}
			one := open(t, a, "1", opening{password: tt.password})
			wrong = strings.Replace(tt.request, `"signature":"`, `"signature":"0`, 1)
			if r := one.ask(tt.verb, wrong); r.Code != 4102 {
				t.Errorf("a wrong signature: %+v", r)
			}
			if r := one.ask(tt.verb, tt.request); r.Code != tt.code {
				t.Errorf("reply %+v, want code %d", r, tt.code)
			}
		})
	}
}

func TestSHA256AndThePreviousMasterKeyAreAccepted(t *testing.T) {
	t.Parallel()
	a := newApp(t, signed, "previous_master_key: the-key-before")
	inBothVersions(t, func(t *testing.T, version int) {
		open(t, a, "alice", opening{version: version, password: a.password(signing{peer: "alice", hash: sha256.New})})
		open(t, a, "alice", opening{version: version, password: a.password(signing{peer: "alice", key: "the-key-before"})})
		open(t, a, "alice", opening{version: version, password: a.password(signing{peer: "alice", watch: []string{"ä", "b", "Z"}})})
		refused(t, a, "alice", opening{version: version, password: a.password(signing{peer: "alice", key: "the-key-before-that"})})
	})
}

func TestANonceBelongsToTheFirstClientThatUsedIt(t *testing.T) {
	t.Parallel()
	a := newApp(t, signed)
	inBothVersions(t, func(t *testing.T, version int) {
		peer := fmt.Sprintf("alice%d", version)
		nonce := fmt.Sprintf("belongs%d", version)
		first := opening{version: version, password: a.password(signing{peer: peer, nonce: nonce})}
		open(t, a, peer+"/phone", first).drop()
		open(t, a, peer+"/phone", first) // as stock clients reconnect
		refused(t, a, peer+"/laptop", first)
		refused(t, a, peer+"/phone", opening{version: version, password: a.password(signing{peer: peer, nonce: nonce, watch: []string{"bob"}})})
		refused(t, a, "bob", opening{version: version, password: a.password(signing{peer: "bob", nonce: nonce})})
		a.rest(t, http.MethodDelete, "/peers/"+peer+"/sessions", "")
		refused(t, a, peer+"/phone", first) // it was kicked since
	})
}

func TestANonceIsStrictlySingleUseWithReplayReject(t *testing.T) {
	t.Parallel()
	a := newApp(t, "signature: {required: true, replay: reject}")
	once := opening{password: a.password(signing{peer: "alice"})}
	open(t, a, "alice", once)
	refused(t, a, "alice", once)
}

func TestNoncesStayKnownAcrossARestart(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), "{id: demo, master_key: "+masterKey+", signature: {required: true}}")
	a := s.in("demo")
	first := opening{password: a.password(signing{peer: "alice", nonce: "kept"})}
	open(t, a, "alice", first)
	s.kill()
	a = s.again(t).in("demo")
	refused(t, a, "alice/other", first)
	refused(t, a, "bob", opening{password: a.password(signing{peer: "bob", nonce: "kept"})})
	open(t, a, "alice", first)
}

func TestASuperPeerSendsToAnyoneUnwatched(t *testing.T) {
	t.Parallel()
	a := newApp(t, signed)
	inBothVersions(t, func(t *testing.T, version int) {
		to := fmt.Sprintf("bob%d", version)
		bob := open(t, a, to, opening{version: version, password: a.password(signing{peer: to})})
		from := fmt.Sprintf("root%d", version)
		root := open(t, a, from, opening{version: version, password: a.password(signing{peer: from, super: true})})
		root.send("peer/"+to+"/"+from, "to anyone")
		bob.wants("peer/"+to+"/"+from, "to anyone")
	})
}

func TestTheSessionEventComesFirst(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		bob := open(t, a, "bob", opening{password: watching("alice")})
		bob.send("peer/alice/bob", "waits")
		group := bob.does("join", `{"name":"team"}`).Group
		bob.does("invite", `{"group":"`+group+`","peers":["alice"]}`)
		before := time.Now().UnixMilli()
		alice := open(t, a, "alice/phone", opening{version: version, password: watching("bob", "carol")})
		alice.wants("peer/alice/bob", "waits")
		e := alice.event("session")
		if first := alice.first(); first.topic != "event/alice/session" || first.qos != 0 {
			t.Errorf("the first to come is %+v", first)
		}
		if e.Event != "opened" || e.Peer != "alice" || e.Device != "phone" || e.TS < before || e.Waiting != 1 ||
			!slices.Equal(e.Online, []string{"bob"}) || !slices.Equal(e.Groups, []string{group}) {
			t.Errorf("session event %s", alice.first().payload)
		}
	})
}

func TestASessionIsResumedAfterALostConnection(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		how := opening{version: version, expiry: 60}
		again := func(o opening, event string, present bool) *client {
			c := open(t, a, "alice", o)
			if got := c.event("session").Event; got != event || c.present != present {
				t.Errorf("session %s, present %t; want %s, %t", got, c.present, event, present)
			}
			return c
		}
		again(how, "opened", false).drop()
		again(how, "resumed", true).drop()
		clean := how
		clean.clean = true
		again(clean, "opened", false).close()
	})
}

func TestReceiveModes(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		bob := open(t, a, "bob", opening{password: watching("alice")})
		none := open(t, a, "alice/none", opening{version: version, password: `{"receive":"none","watch":["bob"]}`})
		some := open(t, a, "alice/some", opening{version: version, password: `{"receive":"messages","watch":["bob"]}`})
		bob.send("peer/alice/bob", "hello")
		some.wants("peer/alice/bob", "hello")
		none.does("status", `{"peers":["bob"]}`)
		some.does("status", `{"peers":["bob"]}`)
		for _, prefix := range []string{"peer/", "presence/"} {
			none.nothing(prefix)
		}
		some.nothing("presence/")
		some.subscribe(1, "presence/bob")
		some.wants("presence/bob", "online")
		none.close()
		open(t, a, "alice/none", opening{version: version}).nothing("event/alice/missed")
	})
}

// The older connection is told, and nobody else.
func TestTheSameClientIDTakesTheSessionOver(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		bob := open(t, a, "bob", opening{password: watching("alice")})
		bob.wants("presence/alice", "offline")
		older := open(t, a, "alice", opening{version: version, password: watching("bob")})
		bob.wants("presence/alice", "online")
		newer := open(t, a, "alice", opening{version: version, password: watching("bob")})
		if code := older.wasTold(); version == 5 && code != 0x8E {
			t.Errorf("told 0x%02X, want 0x8E", code)
		}
		newer.send("peer/bob/alice", "it is me")
		bob.wants("peer/bob/alice", "it is me")
		bob.nothing("presence/")
	})
}

func TestTheSamePeerIdInTwoAppsIsTwoPeers(t *testing.T) {
	t.Parallel()
	one, two := newApp(t), newApp(t)
	bob1, bob2 := open(t, one, "bob", opening{}), open(t, two, "bob", opening{})
	alice := open(t, one, "alice", opening{password: watching("bob")})
	alice.send("peer/bob/alice", "of one")
	bob1.wants("peer/bob/alice", "of one")
	bob2.does("status", `{"peers":["bob"]}`)
	bob2.nothing("peer/")
	if code := bob2.publish("/"+one.id+"/peer/bob/bob", "x", publication{qos: 1}).code; code != 0x87 {
		t.Errorf("another app's topic: 0x%02X", code)
	}
}

func TestMQTT5ClientsAreToldTheServersBounds(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	for _, keepAlive := range []uint16{0, 65535} {
		_, ack := open5(t, a, fmt.Sprintf("alice%d", keepAlive), "", func(c *packets.Connect) { c.KeepAlive = keepAlive })
		p := ack.Properties
		if p.ServerKeepAlive == nil || *p.ServerKeepAlive == 0 || *p.ServerKeepAlive > 3600 || p.MaximumPacketSize == nil || *p.MaximumPacketSize != 256<<10 {
			t.Errorf("keep-alive %d: CONNACK with %s", keepAlive, p)
		}
	}
	if c := open(t, a, "bob", opening{askInfo: true}); c.info != a.id+"/event/bob/" {
		t.Errorf("response information %q", c.info)
	}
}
