package redisstore

import (
	"context"
	"fmt"
	"time"

	"kith/broker"
)

// Commit implements broker.Store.
func (s *Store) Commit(b *broker.Batch) {
	size := 0
	for i := range b.Appends {
		a := &b.Appends[i]
		size += 128 + len(a.Event)
		if a.Message != nil {
			size += len(a.Message.Payload)
		}
	}
	for i := range b.Writes {
		size += 64 + len(b.Writes[i].Value)
	}
	it := item{batch: b, err: checkBatch(b)}
	if !s.queue.put(it, 1+len(b.Appends)+len(b.Writes)+len(b.Deletes), size) {
		s.refuse(b)
	}
}

// commit is the committer: the only goroutine that changes anything in Redis, but for the sweep.
func (s *Store) commit() {
	defer close(s.flights)
	for {
		taken := s.queue.take()
		if taken == nil {
			return
		}
		for rest := taken; len(rest) > 0; {
			n := groupLen(rest)
			s.apply(rest[:n])
			rest = rest[n:]
		}
		s.flights <- taken
	}
}

func (s *Store) apply(items []item) {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.Timeout)
	defer cancel()
	g := group{s: s, items: items}
	began := time.Now()
	g.run(ctx)
	s.await(ctx, items)
	for i := range items {
		if items[i].err != nil {
			items[i].batch.Failed()
		}
	}
	s.meter.grouped(items, time.Since(began))
}

// tell is the goroutine that calls the Done functions, in the order of Commit, while the committer goes on.
func (s *Store) tell() {
	defer close(s.finished)
	for taken := range s.flights {
		s.queue.tell()
		for i := range taken {
			it := &taken[i]
			if it.batch.Done == nil {
				continue
			}
			err := it.err
			if err != nil {
				err = fmt.Errorf("commit: %w", err)
			}
			it.batch.Done(it.batch, err)
		}
		s.queue.landed(taken)
	}
}

// refuse tells a batch that came after Close so. It is told from a goroutine of its own behind the last Done, because
// Commit's caller may hold what Done wants.
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
