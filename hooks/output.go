package hooks

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

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

// output is the writing side of a connection. Packets of the session are pulled and encoded by a flusher, a goroutine that
// Wake starts when there is something and that ends when there is nothing; an idle connection has none. What the engine writes goes
// to direct, and out before what the session returned later.
type output struct {
	state atomic.Int32
	turn  sync.Mutex // held by who writes to the connection

	mu     sync.Mutex // guards direct
	direct []byte
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
	o.room.Broadcast()
	return b
}

// Wake says that there may be something to write. It implements broker.Link.
func (c *conn) Wake() {
	for {
		switch state := c.out.state.Load(); state {
		case flushIdle:
			if c.out.state.CompareAndSwap(state, flushRunning) {
				go c.flush()
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
		go c.flush()
	}
}

// stopOutput lets nothing more out but what finish writes.
func (c *conn) stopOutput() {
	c.out.state.Store(flushStopped)
	c.out.mu.Lock()
	c.out.room.Broadcast()
	c.out.mu.Unlock()
}

// flush writes until there is nothing left. The connection's end waits for it by taking turn.
func (c *conn) flush() {
	c.out.turn.Lock()
	defer c.out.turn.Unlock()
	defer c.barrier("write")
	s, _ := scratches.Get().(*scratch)
	for {
		c.out.state.CompareAndSwap(flushAgain, flushRunning)
		for c.pull(s) {
			if err := c.writeAll(s.buf); err != nil {
				c.stopOutput()
				_ = c.nc.Close() // the reader sees it and ends the session
				return
			}
			c.session.Written()
		}
		if c.ping.Swap(false) {
			c.sendPing()
		}
		if c.out.state.CompareAndSwap(flushRunning, flushIdle) || c.out.state.Load() == flushStopped {
			break
		}
	}
	putScratch(s)
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

// waitRoom holds the reader back while the client does not take what it asked for.
func (c *conn) waitRoom() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	for (len(c.out.direct) > directLimit || c.session.Backlog() > readyLimit) && c.out.state.Load() != flushStopped {
		c.out.room.Wait()
	}
}
