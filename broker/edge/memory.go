package edge

import (
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	sampleTime = 250 * time.Millisecond // for which a look at the memory holds
	// shortAt is the share of the ceiling, in percent, from which on new work is refused. The rest is for the work that was
	// taken, and for the garbage that it makes.
	shortAt = 85
	// containerShare is how much of a container's memory, in percent, Go is given where GOMEMLIMIT does not say.
	containerShare = 90
)

// Memory watches how much memory the process needs against its ceiling. What it needs is what lives, not the garbage that
// waits to be collected: the collector lets that grow up to GOMEMLIMIT by design.
type Memory struct {
	now   func() time.Time
	began time.Time

	ceiling atomic.Int64 // bytes; 0: none
	short   atomic.Bool
	until   atomic.Int64 // nanoseconds since began, for which short holds: a clock that is set does not stop the looks

	mu      sync.Mutex
	samples []metrics.Sample
	need    int64
}

// NewMemory returns a watch without a ceiling.
func NewMemory(now func() time.Time) *Memory {
	m := &Memory{now: now, began: now()}
	for _, name := range []string{
		"/gc/heap/live:bytes", "/memory/classes/total:bytes", "/memory/classes/heap/released:bytes",
		"/memory/classes/heap/objects:bytes", "/memory/classes/heap/free:bytes", "/memory/classes/heap/unused:bytes",
	} {
		m.samples = append(m.samples, metrics.Sample{Name: name})
	}
	return m
}

// SetCeiling sets the ceiling in bytes; 0: GOMEMLIMIT, or else most of what the container is given, or else none. Without
// GOMEMLIMIT Go's collector is told as well.
func (m *Memory) SetCeiling(bytes int64) {
	told := os.Getenv("GOMEMLIMIT") != ""
	switch {
	case bytes == 0 && told:
		bytes = debug.SetMemoryLimit(-1)
	case bytes == 0:
		bytes = containerMemory()
	}
	if bytes == math.MaxInt64 {
		bytes = 0
	}
	m.ceiling.Store(bytes)
	m.until.Store(0)
	switch {
	case told:
	case bytes > 0:
		debug.SetMemoryLimit(bytes)
	default:
		debug.SetMemoryLimit(math.MaxInt64)
	}
}

// containerMemory is most of what the container is given, in bytes; 0 for no bound.
func containerMemory() int64 {
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		const beyond = 1 << 50 // what a group without a limit says, in version 1
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && n < beyond {
			return n / 100 * containerShare
		}
	}
	return 0
}

// Short reports whether new work must be refused.
func (m *Memory) Short() bool {
	limit, since := m.ceiling.Load(), m.now().Sub(m.began)
	if limit == 0 {
		return false
	}
	if int64(since) >= m.until.Load() {
		m.look(limit, since)
	}
	return m.short.Load()
}

func (m *Memory) look(limit int64, since time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sample()
	m.short.Store(m.need > limit/100*shortAt)
	m.until.Store(int64(since + sampleTime))
}

// sample measures, under mu: what of the heap outlived the last collection, and all that is no heap.
func (m *Memory) sample() {
	metrics.Read(m.samples)
	of := func(i int) int64 { return int64(m.samples[i].Value.Uint64()) } //nolint:gosec // bytes of memory
	m.need = of(0) + of(1) - of(2) - of(3) - of(4) - of(5)
}

// State returns what the process needs, and the ceiling, in bytes.
func (m *Memory) State() (need, limit int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sample()
	return m.need, m.ceiling.Load()
}
