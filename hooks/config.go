package hooks

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Config is the part of the listen section of the settings that concerns MQTT (spec 12). The HTTP address, on whose
// port MQTT over WebSocket is mounted, belongs to api.
type Config struct {
	MQTT  string    `yaml:"mqtt"`  // address of MQTT over TCP; "" switches it off
	MQTTS string    `yaml:"mqtts"` // address of MQTT over TLS; "" switches it off
	TLS   TLSConfig `yaml:"tls"`
	// Origins are those of pages that may connect over WebSocket, such as "https://chat.example.org"; AnyOrigin for all. Pages of the
	// server's own host, and programs that name no origin, always may.
	Origins []string `yaml:"origins"`
}

// AnyOrigin in Config.Origins lets the pages of every site connect. It is the default: a session is opened by the signed password
// in CONNECT, not by a cookie that a browser adds by itself, so a foreign page gains nothing that it does not hold already.
const AnyOrigin = "*"

// TLSConfig names the PEM files of a TLS listener.
type TLSConfig struct {
	Cert     string `yaml:"cert"`
	Key      string `yaml:"key"`
	ClientCA string `yaml:"client_ca"` // when set, a client needs a certificate that it signed
	// ClientPeer binds that certificate to a peer: ClientPeerCN, ClientPeerURI, or "" for not.
	ClientPeer string `yaml:"client_peer"`
}

// DefaultConfig returns the defaults of spec 12.
func DefaultConfig() Config { return Config{MQTT: ":1883", Origins: []string{AnyOrigin}} }

// Validate reports what is wrong with c. It does not open the files.
func (c Config) Validate() error {
	var errs []error
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		errs = append(errs, errors.New("listen.tls: cert and key go together"))
	}
	if c.MQTTS != "" && c.TLS.Cert == "" {
		errs = append(errs, errors.New("listen.mqtts: needs listen.tls.cert and listen.tls.key"))
	}
	if c.TLS.ClientPeer != "" && c.TLS.ClientCA == "" {
		errs = append(errs, errors.New("listen.tls.client_peer: needs listen.tls.client_ca"))
	}
	return errors.Join(errs...)
}

// Load reads the files. It returns nil when no certificate is named.
func (c TLSConfig) Load() (*tls.Config, error) {
	if c.Cert == "" {
		return nil, nil //nolint:nilnil // no TLS is no error
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("listen.tls: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.ClientCA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(c.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("listen.tls.client_ca: %w", err)
	}
	config.ClientCAs = x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("listen.tls.client_ca: no certificate in %s", c.ClientCA)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	return config, nil
}
