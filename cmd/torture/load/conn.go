package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// Bounds in time of a client: it must notice a network that is gone sooner than the run ends.
const (
	dialTimeout  = 5 * time.Second // to CONNACK
	writeTimeout = 5 * time.Second
	pingEvery    = time.Second
	silence      = 5 * time.Second // without a word from the server the connection is given up
	keepAlive    = 10              // seconds
	expiry       = 3600            // of the session, in seconds
)

// conn is an MQTT 5 connection. Stock clients do all for their user; this one must also not read, not acknowledge and vanish,
// so it is a socket with a stock codec.
type conn struct {
	net.Conn
	in      *bufio.Reader
	present bool // the session was

	mu  sync.Mutex // guards writing
	out bytes.Buffer
}

// refusal is a CONNACK that says no.
type refusal struct {
	code   byte
	reason string
}

func (r *refusal) Error() string { return fmt.Sprintf("refused: 0x%02X %s", r.code, r.reason) }

// dial opens a session and returns its connection.
func dial(ctx context.Context, addr, clientID, app, password string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: nc, in: bufio.NewReader(nc)}
	if err := c.open(clientID, app, password); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *conn) open(clientID, app, password string) error {
	problems, age := byte(1), uint32(expiry)
	_ = c.SetDeadline(time.Now().Add(dialTimeout))
	err := c.write(&packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: clientID, KeepAlive: keepAlive, UsernameFlag: true, Username: app,
		PasswordFlag: true, Password: []byte(password),
		Properties: &packets.Properties{RequestProblemInfo: &problems, SessionExpiryInterval: &age},
	})
	if err != nil {
		return err
	}
	p, err := packets.ReadPacket(c.in)
	if err != nil {
		return err
	}
	ack, ok := p.Content.(*packets.Connack)
	switch {
	case !ok:
		return fmt.Errorf("%T in place of a CONNACK", p.Content)
	case ack.ReasonCode != 0:
		return &refusal{ack.ReasonCode, ack.Properties.ReasonString}
	}
	c.present = ack.SessionPresent
	return c.SetDeadline(time.Time{})
}

// write writes packets with one call.
func (c *conn) write(list ...io.WriterTo) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.Reset()
	for _, p := range list {
		if _, err := p.WriteTo(&c.out); err != nil {
			return err
		}
	}
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout)) // one that cannot be set shows in the write
	_, err := c.Write(c.out.Bytes())
	return err
}
