//go:build unix

package hooks

import (
	"errors"
	"net"
	"syscall"

	"kith/broker/edge"
)

// rawConn returns access to the descriptor of a plain TCP connection, else nil.
func rawConn(nc net.Conn) syscall.RawConn {
	if c, ok := nc.(*edge.Conn); ok {
		nc = c.NetConn()
	}
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// readFD reads from a descriptor that does not block. again says that nothing was there.
func readFD(fd uintptr, b []byte) (n int, again bool, err error) {
	for {
		n, err = syscall.Read(int(fd), b)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(err, syscall.EAGAIN) {
		return 0, true, nil
	}
	return max(n, 0), false, err
}

// writeFD writes to a descriptor that does not block; n is less than b has when it takes no more.
func writeFD(fd uintptr, b []byte) (n int, err error) {
	for {
		n, err = syscall.Write(int(fd), b)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(err, syscall.EAGAIN) {
		return 0, nil
	}
	return max(n, 0), err
}
