package pebblestore

import (
	"encoding/binary"
	"fmt"

	"kith/broker"
)

// blockBytes is the size at which a block is written and another begun.
const blockBytes = 8 << 10

// block collects the messages of one app within one group. It becomes one key, the id of its first message, and this value:
//
//	uvarint count of messages
//	for each: its place (as in a run) and a uvarint length
//	the stored messages, one behind the other
//
// The block of a message that was deleted is written again under the same key, so a block may begin behind its key's id.
type block struct {
	app    broker.AppID
	first  broker.MessageID
	clock  uint64
	count  uint64
	index  []byte
	bodies []byte
}

func (k *block) add(m *broker.Message, id broker.MessageID) error {
	before := len(k.bodies)
	bodies, err := m.AppendBinary(k.bodies)
	if err != nil {
		return fmt.Errorf("encode message of %q: %w", m.From, err)
	}
	k.bodies = bodies
	k.place(id, m.Kind, len(bodies)-before)
	return nil
}

func (k *block) place(id broker.MessageID, kind broker.MessageKind, size int) {
	if k.count == 0 {
		k.first, k.clock = id, clockOf(id)
	}
	k.count++
	k.index = appendPlace(k.index, clockOf(id)-k.clock, kind)
	k.index = binary.AppendUvarint(k.index, uint64(size)) //nolint:gosec // a length
	k.clock = clockOf(id)
}

func (k *block) reset() {
	k.count, k.index, k.bodies = 0, k.index[:0], k.bodies[:0]
}

// blockEntry is a message in a stored block.
type blockEntry struct {
	id   broker.MessageID
	kind broker.MessageKind
	body []byte // within the block
}

// appendBlock decodes the block that stands under the id first. The bodies alias value.
func appendBlock(dst []blockEntry, first broker.MessageID, value []byte) ([]blockEntry, error) {
	count, w := binary.Uvarint(value)
	if w <= 0 || count > uint64(len(value)) {
		return dst, errCorrupt
	}
	b, from := value[w:], len(dst)
	clock, total := clockOf(first), uint64(0)
	for range count {
		delta, kind, rest := readPlace(b)
		size, w := binary.Uvarint(rest)
		if w <= 0 {
			return dst, errCorrupt
		}
		b = rest[w:]
		clock += delta
		total += size
		if size > uint64(len(value)) || total > uint64(len(value)) {
			return dst, errCorrupt
		}
		// The bodies begin where the index ends: until then only the length of the slice counts.
		dst = append(dst, blockEntry{id: withClock(first, clock), kind: kind, body: value[:size]})
	}
	if total != uint64(len(b)) {
		return dst, errCorrupt
	}
	for i := from; i < len(dst); i++ {
		size := len(dst[i].body)
		dst[i].body, b = b[:size:size], b[size:]
	}
	return dst, nil
}

// blockWithout returns the value of a block without one of its messages; nil if none is left, and false if it was not there.
func blockWithout(first broker.MessageID, value []byte, id broker.MessageID) ([]byte, bool, error) {
	entries, err := appendBlock(nil, first, value)
	if err != nil {
		return nil, false, err
	}
	left := block{clock: clockOf(first), first: first}
	found := false
	for _, e := range entries {
		if e.id == id {
			found = true
			continue
		}
		if left.count == 0 {
			// The first place counts from the key's id, which stays.
			left.count = 1
			left.index = appendPlace(left.index, clockOf(e.id)-left.clock, e.kind)
			left.index = binary.AppendUvarint(left.index, uint64(len(e.body)))
			left.clock = clockOf(e.id)
		} else {
			left.place(e.id, e.kind, len(e.body))
		}
		left.bodies = append(left.bodies, e.body...)
	}
	if !found || left.count == 0 {
		return nil, found, nil
	}
	return left.appendValue(nil), true, nil
}

func (k *block) valueLen() int {
	return uvarintLen(k.count) + len(k.index) + len(k.bodies)
}

func (k *block) appendValue(b []byte) []byte {
	b = binary.AppendUvarint(b, k.count)
	b = append(b, k.index...)
	return append(b, k.bodies...)
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
