package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// DiskResult is how long a disk takes to keep what was written: every figure of a server that syncs stands on it.
type DiskResult struct {
	Path    string       `json:"path"`
	Bytes   int          `json:"write_bytes"`
	Syncs   int          `json:"syncs"`
	Seconds float64      `json:"seconds"`
	Sync    *Percentiles `json:"fdatasync_ms"`
}

// Disk appends size bytes to a file of its own in folder and syncs it, over and over for duration, and removes the file.
func Disk(ctx context.Context, folder string, size int, duration time.Duration) (_ *DiskResult, err error) {
	f, err := os.CreateTemp(folder, "kith-bench-disk-*")
	if err != nil {
		return nil, fmt.Errorf("measure the disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	data := make([]byte, size)
	l := newLatencies()
	out := &DiskResult{Path: folder, Bytes: size}
	start := clock()
	for ctx.Err() == nil && clock()-start < int64(duration) {
		if _, err := f.Write(data); err != nil {
			return nil, fmt.Errorf("measure the disk: %w", err)
		}
		before := clock()
		if err := syncData(f); err != nil {
			return nil, fmt.Errorf("measure the disk: sync: %w", err)
		}
		l.add(0, clock()-before)
		out.Syncs++
	}
	out.Seconds = rounded(time.Duration(clock() - start).Seconds())
	out.Sync = l.percentiles()
	return out, context.Cause(ctx)
}
