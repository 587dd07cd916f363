package pebblestore

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"kith/broker"
)

// group is what the committer writes at once: its working state, used again for the next.
//
// Appends, records and expiries are collected here and reach the engine's batch when the group is written, so that a
// log that got many entries, or a record that was set many times, costs one key.
type group struct {
	s     *Store
	wb    *pebble.Batch
	now   int64 // Unix milliseconds
	force bool  // sync whatever the settings say
	sync  bool  // some batch is not lazy
	last  broker.MessageID
	count int
	bytes int

	runs    map[broker.LogID]*run
	open    []*run // those of runs, in the order of first use
	recent  [4]*run
	free    []*run
	blocks  map[broker.AppID]*block
	full    []*block // blocks in use, one an app
	block   *block   // the last used
	idle    []*block
	targets []*run // of the append at hand

	records map[broker.Key]*record
	changed []*record
	cut     map[string][]byte // blocks that lost a message: key to what is left, nil for nothing
	emptied map[broker.AppID]bool
	past    map[string]int // keys of the past that the group wrote, with the size of their values, or removed, with absent
	sizes   map[sizeKey]int64

	it      *pebble.Iterator
	key     []byte
	numbers []uint64 // slab for Append.InboxN
}

func newGroup(s *Store) *group {
	return &group{
		s:       s,
		runs:    map[broker.LogID]*run{},
		blocks:  map[broker.AppID]*block{},
		records: map[broker.Key]*record{},
		cut:     map[string][]byte{},
		emptied: map[broker.AppID]bool{},
		past:    map[string]int{},
		sizes:   map[sizeKey]int64{},
	}
}

func (g *group) begin() {
	g.wb = g.s.db.NewBatch(pebble.WithMaxRetainedSizeBytes(2 * queueBytes))
	g.now = g.s.opts.Now().UnixMilli()
	g.force, g.sync = false, false
	g.last = broker.MessageID{}
	g.count, g.bytes = 0, 0
}

// take applies one item. Its error is that of the item; the group goes on.
func (g *group) take(it item) error {
	switch {
	case it.flush:
		g.force = true
		return nil
	case it.sweep != nil:
		return g.sweep(it.sweep)
	case it.err != nil:
		return it.err
	}
	b := it.batch
	if err := b.Turn(); err != nil {
		return err
	}
	g.sync = g.sync || !b.Lazy
	for i := range b.Appends {
		if err := g.append(&b.Appends[i]); err != nil {
			return err
		}
	}
	for i := range b.Writes {
		if err := g.write(b, &b.Writes[i]); err != nil {
			return err
		}
	}
	for i := range b.Deletes {
		if err := g.delete(&b.Deletes[i]); err != nil {
			return err
		}
	}
	return nil
}

// finish puts everything collected into the engine's batch.
func (g *group) finish() error {
	g.emitLogs()
	if err := g.emitCut(); err != nil {
		return err
	}
	g.emitRecords()
	if err := g.emitSizes(); err != nil {
		return err
	}
	if !g.last.IsZero() {
		g.set(len(keyLast), idSize, func(k, v []byte) { copy(k, keyLast); copy(v, g.last[:]) })
	}
	if g.wb.Empty() && (g.sync || g.force) {
		// Something for the log of the engine, so that there is a sync to wait for.
		if err := g.wb.LogData(nil, nil); err != nil {
			return fmt.Errorf("write mark: %w", err)
		}
	}
	return g.closeIter()
}

func (g *group) reset() {
	_ = g.closeIter() // open only if the group failed already
	g.wb = nil
	g.free = append(g.free, g.open...)
	g.open = g.open[:0]
	g.recent = [4]*run{}
	g.idle = append(g.idle, g.full...)
	g.full = g.full[:0]
	g.block = nil
	clear(g.runs)
	clear(g.blocks)
	clear(g.records)
	clear(g.changed)
	g.changed = g.changed[:0]
	clear(g.cut)
	clear(g.emptied)
	clear(g.past)
	clear(g.sizes)
	g.numbers = nil
	g.s.heads.age()
}

// set adds a key whose bytes are written in place. An error of the deferred operation is only possible with an index.
func (g *group) set(keyLen, valueLen int, fill func(key, value []byte)) {
	op := g.wb.SetDeferred(keyLen, valueLen)
	fill(op.Key, op.Value)
	_ = op.Finish()
}

// iter is a view of what was committed before the group.
func (g *group) iter() (*pebble.Iterator, error) {
	if g.it == nil {
		it, err := g.s.db.NewIter(nil)
		if err != nil {
			return nil, fmt.Errorf("open iterator: %w", err)
		}
		g.it = it
	}
	return g.it, nil
}

func (g *group) closeIter() error {
	if g.it == nil {
		return nil
	}
	err := g.it.Close()
	g.it = nil
	if err != nil {
		return fmt.Errorf("close iterator: %w", err)
	}
	return nil
}
