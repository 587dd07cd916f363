package e2e_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	paho3 "github.com/eclipse/paho.mqtt.golang"
)

// webSocket opens a connection to /mqtt as a stock library does.
func webSocket(url string, config *tls.Config) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		return paho3.NewWebsocket(url, config, patience, nil, &paho3.WebsocketOptions{})
	}
}

func TestMQTTOverWebSocket(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		alice := open(t, a, "alice", opening{version: version, password: watching("bob"), via: webSocket("ws://"+a.HTTP+"/mqtt", nil)})
		bob := open(t, a, "bob", opening{version: version})
		alice.send("peer/bob/alice", "over websocket")
		bob.wants("peer/bob/alice", "over websocket")
		if s := a.sessions(t, "alice"); len(s) != 1 || !strings.HasSuffix(s[0].Protocol, " ws") {
			t.Errorf("sessions %+v", s)
		}
	})
}

// authority signs certificates for a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	uris []*url.URL // of what is signed from now on
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	ca := &authority{t: t}
	ca.key, ca.cert, ca.pem = ca.sign("authority", true)
	return ca
}

func (ca *authority) sign(name string, root bool) (*ecdsa.PrivateKey, *x509.Certificate, []byte) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: root, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		URIs:        ca.uris,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if !root {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return key, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// pair makes a certificate and writes it, with its key, to dir.
func (ca *authority) pair(dir, name string) (certFile, keyFile string, pair tls.Certificate) {
	ca.t.Helper()
	key, _, cert := ca.sign(name, false)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	certFile, keyFile = ca.file(dir, name+".pem", cert), ca.file(dir, name+".key", keyPEM)
	if pair, err = tls.X509KeyPair(cert, keyPEM); err != nil {
		ca.t.Fatal(err)
	}
	return certFile, keyFile, pair
}

// client is how a client talks to who has a certificate of the authority; it shows its own, if any.
func (ca *authority) client(own ...tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", Certificates: own, MinVersion: tls.VersionTLS12}
}

func (ca *authority) file(dir, name string, content []byte) string {
	ca.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		ca.t.Fatal(err)
	}
	return path
}

// MQTT over TLS and over secure WebSocket; with client_ca only clients with a certificate come in.
func TestTLSWithClientCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := newAuthority(t)
	certFile, keyFile, _ := ca.pair(dir, "server")
	clientCert, clientKey, pair := ca.pair(dir, "client")
	_, _, foreign := newAuthority(t).pair(dir, "foreign")
	caFile := ca.file(dir, "ca.pem", ca.pem)
	s := startWith(t, &config{
		dir: dir, apps: []string{"{id: demo, master_key: " + masterKey + "}"},
		listen: fmt.Sprintf(`, mqtts: "127.0.0.1:0", tls: {cert: %q, key: %q, client_ca: %q}`, certFile, keyFile, caFile),
	})
	a := s.in("demo")
	with := func(cert tls.Certificate) func() (net.Conn, error) {
		return func() (net.Conn, error) { return tls.Dial("tcp", s.MQTTS, ca.client(cert)) }
	}
	for _, version := range []int{5, 3} {
		name := fmt.Sprintf("alice%d", version)
		alice := open(t, a, name, opening{version: version, password: watching("bob"), via: with(pair)})
		alice.send("peer/bob/"+name, "over TLS")
	}
	for what, cert := range map[string]tls.Certificate{"no certificate": {}, "a foreign certificate": foreign} {
		conn, err := with(cert)()
		if err == nil { // with TLS 1.3 the refusal comes with the first read
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, err = conn.Read(make([]byte, 1))
		}
		if err == nil {
			t.Errorf("%s is let in", what)
		}
	}
	_, port, _ := net.SplitHostPort(s.MQTTS)
	out, err := exec.Command("mosquitto_pub", "-h", "127.0.0.1", "-p", port, "--cafile", caFile, "--cert", clientCert, "--key", clientKey,
		"-V", "5", "-i", "carol", "-u", "demo", "-P", `{"watch":["bob"]}`, "-t", "demo/peer/bob/carol", "-q", "1", "-m", "of mosquitto").CombinedOutput()
	if err != nil {
		t.Errorf("mosquitto_pub: %v: %s", err, out)
	}
	for _, version := range []int{5, 3} {
		bob := open(t, a, fmt.Sprintf("bob/%d", version), opening{version: version, via: webSocket("wss://"+s.HTTP+"/mqtt", ca.client(pair))})
		if version == 5 {
			bob.messages(3)
		}
		bob.does("status", `{"peers":["bob"]}`)
	}
}

// The lines of the README: mosquitto's clients talk, in either version.
func TestMosquittosClientsTalk(t *testing.T) {
	t.Parallel()
	inBothVersions(t, func(t *testing.T, version int) {
		a := newApp(t)
		protocol := map[int]string{5: "5", 3: "311"}[version]
		_, port, _ := net.SplitHostPort(a.MQTT)
		common := []string{"-h", "127.0.0.1", "-p", port, "-V", protocol, "-u", a.id}
		watcher := open(t, a, "watcher", opening{password: watching("bob")})
		sub := exec.Command("mosquitto_sub", append(common, "-i", "bob", "-t", a.id+"/peer/bob/+", "-q", "1", "-C", "2", "-W", "15")...)
		var heard bytes.Buffer
		sub.Stdout, sub.Stderr = &heard, &heard
		if err := sub.Start(); err != nil {
			t.Fatal(err)
		}
		watcher.wants("presence/bob", "offline")
		watcher.wants("presence/bob", "online")
		out, err := exec.Command("mosquitto_pub", append(common, "-i", "alice/cli", "-P", `{"watch":["bob"],"receive":"none"}`,
			"-t", a.id+"/peer/bob/alice", "-q", "1", "-m", "hello")...).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("mosquitto_pub: %v: %s", err, out)
		}
		if err := sub.Wait(); err != nil || !strings.Contains(heard.String(), "\nhello\n") {
			t.Errorf("mosquitto_sub: %v: %s", err, &heard)
		}
		out, err = exec.Command("mosquitto_pub", append(common, "-i", "a:b", "-t", "x", "-m", "x")...).CombinedOutput()
		if err == nil {
			t.Errorf("a refused client id: %s", out)
		}
	})
}
