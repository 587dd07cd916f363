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
