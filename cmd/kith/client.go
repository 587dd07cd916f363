package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session"
	"github.com/eclipse/paho.golang/paho/session/state"
	"github.com/spf13/cobra"

	"kith/broker"
)

const defaultAddr = "127.0.0.1:1883"

// clientFlags say which server a tool talks to, and as whom.
type clientFlags struct {
	key    keyFlags
	addr   string
	ca     string
	device string
}

func (c *clientFlags) add(cmd *cobra.Command, device string) {
	f := cmd.Flags()
	f.StringVar(&c.addr, "addr", defaultAddr, "the server: `host:port`, or a URL with mqtt, mqtts, ws or wss")
	f.StringVar(&c.ca, "ca", "", "PEM `file` of the authority that signed the server's certificate (default: the system's)")
	f.StringVar(&c.device, "device", device, "the `name` of this device of the peer")
	c.key.add(cmd)
}

// client is a session of a tool: it reconnects by itself until it is stopped or the server refuses it.
type client struct {
	*autopaho.ConnectionManager
	app   broker.AppID
	peer  broker.PeerID
	key   string     // empty: unsigned
	ended chan error // gets why the session ended for good, once
}

// openOptions are how a tool opens its session.
type openOptions struct {
	peer    string
	watch   func() []broker.PeerID // asked at each connect
	receive string                 // empty: all
	keep    bool                   // stay a session over lost connections
	arrived func(*paho.Publish)    // called for all that arrives, one at a time
	settled func()                 // called when what arrived last is acknowledged
	up      func()
	down    func()
}

const connectTimeout = 10 * time.Second

// open connects and returns when the session is open. It gives up at the first refusal; later it reconnects.
func (c *clientFlags) open(ctx context.Context, p *program, o openOptions) (*client, error) {
	app, err := c.key.appID()
	if err != nil {
		return nil, err
	}
	peer, device, ok := broker.ParseClientID(o.peer + "/" + c.device)
	if !ok {
		return nil, usagef("--peer %q with --device %q is not of the form: 1–50 and 1–64 characters without spaces and / + # : $", o.peer, c.device)
	}
	key, err := c.key.given(p)
	if err != nil {
		return nil, err
	}
	server, tlsConfig, err := c.server()
	if err != nil {
		return nil, err
	}
	s := &client{app: app, peer: peer, key: key, ended: make(chan error, 1)}
	up := make(chan struct{}, 1)
	cfg := autopaho.ClientConfig{
		ServerUrls: []*url.URL{server}, TlsCfg: tlsConfig, KeepAlive: 30, ConnectTimeout: connectTimeout,
		ReconnectBackoff: autopaho.NewExponentialBackoff(200*time.Millisecond, 10*time.Second, time.Second, 1.6),
		ConnectUsername:  string(app),
		ConnectPacketBuilder: func(cp *paho.Connect, _ *url.URL) (*paho.Connect, error) {
			if cp.Properties == nil {
				cp.Properties = &paho.ConnectProperties{}
			}
			cp.Properties.RequestProblemInfo = true // else acknowledgements tell neither ids nor reasons
			cp.PasswordFlag = true
			var err error
			cp.Password, err = s.password(o)
			return cp, err
		},
		OnConnectionUp: func(*autopaho.ConnectionManager, *paho.Connack) {
			notify(up)
			if o.up != nil {
				o.up()
			}
		},
		OnConnectionDown: func() bool {
			if o.down != nil {
				o.down()
			}
			return true
		},
	}
	cfg.ClientID = string(peer) + "/" + string(device)
	if o.keep {
		cfg.SessionExpiryInterval = 3600
	}
	if o.settled != nil {
		cfg.Session = settling{state.NewInMemory(), o.settled}
	}
	cfg.OnPublishReceived = []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
		if o.arrived != nil {
			o.arrived(r.Packet)
		}
		return true, nil
	}}
	first := make(chan error, 1)
	cfg.OnConnectError = func(err error) {
		notifyError(first, err)
		if refused(err) {
			notifyError(s.ended, c.explain(err))
		}
	}
	cfg.OnServerDisconnect = func(d *paho.Disconnect) {
		if why := finalDisconnect(d); why != nil {
			notifyError(s.ended, why)
		}
	}
	s.ConnectionManager, err = autopaho.NewConnection(ctx, cfg)
	if err != nil {
		return nil, err
	}
	select {
	case <-up:
		return s, nil
	case err := <-first:
		s.close()
		return nil, c.explain(err)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// settling is a client's session that tells of each acknowledgement it sent. QoS 0 needs none, and is told of as well.
type settling struct {
	session.SessionManager
	settled func()
}

func (s settling) Ack(m *packets.Publish) error {
	err := s.SessionManager.Ack(m)
	s.settled()
	return err
}

// close says DISCONNECT and waits for it, shortly.
func (s *client) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = s.Disconnect(ctx) // nothing waits for the answer
}

// password is the password of CONNECT, newly signed each time.
func (s *client) password(o openOptions) ([]byte, error) {
	out := struct {
		*signed
		Watch   []broker.PeerID `json:"watch,omitempty"`
		Receive string          `json:"receive,omitempty"`
	}{Receive: o.receive}
	if o.watch != nil {
		out.Watch = o.watch()
	}
	if s.key != "" {
		out.signed = &signed{Timestamp: time.Now().Unix(), Nonce: newNonce()}
		out.Signature = broker.SignOpen(s.key, s.app, s.peer, out.Watch, out.Timestamp, out.Nonce, false)
	}
	return json.Marshal(out)
}

// server is the URL to connect to.
func (c *clientFlags) server() (*url.URL, *tls.Config, error) {
	addr := c.addr
	if !strings.Contains(addr, "://") {
		addr = "mqtt://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Port() == "" {
		return nil, nil, usagef("--addr %q: write host:port, or a URL such as mqtts://host:8883 or ws://host:8080/mqtt", c.addr)
	}
	switch u.Scheme {
	case "mqtt":
		return u, nil, nil
	case "ws", "wss":
		if u.Path == "" {
			u.Path = "/mqtt"
		}
	case "mqtts":
	default:
		return nil, nil, usagef("--addr %q: %s is not mqtt, mqtts, ws or wss", c.addr, u.Scheme)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname()}
	if c.ca != "" {
		pem, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, nil, fmt.Errorf("read --ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, nil, usagef("--ca %s holds no certificate in PEM form", c.ca)
		}
	}
	return u, config, nil
}

// refused reports whether the server answered and will answer so again.
func refused(err error) bool {
	connack, ok := errors.AsType[*autopaho.ConnackError](err)
	if !ok {
		return false
	}
	switch connack.ReasonCode {
	case 0x84, 0x85, 0x86, 0x87, 0x8A, 0x95, 0x99:
		return true
	}
	return false
}

func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func notifyError(c chan<- error, err error) {
	select {
	case c <- err:
	default:
	}
}
