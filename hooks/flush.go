package hooks

import (
	"runtime"
	"slices"
	"sync"
	"syscall"
)

// flushShare is how many connections wait for each flusher before one more is woken.
const flushShare = 64

// flushers visit the connections that have something to write. After a group commit those are many, with one packet each:
// a goroutine for each would cost more than its write. They are as many as processors, and end with the server.
type flushers struct {
	mu      sync.Mutex
	work    sync.Cond
	done    sync.WaitGroup
	waiting []*conn // from head on; each at most once
	head    int
	started int
	idle    int // of those started
	closed  bool
}

func (f *flushers) init() { f.work.L = &f.mu }

// add has c visited. Its state is flushRunning, or flushAgain.
func (f *flushers) add(c *conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append(f.waiting, c)
	if len(f.waiting)-f.head <= (f.started-f.idle)*flushShare {
		return
	}
	switch {
	case f.idle > 0:
		f.idle--
		f.work.Signal()
	case f.started < runtime.GOMAXPROCS(0):
		f.started++
		f.done.Go(f.run)
	}
}

func (f *flushers) run() {
	s, _ := scratches.Get().(*scratch)
	for c := f.next(); c != nil; c = f.next() {
		if c.visit(s) {
			f.add(c)
		}
		if cap(s.buf) > poolLimit {
			s.buf = nil
		}
	}
}

// next waits for a connection. It returns nil to a flusher that is to end.
func (f *flushers) next() *conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.head == len(f.waiting) {
		if f.closed {
			return nil
		}
		f.waiting, f.head = f.waiting[:0], 0
		f.idle++
		f.work.Wait()
	}
	c := f.waiting[f.head]
	f.waiting[f.head] = nil
	if f.head++; f.head > 1024 && f.head > len(f.waiting)/2 {
		f.waiting, f.head = slices.Delete(f.waiting, 0, f.head), 0
	}
	return c
}

// close ends the flushers, when no connection is left.
func (f *flushers) close() {
	f.mu.Lock()
	f.closed = true
	f.work.Broadcast()
	f.mu.Unlock()
	f.done.Wait()
}

// sender writes to a socket without waiting. It keeps its function, so that a write allocates nothing.
type sender struct {
	try func(uintptr) bool
	b   []byte
	n   int
	err error
}

// send returns how much of b the socket took.
func (s *sender) send(raw syscall.RawConn, b []byte) (n int, err error) {
	if s.try == nil {
		s.try = func(fd uintptr) bool {
			s.n, s.err = writeFD(fd, s.b)
			return true
		}
	}
	s.b, s.n = b, 0
	if err = raw.Write(s.try); err == nil {
		n, err = s.n, s.err
	}
	s.b, s.err = nil, nil
	return n, err
}
