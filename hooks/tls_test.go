package hooks

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// writeCertificate makes a self-signed certificate for 127.0.0.1 that is its own authority.
func writeCertificate(t *testing.T) (cert, key string, pair tls.Certificate, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kith"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs})
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for name, b := range map[string][]byte{cert: certPEM, key: keyPEM} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err = tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return cert, key, pair, pool
}

func TestTLS(t *testing.T) {
	cert, key, pair, pool := writeCertificate(t)
	for name, c := range map[string]struct {
		ca     string
		client *tls.Config
		ok     bool
	}{
		"server certificate":        {"", &tls.Config{}, true},
		"client certificate":        {cert, &tls.Config{Certificates: []tls.Certificate{pair}}, true},
		"client certificate missed": {cert, &tls.Config{}, false},
		"TLS 1.1":                   {"", &tls.Config{MaxVersion: tls.VersionTLS11}, false},
	} {
		t.Run(name, func(t *testing.T) {
			config, err := TLSConfig{Cert: cert, Key: key, ClientCA: c.ca}.Load()
			if err != nil {
				t.Fatal(err)
			}
			ts := startServer(t, func(s *Server) { s.tls = config })
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = ts.ServeTLS(t.Context(), ln) }()
			c.client.RootCAs = pool
			nc, err := tls.Dial("tcp", ln.Addr().String(), c.client)
			if err != nil {
				if c.ok {
					t.Fatal(err)
				}
				return
			}
			defer func() { _ = nc.Close() }()
			client := &rawClient{t: t, nc: nc, version: 5}
			if !c.ok {
				_, _ = nc.Write([]byte{0x10})
				if _, err := client.read(); err == nil {
					t.Error("it was let in")
				}
				return
			}
			client.send(connectPacket(5, "alice"))
			client.expect(packets.Connack)
			// Larger and smaller than the buffer that an idle connection keeps.
			for i, size := range []int{0, 300, 600, 5000, 100_000, 10} {
				client.send(publishPacket(1, uint16(i+1), "demo/x", strings.Repeat("x", size)), publishPacket(1, uint16(i+100), "demo/x", ""))
				client.expect(packets.Puback)
				client.expect(packets.Puback)
			}
			if r := ts.request("alice"); r.Transport != "tls" {
				t.Errorf("%+v", r)
			}
			client.raw(0xC0, 1, 0)
			client.expectEnd(0x81)
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]Config{
		"cert without key":   {TLS: TLSConfig{Cert: "x"}},
		"mqtts without cert": {MQTTS: ":8883"},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if _, err := (TLSConfig{Cert: "/nonexistent", Key: "/nonexistent"}).Load(); err == nil {
		t.Error("missing files: no error")
	}
}
