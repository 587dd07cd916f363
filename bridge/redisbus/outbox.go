package redisbus

import (
	"math/rand/v2"
	"sync"
	"time"

	"kith/broker"
)

// allQueues is how many nodes' bounds may wait together.
const allQueues = 16

// outbox gathers notes into frames until the sending goroutine takes them.
type outbox struct {
	queueBytes, frameBytes int
	channel                func(broker.NodeID) string
	wake                   chan struct{} // has a value when there is something to take

	mu     sync.Mutex // guards what follows
	self   broker.NodeID
	to     map[broker.NodeID]*destination
	ready  []*destination // those with frames, the longest waiting first
	queued int            // bytes of all frames
	holed  bool           // a gap was forgotten with its destination: streams begin with one
}

// destination is a node that notes are sent to. The outbox's lock guards it.
type destination struct {
	channel  string
	stream   uint64
	sequence uint64   // of the newest frame
	frames   []*frame // oldest first; notes are added to the last
	queued   int      // bytes of its frames
	dropped  bool     // a note, behind the last of the frames
	used     time.Time
}

// idle implements idler.
func (d *destination) idle() (since time.Time, ok bool) { return d.used, len(d.frames) == 0 }

// frame is what one PUBLISH will carry.
type frame struct {
	bytes []byte
	notes int
}

// parcel is a frame on its way.
type parcel struct {
	channel string
	*frame
}

var frames = sync.Pool{New: func() any { return new(frame) }}

func (f *frame) free() {
	f.bytes, f.notes = f.bytes[:0], 0
	frames.Put(f)
}

// open lets notes in, until close. It fails when it is open.
func (o *outbox) open(self broker.NodeID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.self != "" {
		return false
	}
	o.self = self
	return true
}

// close forgets all destinations and returns how many notes are dropped with them.
func (o *outbox) close() (dropped uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, d := range o.ready {
		for _, f := range d.frames {
			dropped += uint64(f.notes) //nolint:gosec // a count
			f.free()
		}
	}
	o.self, o.ready, o.queued, o.holed = "", nil, 0, true
	clear(o.to)
	return dropped
}

// add queues a note, or tells that it is dropped.
func (o *outbox) add(to broker.NodeID, note []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	d := o.destination(to)
	if d == nil {
		o.holed = true
		return false
	}
	if !o.append(d, note) {
		d.dropped = true
		return false
	}
	if len(o.ready) == 1 {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// destination returns what is known of a node; nil when the outbox is closed or too many nodes have something waiting.
func (o *outbox) destination(to broker.NodeID) *destination {
	if d := o.to[to]; d != nil || o.self == "" {
		return d
	}
	now := time.Now()
	before := len(o.to)
	if !makeRoom(o.to, now) {
		return nil
	}
	o.holed = o.holed || len(o.to) < before
	d := &destination{channel: o.channel(to), stream: rand.Uint64(), dropped: o.holed, used: now} //nolint:gosec // to be told apart, not to be secret
	o.to[to] = d
	return d
}

// append adds a note to the last frame, or to a new one when there is none, it is full, or something was dropped behind it.
func (o *outbox) append(d *destination, note []byte) bool {
	need := noteBytes(note)
	last := len(d.frames) - 1
	fresh := last < 0 || d.dropped || len(d.frames[last].bytes)+need > o.frameBytes
	if fresh {
		need += 2 + len(o.self) + 16
	}
	if need > o.frameBytes || d.queued+need > o.queueBytes || o.queued+need > allQueues*o.queueBytes {
		return false
	}
	if fresh {
		if last < 0 {
			o.ready = append(o.ready, d)
		}
		d.frames = append(d.frames, o.begin(d))
		last++
	}
	f := d.frames[last]
	before := len(f.bytes)
	if fresh {
		before = 0
	}
	f.bytes = appendNote(f.bytes, note)
	f.notes++
	d.queued += len(f.bytes) - before
	o.queued += len(f.bytes) - before
	return true
}

// begin returns a frame with its number. What was dropped before it uses one up.
func (o *outbox) begin(d *destination) *frame {
	d.sequence++
	if d.dropped {
		d.sequence++
		d.dropped = false
	}
	f := frames.Get().(*frame)
	f.bytes = appendHeader(f.bytes, o.self, d.stream, d.sequence)
	return f
}

// take appends to parcels the oldest frame of each destination that has one.
func (o *outbox) take(parcels []parcel) []parcel {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	left := o.ready[:0]
	for _, d := range o.ready {
		f := d.frames[0]
		parcels = append(parcels, parcel{d.channel, f})
		d.frames = append(d.frames[:0], d.frames[1:]...)
		d.queued -= len(f.bytes)
		o.queued -= len(f.bytes)
		d.used = now
		if len(d.frames) > 0 {
			left = append(left, d)
		}
	}
	clear(o.ready[len(left):])
	o.ready = left
	return parcels
}

// waiting returns how many bytes wait.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queued
}
