package redisstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kith/broker"
	"kith/broker/redisstore"
	"kith/broker/redisstore/redistest"
)

// writeCertificate makes a certificate for the loopback that signs itself.
func writeCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, bytes []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", signed), write("key.pem", "PRIVATE KEY", der)
}

// Over TLS the server's certificate must be signed by the authority that the settings name.
func TestTLSWithAnAuthorityOfOnesOwn(t *testing.T) {
	t.Parallel()
	cert, key := writeCertificate(t)
	port, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	redistest.Start(t, "--tls-port", text("%d", port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
	cfg := redisstore.Config{Addrs: []string{text("127.0.0.1:%d", port)}, TLS: true}
	if s, err := redisstore.Open(cfg, redisstore.Options{}); err == nil {
		s.Close()
		t.Error("a certificate that nobody known signed is trusted")
	} else if !strings.Contains(err.Error(), "store.redis.ca") {
		t.Error(err)
	}
	cfg.CA = key
	if _, err := redisstore.Open(cfg, redisstore.Options{}); err == nil || !strings.Contains(err.Error(), "holds no certificate") {
		t.Error(err)
	}
	cfg.CA = cert
	commit(t, openNew(t, cfg, redisstore.Options{}), &broker.Batch{Appends: []broker.Append{direct("tom", "x", "bob")}})
}

// The Sentinels have a password of their own, beside that of the servers.
func TestSentinelsWithAPassword(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, "--requirepass", "server", "--masterauth", "server")
	_, sentinels := redistest.StartSentinels(t, master, 1, 1, "requirepass sentinel")
	cfg := redisstore.Config{Addrs: sentinels, MasterName: redistest.MasterName, Password: "server"}
	if s, err := redisstore.Open(cfg, redisstore.Options{Timeout: 2 * time.Second}); err == nil {
		s.Close()
		t.Error("it opens without the Sentinels' password")
	} else if !strings.Contains(err.Error(), "sentinel_password") {
		t.Error(err)
	}
	cfg.SentinelPassword = "sentinel"
	commit(t, openNew(t, cfg, redisstore.Options{}), &broker.Batch{Appends: []broker.Append{direct("tom", "x", "bob")}})
}

// With wait_disk a batch is told when it is synced, also under appendfsync everysec; a Redis that cannot tell is refused.
func TestDiskIsWaitedFor(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t, "--appendfsync", "everysec")
	cfg := redisstore.Config{Addrs: []string{master.Addr}, WaitDisk: true}
	client := master.Client()
	defer client.Close()
	if err := client.Do(t.Context(), "waitaof", 0, 0, 1).Err(); err != nil {
		if s, err := redisstore.Open(cfg, redisstore.Options{Timeout: time.Second}); err == nil {
			s.Close()
			t.Error("a Redis without WAITAOF is taken")
		} else if !strings.Contains(err.Error(), "wait_disk needs Redis 7.2") {
			t.Error(err)
		}
		return
	}
	s := openNew(t, cfg, redisstore.Options{})
	commit(t, s, &broker.Batch{Appends: []broker.Append{direct("tom", "x", "bob")}})
	synced, err := client.Do(t.Context(), "waitaof", 1, 0, 1).Int64Slice()
	if err != nil || synced[0] != 1 {
		t.Errorf("told before it was synced: %v, %v", synced, err)
	}
	if err := client.ConfigSet(t.Context(), "appendonly", "no").Err(); err != nil {
		t.Fatal(err)
	}
	if err := within(t, begin(s, &broker.Batch{Appends: []broker.Append{direct("tom", "y", "bob")}})); err == nil {
		t.Error("told without an append-only file")
	}
}

// With wait_replicas a batch is told only when that many replicas have it; while they are away, batches fail.
func TestReplicasAreWaitedFor(t *testing.T) {
	t.Parallel()
	master := redistest.Start(t)
	replica := redistest.Start(t, "--replicaof", "127.0.0.1", master.Port())
	s := openNew(t, redisstore.Config{Addrs: []string{master.Addr}, WaitReplicas: 1}, redisstore.Options{Timeout: 2 * time.Second})
	try := func() error {
		return within(t, begin(s, &broker.Batch{Appends: []broker.Append{direct("tom", "x", "bob")}}))
	}
	untilNil := func(what string) {
		t.Helper()
		for end := time.Now().Add(patience); ; {
			err := try()
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	untilNil("the replica follows")
	client := replica.Client()
	defer client.Close()
	if n := client.LLen(t.Context(), "kith{0}:i:demo:bob").Val(); n == 0 {
		t.Error("told before the replica had it")
	}
	replica.Kill()
	if err := try(); err == nil || !strings.Contains(err.Error(), "0 of 1 replicas had it in time") {
		t.Errorf("without its replica: %v", err)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("a ping succeeds without the replica")
	}
	replica.Again(t)
	untilNil("the replica is back")
}
