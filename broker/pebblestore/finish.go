package pebblestore

import (
	"fmt"
	"time"

	"kith/broker"
)

// finish is the finisher: it waits for each group's sync in turn and calls the Done functions, in order, whatever came of it.
func (s *Store) finish() {
	defer close(s.finished)
	for f := range s.flights {
		s.settle(&f)
		s.queue.tell()
		for i := range f.items {
			s.tell(&f.items[i], f.err)
		}
		s.queue.landed(f.taken)
	}
}

// settle waits until the outcome of a group is known. After one that failed all later ones fail.
func (s *Store) settle(f *flight) {
	if f.err == nil && f.wait {
		if err := f.wb.SyncWait(); err != nil {
			s.fail(fmt.Errorf("sync: %w", err))
		}
		s.meter.synced(time.Since(f.began))
	}
	if f.err == nil {
		f.err = s.failure()
	}
	if f.err != nil {
		return
	}
	_ = f.wb.Close() // only returns it to a pool
	if !f.last.IsZero() {
		s.visible.Store(clockOf(f.last))
	}
	s.meter.grouped(len(f.items), f.appends, f.bytes)
}

func (s *Store) tell(it *item, err error) {
	if err == nil {
		err = it.err
	}
	if err != nil {
		err = fmt.Errorf("commit: %w", err)
	}
	if it.told != nil {
		it.told(err)
	}
	if it.batch != nil && it.batch.Done != nil {
		it.batch.Done(it.batch, err)
	}
}

// refuse tells a batch that came after Close so. It is told from a goroutine of its own behind the finisher's last,
// because Commit's caller may hold what Done wants.
func (s *Store) refuse(b *broker.Batch) {
	s.refusals.Lock()
	defer s.refusals.Unlock()
	s.refused = append(s.refused, b)
	if len(s.refused) == 1 {
		go s.tellRefused()
	}
}

func (s *Store) tellRefused() {
	<-s.finished
	for i := 0; ; i++ {
		s.refusals.Lock()
		if i == len(s.refused) {
			s.refused = nil
			s.refusals.Unlock()
			return
		}
		b := s.refused[i]
		s.refusals.Unlock()
		if b.Done != nil {
			b.Done(b, broker.ErrStoreClosed)
		}
	}
}
