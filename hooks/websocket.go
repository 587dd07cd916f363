package hooks

import (
	"crypto/x509"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// webSocketSilence is how long a WebSocket client may answer no ping before its connection counts as dead.
const webSocketSilence = 3 * sweepInterval

var errTextFrame = errors.New("websocket: MQTT comes in binary frames")

// WebSocketHandler serves MQTT over WebSocket [MQTT-6.0.0-1] to [MQTT-6.0.0-4]; cmd mounts it at /mqtt.
func (s *Server) WebSocketHandler() http.Handler {
	up := &websocket.Upgrader{
		HandshakeTimeout: s.limits.connect,
		ReadBufferSize:   smallSize,
		WriteBufferSize:  4 << 10,
		WriteBufferPool:  &sync.Pool{}, // an idle connection holds none
		Subprotocols:     []string{"mqtt", "mqttv3.1"},
		CheckOrigin:      s.config.allowsOrigin,
		// No compression (permessage-deflate): a few bytes could become many, and MQTT's messages are short.
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !asksForMQTT(r) {
			http.Error(w, `this is MQTT over WebSocket: ask for the subprotocol "mqtt"`, http.StatusBadRequest) // [MQTT-6.0.0-3]
			return
		}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return // it has answered
		}
		over := overWS
		if r.TLS != nil {
			over = overWSS
		}
		tuneTCP(plain(ws.NetConn()))
		stream := newWebSocket(ws)
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			stream.certificate = r.TLS.PeerCertificates[0]
		}
		s.start(stream, over)
	})
}

// allowsOrigin judges the Origin that a browser names.
func (c *Config) allowsOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(c.Origins, AnyOrigin) {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	return strings.EqualFold(u.Host, r.Host) || slices.ContainsFunc(c.Origins, func(o string) bool { return strings.EqualFold(o, origin) })
}

func asksForMQTT(r *http.Request) bool {
	for _, p := range websocket.Subprotocols(r) {
		if p == "mqtt" || p == "mqttv3.1" {
			return true
		}
	}
	return false
}

// plain returns the connection under all others.
func plain(nc net.Conn) net.Conn {
	for {
		over, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			return nc
		}
		nc = over.NetConn()
	}
}

// epoch is what times of connections are counted from, so that setting the machine's clock moves none.
var epoch = time.Now()

// webSocket is a WebSocket connection as a stream of bytes: packets may begin and end anywhere in its frames [MQTT-6.0.0-2].
type webSocket struct {
	*websocket.Conn
	frame io.Reader    // the rest of the message being read; the reader's
	seen  atomic.Int64 // the last sign of life, in nanoseconds since epoch
	until atomic.Int64 // write deadline, the same

	certificate *x509.Certificate // that the client showed; nil for none
}

func newWebSocket(ws *websocket.Conn) *webSocket {
	w := &webSocket{Conn: ws}
	w.seen.Store(int64(time.Since(epoch)))
	w.until.Store(math.MaxInt64)
	ws.SetPongHandler(func(string) error {
		w.seen.Store(int64(time.Since(epoch)))
		return nil
	})
	return w
}

// Read reads from the binary messages, and ends the connection at any other [MQTT-6.0.0-1].
func (w *webSocket) Read(b []byte) (int, error) {
	for {
		if w.frame == nil {
			kind, frame, err := w.NextReader()
			if err != nil {
				if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived) {
					return 0, io.EOF
				}
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errTextFrame
			}
			w.frame = frame
			w.seen.Store(int64(time.Since(epoch)))
		}
		n, err := w.frame.Read(b)
		if errors.Is(err, io.EOF) {
			w.frame, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write writes b as one binary message. One goroutine calls it at a time.
func (w *webSocket) Write(b []byte) (int, error) {
	_ = w.Conn.SetWriteDeadline(epoch.Add(time.Duration(w.until.Load()))) // it only notes it; its error is always nil
	if err := w.WriteMessage(websocket.BinaryMessage, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close says goodbye and closes.
func (w *webSocket) Close() error {
	_ = w.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second/10))
	return w.Conn.Close()
}

// SetWriteDeadline sets the deadline of writes to come and of the one under way. Unlike the library's it may be called
// during a write.
func (w *webSocket) SetWriteDeadline(t time.Time) error {
	until := int64(math.MaxInt64)
	if !t.IsZero() {
		until = int64(t.Sub(epoch))
	}
	w.until.Store(until)
	return w.NetConn().SetWriteDeadline(t)
}

// SetDeadline sets both deadlines.
func (w *webSocket) SetDeadline(t time.Time) error {
	return errors.Join(w.SetReadDeadline(t), w.SetWriteDeadline(t))
}

// sweepWebSockets asks for pings to be sent, and closes connections that answered none for long: a proxy in between hides
// a dead client from TCP.
func (s *Server) sweepWebSockets(now time.Time) {
	s.mu.Lock()
	var due []*conn
	for c := range s.conns {
		if c.transport == overWS || c.transport == overWSS {
			due = append(due, c)
		}
	}
	s.mu.Unlock()
	for _, c := range due {
		ws, ok := c.nc.(*webSocket)
		if !ok {
			continue
		}
		if now.Sub(epoch)-time.Duration(ws.seen.Load()) > webSocketSilence {
			s.log.Debug("websocket client is silent", "remote", c.remote())
			_ = ws.Conn.Close()
			continue
		}
		c.ping.Store(true)
		c.Wake()
	}
}

// sendPing sends the ping that is due. Only the flusher calls it.
func (c *conn) sendPing() {
	if ws, ok := c.nc.(*webSocket); ok {
		_ = ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(c.srv.limits.close))
	}
}
