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

// failWrites takes the process's right to write to files; the Go runtime ignores the signal that comes with it.
func failWrites(pid int) error {
	err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{}, nil)
	if errors.Is(err, unix.ESRCH) {
		return nil // it just ended
	}
	return err
}
