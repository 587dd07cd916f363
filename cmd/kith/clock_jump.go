//go:build clockjump

package main

import (
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"
)

// clockFile names the variable with the path of the file that says how wrong the clock is, as a Go duration; no file: it is right.
const clockFile = "TORTURE_CLOCK_FILE"

// clockPoll is how long a look at the file holds.
const clockPoll = 50 * time.Millisecond

// jumpingClock is a clock that cmd/torture sets while it is being read.
type jumpingClock struct {
	log    *slog.Logger
	path   string
	began  time.Time
	next   atomic.Int64 // nanoseconds since began, when the file is looked at again
	offset atomic.Int64 // nanoseconds
}

// wallClock is the clock of a program made to be tormented. Ordinary builds have the machine's (clock.go).
func wallClock(log *slog.Logger) func() time.Time {
	c := &jumpingClock{log: log, path: os.Getenv(clockFile), began: time.Now()}
	log.Warn("this program is built to have its clock set wrong; never use it to serve", "tag", "clockjump", "file", c.path)
	return c.now
}

func (c *jumpingClock) now() time.Time {
	now := time.Now()
	since := int64(now.Sub(c.began))
	if next := c.next.Load(); c.path != "" && since >= next && c.next.CompareAndSwap(next, since+int64(clockPoll)) {
		c.look()
	}
	return jumped(now, time.Duration(c.offset.Load()))
}

func (c *jumpingClock) look() {
	text, err := os.ReadFile(c.path)
	if err != nil && !os.IsNotExist(err) {
		c.log.Error("the clock's file cannot be read", "err", err)
		return
	}
	by := time.Duration(0)
	if err == nil {
		if by, err = time.ParseDuration(strings.TrimSpace(string(text))); err != nil {
			c.log.Error("the clock's file does not hold a duration", "err", err)
			return
		}
	}
	if was := c.offset.Swap(int64(by)); was != int64(by) {
		c.log.Warn("clock jumps", "from", time.Duration(was), "to", by)
	}
}

// jumped is t as a clock shows it that was set by so much: the wall time jumps, the monotonic reading, and so every difference of two
// readings, does not. Time.Add moves both, and there is no other way to part them than by the layout of time.Time, which
// TestAJumpMovesTheWallClockAlone checks.
func jumped(t time.Time, by time.Duration) time.Time {
	type parts struct {
		wall uint64
		ext  int64 // the monotonic reading
		loc  *time.Location
	}
	moved := t.Add(by)
	(*parts)(unsafe.Pointer(&moved)).ext = (*parts)(unsafe.Pointer(&t)).ext //nolint:gosec // see above
	return moved
}
