package e2e_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"

	"github.com/eclipse/paho.golang/packets"
)

const proxyAddr = "127.0.0.2" // another of loopback's addresses, so that the test's own calls need no header

// dialFrom connects from another of loopback's addresses.
func dialFrom(t testing.TB, local, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// proxied connects as a trusted proxy does, on behalf of a client.
func proxied(t testing.TB, addr, client string) net.Conn {
	t.Helper()
	conn := dialFrom(t, proxyAddr, addr)
	from, err := net.ResolveTCPAddr("tcp", client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := proxyproto.HeaderProxyFromAddrs(2, from, conn.RemoteAddr()).WriteTo(conn); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Behind a proxy the client's own address is what history, status and throttles go by: over TCP, TLS, WebSocket and HTTP.
func TestAProxyTellsTheClientsAddress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := newAuthority(t)
	certFile, keyFile, _ := ca.pair(dir, "server")
	secure := ca.client()
	demo := []string{"{id: demo, master_key: " + masterKey + "}"}
	proxy := fmt.Sprintf(`, proxy: {trusted: [%q]}`, proxyAddr)
	clear := startWith(t, &config{dir: t.TempDir(), apps: demo, listen: proxy}).in("demo")
	ciphered := startWith(t, &config{dir: dir, apps: demo, listen: proxy + fmt.Sprintf(`, mqtts: "127.0.0.1:0", tls: {cert: %q, key: %q}`, certFile, keyFile)})

	ways := []struct {
		name string
		at   *app
		via  func(client string) func() (net.Conn, error)
	}{
		{"tcp", clear, func(client string) func() (net.Conn, error) {
			return func() (net.Conn, error) { return proxied(t, clear.MQTT, client), nil }
		}},
		{"tls", ciphered.in("demo"), func(client string) func() (net.Conn, error) {
			return func() (net.Conn, error) { return tls.Client(proxied(t, ciphered.MQTTS, client), secure), nil }
		}},
	}
	for i, way := range ways {
		for _, version := range []int{5, 3} {
			from := fmt.Sprintf("198.51.100.%d", 10*i+version)
			name := fmt.Sprintf("%s%d", way.name, version)
			alice := open(t, way.at, name, opening{version: version, password: watching("bob"), via: way.via(from + ":40000")})
			alice.send("peer/bob/"+name, "from afar")
			alice.does("status", `{"peers":["bob"]}`)
			if way.at == clear {
				if s := way.at.sessions(t, name); len(s) != 1 || s[0].Address != from {
					t.Errorf("%s: sessions %+v, want one from %s", name, s, from)
				}
				if h := way.at.rest(t, http.MethodGet, "/messages?from="+name, "").Items; len(h) != 1 || h[0].FromIP != from {
					t.Errorf("%s: history %+v, want from_ip %s", name, h, from)
				}
			}
		}
	}

	// MQTT over WebSocket, by hand: the stock library dials by itself.
	ws := proxied(t, clear.HTTP, "203.0.113.9:40000")
	fmt.Fprintf(ws, "GET /mqtt HTTP/1.1\r\nHost: kith\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(ws), nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("websocket: %v, %v", answer, err)
	}
	hello := "\x10\x15\x00\x04MQTT\x04\x82\x00\x3c\x00\x03far\x00\x04demo"
	_, _ = ws.Write([]byte{0x82, 0x80 | byte(len(hello)), 0, 0, 0, 0}) // masked with nothing
	_, _ = ws.Write([]byte(hello))
	waitUntil(t, "the WebSocket client is not there", func() bool {
		s := clear.sessions(t, "far")
		return len(s) == 1 && s[0].Address == "203.0.113.9"
	})

	// The throttle of failed logins: one address is refused, its neighbour behind the same proxy is not.
	call := func(client, key string) int {
		conn := proxied(t, clear.HTTP, client)
		fmt.Fprintf(conn, "GET /v1/apps/demo/messages HTTP/1.1\r\nHost: kith\r\nConnection: close\r\nAuthorization: Basic %s\r\n\r\n",
			base64.StdEncoding.EncodeToString([]byte("demo:"+key)))
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode
	}
	for range 20 {
		call("203.0.113.66:1", "wrong")
	}
	if attacker, bystander := call("203.0.113.66:1", masterKey), call("203.0.113.67:1", masterKey); attacker != 429 || bystander != 200 {
		t.Errorf("after 20 failed logins the attacker gets %d, the bystander %d", attacker, bystander)
	}
	resp, err := (&http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: secure,
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			return tls.Client(proxied(t, ciphered.HTTP, "203.0.113.9:1"), secure), nil
		},
	}}).Get("https://" + ciphered.HTTP + "/healthz")
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("HTTPS behind the proxy: %v, %v", resp, err)
	}
}

// A header counts from a trusted address alone, and there it must come.
func TestAProxysHeaderIsBelievedFromTrustedAddressesAlone(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	r := &raw{t, proxied(t, a.MQTT, "198.51.100.7:40000")}
	r.write(&packets.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "alice", UsernameFlag: true, Username: a.id, Properties: &packets.Properties{}})
	r.closes()
	h := proxied(t, a.HTTP, "198.51.100.7:40000")
	fmt.Fprintf(h, "GET /healthz HTTP/1.1\r\nHost: kith\r\n\r\n")
	if answer, err := http.ReadResponse(bufio.NewReader(h), nil); err == nil && answer.StatusCode == 200 {
		t.Error("HTTP takes a header from an address that nobody trusts")
	}
	s := startWith(t, &config{dir: t.TempDir(), listen: `, proxy: {trusted: ["127.0.0.1"]}`, apps: []string{"{id: demo, master_key: " + masterKey + "}"}})
	r = rawConn(t, s.MQTT)
	r.write(&packets.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "alice", UsernameFlag: true, Username: "demo", Properties: &packets.Properties{}})
	r.closes()
	waitUntil(t, "the log does not tell of the missing header", func() bool { return strings.Contains(s.log.text("no client told"), "127.0.0.1") })
}
