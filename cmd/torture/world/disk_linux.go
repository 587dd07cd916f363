package world

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

func mount(path string, bytes int) error {
	return unix.Mount("torture", path, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
}

func unmount(path string) error { return unix.Unmount(path, 0) }

// failWrites takes the process's right to write to files, and gives it back. The Go runtime ignores the signal that comes with it.
func failWrites(pid int, on bool) error {
	limit := unix.Rlimit{Max: unix.RLIM_INFINITY}
	if !on {
		limit.Cur = unix.RLIM_INFINITY
	}
	err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil)
	if errors.Is(err, unix.ESRCH) {
		return nil // it just ended
	}
	return err
}
