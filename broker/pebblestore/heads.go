package pebblestore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"kith/broker"
)

// head is where a numbered log ends.
type head struct {
	n    uint64           // the last number given, 0 before the first
	last broker.MessageID // the id it was given with
	// oldest is the number of the oldest event that may still be there and low the key it stands under or behind, known
	// after the first trim since the head was loaded.
	oldest uint64
	low    []byte
}

// heads keeps the ends of the logs that were lately appended to. It belongs to the committer. What was not used
// while half of the bound was filled anew is forgotten, and read from the log's last run when needed again.
type heads struct {
	young, old map[broker.LogID]*head
	bound      int
}

func newHeads(bound int) *heads {
	return &heads{young: map[broker.LogID]*head{}, bound: max(bound, 2)}
}

func (h *heads) get(log broker.LogID) *head {
	if found := h.young[log]; found != nil {
		return found
	}
	found := h.old[log]
	if found != nil {
		h.put(log, found)
	}
	return found
}

func (h *heads) put(log broker.LogID, to *head) {
	// The caller's strings may be parts of something large.
	log.App = broker.AppID(strings.Clone(string(log.App)))
	log.Owner = strings.Clone(log.Owner)
	h.young[log] = to
}

// age forgets. Heads in use by a group must stay the same ones until it is written, so it is called between groups.
func (h *heads) age() {
	if len(h.young) >= h.bound/2 {
		h.old, h.young = h.young, make(map[broker.LogID]*head, h.bound/2)
	}
}

// head returns the end of a log, which stays valid until the group is written.
func (g *group) head(log broker.LogID) (*head, error) {
	if h := g.s.heads.get(log); h != nil {
		return h, nil
	}
	h, err := g.loadHead(log)
	if err != nil {
		return nil, fmt.Errorf("end of log %c of %q: %w", log.Kind, log.Owner, err)
	}
	g.s.heads.put(log, h)
	return h, nil
}

func (g *group) loadHead(log broker.LogID) (*head, error) {
	it, err := g.iter()
	if err != nil {
		return nil, err
	}
	g.key = appendLogPrefix(g.key[:0], log)
	prefix := len(g.key)
	g.key[prefix-1]++
	it.SeekLT(g.key)
	g.key[prefix-1]--
	if !it.Valid() || !bytes.HasPrefix(it.Key(), g.key) {
		return &head{}, it.Error()
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return nil, err
	}
	if log.Kind == broker.LogEvents {
		n, _, err := splitEvent(value)
		return &head{n: n, last: keyID(it.Key())}, err
	}
	h, err := runHead(keyID(it.Key()), value)
	return &h, err
}

// An event's value is a flag, its number and its payload.
const (
	eventHere    = 0
	eventEmptied = 1 // no event: it holds the last number of a log that was emptied
)

func splitEvent(value []byte) (n uint64, payload []byte, err error) {
	if len(value) < 2 {
		return 0, nil, errCorrupt
	}
	n, w := binary.Uvarint(value[1:])
	if w <= 0 {
		return 0, nil, errCorrupt
	}
	return n, value[1+w:], nil
}
