package e2e_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
)

// A certificate names the one peer that its client may be, over TLS and over secure WebSocket.
func TestACertificateIsOfOnePeer(t *testing.T) {
	t.Parallel()
	for bind, names := range map[string][2]string{"cn": {"alice", "mallory"}, "uri": {"kith:demo/alice", "kith:other/alice"}} {
		t.Run(bind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ca := newAuthority(t)
			certFile, keyFile, _ := ca.pair(dir, "server")
			s := startWith(t, &config{
				dir: dir, apps: []string{"{id: demo, master_key: " + masterKey + "}"},
				listen: fmt.Sprintf(`, mqtts: "127.0.0.1:0", tls: {cert: %q, key: %q, client_ca: %q, client_peer: %s}`, certFile, keyFile, ca.file(dir, "ca.pem", ca.pem), bind),
			})
			a := s.in("demo")
			for i, name := range names {
				if u, err := url.Parse(name); bind == "uri" && err == nil {
					ca.uris = []*url.URL{u}
				}
				_, _, pair := ca.pair(dir, strings.ReplaceAll(name, "/", "-"))
				if bind == "cn" {
					_, _, pair = ca.pair(dir, name)
				}
				config := ca.client(pair)
				for way, via := range map[string]func() (net.Conn, error){
					"tls": func() (net.Conn, error) { return tls.Dial("tcp", s.MQTTS, config) },
					"wss": webSocket("wss://"+s.HTTP+"/mqtt", config),
				} {
					o := opening{via: via}
					if i == 0 {
						open(t, a, "alice/"+way, o)
						if r := refused(t, a, "bob", o); r.code != 0x87 || !strings.HasPrefix(r.reason, "4102 ") {
							t.Errorf("%s: bob with the certificate of alice: 0x%02X %s", way, r.code, r.reason)
						}
					} else if r := refused(t, a, "alice/"+way, o); r.code != 0x87 {
						t.Errorf("%s: alice with the certificate of %s: 0x%02X", way, name, r.code)
					}
				}
			}
		})
	}
}

// A renewed certificate is taken up on SIGHUP: new connections see it, open ones stay; a broken one changes nothing.
func TestACertificateIsRenewedWithoutARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := newAuthority(t)
	certFile, keyFile, first := ca.pair(dir, "server")
	s := startWith(t, &config{
		dir: dir, apps: []string{"{id: demo, master_key: " + masterKey + "}"},
		listen: fmt.Sprintf(`, mqtts: "127.0.0.1:0", tls: {cert: %q, key: %q}`, certFile, keyFile),
	})
	config := ca.client()
	shows := func(addr string) string {
		conn, err := tls.Dial("tcp", addr, config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return string(conn.ConnectionState().PeerCertificates[0].Raw)
	}
	alice := open(t, s.in("demo"), "alice", opening{via: func() (net.Conn, error) { return tls.Dial("tcp", s.MQTTS, config) }})
	_, _, second := ca.pair(dir, "server") // into the same files
	s.hangup(t)
	for _, addr := range []string{s.MQTTS, s.HTTP} {
		waitUntil(t, "the new certificate is not shown", func() bool { return shows(addr) == string(second.Certificate[0]) })
	}
	if string(first.Certificate[0]) == string(second.Certificate[0]) {
		t.Fatal("the test made the same certificate twice")
	}
	ca.file(dir, "server.pem", []byte("no certificate"))
	s.hangup(t)
	waitUntil(t, "the log does not tell", func() bool {
		return s.log.text("former stay") != "" || s.log.text("certificate not reloaded") != ""
	})
	if shows(s.MQTTS) != string(second.Certificate[0]) {
		t.Error("a broken file takes the certificate away")
	}
	alice.does("status", `{"peers":[]}`)
}
