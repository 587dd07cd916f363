package hooks

import (
	"crypto/tls"
	"os"
	"testing"
	"time"
)

// What changed on disk is noticed once, and what cannot be read leaves the former in force.
func TestChangedCertificatesAreTakenUp(t *testing.T) {
	cert, key, _, _ := writeCertificate(t)
	all, err := LoadCertificates(TLSConfig{Cert: cert, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		config, err := all.Config(nil).GetConfigForClient(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return string(config.Certificates[0].Certificate[0])
	}
	first := shown()
	if all.changed() {
		t.Error("changed before anything was")
	}
	otherCert, otherKey, _, _ := writeCertificate(t)
	later := time.Now().Add(time.Minute) // clocks of file systems may be coarse
	for from, to := range map[string]string{otherCert: cert, otherKey: key} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Chtimes(to, later, later)
	}
	if !all.changed() {
		t.Error("not noticed")
	}
	if err := all.Reload(); err != nil || all.changed() {
		t.Errorf("reload: %v; still changed %t", err, all.changed())
	}
	second := shown()
	if second == first {
		t.Error("the former is shown")
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if !all.changed() || all.Reload() == nil || all.changed() || shown() != second {
		t.Error("a missing key")
	}
}
