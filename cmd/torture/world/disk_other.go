//go:build !linux

package world

func mount(string, int) error { return ErrNoDisk }

func unmount(string) error { return ErrNoDisk }

func failWrites(int, bool) error { return ErrNoDisk }
