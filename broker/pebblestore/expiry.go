package pebblestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"kith/broker"
)

// sweepKeys bounds a step of the sweep, so that no commit waits long behind one.
const sweepKeys = 256

// flushEvery bounds how long a lazy batch, or any without Config.Sync, can wait for a later one to make it durable.
const flushEvery = time.Second

// sweepStep is a look at the records behind some keys of the expiry index. The committer decides: a record that was
// written again has a later expiry, and an index key of its own.
type sweepStep struct {
	keys    [][]byte
	removed int
}

func (g *group) sweep(step *sweepStep) error {
	for _, key := range step.keys {
		bucket, k, ok := parseExpiryKey(key)
		if !ok {
			return fmt.Errorf("expiry index: %w", errCorrupt)
		}
		r, err := g.record(k)
		if err != nil {
			return err
		}
		if r.there && r.expires != 0 && expiryBucket(r.expires) == bucket {
			if r.expires > g.now {
				continue // the clock went back
			}
			r.there, r.value = false, nil
			g.change(r)
			step.removed++
		}
		if err := g.wb.Delete(key, nil); err != nil {
			return fmt.Errorf("expiry index: %w", err)
		}
	}
	return nil
}

// Sweep removes the records that have expired, but for those of the last minute, and says how many. The store does it by
// itself every Options.SweepEvery.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	s.sweeping.mu.Lock()
	defer s.sweeping.mu.Unlock()
	removed := 0
	for {
		step, more, err := s.due(ctx)
		if err != nil || len(step.keys) == 0 {
			return removed, err
		}
		told := make(chan error, 1)
		if !s.queue.put(item{sweep: step, told: func(err error) { told <- err }}, len(step.keys), 0) {
			return removed, broker.ErrStoreClosed
		}
		select {
		case err := <-told:
			if err != nil {
				return removed, err
			}
		case <-ctx.Done():
			return removed, fmt.Errorf("sweep: %w", ctx.Err())
		}
		removed += step.removed
		if !more {
			return removed, nil
		}
	}
}

// due returns the index keys of the next step and whether there may be more behind them.
func (s *Store) due(ctx context.Context) (*sweepStep, bool, error) {
	if err := s.begin(ctx); err != nil {
		return nil, false, err
	}
	defer s.reading.RUnlock()
	now := uint64(max(s.opts.Now().UnixMilli(), 0)) >> expiryShift
	// What lies before was removed: looking there again would only pass over the engine's tombstones.
	lower := binary.BigEndian.AppendUint64([]byte{keyExpiry}, min(s.sweeping.reached, now))
	upper := binary.BigEndian.AppendUint64([]byte{keyExpiry}, now+1)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, false, fmt.Errorf("expiry index: %w", err)
	}
	step := &sweepStep{}
	ok := it.First()
	for ; ok && len(step.keys) < sweepKeys; ok = it.Next() {
		step.keys = append(step.keys, bytes.Clone(it.Key()))
	}
	if n := len(step.keys); n > 0 {
		s.sweeping.reached, _, _ = parseExpiryKey(step.keys[n-1])
	}
	if err := it.Close(); err != nil {
		return nil, false, fmt.Errorf("expiry index: %w", err)
	}
	return step, ok, nil
}

// sweeping is the goroutine that removes expired records and, once a second, makes durable what nobody waits for.
type sweeping struct {
	mu      sync.Mutex // held by a sweep
	reached uint64     // the bucket that the sweep came to; guarded by mu
	cancel  context.CancelFunc
	ended   chan struct{}
}

func (w *sweeping) start(s *Store) {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel, w.ended = cancel, make(chan struct{})
	go w.run(ctx, s)
}

func (w *sweeping) stop() {
	w.cancel()
	<-w.ended
}

func (w *sweeping) run(ctx context.Context, s *Store) {
	defer close(w.ended)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	next := time.Now().Add(s.opts.SweepEvery)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.unsynced.Load() {
			s.queue.put(item{flush: true}, 0, 0)
		}
		if s.opts.SweepEvery < 0 || time.Now().Before(next) {
			continue
		}
		next = time.Now().Add(s.opts.SweepEvery)
		removed, err := s.Sweep(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.opts.Logger.Warn("removal of expired records failed", "error", err)
		case removed > 0:
			s.opts.Logger.Debug("expired records removed", "count", removed)
		}
	}
}
