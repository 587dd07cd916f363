package redisbus

import (
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// Metrics are counts since New and how things stand now.
type Metrics struct {
	SentNotes, SentBytes uint64 // that Redis took; bytes of whole frames
	SentFrames           uint64 // each one PUBLISH
	Unheard              uint64 // of those frames: no node listened
	Pipelines            uint64 // round trips to Redis, or one for each of its shards at once
	Dropped              uint64 // notes that Redis did not take: over a bound, while no Run was going, or in a pipeline that failed

	ReceivedNotes, ReceivedBytes uint64 // bytes of whole frames
	ReceivedFrames               uint64 // in order
	Late                         uint64 // frames dropped because their number had passed
	Lost                         uint64 // times that the receiver heard Lost
	Subscribed                   uint64 // times that the subscription was confirmed

	QueuedBytes int // what waits to be sent
}

// Metrics returns the bus's figures. It does not ask Redis.
func (b *Bus) Metrics() Metrics {
	m := &b.meter
	return Metrics{
		SentNotes: m.sentNotes.Load(), SentBytes: m.sentBytes.Load(), SentFrames: m.sentFrames.Load(), Unheard: m.unheard.Load(),
		Pipelines: m.pipelines.Load(), Dropped: m.dropped.Load(),
		ReceivedNotes: m.receivedNotes.Load(), ReceivedBytes: m.receivedBytes.Load(), ReceivedFrames: m.receivedFrames.Load(),
		Late: m.late.Load(), Lost: m.lost.Load(), Subscribed: m.subscribed.Load(),
		QueuedBytes: b.outbox.waiting(),
	}
}

// meter counts.
type meter struct {
	sentNotes, sentBytes, sentFrames, unheard, pipelines, dropped        atomic.Uint64
	receivedNotes, receivedBytes, receivedFrames, late, lost, subscribed atomic.Uint64
}

func (m *meter) published(f *frame, heard *redis.IntCmd) {
	listeners, err := heard.Result()
	if err != nil {
		m.dropped.Add(uint64(f.notes)) //nolint:gosec // a count
		return
	}
	if listeners == 0 {
		m.unheard.Add(1)
	}
	m.sentFrames.Add(1)
	m.sentNotes.Add(uint64(f.notes)) //nolint:gosec // a count
	m.sentBytes.Add(uint64(len(f.bytes)))
}

func (m *meter) received(notes, size int) {
	m.receivedFrames.Add(1)
	m.receivedNotes.Add(uint64(notes)) //nolint:gosec // a count
	m.receivedBytes.Add(uint64(size))  //nolint:gosec // a length
}
