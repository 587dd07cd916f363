package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// spareDescriptors are for all that is not a connection.
const spareDescriptors = 64

// RaiseDescriptors makes room for that many connections, as far as the system allows it.
func RaiseDescriptors(connections int) error {
	need := uint64(connections + spareDescriptors) //nolint:gosec // not negative
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil || l.Cur >= need {
		return err
	}
	had := l.Cur
	raised := unix.Rlimit{Cur: need, Max: max(l.Max, need)} // above Max only root may
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
		return nil
	}
	return fmt.Errorf("%d connections need %d file descriptors, and this process may have %d: raise the limit first (ulimit -n %d, as a user who may), or use fewer --clients",
		connections, need, max(had, l.Max), need)
}

// lateBind lets the system choose the local port when it knows the other side, so that one address serves for more.
func lateBind(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}

// pause sleeps to within some 50 µs; timers of the runtime have a millisecond's grain while nothing else happens.
func pause(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil) // woken early: the message goes out early by as much
}

func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// ownCPU is what this process has used, in seconds.
func ownCPU() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

const ticksPerSecond = 100 // USER_HZ

// processUsage is what a process has used, in seconds, and its resident memory in bytes; zeros when it cannot be told.
func processUsage(pid int) (cpu, rss float64) {
	if pid == 0 {
		return 0, 0
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return 0, 0
	}
	number := func(i int) float64 {
		n, _ := strconv.ParseFloat(string(fields[i]), 64) // of the kernel
		return n
	}
	return (number(11) + number(12)) / ticksPerSecond, number(21) * float64(os.Getpagesize())
}
