package bench

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Bounds of what a histogram holds, in nanoseconds, to three digits.
const (
	shortest = int64(time.Microsecond)
	longest  = int64(10 * time.Minute)
	digits   = 3
)

// latencies collects times from many connections, each of which hands over what one read brought.
type latencies struct {
	shards [4]struct {
		mu   sync.Mutex
		hist *hdrhistogram.Histogram
	}
}

func newLatencies() *latencies {
	l := &latencies{}
	for i := range l.shards {
		l.shards[i].hist = hdrhistogram.New(shortest, longest, digits)
	}
	return l
}

// add takes times in nanoseconds from connection number conn.
func (l *latencies) add(conn int, times ...int64) {
	if len(times) == 0 {
		return
	}
	s := &l.shards[conn%len(l.shards)]
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range times {
		_ = s.hist.RecordValue(min(max(t, 0), longest)) // within the bounds, so it fits
	}
}

// Percentiles are times in milliseconds.
type Percentiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

// percentiles is nil when nothing was collected.
func (l *latencies) percentiles() *Percentiles {
	all := hdrhistogram.New(shortest, longest, digits)
	for i := range l.shards {
		l.shards[i].mu.Lock()
		all.Merge(l.shards[i].hist)
		l.shards[i].mu.Unlock()
	}
	if all.TotalCount() == 0 {
		return nil
	}
	ms := func(q float64) float64 { return rounded(float64(all.ValueAtQuantile(q)) / 1e6) }
	return &Percentiles{ms(50), ms(90), ms(99), ms(99.9), rounded(float64(all.Max()) / 1e6)}
}
