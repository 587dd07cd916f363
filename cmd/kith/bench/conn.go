package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"kith/broker"
)

// Sizes of read buffers: most connections of a crowd say nothing.
const (
	crowdBuffer   = 512
	trafficBuffer = 16 << 10
)

// conn is a connection of one peer. What its goroutine alone uses needs no lock.
type conn struct {
	run       *run
	number    int
	peer      broker.PeerID
	watch     []broker.PeerID
	receive   string
	keepAlive uint16 // seconds
	buffer    int    // bytes to read at once
	tx        *sender

	nc       net.Conn
	done     chan struct{} // closed when the goroutine has ended; nil before it began
	leaving  atomic.Bool
	pingedAt atomic.Int64 // 0: no answer is awaited

	// Of the goroutine.
	in      []byte
	have    int
	rx      map[uint32]*track
	last    *track
	acks    []byte
	credits []credit
	acked   []int64 // times that this read brought
	got     []int64
	dialed  int64
	lastNew int64 // when the last message came that was not a duplicate
	fresh   int64 // how many such
	replies chan []byte

	mu  sync.Mutex // guards out, tx and writing
	out []byte
}

// credit is room in a sender's window, given back by receivers.
type credit struct {
	to *sender
	n  int
}

func (r *run) newConn(number int, peer broker.PeerID, buffer int) *conn {
	return &conn{run: r, number: number, peer: peer, buffer: buffer}
}

// open connects, logs in and starts the goroutine.
func (c *conn) open(ctx context.Context) error {
	o := &c.run.o
	c.dialed = clock()
	nc, err := c.dial(ctx)
	if err != nil {
		return c.explain(err)
	}
	c.nc = nc
	_ = nc.SetDeadline(time.Now().Add(dialTimeout)) // a deadline that cannot be set shows at once in Write
	password := o.Target.password(c.peer, c.watch, c.receive)
	_, err = nc.Write(connectPacket(o.Target.Version, string(c.peer), string(o.Target.App), password, c.keepAlive))
	if err == nil {
		c.in = make([]byte, c.buffer)
		err = c.readConnack()
	}
	if err != nil {
		_ = nc.Close()
		return c.explain(err)
	}
	c.run.connect.add(c.number, clock()-c.dialed)
	c.run.opened.Add(1)
	_ = nc.SetDeadline(time.Time{})
	c.done = make(chan struct{})
	go c.serve()
	return nil
}

func (c *conn) explain(err error) error {
	_, refused := errors.AsType[*RefusedError](err)
	switch {
	case refused:
		return fmt.Errorf("connection %d (%s): %w", c.number+1, c.peer, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens on %s: start it with kith serve, or give another --addr", c.run.o.Target.Addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("connection %d: this machine has no free port left towards %s; spread over more local addresses with --source, such as 127.0.0.2-21: %w",
			c.number+1, c.run.o.Target.Addr, err)
	case errors.Is(err, io.EOF):
		err = errors.New("the server closed the connection without an answer")
	}
	return fmt.Errorf("connection %d (%s) to %s: %w", c.number+1, c.peer, c.run.o.Target.Addr, err)
}

func (c *conn) readConnack() error {
	for {
		first, body, size, err := splitPacket(c.in[:c.have])
		if err != nil {
			return err
		}
		if size > 0 {
			if first != packetConnack || len(body) < 2 {
				return errMalformed
			}
			if body[1] != 0 {
				return &RefusedError{whatLogin, body[1], reasonString(body[2:])}
			}
			c.consume(size)
			return nil
		}
		if err := c.read(); err != nil {
			return err
		}
	}
}

// read reads once, with room for more than what is there.
func (c *conn) read() error {
	if c.have == len(c.in) {
		c.in = append(c.in, make([]byte, len(c.in))...)
	}
	n, err := c.nc.Read(c.in[c.have:])
	c.have += n
	if n > 0 {
		return nil
	}
	return err
}

func (c *conn) consume(n int) { c.have = copy(c.in, c.in[n:c.have]) }

// serve takes what comes until the connection ends, and answers everything that one read brought with one write.
func (c *conn) serve() {
	defer close(c.done)
	defer func() { _ = c.nc.Close() }()
	for {
		err := c.handle(clock())
		if err == nil {
			err = c.read()
		}
		if err != nil {
			if !c.leaving.Load() {
				c.run.disconnected.Add(1)
				if !c.run.lasting {
					c.run.fail(fmt.Errorf("the connection of %s was lost: %w", c.peer, err))
				}
			}
			return
		}
	}
}

// flush writes what is to be written. c.mu is held: nobody else may write in between.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_ = c.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

// write sends one packet.
func (c *conn) write(packet ...byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, packet...)
	return c.flush()
}

// leave says DISCONNECT; the goroutine ends when the server closes the connection, or soon after.
func (c *conn) leave() {
	if c.done == nil || c.leaving.Swap(true) {
		return
	}
	_ = c.write(packetDisconnect, 0)
	_ = c.nc.SetReadDeadline(time.Now().Add(closeTimeout))
}
