package pebblestore

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"kith/broker"
)

// Commit implements broker.Store. The committer gives ids and numbers in the order of the queue.
func (s *Store) Commit(b *broker.Batch) {
	it := item{batch: b}
	size := 0
	for i := range b.Appends {
		a := &b.Appends[i]
		size += 128 + len(a.Event)
		if it.err == nil {
			it.err = a.Check(checkNames)
		}
		if a.Message != nil {
			size += len(a.Message.Payload)
		}
	}
	for i := range b.Writes {
		w := &b.Writes[i]
		size += 64 + len(w.Value)
		if it.err == nil {
			it.err = checkNames(w.Key.App, w.Key.Owner)
		}
	}
	for i := range b.Deletes {
		if d := &b.Deletes[i]; it.err == nil {
			it.err = checkNames(d.Log.App, d.Log.Owner)
		}
	}
	if !s.queue.put(it, 1+len(b.Appends)+len(b.Writes)+len(b.Deletes), size) {
		s.refuse(b)
	}
}

// flight is a group on its way to the disk.
type flight struct {
	items   []item
	taken   []item // with the last group of what was taken: all of it
	wb      *pebble.Batch
	wait    bool // for the sync
	last    broker.MessageID
	err     error
	began   time.Time
	appends int
	bytes   int
}

// commit is the committer: the only goroutine that writes to the engine.
func (s *Store) commit() {
	defer close(s.flights)
	g := newGroup(s)
	for {
		taken := s.queue.take()
		if taken == nil {
			return
		}
		for rest := taken; len(rest) > 0; {
			n := groupLen(rest)
			f := s.apply(g, rest[:n])
			if rest = rest[n:]; len(rest) == 0 {
				f.taken = taken
			}
			s.flights <- f
			if len(rest) > 0 {
				s.queue.fly()
			}
		}
	}
}

// groupLen is how many items can be one group.
func groupLen(items []item) int {
	for i, it := range items {
		if it.batch != nil && it.err == nil && emptiesLogs(it.batch) {
			return max(i, 1)
		}
	}
	return len(items)
}

// apply makes the items visible to the engine's readers and begins their sync.
func (s *Store) apply(g *group, items []item) flight {
	f := flight{items: items, began: time.Now()}
	if f.err = s.failure(); f.err != nil {
		return f
	}
	g.begin()
	defer g.reset()
	for i := range items {
		if items[i].err = g.take(items[i]); items[i].err != nil {
			items[i].failed()
		}
	}
	if f.err = g.finish(); f.err != nil {
		// Numbers were given that were not written: read the ends of the logs again.
		s.heads, s.sizes = newHeads(s.opts.Heads), map[sizeKey]int64{}
		_ = g.wb.Close()
		for i := range items {
			items[i].failed()
		}
		return f
	}
	f.wb, f.last, f.appends, f.bytes = g.wb, g.last, g.count, g.bytes
	f.wait = g.force || g.sync && s.cfg.Sync
	if f.err = s.write(g.wb, f.wait); f.err != nil {
		s.fail(f.err)
	}
	return f
}

// write hands a batch to the engine. The engine panics when its log cannot be written; its commit lock is lost then.
func (s *Store) write(wb *pebble.Batch, wait bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if s.fatal.Load() {
				panic(r)
			}
			s.broken.Store(true)
			err = fmt.Errorf("write to the engine: %v", r)
		}
	}()
	if wait {
		s.unsynced.Store(false)
		return s.db.ApplyNoSyncWait(wb, pebble.Sync)
	}
	if !wb.Empty() {
		s.unsynced.Store(true)
	}
	return s.db.Apply(wb, pebble.NoSync)
}
