package hooks

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"kith/broker"
)

const (
	batchSize   = 32        // deliveries asked of the session at once
	writeSize   = 64 << 10  // a write is made when this much is encoded
	directLimit = 64 << 10  // no packet is read while more than this waits that the engine made
	readyLimit  = 2048      // nor while more answers of the session than this wait
	poolLimit   = 256 << 10 // larger scratch is not kept
)

var scratches = sync.Pool{New: func() any { return &scratch{outs: make([]broker.Out, 0, batchSize)} }}

// The states of a connection's flusher.
const (
	flushHeld    int32 = iota // CONNACK is not sent yet
	flushIdle                 // nothing to do, no goroutine
	flushRunning              // a goroutine writes
	flushAgain                // it writes and must look once more
	flushStopped              // the connection ends
)

// output is the writing side of a connection. Packets of the session are pulled and encoded by a flusher, which
// Wake asks for when there is something; an idle connection has no goroutine for it. What the engine writes goes
// to direct, and out before what the session returned later.
type output struct {
	state  atomic.Int32
	turn   sync.Mutex // held by who writes to the connection; guards rest and broken
	rest   []byte     // of a write that the socket did not take whole
	broken bool       // a write failed

	mu     sync.Mutex // guards direct and pongs
	direct []byte
	pongs  int       // PINGRESP to be sent
	room   sync.Cond // signalled when direct or answers of the session have been taken, or the connection ends
}

// write appends a packet that the engine made.
func (o *output) write(b []byte) {
	o.mu.Lock()
	o.direct = append(o.direct, b...)
	o.mu.Unlock()
}

// take moves what the engine wrote to the end of b.
func (o *output) take(b []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.direct) > 0 {
		b = append(b, o.direct...)
		o.direct = nil
	}
	for ; o.pongs > 0; o.pongs-- {
		b = append(b, packets.Pingresp<<4, 0)
	}
	o.room.Broadcast()
	return b
}

// Wake says that there may be something to write. It implements broker.Link.
func (c *conn) Wake() {
	for {
		switch state := c.out.state.Load(); state {
		case flushIdle:
			if c.out.state.CompareAndSwap(state, flushRunning) {
				c.srv.flushers.add(c)
				return
			}
		case flushRunning:
			if c.out.state.CompareAndSwap(state, flushAgain) {
				return
			}
		default:
			return
		}
	}
}

// startOutput lets go what was held until CONNACK, and CONNACK first.
func (c *conn) startOutput() {
	if c.out.state.CompareAndSwap(flushHeld, flushRunning) {
		c.srv.flushers.add(c)
	}
}

// stopOutput lets nothing more out but what finish writes.
func (c *conn) stopOutput() {
	c.out.state.Store(flushStopped)
	c.out.mu.Lock()
	c.out.room.Broadcast()
	c.out.mu.Unlock()
}

// visit writes what there is as far as the socket takes it at once, and reports whether to come again. What may take longer,
// a full socket or a read of the store, goes to a goroutine of its own.
func (c *conn) visit(s *scratch) (again bool) {
	defer c.barrier("write")
	if c.in.raw == nil || c.session.Behind() || !c.out.turn.TryLock() {
		go c.flush()
		return false
	}
	defer c.out.turn.Unlock()
	c.out.state.CompareAndSwap(flushAgain, flushRunning)
	if c.pull(s) {
		n, err := s.send(c.in.raw, s.buf)
		c.srv.count.bytesOut.Add(uint64(n)) //nolint:gosec // not negative
		switch {
		case err != nil:
			c.out.broken = true
			c.abort()
			return false
		case n < len(s.buf):
			c.out.rest = bytes.Clone(s.buf[n:])
			go c.flush()
			return false
		}
		c.session.Written()
	}
	if len(s.buf) < writeSize && c.out.state.CompareAndSwap(flushRunning, flushIdle) {
		return false
	}
	return c.out.state.Load() != flushStopped
}

// flush writes until there is nothing left. The connection's end waits for it by taking turn.
func (c *conn) flush() {
	c.out.turn.Lock()
	defer c.out.turn.Unlock()
	defer c.barrier("write")
	s, _ := scratches.Get().(*scratch)
	defer putScratch(s)
	rest := c.out.rest
	c.out.rest = nil
	if rest != nil && !c.write(rest) {
		return
	}
	for {
		c.out.state.CompareAndSwap(flushAgain, flushRunning)
		for c.pull(s) {
			if !c.write(s.buf) {
				return
			}
		}
		if c.ping.Swap(false) {
			c.sendPing()
		}
		c.disarmWrite()
		if c.out.state.CompareAndSwap(flushRunning, flushIdle) || c.out.state.Load() == flushStopped {
			return
		}
	}
}

// write writes b, and reports whether the connection goes on. The turn is held.
func (c *conn) write(b []byte) bool {
	if err := c.writeAll(b); err != nil {
		c.out.broken = true
		c.abort()
		return false
	}
	c.session.Written()
	return true
}

var pingresp = []byte{packets.Pingresp << 4, 0}

// pong answers the PINGREQs of a read [MQTT-3.12.4-1]: at once where nothing else is being written, since an idle connection does
// nothing else. Its goroutine keeps its stack, so that is no place for the engine or for an allocation.
func (c *conn) pong(fd uintptr) {
	pings := c.pings
	c.pings = 0
	if pings > 1 || fd == noFD || !c.out.state.CompareAndSwap(flushIdle, flushRunning) {
		c.out.mu.Lock()
		c.out.pongs += pings
		c.out.mu.Unlock()
		c.Wake()
		return
	}
	c.out.turn.Lock() // who wrote last is about to let it go
	n, err := writeFD(fd, pingresp)
	if n < len(pingresp) {
		c.out.rest = pingresp[n:]
	}
	c.out.broken = err != nil
	c.out.turn.Unlock()
	c.srv.count.bytesOut.Add(uint64(n)) //nolint:gosec // not negative
	switch {
	case err != nil:
		c.abort()
	case n < len(pingresp):
		go c.flush()
	case !c.out.state.CompareAndSwap(flushRunning, flushIdle):
		c.srv.flushers.add(c)
	}
}

func putScratch(s *scratch) {
	if cap(s.buf) <= poolLimit {
		s.buf = s.buf[:0]
		scratches.Put(s)
	}
}

// pull encodes into s.buf what there is to send, up to about writeSize bytes, and reports whether there is something.
// What the engine wrote is taken after the session was asked, so that a SUBACK goes before the retained messages that
// were delivered after it.
func (c *conn) pull(s *scratch) bool {
	s.buf = s.buf[:0]
	some := false
	for len(s.buf) < writeSize && c.out.state.Load() != flushStopped {
		outs := c.session.Next(s.outs[:0])
		s.buf = c.out.take(s.buf)
		for i := range outs {
			c.encode(s, &outs[i])
		}
		s.outs = outs[:0]
		clear(outs)
		if len(outs) == 0 {
			break
		}
		some = true
	}
	return some || len(s.buf) > 0
}

func (c *conn) encode(s *scratch, o *broker.Out) {
	if !c.enc.out(s, o) {
		c.srv.count.tooLarge.Add(1)
		if o.Tag != 0 {
			c.session.Acked(o.Tag) // as if it had been sent [MQTT-3.1.2-25]
		}
		return
	}
	c.srv.count.packetsOut.Add(1)
	if c.enc.v5 && (o.Kind == broker.OutComplete || o.Kind == broker.OutAck && (o.QoS == 1 || o.Err != nil)) {
		if c.quota.Add(-1) < 0 { // it was opened on an earlier connection
			c.quota.Add(1)
		}
	}
}

// writeAll writes b, as long as the client takes some of it within the write timeout.
func (c *conn) writeAll(b []byte) error {
	for len(b) > 0 {
		c.armWrite()
		n, err := c.nc.Write(b)
		c.srv.count.bytesOut.Add(uint64(n)) //nolint:gosec // not negative
		b = b[n:]
		if err != nil && (n == 0 || len(b) == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
	}
	return nil
}

// armWrite moves the write deadline, when it has come near.
func (c *conn) armWrite() {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if limit := c.srv.limits.write; !c.closing && c.writeUntil.Sub(now) < limit {
		c.writeUntil = now.Add(limit + limit/8)
		_ = c.nc.SetWriteDeadline(c.writeUntil)
	}
}

// disarmWrite takes the write deadline away, which would stop a write that does not wait.
func (c *conn) disarmWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.in.raw != nil && !c.closing && !c.writeUntil.IsZero() {
		c.writeUntil = time.Time{}
		_ = c.nc.SetWriteDeadline(time.Time{})
	}
}

// waitRoom holds the reader back while the client does not take what it asked for, and reports whether the connection goes on.
func (c *conn) waitRoom() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	for (len(c.out.direct)+2*c.out.pongs > directLimit || c.session.Backlog() > readyLimit) && c.out.state.Load() != flushStopped {
		c.out.room.Wait()
	}
	return c.out.state.Load() != flushStopped
}
