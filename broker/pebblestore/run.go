package pebblestore

import (
	"encoding/binary"
	"errors"

	"kith/broker"
)

// runEntries bounds a run, so that a reader of one entry never decodes much more than it wants.
const runEntries = 128

var errCorrupt = errors.New("stored value does not parse")

// run collects what one group appends to one log of references (conversation, sent or inbox). It becomes one key, the id
// of its first entry, and this value:
//
//	uvarint number of the first entry that takes one, 0 in a log without numbers
//	for each entry: its place
//
// A place is a uvarint of (clock of the id − clock of the one before)<<1, with 1 added if a byte with the kind follows.
// All ids of a run are of one node, the key's. A run without entries holds the number that comes next in an emptied log.
type run struct {
	log    broker.LogID
	head   *head // nil for a log without numbers
	firstN uint64
	first  broker.MessageID
	clock  uint64 // of the newest entry
	count  int
	buf    []byte // the places
}

func (r *run) add(id broker.MessageID, kind broker.MessageKind) (n uint64) {
	next := uint64(0)
	if r.head != nil {
		next = r.head.n + 1
		if kind != broker.KindMembership {
			r.head.n = next
		}
		r.head.last = id
		n = r.head.n
	}
	if r.count == 0 {
		r.firstN, r.first, r.clock = next, id, clockOf(id)
	}
	r.count++
	r.buf = appendPlace(r.buf, clockOf(id)-r.clock, kind)
	r.clock = clockOf(id)
	return n
}

func appendPlace(b []byte, delta uint64, kind broker.MessageKind) []byte {
	if kind == broker.KindMessage {
		return binary.AppendUvarint(b, delta<<1)
	}
	b = binary.AppendUvarint(b, delta<<1|1)
	return append(b, byte(kind))
}

// readPlace returns the bytes behind the place, nil if it does not parse.
func readPlace(b []byte) (delta uint64, kind broker.MessageKind, rest []byte) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, 0, nil
	}
	b = b[n:]
	if v&1 != 0 {
		if len(b) == 0 {
			return 0, 0, nil
		}
		kind, b = broker.MessageKind(b[0]), b[1:]
	}
	return v >> 1, kind, b
}

// appendRun decodes the run that stands under the id first.
func appendRun(dst []broker.Entry, first broker.MessageID, value []byte) ([]broker.Entry, error) {
	n, w := binary.Uvarint(value)
	if w <= 0 {
		return dst, errCorrupt
	}
	clock := clockOf(first)
	for b := value[w:]; len(b) > 0; {
		delta, kind, rest := readPlace(b)
		if rest == nil {
			return dst, errCorrupt
		}
		clock += delta
		e := broker.Entry{N: n, ID: withClock(first, clock), Kind: kind}
		switch {
		case n == 0:
		case kind == broker.KindMembership:
			e.N = n - 1
		default:
			n++
		}
		dst = append(dst, e)
		b = rest
	}
	return dst, nil
}

// runHead returns the last number of a run, or the one before the next in an empty run, and the id of its last entry.
func runHead(first broker.MessageID, value []byte) (head, error) {
	n, w := binary.Uvarint(value)
	if w <= 0 {
		return head{}, errCorrupt
	}
	clock, count := clockOf(first), uint64(0)
	for b := value[w:]; len(b) > 0; {
		delta, kind, rest := readPlace(b)
		if rest == nil {
			return head{}, errCorrupt
		}
		if kind != broker.KindMembership {
			count++
		}
		clock += delta
		b = rest
	}
	h := head{last: withClock(first, clock)}
	if n != 0 {
		h.n = n + count - 1
	}
	return h, nil
}
