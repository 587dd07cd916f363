package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/gorilla/websocket"
)

// dial opens a connection to the target, from the source whose turn it is.
func (c *conn) dial(ctx context.Context) (net.Conn, error) {
	target := &c.run.o.Target
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	if n := len(target.Sources); n > 0 {
		source := target.Sources[c.number%n]
		d.LocalAddr, d.Control = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0)), lateBind
	}
	if target.WebSocket != "" {
		return dialWebSocket(ctx, &d, target)
	}
	nc, err := d.DialContext(ctx, "tcp", target.Addr)
	if err == nil && target.TLS != nil {
		nc = tls.Client(nc, target.TLS)
	}
	return nc, err
}

func dialWebSocket(ctx context.Context, d *net.Dialer, target *Target) (net.Conn, error) {
	ws := websocket.Dialer{
		NetDialContext: d.DialContext, TLSClientConfig: target.TLS, Subprotocols: []string{"mqtt"}, HandshakeTimeout: dialTimeout,
		ReadBufferSize: crowdBuffer, WriteBufferSize: crowdBuffer,
	}
	nc, answer, err := ws.DialContext(ctx, target.WebSocket, nil)
	if err != nil {
		return nil, err
	}
	_ = answer.Body.Close() // holds nothing
	if nc.Subprotocol() != "mqtt" {
		_ = nc.Close()
		return nil, errors.New("the server does not speak MQTT over WebSocket there")
	}
	return &webSocket{Conn: nc}, nil
}

// webSocket is the stream of bytes in a connection's binary messages.
type webSocket struct {
	*websocket.Conn
	message io.Reader // the one that is being read; nil: the next
}

// Read implements net.Conn.
func (w *webSocket) Read(p []byte) (int, error) {
	for {
		if w.message == nil {
			_, message, err := w.NextReader()
			if err != nil {
				return 0, err
			}
			w.message = message
		}
		n, err := w.message.Read(p)
		if err == io.EOF {
			w.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write implements net.Conn.
func (w *webSocket) Write(p []byte) (int, error) {
	if err := w.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetDeadline implements net.Conn.
func (w *webSocket) SetDeadline(t time.Time) error {
	return errors.Join(w.SetReadDeadline(t), w.SetWriteDeadline(t))
}
