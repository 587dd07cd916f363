package hooks

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// hangups tells connections that their client has hung up.
//
// Go's poller tells once that bytes came, and a close that came together with them is not told again: who has read the
// bytes must read once more to see it. To spare that read, which mostly finds nothing, a second poller is asked for hang-ups alone.
type hangups struct {
	once sync.Once
	fd   int      // of the poller, which is open as long as there are connections
	file *os.File // the poller; nil when there is none
	done chan struct{}

	mu    sync.Mutex
	conns map[int32]*conn // by descriptor
}

// watch reports whether the end of c's connection will be told to it.
func (h *hangups) watch(c *conn) bool {
	if c.in.raw == nil {
		return false
	}
	h.once.Do(func() {
		if err := h.open(); err != nil {
			c.srv.log.Warn("hang-ups are looked for at each read", "error", err)
		}
	})
	if h.file == nil {
		return false
	}
	watched := false
	err := c.in.raw.Control(func(fd uintptr) {
		c.fd = int32(fd) //nolint:gosec // a descriptor fits
		h.mu.Lock()
		h.conns[c.fd] = c
		h.mu.Unlock()
		event := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: c.fd} // an error and a reset are always told
		watched = unix.EpollCtl(h.fd, unix.EPOLL_CTL_ADD, int(fd), &event) == nil
	})
	return err == nil && watched
}

// forget is called before c's descriptor is closed. The poller forgets it by itself then.
func (h *hangups) forget(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns[c.fd] == c {
		delete(h.conns, c.fd)
	}
}

func (h *hangups) open() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open poller: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return errors.Join(fmt.Errorf("open poller: %w", err), unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "hangups")
	raw, err := file.SyscallConn()
	if err != nil {
		return errors.Join(fmt.Errorf("open poller: %w", err), file.Close())
	}
	h.fd, h.file, h.done = fd, file, make(chan struct{})
	h.mu.Lock() // a connection that was never watched may be forgotten now
	h.conns = make(map[int32]*conn)
	h.mu.Unlock()
	go h.run(raw)
	return nil
}

// run tells until the poller is closed. A descriptor may have gone to another connection meanwhile: that one then reads once too often.
func (h *hangups) run(raw syscall.RawConn) {
	defer close(h.done)
	var events [128]unix.EpollEvent
	for {
		n := 0
		err := raw.Read(func(poller uintptr) bool {
			n, _ = unix.EpollWait(int(poller), events[:], 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			h.mu.Lock()
			c := h.conns[e.Fd]
			h.mu.Unlock()
			if c != nil {
				c.hangUp()
			}
		}
	}
}

// close ends the telling, when no connection is left to be told.
func (h *hangups) close() {
	h.once.Do(func() {}) // from here on nothing opens it
	if h.file != nil {
		_ = h.file.Close()
		<-h.done
	}
}
