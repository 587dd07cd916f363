package redisstore

import (
	"sync/atomic"
	"time"
)

// Metrics are counts since Open and how things stand now.
type Metrics struct {
	Groups, Commits, Appends uint64
	Failed                   uint64        // batches that failed
	AnswerAverage            time.Duration // from a group's beginning until Redis had answered all of it; leans to the last 16
	Queued                   int           // batches that wait
}

// Metrics returns the store's figures. It does not ask Redis.
func (s *Store) Metrics() Metrics {
	return Metrics{
		Groups:        s.meter.groups.Load(),
		Commits:       s.meter.commits.Load(),
		Appends:       s.meter.appends.Load(),
		Failed:        s.meter.failed.Load(),
		AnswerAverage: time.Duration(s.meter.answerAverage.Load()),
		Queued:        s.queue.length(),
	}
}

// meter counts. The committer writes it.
type meter struct {
	groups, commits, appends, failed atomic.Uint64
	answerAverage                    atomic.Int64
}

func (m *meter) grouped(items []item, took time.Duration) {
	m.groups.Add(1)
	m.commits.Add(uint64(len(items)))
	for i := range items {
		if it := &items[i]; it.err != nil {
			m.failed.Add(1)
		} else {
			m.appends.Add(uint64(len(it.batch.Appends)))
		}
	}
	average := m.answerAverage.Load()
	if average == 0 {
		average = int64(took)
	}
	m.answerAverage.Store(average + (int64(took)-average)/16)
}
