package e2e_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// What the limits against abuse are for, and the test that shows the attack failing and somebody else unharmed:
//
//	connections of one address                  TestTooManyConnectionsFromOneAddressAreRefused
//	connections of an app                       TestAnAppTakesNoMoreThanItsShare
//	connections of a node                       TestAFullNodeIsBusy
//	CONNECTs of one address, of an app          TestConnectingTooFastIsRefused, TestAnAppTakesNoMoreThanItsShare
//	guessing signatures; bans, their metrics    TestGuessingSignaturesBansTheAddress
//	messages and bytes of a session, of an app  TestTheMessageRate, TestAnAppTakesNoMoreThanItsShare
//	floods of what is refused                   TestAFloodOfRefusalsHarmsNobody
//	subscriptions of a session                  TestSubscriptionsOfASessionAreBounded
//	depth and length of topics                  TestTopicsAreBoundedInDepthAndLength
//	sizes of packets, before and after CONNECT  TestPacketsAreBoundedBeforeAndAfterConnect, TestAnnouncedPacketsCostNoMemory
//	slow-loris on TCP, TLS, WebSocket, HTTP     TestSlowConnectionsAreCut
//	who does not read                           TestASilentReaderSlowsNobody, TestAnswersThatNobodyTakesCostLittleMemory
//	pages of foreign origins                    TestPagesOfOtherOriginsAreRefused
//	compressed bombs                            TestNothingIsDecompressed
//	memory                                      TestShortOfMemoryNewWorkIsRefused
//	malformed packets                           TestManyBadClientsEndNothing

// Where the attacks come from, and where somebody else is who must not notice.
const (
	attackerAddr  = "127.0.0.3"
	bystanderAddr = "127.0.0.4"
)

// besiege starts a server whose limits by address hold for loopback too.
func besiege(t *testing.T, limits, app string) *besieged {
	t.Helper()
	s := startWith(t, &config{
		dir: t.TempDir(), more: fmt.Sprintf("limits: {exempt: [127.0.0.1], %s}", limits), apps: []string{"{id: demo, master_key: " + masterKey + app + "}"},
	})
	return &besieged{s.in("demo")}
}

// besieged is an app as seen from several addresses.
type besieged struct{ *app }

func (a *besieged) from(t *testing.T, addr string, version int, password string) opening {
	return opening{version: version, password: password, via: func() (net.Conn, error) { return dialFrom(t, addr, a.MQTT), nil }}
}

// unharmed checks that somebody else's session opens and works.
func (a *besieged) unharmed(t *testing.T, o opening) {
	t.Helper()
	o.via = func() (net.Conn, error) { return dialFrom(t, bystanderAddr, a.MQTT), nil }
	c := open(t, a.app, "bystander", o)
	c.does("status", `{"peers":["bystander"]}`)
	c.close()
}

// metric reads one from /metrics.
func (s *server) metric(t *testing.T, name string) string {
	t.Helper()
	_, body := s.call(t, http.MethodGet, "/metrics", "", "Bearer "+adminToken)
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestTooManyConnectionsFromOneAddressAreRefused(t *testing.T) {
	t.Parallel()
	a := besiege(t, "address: {connections: 4}", "")
	var first *client
	for i := range 4 {
		c := open(t, a.app, fmt.Sprintf("attacker/%d", i), a.from(t, attackerAddr, 5, ""))
		if first == nil {
			first = c
		}
	}
	if r := refused(t, a.app, "attacker/5", a.from(t, attackerAddr, 5, "")); r.code != 0x97 || !strings.HasPrefix(r.reason, "4113 limit_exceeded: ") {
		t.Errorf("MQTT 5: 0x%02X %q", r.code, r.reason)
	}
	if r := refused(t, a.app, "attacker/6", a.from(t, attackerAddr, 3, "")); r.code != 5 {
		t.Errorf("MQTT 3.1.1: %d", r.code)
	}
	a.unharmed(t, opening{})
	first.close()
	waitUntil(t, "a place that is free again is not given", func() bool {
		c, no := dial(t, a.app, "attacker/7", a.from(t, attackerAddr, 5, ""))
		if no != nil {
			c.drop()
		}
		return no == nil
	})
}

func TestConnectingTooFastIsRefused(t *testing.T) {
	t.Parallel()
	a := besiege(t, "address: {connects_per_second: 0.001, burst: 3}", "")
	for range 3 {
		open(t, a.app, "attacker", a.from(t, attackerAddr, 5, "")).close()
	}
	if r := refused(t, a.app, "attacker", a.from(t, attackerAddr, 5, "")); r.code != 0x9F || !strings.HasPrefix(r.reason, "4116 rate_limited: ") {
		t.Errorf("MQTT 5: 0x%02X %q", r.code, r.reason)
	}
	if r := refused(t, a.app, "attacker", a.from(t, attackerAddr, 3, "")); r.code != 3 {
		t.Errorf("MQTT 3.1.1: %d", r.code)
	}
	a.unharmed(t, opening{})
	if n := a.metric(t, "kith_edge_refused_rate_total"); n != "2" {
		t.Errorf("%s counted, want 2", n)
	}
}

// Guessing signatures ends soon, for the address and not for the peer: the right signature from elsewhere is taken.
func TestGuessingSignaturesBansTheAddress(t *testing.T) {
	t.Parallel()
	a := besiege(t, "address: {failures: 5, ban: 1m}", ", "+signed)
	for i := range 5 {
		wrong := a.password(signing{peer: "victim", key: fmt.Sprintf("guess %d", i)})
		if r := refused(t, a.app, "victim", a.from(t, attackerAddr, 5, wrong)); r.code != 0x87 {
			t.Fatalf("guess %d: 0x%02X %s", i, r.code, r.reason)
		}
	}
	right := a.password(signing{peer: "victim"})
	if r := refused(t, a.app, "victim", a.from(t, attackerAddr, 5, right)); r.code != 0x8A || !strings.HasPrefix(r.reason, "4106 banned: ") {
		t.Errorf("MQTT 5: 0x%02X %q", r.code, r.reason)
	}
	if r := refused(t, a.app, "victim", a.from(t, attackerAddr, 3, right)); r.code != 5 {
		t.Errorf("MQTT 3.1.1: %d", r.code)
	}
	open(t, a.app, "victim", a.from(t, bystanderAddr, 5, right))
	a.unharmed(t, opening{password: a.password(signing{peer: "bystander"})})
	if n := a.metric(t, "kith_edge_bans_total"); n != "1" {
		t.Errorf("%s bans counted", n)
	}
	if line := a.log.text("address banned for failed signatures"); strings.Count(line, "\n") != 1 || !strings.Contains(line, attackerAddr) {
		t.Errorf("log: %q", line)
	}
}

func TestAFullNodeIsBusy(t *testing.T) {
	t.Parallel()
	a := besiege(t, "connections: 6", "")
	inside := open(t, a.app, "inside", opening{})
	var last refusal
	for i := range 7 {
		if _, no := dial(t, a.app, fmt.Sprintf("attacker/%d", i), a.from(t, attackerAddr, 5, "")); no != nil {
			last = *no
		}
	}
	if last.code != 0x89 || !strings.HasPrefix(last.reason, "4200 internal: ") {
		t.Errorf("MQTT 5: 0x%02X %q", last.code, last.reason)
	}
	inside.does("status", `{"peers":[]}`)
}

// Short of memory, new work is refused with the code that says so, and what is there goes on.
func TestShortOfMemoryNewWorkIsRefused(t *testing.T) {
	t.Parallel()
	a := besiege(t, "memory_bytes: 0", "")
	alice, bob := open(t, a.app, "alice", opening{password: watching("bob")}), open(t, a.app, "bob", opening{})
	a.config.more = "limits: {memory_bytes: 4000000}"
	a.reconfigure(t)
	var no refusal
	waitUntil(t, "sessions are still taken", func() bool {
		_, r := dial(t, a.app, "carol", opening{})
		if r != nil {
			no = *r
		}
		return r != nil
	})
	if no.code != 0x89 {
		t.Errorf("CONNECT: 0x%02X %s", no.code, no.reason)
	}
	if r := refused(t, a.app, "carol", opening{version: 3}); r.code != 3 {
		t.Errorf("MQTT 3.1.1: %d", r.code)
	}
	status, body := a.call(t, http.MethodPost, "/v1/apps/demo/messages", `{"from":"a","to":["b"],"message":"x"}`, "Bearer "+adminToken)
	if status != 503 || !strings.Contains(string(body), "4200") {
		t.Errorf("POST: %d %s", status, body)
	}
	if status, body := a.call(t, http.MethodGet, "/v1/apps/demo/peers", "", "Bearer "+adminToken); status != 200 {
		t.Errorf("GET: %d %s", status, body)
	}
	alice.send("peer/bob/alice", "goes on")
	bob.wants("peer/bob/alice", "goes on")
	a.config.more = ""
	a.reconfigure(t)
	waitUntil(t, "no session is taken again", func() bool {
		_, r := dial(t, a.app, "carol", opening{})
		return r == nil
	})
}

// reconfigure writes the settings anew and has them taken up.
func (s *server) reconfigure(t *testing.T) {
	t.Helper()
	if err := s.config.write(); err != nil {
		t.Fatal(err)
	}
	s.hangup(t)
}

// Connections that dribble or say nothing end after 10 s, over whatever they come, and nobody else waits for them.
func TestSlowConnectionsAreCut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile, _ := newAuthority(t).pair(dir, "server")
	plain := startWith(t, &config{dir: t.TempDir(), apps: []string{"{id: demo, master_key: " + masterKey + "}"}})
	secure := startWith(t, &config{
		dir: dir, apps: plain.config.apps, listen: fmt.Sprintf(`, mqtts: "127.0.0.1:0", tls: {cert: %q, key: %q}`, certFile, keyFile),
	})
	upgraded := func(t *testing.T) net.Conn {
		conn := rawConn(t, plain.HTTP).Conn
		fmt.Fprintf(conn, "GET /mqtt HTTP/1.1\r\nHost: kith\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")
		if answer, err := http.ReadResponse(bufio.NewReaderSize(conn, 1), nil); err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("upgrade: %v, %v", answer, err)
		}
		return conn
	}
	shaken := func(t *testing.T) net.Conn {
		conn := tls.Client(rawConn(t, secure.MQTTS), &tls.Config{InsecureSkipVerify: true})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	post := func(path, headers string) func(*testing.T) net.Conn {
		return func(t *testing.T) net.Conn {
			conn := rawConn(t, plain.HTTP).Conn
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: kith\r\n%sContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n", path, headers)
			return conn
		}
	}
	hello := "\x10\xff\x7f\x00\x04MQTT\x05\x82\x00\x3c" + strings.Repeat("\x00", 100)
	frame := "\x82\xfe\x3f\xff\x00\x00\x00\x00" + hello
	for name, attack := range map[string]struct {
		dial func(*testing.T) net.Conn
		says string // byte by byte
	}{
		"silent TCP":        {func(t *testing.T) net.Conn { return rawConn(t, plain.MQTT).Conn }, ""},
		"CONNECT":           {func(t *testing.T) net.Conn { return rawConn(t, plain.MQTT).Conn }, hello},
		"TLS handshake":     {func(t *testing.T) net.Conn { return rawConn(t, secure.MQTTS).Conn }, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + hello},
		"CONNECT in TLS":    {shaken, hello},
		"HTTP header":       {func(t *testing.T) net.Conn { return rawConn(t, plain.HTTP).Conn }, "GET / HTTP/1.1\r\nHost: kith\r\nX-Slow: " + strings.Repeat("x", 100)},
		"HTTPS handshake":   {func(t *testing.T) net.Conn { return rawConn(t, secure.HTTP).Conn }, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + hello},
		"WebSocket upgrade": {func(t *testing.T) net.Conn { return rawConn(t, plain.HTTP).Conn }, "GET /mqtt HTTP/1.1\r\nUpgrade: websocket\r\nX: " + strings.Repeat("x", 100)},
		"WebSocket frame":   {upgraded, frame},
		"HTTP body": {func(t *testing.T) net.Conn {
			conn := rawConn(t, plain.HTTP).Conn
			fmt.Fprintf(conn, "POST /v1/apps/demo/messages HTTP/1.1\r\nHost: kith\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n", adminToken)
			return conn
		}, strings.Repeat(" ", 100)},
		"HTTP body of a stranger": {post("/v1/apps/demo/messages", ""), strings.Repeat(" ", 100)},
		"HTTP body for nobody":    {post("/nothing", ""), ""},
		"HTTP body below /1.1":    {post("/1.1/rtm/messages", "X-LC-Id: demo\r\nX-LC-Key: "+masterKey+",master\r\n"), strings.Repeat(" ", 100)},
		"body of an upgrade":      {post("/mqtt", ""), strings.Repeat(" ", 100)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := attack.dial(t)
			ended := make(chan struct{})
			go func() {
				tick := time.NewTicker(time.Second / 2)
				defer tick.Stop()
				for i := range len(attack.says) {
					if _, err := conn.Write([]byte(attack.says[i : i+1])); err != nil {
						return
					}
					select {
					case <-tick.C:
					case <-ended:
						return
					}
				}
			}()
			defer close(ended)
			_ = conn.SetReadDeadline(time.Now().Add(2 * patience))
			if _, err := io.Copy(io.Discard, conn); err != nil {
				if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // as net returns it
					t.Error("it stays open")
				}
			}
		})
	}
	open(t, plain.in("demo"), "bystander", opening{}).does("status", `{"peers":[]}`)
	open(t, secure.in("demo"), "bystander", opening{via: func() (net.Conn, error) { return shaken(t), nil }}).does("status", `{"peers":[]}`)
}

// What is announced costs nothing until it comes.
func TestAnnouncedPacketsCostNoMemory(t *testing.T) {
	t.Parallel()
	s := startWith(t, &config{dir: t.TempDir(), apps: []string{"{id: demo, master_key: " + masterKey + "}"}})
	before := s.heap(t)
	const attackers = 400
	for i := range attackers {
		r := rawConn(t, s.MQTT)
		if i%2 == 0 {
			r.bytes(0x10, 0xff, 0xff, 0x0f, 0, 4, 'M', 'Q', 'T', 'T') // CONNECT of 256 KB
			continue
		}
		r.write(&packets.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: fmt.Sprintf("a/%d", i), UsernameFlag: true, Username: "demo", Properties: &packets.Properties{}})
		r.bytes(0x30, 0xff, 0xff, 0x0f, 0, 4, 't', 'e', 's', 't') // PUBLISH of 256 KB
	}
	if grown := s.heap(t) - before; grown > attackers*100<<10 {
		t.Errorf("%d connections that announce 256 KB each take %d KB", attackers, grown>>10)
	}
	open(t, s.in("demo"), "bystander", opening{}).does("status", `{"peers":[]}`)
}

// heap is what the server's heap takes, garbage too.
func (s *server) heap(t *testing.T) int {
	t.Helper()
	var n float64
	if _, err := fmt.Sscan(s.metric(t, "go_memstats_heap_inuse_bytes"), &n); err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// An app over its limits is refused, and its neighbour on the same server is not.
func TestAnAppTakesNoMoreThanItsShare(t *testing.T) {
	t.Parallel()
	neighbour := newApp(t)
	unharmed := func() {
		t.Helper()
		c := open(t, neighbour, "bystander", opening{password: watching("bystander")})
		c.send("peer/bystander/bystander", strings.Repeat("x", 2000))
		c.close()
	}
	crowd := newApp(t, "connections: 2")
	one := open(t, crowd, "one", opening{})
	open(t, crowd, "two", opening{})
	if r := refused(t, crowd, "three", opening{}); r.code != 0x97 || !strings.HasPrefix(r.reason, "4113 ") {
		t.Errorf("connections: 0x%02X %q", r.code, r.reason)
	}
	open(t, crowd, "two", opening{}) // takes its own place
	unharmed()
	one.close()
	waitUntil(t, "a place that is free again is not given", func() bool {
		_, no := dial(t, crowd, "three", opening{})
		return no == nil
	})
	hasty := newApp(t, "connects_per_second: 0.001")
	open(t, hasty, "one", opening{})
	if r := refused(t, hasty, "two", opening{}); r.code != 0x9F || !strings.HasPrefix(r.reason, "4116 ") {
		t.Errorf("connects: 0x%02X %q", r.code, r.reason)
	}
	unharmed()
	for name, settings := range map[string]string{
		"bytes of a session": "rate: {bytes_per_second: 1}, message_bytes: 3000",
		"bytes of the app":   "app_rate: {bytes_per_second: 1}, message_bytes: 3000",
		"messages of an app": "app_rate: {messages_per_second: 0.001, burst: 1}",
	} {
		a := newApp(t, settings)
		alice := open(t, a, "alice", opening{password: watching("bob")})
		alice.send("peer/bob/alice", strings.Repeat("x", 2000))
		if got := alice.publish("peer/bob/alice", strings.Repeat("x", 2000), publication{qos: 1}); got.code != 0x97 || !strings.HasPrefix(got.reason, "4116 ") {
			t.Errorf("%s: 0x%02X %q", name, got.code, got.reason)
		}
		old := open(t, a, "old", opening{version: 3, password: watching("bob")})
		old.publish("peer/bob/old", strings.Repeat("x", 2900), publication{qos: 0})
		if name != "bytes of a session" {
			if e := old.event("error"); e.Code != 4116 {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
	unharmed()
}

func TestPagesOfOtherOriginsAreRefused(t *testing.T) {
	t.Parallel()
	s := startWith(t, &config{dir: t.TempDir(), listen: `, origins: ["https://chat.example.org"]`, apps: []string{"{id: demo, master_key: " + masterKey + "}"}})
	for origin, want := range map[string]int{
		"": 101, "https://chat.example.org": 101, "https://CHAT.example.org": 101, "http://" + s.HTTP: 101,
		"http://chat.example.org": 403, "https://evil.example": 403, "null": 403, "https://chat.example.org.evil.example": 403,
	} {
		if got, _ := upgrade(t, s, origin, ""); got != want {
			t.Errorf("origin %q: %d, want %d", origin, got, want)
		}
	}
	if got, _ := upgrade(t, shared, "https://evil.example", ""); got != 101 {
		t.Errorf("by default: %d", got)
	}
}

// Nothing that comes is inflated: neither WebSocket frames nor REST bodies.
func TestNothingIsDecompressed(t *testing.T) {
	t.Parallel()
	if status, answer := upgrade(t, shared, "", "permessage-deflate; client_max_window_bits"); status != 101 || answer.Get("Sec-WebSocket-Extensions") != "" {
		t.Errorf("%d, %v", status, answer)
	}
	a := newApp(t)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = fmt.Fprintf(z, `{"from":"a","to":["b"],"message":"%s"}`, strings.Repeat("x", 3000))
	_ = z.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+a.HTTP+"/v1/apps/"+a.id+"/messages", &bomb)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(a.id, a.key)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Content-Encoding", "gzip")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("a compressed body: %d", resp.StatusCode)
	}
}

// upgrade asks for MQTT over WebSocket and returns the answer's status and header.
func upgrade(t *testing.T, s *server, origin, extensions string) (int, http.Header) {
	t.Helper()
	conn := rawConn(t, s.HTTP)
	more := ""
	if origin != "" {
		more += "Origin: " + origin + "\r\n"
	}
	if extensions != "" {
		more += "Sec-WebSocket-Extensions: " + extensions + "\r\n"
	}
	conn.bytes([]byte("GET /mqtt HTTP/1.1\r\nHost: " + s.HTTP + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n" + more + "\r\n")...)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, answer.Header
}

// Nobody fills the server's index of subscriptions, whatever is subscribed to.
func TestSubscriptionsOfASessionAreBounded(t *testing.T) {
	t.Parallel()
	a := newApp(t, `topics: ["#"]`, "watch: {per_call: 100, per_session: 150}")
	bystander := open(t, a, "bystander", opening{})
	bystander.subscribe(1, "topic/here/+")
	attacker := open(t, a, "attacker", opening{})
	for name, c := range map[string]struct {
		filter func(i int) string
		most   int
	}{
		"under {app}/topic/":        {func(i int) string { return fmt.Sprintf("topic/%d/+", i) }, 1000},
		"shared":                    {func(i int) string { return fmt.Sprintf("$share/g%d/topic/x", i) }, 1000},
		"to topics of its own":      {func(i int) string { return fmt.Sprintf("peer/attacker/p%d", i) }, 100},
		"to the presence of others": {func(i int) string { return fmt.Sprintf("presence/p%d", i) }, 150},
	} {
		t.Run(name, func(t *testing.T) {
			granted, refused := 0, 0
			for i := 0; i < c.most+100; i += 50 {
				filters := make([]string, 50)
				for k := range filters {
					filters[k] = c.filter(i + k)
				}
				for _, code := range attacker.subscribe(0, filters...) {
					switch {
					case code < 0x80:
						granted++
					case code == 0x97:
						refused++
					default:
						t.Fatalf("0x%02X", code)
					}
				}
			}
			if granted > c.most || refused < 100 {
				t.Errorf("%d granted, %d refused", granted, refused)
			}
		})
	}
	open(t, a, "friend", opening{}).publish("topic/here/1", "still", publication{qos: 1})
	bystander.wants("topic/here/1", "still")
}

// A topic is at most 64 levels deep and 1 KB long, a will's and the name of a shared subscription too: the server's indexes hold them.
func TestTopicsAreBoundedInDepthAndLength(t *testing.T) {
	t.Parallel()
	a := newApp(t, `topics: ["#"]`)
	bystander := open(t, a, "bystander", opening{})
	bystander.subscribe(1, "topic/#")
	before := a.heap(t)
	deep, long := "topic"+strings.Repeat("/x", 30_000), "topic/"+strings.Repeat("x", 60_000)
	attacker := open(t, a, "attacker", opening{})
	for _, topic := range []string{deep, long} {
		for name, code := range map[string]byte{
			"subscribe": attacker.subscribe(1, topic)[0],
			"shared":    attacker.subscribe(1, "$share/g/"+topic)[0],
			"a share":   attacker.subscribe(1, "/$share/"+strings.ReplaceAll(topic, "/", "-")+"/"+a.id+"/topic/x")[0],
			"publish":   attacker.publish(topic, "refused", publication{qos: 1}).code,
			"retained":  attacker.publish(topic, "refused", publication{qos: 1, retain: true}).code,
		} {
			if code < 0x80 {
				t.Errorf("%s to %.20s…, %d bytes: 0x%02X", name, topic, len(topic), code)
			}
		}
	}
	for _, topic := range []string{deep, long} {
		if _, no := dial(t, a, "attacker/2", opening{will: &will{topic: topic, payload: "refused", qos: 1}}); no == nil {
			t.Errorf("a will of %d bytes is granted", len(topic))
		}
	}
	if grown := a.heap(t) - before; grown > 64<<20 {
		t.Errorf("the heap grows by %d MB", grown>>20)
	}
	attacker.publish("topic/here", "fine", publication{qos: 1})
	bystander.wants("topic/here", "fine")
	bystander.nothing("topic/")
}

// More than 256 KB is announced in vain, before CONNECT and after it, over TCP and in a frame of WebSocket.
func TestPacketsAreBoundedBeforeAndAfterConnect(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	bystander := open(t, a, "bystander", opening{password: watching("bystander")})
	huge := func(first byte) []byte { return []byte{first, 0xff, 0xff, 0xff, 0x7f} }

	before := rawConn(t, a.MQTT)
	before.bytes(huge(0x10)...)
	before.closes()

	after, _ := open5(t, a, "attacker", "")
	after.bytes(huge(0x32)...)
	if d := until5(after, anyOf[*packets.Disconnect]); d.ReasonCode != 0x95 {
		t.Errorf("0x%02X", d.ReasonCode)
	}
	after.closes()

	ws := rawConn(t, a.HTTP)
	ws.bytes([]byte("GET /mqtt HTTP/1.1\r\nHost: kith\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")...)
	ws.bytes(append([]byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, huge(0x10)...)...)
	ws.closes()

	bystander.send("peer/bystander/bystander", "fine")
}

// Who is refused at every packet is refused, and slows nobody else.
func TestAFloodOfRefusalsHarmsNobody(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	bob := open(t, a, "bob", opening{})
	alice := open(t, a, "alice", opening{password: watching("bob")})
	attacker, _ := open5(t, a, "attacker", "")
	var flood bytes.Buffer
	for range 1000 {
		for _, p := range []*packets.Publish{
			publish5(a.id+"/peer/bob/alice", "refused", 0, 0), publish5(a.id+"/group/g/attacker", "refused", 0, 0), publish5(a.id+"/request/attacker/send", `{"to":["bob"]`, 0, 0),
			publish5("$SYS/x", "refused", 0, 0), publish5(a.id+"/request/attacker/nothing", "{}", 0, 0),
		} {
			if _, err := p.WriteTo(&flood); err != nil {
				t.Fatal(err)
			}
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 4 { // and reads nothing: it is not read either, once its answers wait
			_ = attacker.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := attacker.Write(flood.Bytes()); err != nil {
				return
			}
		}
	}()
	for i := range 20 {
		alice.send("peer/bob/alice", fmt.Sprint(i))
		bob.wants("peer/bob/alice", fmt.Sprint(i))
	}
	<-done
	bob.nothing("peer/")
}

// A page of history is long. Who asks for many and takes none has few of them wait, and the rest of its requests unread.
func TestAnswersThatNobodyTakesCostLittleMemory(t *testing.T) {
	t.Parallel()
	const messages, requests, most = 1000, 150, 400 << 20
	s := startWith(t, &config{dir: t.TempDir(), apps: []string{"{id: demo, master_key: " + masterKey + "}"}})
	a := s.in("demo")
	var history, flood bytes.Buffer
	for i := range messages {
		fmt.Fprintf(&history, `{"timestamp":%d,"conv-id":"","data":"%s","from":"alice","msg-id":"m%d","to":["attacker"]}`+"\n", 1416290728000+i, strings.Repeat("x", 5000), i)
	}
	if status, body := s.call(t, http.MethodPost, "/v1/apps/demo/import", history.String(), "Bearer "+adminToken); status != http.StatusOK {
		t.Fatalf("import: %d %s", status, body)
	}
	attacker, _ := open5(t, a, "attacker", "")
	bob := open(t, a, "bob", opening{})
	for range requests {
		if _, err := publish5("demo/request/attacker/history", `{"peer":"alice","limit":1000}`, 0, 0).WriteTo(&flood); err != nil {
			t.Fatal(err)
		}
	}
	before := s.heap(t)
	attacker.bytes(flood.Bytes()...)
	for range 50 {
		bob.does("status", `{"peers":["attacker"]}`)
		if now := s.heap(t); now-before > most {
			t.Fatalf("%d MB for answers that nobody takes", (now-before)>>20)
		}
	}
	for range 3 { // who takes them after all gets them
		reply := until5(attacker, func(p *packets.Publish) bool { return strings.HasSuffix(p.Topic, "/reply") })
		if n := bytes.Count(reply.Payload, []byte(`"original_id"`)); n != messages {
			t.Fatalf("a page of %d messages: %.200s", n, reply.Payload)
		}
	}
}
