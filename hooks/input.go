package hooks

import (
	"io"
	"net"
	"sync"
	"syscall"
)

const (
	readSize  = 16 << 10 // of pooled read buffers
	smallSize = 512      // of the buffer that an idle TLS or WebSocket connection keeps
	keepSize  = 4 << 10  // an incomplete packet longer than this keeps its buffer while it waits for the rest
)

type readBuffer [readSize]byte

var readBuffers = sync.Pool{New: func() any { return new(readBuffer) }}

// input reads a connection. While nothing comes it holds no read buffer: over TCP it waits for readability and takes a
// pooled buffer when there is something to read; over TLS and WebSocket it waits with a small one.
type input struct {
	nc  net.Conn
	raw syscall.RawConn // nil for TLS and WebSocket
	// watched says that the connection's hang-up is told elsewhere: a read that did not fill the buffer is then the last before a wait.
	watched bool
	buf     []byte // buf[:n] are the bytes not consumed yet; nil while none is held
	n       int
	pooled  *readBuffer // the pooled array that buf is, if it is one
	rest    []byte      // of an incomplete packet, while no buffer is held
	small   []byte
	err     error
	got     int  // bytes that came with the last read
	full    bool // the last read filled the buffer: there is probably more
}

func newInput(nc net.Conn) input { return input{nc: nc, raw: rawConn(nc)} }

// fill waits for bytes and returns all that are not consumed.
func (in *input) fill() ([]byte, error) {
	if in.raw != nil {
		if err := in.raw.Read(in.tryRead); err != nil {
			return nil, err
		}
		return in.buf[:in.n], in.err
	}
	in.acquire()
	n, err := in.nc.Read(in.buf[in.n:])
	in.n += n
	in.got = n
	in.full = in.n == len(in.buf)
	if n > 0 {
		err = nil // it comes again
	}
	return in.buf[:in.n], err
}

// noFD stands for the descriptor of a connection that is not plain TCP.
const noFD = ^uintptr(0)

// serve gives handle all that is not consumed each time that bytes come, until it returns false. The error is that of reading.
// The descriptor, if it is plain TCP, is handle's until it returns.
//
// Over TCP handle runs within the wait for readability: a wait that is begun anew forgets that the poller has told of bytes
// already, so that each would have to begin with a read, of nothing most times. A Close of the connection waits for handle to return.
func (in *input) serve(handle func(b []byte, fd uintptr) bool) error {
	if in.raw == nil {
		for {
			b, err := in.fill()
			if err != nil {
				return err
			}
			if !handle(b, noFD) {
				return nil
			}
		}
	}
	err := in.raw.Read(func(fd uintptr) bool {
		for {
			in.acquire()
			room := len(in.buf) - in.n
			if !in.tryRead(fd) {
				return false
			}
			if in.err != nil || !handle(in.buf[:in.n], fd) {
				return true
			}
			if in.watched && in.got < room {
				in.release()
				return false
			}
		}
	})
	if err != nil {
		return err
	}
	return in.err
}

// tryRead reads what is there, and returns false when nothing is.
func (in *input) tryRead(fd uintptr) bool {
	in.acquire()
	n, again, err := readFD(fd, in.buf[in.n:])
	switch {
	case again:
		in.release()
		return false
	case err != nil:
		in.err = err
	case n == 0:
		in.err = io.EOF
	default:
		in.n += n
		in.got = n
		in.err = nil
	}
	return true
}

// pending returns what was read and not consumed: packets that came together with CONNECT.
func (in *input) pending() []byte {
	if in.n == 0 && len(in.rest) == 0 {
		return nil
	}
	in.acquire()
	return in.buf[:in.n]
}

// consume drops the first n bytes of what fill returned.
func (in *input) consume(n int) {
	in.n = copy(in.buf, in.buf[n:in.n])
	if in.raw == nil && !in.full {
		in.release()
	}
}

// acquire makes sure that there is a buffer with room.
func (in *input) acquire() {
	switch {
	case in.buf == nil && in.raw == nil && !in.full && len(in.rest) < smallSize/2:
		if in.small == nil {
			in.small = make([]byte, smallSize)
		}
		in.buf = in.small
		in.n = copy(in.buf, in.rest)
		in.rest = nil
	case in.buf == nil:
		in.pooled, _ = readBuffers.Get().(*readBuffer)
		in.buf = in.pooled[:]
		in.n = copy(in.buf, in.rest)
		in.rest = nil
	case in.n == len(in.buf), in.full && len(in.buf) == smallSize: // too small for a packet, whose size splitFrame has bounded
		old := in.buf[:in.n]
		pooled := in.pooled
		if len(old) < readSize {
			in.pooled, _ = readBuffers.Get().(*readBuffer)
			in.buf = in.pooled[:]
		} else {
			in.pooled, in.buf = nil, make([]byte, min(2*len(old), 2*maxPacket))
		}
		copy(in.buf, old)
		if pooled != nil {
			readBuffers.Put(pooled)
		}
	}
}

// release gives the buffer back, unless it holds much of an incomplete packet.
func (in *input) release() {
	if in.n > keepSize || in.buf == nil {
		return
	}
	if in.n > 0 {
		in.rest = append(make([]byte, 0, in.n), in.buf[:in.n]...)
	}
	if in.pooled != nil {
		readBuffers.Put(in.pooled)
	}
	in.buf, in.pooled, in.n = nil, nil, 0
}

// drop gives the buffer back for good.
func (in *input) drop() {
	in.n, in.rest = 0, nil
	in.release()
}
