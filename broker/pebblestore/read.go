package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"kith/broker"
)

// begin lets a read in until the store is closed.
func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("read store: %w", err)
	}
	s.reading.RLock()
	if s.closed {
		s.reading.RUnlock()
		return broker.ErrStoreClosed
	}
	return nil
}

// Read implements broker.Store. It shows nothing that is not durable yet, except what was committed lazily.
func (s *Store) Read(ctx context.Context, log broker.LogID, r broker.Range) ([]broker.Entry, error) {
	if r.Limit <= 0 {
		return nil, nil
	}
	if err := checkNames(log.App, log.Owner); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.reading.RUnlock()
	entries, err := s.read(ctx, log, r)
	if err != nil {
		return nil, fmt.Errorf("read log %c of %q: %w", log.Kind, log.Owner, err)
	}
	return entries, nil
}

func (s *Store) read(ctx context.Context, log broker.LogID, r broker.Range) (entries []broker.Entry, err error) {
	prefix := appendLogPrefix(make([]byte, 0, logPrefixLen(log)+idSize+1), log)
	visible := s.visibleIn(log.Kind)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: bytes.Clone(prefix), UpperBound: prefixEnd(prefix)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()

	ok, step := seekForward(it, prefix, r.After), it.Next
	if r.Reverse {
		ok, step = seekBackward(it, prefix, r.Before), it.Prev
	}
	var part []broker.Entry
	for steps := 1; ok; steps++ {
		if steps%64 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		if part, err = appendEntries(part[:0], log.Kind, keyID(it.Key()), value); err != nil {
			return nil, err
		}
		for i := range part {
			e := &part[i]
			if r.Reverse {
				e = &part[len(part)-1-i]
			}
			late := clockOf(e.ID) > visible || !r.Before.IsZero() && e.ID.Compare(r.Before) >= 0
			early := e.ID.Compare(r.After) <= 0
			switch {
			case r.Reverse && early, !r.Reverse && late:
				return entries, nil
			case early, late:
				continue
			}
			if entries == nil {
				entries = make([]broker.Entry, 0, min(r.Limit, 128))
			}
			e.Value = bytes.Clone(e.Value)
			if entries = append(entries, *e); len(entries) == r.Limit {
				return entries, nil
			}
		}
		ok = step()
	}
	return entries, it.Error()
}

// visibleIn is the clock of the newest id that a log of this kind shows. What came from elsewhere is there under the ids that it has.
func (s *Store) visibleIn(kind broker.LogKind) uint64 {
	if kind.IsPast() {
		return math.MaxUint64
	}
	return s.visible.Load()
}

// seekForward finds the run that holds the first entry behind after, or the one before it: a run's key is its first id.
func seekForward(it *pebble.Iterator, prefix []byte, after broker.MessageID) bool {
	if after.IsZero() {
		return it.First()
	}
	if it.SeekLT(append(appendID(prefix, after), 0)) {
		return true
	}
	return it.Error() == nil && it.First()
}

func seekBackward(it *pebble.Iterator, prefix []byte, before broker.MessageID) bool {
	if before.IsZero() {
		return it.Last()
	}
	return it.SeekLT(appendID(prefix, before))
}

// appendEntries decodes what stands under one key of a log. Values alias the stored value.
func appendEntries(dst []broker.Entry, kind broker.LogKind, id broker.MessageID, value []byte) ([]broker.Entry, error) {
	switch kind {
	case broker.LogApp:
		return appendBlockPlaces(dst, id, value)
	case broker.LogPast, broker.LogPastConversation, broker.LogPastSent, broker.LogPastReceived:
		return append(dst, broker.Entry{ID: id}), nil
	case broker.LogEvents:
		n, payload, err := splitEvent(value)
		if err == nil && value[0] == eventHere {
			dst = append(dst, broker.Entry{N: n, ID: id, Value: payload})
		}
		return dst, err
	default:
		return appendRun(dst, id, value)
	}
}

// Last implements broker.Store.
func (s *Store) Last(ctx context.Context, logs []broker.LogID) ([]broker.Entry, error) {
	if len(logs) == 0 {
		return nil, nil
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.reading.RUnlock()
	entries, err := s.lasts(ctx, logs)
	if err != nil {
		return nil, fmt.Errorf("last entries: %w", err)
	}
	return entries, nil
}

func (s *Store) lasts(ctx context.Context, logs []broker.LogID) (entries []broker.Entry, err error) {
	it, err := s.db.NewIter(nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	entries = make([]broker.Entry, len(logs))
	var key []byte
	var part []broker.Entry
	for i, log := range logs {
		if i%64 == 63 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := checkNames(log.App, log.Owner); err != nil {
			return nil, err
		}
		key = appendLogPrefix(key[:0], log)
		key[len(key)-1]++
		ok := it.SeekLT(key)
		key[len(key)-1]--
		for found := false; ok && !found && bytes.HasPrefix(it.Key(), key); ok = !found && it.Prev() {
			value, err := it.ValueAndErr()
			if err != nil {
				return nil, err
			}
			if part, err = appendEntries(part[:0], log.Kind, keyID(it.Key()), value); err != nil {
				return nil, err
			}
			for j := len(part) - 1; j >= 0 && !found; j-- {
				if found = clockOf(part[j].ID) <= s.visibleIn(log.Kind); found {
					entries[i] = part[j]
					entries[i].Value = bytes.Clone(part[j].Value)
				}
			}
		}
		if err := it.Error(); err != nil {
			return nil, err
		}
	}
	return entries, nil
}
