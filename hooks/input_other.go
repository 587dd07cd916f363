//go:build !unix

package hooks

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns nil: here every connection reads through a small buffer.
func rawConn(net.Conn) syscall.RawConn { return nil }

func readFD(uintptr, []byte) (int, bool, error) { return 0, false, errors.ErrUnsupported }

func writeFD(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
