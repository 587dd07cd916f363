package world

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrNoDisk is returned where a disk fault cannot be made: it needs root, to mount, and Linux.
var ErrNoDisk = errors.New("a disk of the node's own needs root and Linux")

// diskBytes is what a node's disk holds.
const diskBytes = 256 << 20

// disk is a small file system for a node's data alone.
type disk struct{ path string }

// newDisk mounts a disk at path, or returns nil where this may not be done.
func newDisk(path string) (*disk, error) {
	if os.Getuid() != 0 {
		return nil, nil //nolint:nilnil // no disk is no error: the faults that need it are left out
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	if err := mount(path, diskBytes); err != nil {
		if errors.Is(err, ErrNoDisk) || errors.Is(err, syscall.EPERM) {
			return nil, nil //nolint:nilnil // as above: root of a container
		}
		return nil, fmt.Errorf("mount a disk at %s: %w", path, err)
	}
	return &disk{path}, nil
}

func (d *disk) remove() error {
	if d == nil {
		return nil
	}
	return unmount(d.path)
}

// FillDisk leaves no byte free on the node's disk. What it returns frees it again.
func (n *Node) FillDisk() (free func() error, err error) {
	if n.disk == nil {
		return nil, ErrNoDisk
	}
	f, err := os.Create(filepath.Join(n.disk.path, "filler"))
	if err != nil {
		return nil, err
	}
	block := make([]byte, 1<<16)
	for len(block) > 0 {
		if _, err = f.Write(block); err != nil {
			block = block[:len(block)/2] // until not even a byte fits
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return func() error { return errors.Join(f.Close(), os.Remove(f.Name())) }, nil
}

// FailWrites lets every write of the node's process to a file fail, or succeed again.
func (n *Node) FailWrites(on bool) error {
	pid := n.PID()
	if pid == 0 {
		return nil
	}
	return failWrites(pid, on)
}
