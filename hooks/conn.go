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
	"kith/broker/edge"
)

// watchAfter is how many reads make it worth while to have a connection's hang-up told: most connections are idle.
const watchAfter = 16

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
	over      *end         // what a packet ended the connection with; the reader's
	fd        int32        // of a watched connection; hangups'
	reads     int          // so far; the reader's
	pings     int          // PINGREQ of this read; the reader's
	heard     time.Time    // when the last packet came; the reader's

	mu         sync.Mutex // guards the deadlines and what follows
	keepAlive  time.Duration
	readUntil  time.Time
	writeUntil time.Time
	closing    bool
	why        *fault // set with closing when the server ends the connection
	hungUp     bool   // the client has; the reader is to find the end of what it sent
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
	c.armRead()
	c.in.got = 0
	if b := c.in.pending(); b != nil && !c.take(b, noFD) {
		return *c.over
	}
	for {
		switch err := c.in.serve(c.take); {
		case err == nil:
			return *c.over
		case !c.readOn(err):
			return c.lost(err)
		}
	}
}

// take handles the packets in b, which holds all that is not consumed, and reports whether the connection goes on.
func (c *conn) take(b []byte, fd uintptr) bool {
	c.srv.count.bytesIn.Add(uint64(c.in.got)) //nolint:gosec // not negative
	n, packets, e := c.packets(b)
	if c.publish {
		c.publish = false
		c.session.Submit()
	}
	if e != nil {
		c.over = e
		return false
	}
	if c.pings > 0 {
		c.pong(fd)
	}
	c.in.consume(n)
	if c.reads++; c.reads == watchAfter {
		c.in.watched = c.srv.hangups.watch(c)
	}
	if packets > 0 {
		c.srv.count.packetsIn.Add(uint64(packets))
		c.waitRoom()
		c.hear()
	}
	return true
}

// lost tells how a connection ended whose read failed.
func (c *conn) lost(err error) end {
	c.mu.Lock()
	why, closing := c.why, c.closing
	c.mu.Unlock()
	switch {
	case why != nil:
		return end{how: broker.EndServer, why: why}
	case closing: // aborted
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
	c.closing, c.why = true, c.srv.faultOfClose(why)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // long past: wakes the reader
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.srv.limits.close))
	c.stopOutput()
}

// abort ends the connection without a word. It does not wait for the reader, which may be in the middle of a packet.
func (c *conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	_ = c.nc.SetDeadline(time.Unix(1, 0))
	c.stopOutput()
}

// hangUp wakes the reader after the client hung up.
func (c *conn) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.hungUp = true
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// readOn reports whether the deadline that ended a read was none of the keep-alive's: the client hung up, and what it sent before is
// still there, or the deadline had not been moved since the last packet.
func (c *conn) readOn(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	until := time.Time{}
	if c.keepAlive > 0 {
		until = c.heard.Add(c.keepAlive)
	}
	switch {
	case c.hungUp:
		c.hungUp, c.in.watched = false, false
	case c.in.raw == nil || !time.Now().Before(until):
		return false
	}
	_ = c.nc.SetReadDeadline(until)
	return true
}

// finish ends the session first, so that a take-over waits for no socket, and then writes what is left within a bounded time.
func (c *conn) finish(e end) {
	defer c.barrier("end")
	defer func() {
		c.srv.hangups.forget(c)
		_ = c.nc.Close()
	}()
	c.mu.Lock()
	c.closing = true
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.srv.limits.close))
	c.mu.Unlock()
	c.stopOutput()
	if c.session != nil {
		ended := c.srv.topics.leaving(c)
		c.session.End(e.how, e.expiry)
		if ended() {
			c.cl = nil // it stands in the index until its client is back
		}
	}
	c.dropClient()
	c.out.turn.Lock() // the flusher's write ends by the deadline
	defer c.out.turn.Unlock()
	if c.out.broken {
		return
	}
	last := c.out.take(c.out.rest)
	if e.why != nil && c.session != nil && c.enc.v5 {
		last = appendDisconnect(last, e.why, c.srv.reference, c.enc.maximum) // [MQTT-3.14.0-1]: never before a CONNACK of 0
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
		c.abort()
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

// armRead sets the read deadline to one and a half times the keep-alive from now [MQTT-3.1.2-22].
func (c *conn) armRead() {
	c.heard = time.Now()
	if c.keepAlive == 0 {
		c.setReadDeadline(time.Time{})
	} else {
		c.setReadDeadline(c.heard.Add(c.keepAlive + c.keepAlive/16))
	}
}

// hear notes that a packet came. Over TCP the deadline stays, and readOn moves it when it is over: that costs a busy connection nothing,
// and an idle one no deep stack. Elsewhere a read that met its deadline cannot be repeated; there the deadline, set a sixteenth later
// than due, is moved when the sixteenth is used up.
func (c *conn) hear() {
	c.heard = time.Now()
	if c.in.raw == nil && c.keepAlive > 0 && c.readUntil.Sub(c.heard) < c.keepAlive {
		c.armRead()
	}
}

func (c *conn) remote() string { return c.nc.RemoteAddr().String() }
