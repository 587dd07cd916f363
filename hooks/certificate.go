package hooks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kith/broker"
)

// certificateLook is how often the files of a certificate are looked at for a change.
const certificateLook = 10 * time.Second

// Certificates is what the TLS listeners work with. Its files may change: new connections get the new ones, others stay.
type Certificates struct {
	config  TLSConfig
	current atomic.Pointer[tls.Config]

	mu   sync.Mutex
	seen string // what the files were like when they were last read
}

// LoadCertificates reads the files of c. It returns nil when no certificate is named.
func LoadCertificates(c TLSConfig) (*Certificates, error) {
	if c.Cert == "" {
		return nil, nil //nolint:nilnil // no TLS is no error
	}
	all := &Certificates{config: c}
	return all, all.Reload()
}

// Reload reads the files again. When it fails the former stay in force.
func (c *Certificates) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.look()
	config, err := c.config.Load()
	c.seen = seen // also of what cannot be read: it is told once
	if err != nil {
		return err
	}
	c.current.Store(config)
	return nil
}

// look tells the files as they are now from those that were read.
func (c *Certificates) look() string {
	var b strings.Builder
	for _, path := range []string{c.config.Cert, c.config.Key, c.config.ClientCA} {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintf(&b, "%d %d\n", info.ModTime().UnixNano(), info.Size())
		}
	}
	return b.String()
}

func (c *Certificates) changed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.look() != c.seen
}

// Config is for a listener: each handshake takes what is in force, changed by adapt, which may be nil.
func (c *Certificates) Config(adapt func(*tls.Config)) *tls.Config {
	var last atomic.Pointer[[2]*tls.Config] // what was in force, and what adapt made of it
	adapted := func() *tls.Config {
		now := c.current.Load()
		if l := last.Load(); l != nil && l[0] == now {
			return l[1]
		}
		config := now.Clone()
		if adapt != nil {
			adapt(config)
		}
		last.Store(&[2]*tls.Config{now, config})
		return config
	}
	config := adapted().Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return adapted(), nil }
	return config
}

// watchCertificates takes up changed files until ctx ends.
func (s *Server) watchCertificates(ctx context.Context) {
	if s.certificates == nil {
		return
	}
	tick := time.NewTicker(certificateLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if s.certificates.changed() {
				s.ReloadCertificates()
			}
		}
	}
}

// ReloadCertificates reads the certificate's files again, where there are any, and logs what came of it.
func (s *Server) ReloadCertificates() {
	if s.certificates == nil {
		return
	}
	if err := s.certificates.Reload(); err != nil {
		s.log.Error("certificate not reloaded; the former stays in force", "error", err)
		return
	}
	s.log.Info("certificate reloaded", "cert", s.config.TLS.Cert)
}

// Certificates returns what the TLS listeners work with; nil without a certificate.
func (s *Server) Certificates() *Certificates { return s.certificates }

// The values of TLSConfig.ClientPeer.
const (
	ClientPeerCN  = "cn"  // the certificate's common name is the peer's id
	ClientPeerURI = "uri" // one of its SAN URIs is kith:{app}/{peer}, percent-encoded
)

// checkCertificate refuses a client whose certificate is another peer's, where the settings bind the two. Clients without TLS
// have none to show, and are not asked.
func (c *conn) checkCertificate(app, clientID string) *broker.Error {
	bind := c.srv.config.TLS.ClientPeer
	if bind == "" || c.transport != overTLS && c.transport != overWSS {
		return nil
	}
	peer, _, _ := strings.Cut(clientID, "/")
	if cert := c.certificate(); cert != nil {
		if bind == ClientPeerCN && cert.Subject.CommonName == peer {
			return nil
		}
		for _, u := range cert.URIs {
			if bind == ClientPeerURI && namesPeer(u, app, peer) {
				return nil
			}
		}
	}
	return broker.Errorf(broker.SignatureFailed, "the client's certificate is not of this peer")
}

func namesPeer(u *url.URL, app, peer string) bool {
	name, err := url.PathUnescape(u.Opaque)
	return err == nil && u.Scheme == "kith" && name == app+"/"+peer
}

// certificate is what the client showed; nil for nothing.
func (c *conn) certificate() *x509.Certificate {
	switch nc := c.nc.(type) {
	case *tls.Conn:
		if shown := nc.ConnectionState().PeerCertificates; len(shown) > 0 {
			return shown[0]
		}
	case *webSocket:
		return nc.certificate
	}
	return nil
}
