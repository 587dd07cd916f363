package pebblestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"kith/broker"
)

// sizeKey names how many bytes the messages of an app take: of its log, or of its past.
type sizeKey struct {
	app  broker.AppID
	kind broker.LogKind
}

func (k sizeKey) append(b []byte) []byte {
	b = append(append(b, keySize...), byte(k.kind))
	return append(b, k.app...)
}

// resize notes what the group adds or removes.
func (g *group) resize(app broker.AppID, kind broker.LogKind, by int) {
	g.sizes[sizeKey{app, kind}] += int64(by)
}

// unsize notes that the group removes all.
func (g *group) unsize(app broker.AppID, kind broker.LogKind) {
	g.sizes[sizeKey{app, kind}] = -1 << 62
}

// emitSizes writes the sizes that changed. They are kept in memory from then on: the committer alone changes them.
func (g *group) emitSizes() error {
	for k, by := range g.sizes {
		size, known := g.s.sizes[k]
		if !known {
			var err error
			if size, err = g.s.storedSize(k); err != nil {
				return err
			}
		}
		size = max(size+by, 0)
		g.s.sizes[k] = size
		g.key = k.append(g.key[:0])
		if err := g.wb.Set(g.key, binary.AppendUvarint(nil, uint64(size)), nil); err != nil {
			return fmt.Errorf("write size: %w", err)
		}
	}
	return nil
}

func (s *Store) storedSize(k sizeKey) (int64, error) {
	stored, closer, err := s.db.Get(k.append(nil))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read size: %w", err)
	}
	size, w := binary.Uvarint(stored)
	if w <= 0 {
		err = errCorrupt
	}
	if err = errors.Join(err, closer.Close()); err != nil {
		return 0, fmt.Errorf("read size: %w", err)
	}
	return int64(size), nil //nolint:gosec // as written
}

var _ broker.Sizer = (*Store)(nil)

// HistoryBytes implements broker.Sizer.
func (s *Store) HistoryBytes(ctx context.Context, app broker.AppID) (int64, error) {
	if err := s.begin(ctx); err != nil {
		return 0, err
	}
	defer s.reading.RUnlock()
	total := int64(0)
	for _, kind := range []broker.LogKind{broker.LogApp, broker.LogPast} {
		size, err := s.storedSize(sizeKey{app, kind})
		if err != nil {
			return 0, err
		}
		total += size
	}
	return total, nil
}
