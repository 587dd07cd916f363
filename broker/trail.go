package broker

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// A trail is what happened to the deliveries of one log to one device: when each was sent and acknowledged. It answers "did she get
// it?" without a word in the hot path but a few bytes appended to a buffer, which is saved with the cursors, lazily, and expires
// with queue.age. A quiet device's trail grows in one record until that is large enough for another; a busy one fills a record a second.

const (
	// trailRecord is the size, in bytes, from which a saved record is not added to any more.
	trailRecord = 256
	// maxTrail bounds what is noted between two saves, in bytes; past it times are lost.
	maxTrail = 32 << 10
)

// trailKind is what happened to a delivery.
type trailKind byte

const (
	trailSent     trailKind = iota // given to the connection
	trailAcked                     // PUBACK, PUBCOMP; at QoS 0 written
	trailRefused                   // PUBACK or PUBREC that refuses
	trailPassed                    // never sent: it had expired, fell out of the queue, was too large, or was left unacknowledged too often
	trailPassedTo                  // passed, with all from the mark before up to this number
	trailKinds
)

// trail is the record that is being written. It is guarded by the session's lock.
type trail struct {
	buf   []byte // the record's value so far; nothing in it is written twice, so that the store may hold on to it
	first uint64 // number of the first mark
	began int64  // Unix milliseconds of the first mark
	lastN uint64 // of the mark before
	lastT int64
	saved int // bytes that the store has
}

// A record's value is its time in Unix milliseconds and then its marks: how far the number is from that of the mark before,
// zigzag, times the kinds, plus the kind; and how many milliseconds later it was. All are varints: 2 to 4 bytes a mark.

// mark notes what happened to number n.
func (t *trail) mark(kind trailKind, n uint64, now int64) {
	if len(t.buf)-t.saved > maxTrail {
		return
	}
	if len(t.buf) == 0 {
		t.first, t.began, t.lastN, t.lastT = n, now, n, now
		t.buf = binary.AppendUvarint(t.buf, uint64(now)) //nolint:gosec // after 1970
	}
	t.buf = binary.AppendUvarint(t.buf, zigzag(int64(n-t.lastN))*uint64(trailKinds)+uint64(kind)) //nolint:gosec // numbers are far below 2^60
	t.buf = binary.AppendUvarint(t.buf, uint64(max(now-t.lastT, 0)))
	t.lastN, t.lastT = n, max(now, t.lastT)
}

func zigzag(d int64) uint64 { return uint64(d<<1) ^ uint64(d>>63) } //nolint:gosec // both ways the same bits

func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// write returns the write that saves the trail, and begins another record where this one is large enough.
func (t *trail) write(s *Session, log LogID, expires int64) (Write, bool) {
	if len(t.buf) == t.saved {
		return Write{}, false
	}
	w := Write{Key: trailKey(s.app.id, s.peer, s.device, log, t.first, t.began), Value: slices.Clip(t.buf), Expires: expires}
	t.saved = len(t.buf)
	if t.saved >= trailRecord {
		*t = trail{}
	}
	return w, true
}

// trailKey names a record. Numbers are turned over, so that a list that begins at a number goes on with those below.
func trailKey(app AppID, p PeerID, d DeviceID, log LogID, first uint64, began int64) Key {
	return Key{Space: SpaceTrail, App: app, Owner: string(p), Name: trailPrefix(d, log) + fmt.Sprintf("%016x%012x", ^first, began)}
}

func trailPrefix(d DeviceID, log LogID) string { return string(d) + "\x00" + log.short() + "\x00" }

// trailMark is one thing that happened.
type trailMark struct {
	kind trailKind
	n    uint64
	at   int64 // Unix milliseconds
}

// readTrail calls yield with the marks of a record's value; what does not parse ends it.
func readTrail(value []byte, first uint64, yield func(trailMark)) {
	r := fieldReader{b: value}
	m := trailMark{n: first, at: int64(r.uvarint())} //nolint:gosec // as written
	for !r.bad && len(r.b) > 0 {
		what := r.uvarint()
		m.kind = trailKind(what % uint64(trailKinds))
		m.n += uint64(unzigzag(what / uint64(trailKinds))) //nolint:gosec // as written
		m.at += int64(r.uvarint())                         //nolint:gosec // as written
		if !r.bad {
			yield(m)
		}
	}
}

// traces reports whether the app wants to know what becomes of a log's deliveries.
func (s *Session) traces(l *logState) bool {
	return l.id.Kind != LogEvents && s.link != nil && s.app.cfg.Load().Trace // no link: only a look at what waits
}

// mark notes what happens to a delivery now. s.mu is held.
func (s *Session) mark(l *logState, kind trailKind, n uint64) {
	if s.traces(l) {
		s.markAt(l, kind, n, s.b.now().UnixMilli())
	}
}

// markAt is mark where the time, in Unix milliseconds, is known. s.mu is held.
func (s *Session) markAt(l *logState, kind trailKind, n uint64, now int64) {
	if !s.traces(l) {
		return
	}
	if l.trail == nil {
		l.trail = &trail{}
	}
	l.trail.mark(kind, n, now)
	s.markDirty()
}

// trailWrites returns the writes for what was noted since it was saved. s.mu is held.
func (s *Session) trailWrites() (writes []Write) {
	expires := s.b.now().Add(s.app.cfg.Load().Queue.Age).UnixMilli()
	for _, l := range s.out.logs {
		if l.trail == nil {
			continue
		}
		if w, ok := l.trail.write(s, l.id, expires); ok {
			writes = append(writes, w)
		}
	}
	return writes
}
