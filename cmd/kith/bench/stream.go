package bench

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// A message begins with a mark, the run, the stream, its number in the stream and the time it was due, in nanoseconds of clock.
const (
	mark     = "KBM1"
	headSize = len(mark) + 4 + 4 + 8 + 8
)

type head struct {
	run    uint32
	stream uint32
	n      uint64
	due    int64
}

func (h *head) put(b []byte) {
	copy(b, mark)
	binary.LittleEndian.PutUint32(b[4:], h.run)
	binary.LittleEndian.PutUint32(b[8:], h.stream)
	binary.LittleEndian.PutUint64(b[12:], h.n)
	binary.LittleEndian.PutUint64(b[20:], uint64(h.due)) //nolint:gosec // back by get
}

func (h *head) get(b []byte) bool {
	if len(b) < headSize || string(b[:len(mark)]) != mark {
		return false
	}
	h.run = binary.LittleEndian.Uint32(b[4:])
	h.stream = binary.LittleEndian.Uint32(b[8:])
	h.n = binary.LittleEndian.Uint64(b[12:])
	h.due = int64(binary.LittleEndian.Uint64(b[20:])) //nolint:gosec // from put
	return true
}

// stream is what one sender publishes to one topic. Its sender's lock guards it, but for what says otherwise.
type stream struct {
	id     uint32
	from   *sender
	packet []byte // patched for each message
	tag    int
	at     int
	next   uint64
	due    numbers  // messages that every receiver must get
	tracks []*track // fixed before the traffic begins
	// open counts the receivers that have not got a message yet, by its number modulo the length, where the window closes on
	// delivery. Order makes the open messages neighbours, so the slots of two never meet.
	open []atomic.Int32
}

// track is a stream as one receiver sees it; it belongs to that connection's goroutine.
type track struct {
	of   *stream
	seen numbers
	next uint64 // above the highest number seen
}

// numbers is a set of message numbers.
type numbers struct {
	words []uint64
	count uint64
}

// add reports whether n was not in the set.
func (s *numbers) add(n uint64) bool {
	word, bit := int(n>>6), uint64(1)<<(n&63)
	for word >= len(s.words) {
		s.words = append(s.words, 0)
	}
	if s.words[word]&bit != 0 {
		return false
	}
	s.words[word] |= bit
	s.count++
	return true
}

// without counts what is in s and not in o.
func (s *numbers) without(o *numbers) (n int64) {
	for i, w := range s.words {
		if i < len(o.words) {
			w &^= o.words[i]
		}
		n += int64(bits.OnesCount64(w))
	}
	return n
}

// missing counts, when all connections have ended, the deliveries that were due and those that did not come.
func missing(streams []*stream) (due, lost int64) {
	for _, st := range streams {
		for _, t := range st.tracks {
			due += int64(st.due.count) //nolint:gosec // a count of messages
			lost += st.due.without(&t.seen)
		}
	}
	return due, lost
}
