package pebblestore

import (
	"sync/atomic"
	"time"
)

// Metrics are counts since Open and how things stand now.
type Metrics struct {
	Groups, Commits, Appends uint64
	Bytes                    uint64        // of stored messages, events and records, before compression
	SyncLast, SyncAverage    time.Duration // from a group's beginning until the disk had it; the average leans to the last 16
	Queued                   int           // batches that wait
	Stalls                   uint64        // times that writing had to wait for background work
	Troubles                 uint64        // failures of background work
	DiskBytes                uint64
	MemoryBytes              uint64 // memtables and cache
}

// Metrics returns the store's figures. It is cheap enough to be called once a second.
func (s *Store) Metrics() Metrics {
	m := Metrics{
		Groups:      s.meter.groups.Load(),
		Commits:     s.meter.commits.Load(),
		Appends:     s.meter.appends.Load(),
		Bytes:       s.meter.bytes.Load(),
		SyncLast:    time.Duration(s.meter.syncLast.Load()),
		SyncAverage: time.Duration(s.meter.syncAverage.Load()),
		Stalls:      s.meter.stalls.Load(),
		Troubles:    s.meter.troubles.Load(),
		Queued:      s.queue.length(),
	}
	s.reading.RLock()
	defer s.reading.RUnlock()
	if !s.closed {
		engine := s.db.Metrics()
		m.DiskBytes = engine.DiskSpaceUsage()
		m.MemoryBytes = engine.MemTable.Size + uint64(max(engine.BlockCache.Size, 0))
	}
	return m
}

// meter counts. The finisher writes all but stalls and troubles.
type meter struct {
	groups, commits, appends, bytes atomic.Uint64
	syncLast, syncAverage           atomic.Int64
	stalls, troubles                atomic.Uint64
}

func (m *meter) synced(took time.Duration) {
	m.syncLast.Store(int64(took))
	average := m.syncAverage.Load()
	if average == 0 {
		average = int64(took)
	}
	m.syncAverage.Store(average + (int64(took)-average)/16)
}

func (m *meter) grouped(commits, appends, bytes int) {
	m.groups.Add(1)
	m.commits.Add(uint64(commits)) //nolint:gosec // a length
	m.appends.Add(uint64(appends)) //nolint:gosec // a length
	m.bytes.Add(uint64(bytes))     //nolint:gosec // a length
}

func (m *meter) stalled()  { m.stalls.Add(1) }
func (m *meter) troubled() { m.troubles.Add(1) }
