package hooks

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"kith/broker"
	"kith/edge"
)

// conn is one client's connection: one goroutine that reads, and a flusher while there is something to write.
type conn struct {
	srv       *Server
	nc        net.Conn
	transport transport
	in        input
	out       output
	enc       encoder
	dec       publishDecoder
	cl        *mqtt.Client // the engine's side, while there is one; the reader's
	expiry    uint32       // session expiry of CONNECT in seconds, MQTT 5
	session   session      // set before CONNACK
	answer    *answer      // of the SUBSCRIBE or UNSUBSCRIBE in the engine's hands; the reader's
	opened    *opening     // of the CONNECT in the auth hook's hands; the reader's
	publish   bool         // Session.Publish was called since Submit
	quota     atomic.Int32 // QoS 1 and 2 publishes that were not answered yet; MQTT 5
	ping      atomic.Bool  // a WebSocket ping is due

	mu         sync.Mutex // guards the deadlines and what follows
	keepAlive  time.Duration
	readUntil  time.Time
	writeUntil time.Time
	closing    bool
	why        *fault // set with closing when the server ends the connection
}

// end says how the session of a connection ended.
type end struct {
	how    broker.EndReason
	expiry *time.Duration
	why    *fault // told to an MQTT 5 client in DISCONNECT; nil: nothing
}

// serve runs a connection from its first byte. The goroutine that opens the session has grown its stack in the store;
// the one that then waits for packets is a new one with a small stack.
func (c *conn) serve() {
	done := c.openSession()
	if done {
		c.srv.forget(c)
		return
	}
	c.startOutput()
	go c.read()
}

// openSession handles CONNECT, and reports whether the connection is over.
func (c *conn) openSession() (over bool) {
	over = true
	defer func() {
		if over {
			c.finish(end{how: broker.EndLost})
		}
	}()
	defer c.barrier("connect")
	c.setReadDeadline(time.Now().Add(c.srv.limits.connect))
	if err := edge.Of(c.nc).Identify(); err != nil {
		return true // the listener has logged it
	}
	if t, ok := c.nc.(*tls.Conn); ok {
		if err := t.Handshake(); err != nil { //nolint:noctx // bounded by the deadline
			c.srv.log.Debug("tls handshake failed", "remote", c.remote(), "error", err)
			return true
		}
	}
	return !c.connect()
}

// read takes packets until the connection ends.
func (c *conn) read() {
	defer c.srv.forget(c)
	e := end{how: broker.EndLost}
	defer func() { c.finish(e) }()
	defer c.barrier("read")
	e = c.loop()
}

// loop reads, and handles all packets of one read together.
func (c *conn) loop() end {
	c.armRead(true)
	for b := c.in.pending(); ; {
		n, packets, e := c.packets(b)
		if c.publish {
			c.publish = false
			c.session.Submit()
		}
		if e != nil {
			return *e
		}
		c.in.consume(n)
		if packets > 0 {
			c.srv.count.packetsIn.Add(uint64(packets))
			c.waitRoom()
			c.armRead(false)
		}
		var err error
		if b, err = c.in.fill(); err != nil {
			return c.lost(err)
		}
		c.srv.count.bytesIn.Add(uint64(c.in.got)) //nolint:gosec // not negative
	}
}

// lost tells how a connection ended whose read failed.
func (c *conn) lost(err error) end {
	c.mu.Lock()
	why := c.why
	c.mu.Unlock()
	switch {
	case why != nil:
		return end{how: broker.EndServer, why: why}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return end{how: broker.EndLost, why: faultKeepAlive} // [MQTT-3.1.2-22]
	case !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed):
		c.srv.log.Debug("connection lost", "remote", c.remote(), "error", err)
	}
	return end{how: broker.EndLost}
}

// cut ends a connection over what its client did to the protocol.
func (c *conn) cut(err error) *end {
	f, ok := errors.AsType[*fault](err)
	if !ok {
		f = faultUnspecified
	}
	c.srv.log.Info("connection cut", "peer", c.session.Peer(), "remote", c.remote(), "code", f.code, "reason", f.text)
	return &end{how: broker.EndLost, why: f}
}

// Close asks the reader to end the connection. It implements broker.Link.
func (c *conn) Close(why broker.CloseReason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return
	}
	c.closing, c.why = true, closeCodes[why]
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // long past: wakes the reader
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.srv.limits.close))
	c.stopOutput()
}

// finish ends the session first, so that a take-over waits for no socket, and then writes what is left within a bounded time.
func (c *conn) finish(e end) {
	defer c.barrier("end")
	defer func() { _ = c.nc.Close() }()
	c.mu.Lock()
	c.closing = true
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.srv.limits.close))
	c.mu.Unlock()
	c.stopOutput()
	if c.session != nil {
		c.session.End(e.how, e.expiry)
	}
	c.dropClient()
	c.out.turn.Lock() // the flusher's write ends by the deadline
	defer c.out.turn.Unlock()
	last := c.out.take(nil)
	if e.why != nil && c.session != nil && c.enc.v5 {
		last = appendDisconnect(last, e.why, c.enc.maximum) // [MQTT-3.14.0-1]: never before a CONNACK of 0
	}
	if len(last) > 0 {
		if _, err := c.nc.Write(last); err != nil {
			return
		}
	}
	c.in.drop()
	if c.session == nil || e.why != nil {
		c.linger()
	}
}

// linger gives the client a moment to read the last packet: closing a socket with unread input resets it.
func (c *conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(c.srv.limits.linger))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.nc, maxPacket))
}

// barrier keeps a fault in the handling of one connection from ending the process (upstream #501 is one).
func (c *conn) barrier(doing string) {
	if r := recover(); r != nil {
		c.srv.log.Error("panic on a connection", "doing", doing, "remote", c.remote(), "panic", r, "stack", string(debug.Stack()))
		c.stopOutput()
		_ = c.nc.Close()
	}
}

// setReadDeadline moves the read deadline unless the connection is being closed, which has set its own.
func (c *conn) setReadDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.readUntil = t
		_ = c.nc.SetReadDeadline(t)
	}
}

// armRead moves the read deadline to one and a half times the keep-alive from now [MQTT-3.1.2-22]. It is set a sixteenth
// later than that and moved only when the sixteenth is used up, so that a busy connection does not set it at each read.
func (c *conn) armRead(first bool) {
	if c.keepAlive == 0 {
		if first {
			c.setReadDeadline(time.Time{})
		}
		return
	}
	now := time.Now()
	if first || c.readUntil.Sub(now) < c.keepAlive {
		c.setReadDeadline(now.Add(c.keepAlive + c.keepAlive/16))
	}
}

func (c *conn) remote() string { return c.nc.RemoteAddr().String() }
