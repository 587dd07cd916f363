//go:build !linux

package bench

import (
	"os"
	"syscall"
	"time"
)

// RaiseDescriptors leaves it to the runtime, which raises the limit as far as it may.
func RaiseDescriptors(int) error { return nil }

func lateBind(_, _ string, _ syscall.RawConn) error { return nil }

func pause(d time.Duration) { time.Sleep(d) }

func syncData(f *os.File) error { return f.Sync() }

func ownCPU() float64 { return 0 }

func processUsage(int) (cpu, rss float64) { return 0, 0 }
