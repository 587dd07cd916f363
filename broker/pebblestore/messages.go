package pebblestore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"kith/broker"
)

// Messages implements broker.Store. Ids that stand near each other in the call are looked for in the block last read first.
func (s *Store) Messages(ctx context.Context, app broker.AppID, ids []broker.MessageID) ([]*broker.Message, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if err := checkNames(app, ""); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.reading.RUnlock()
	messages, err := s.messages(ctx, app, ids)
	if err != nil {
		return nil, fmt.Errorf("read messages of %q: %w", app, err)
	}
	return messages, nil
}

func (s *Store) messages(ctx context.Context, app broker.AppID, ids []broker.MessageID) (messages []*broker.Message, err error) {
	visible := s.visible.Load()
	r := blockReader{key: appendLogPrefix(nil, broker.LogID{Kind: broker.LogApp, App: app})}
	r.prefix = len(r.key)
	r.it, err = s.db.NewIter(&pebble.IterOptions{LowerBound: bytes.Clone(r.key), UpperBound: prefixEnd(r.key)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.it.Close()) }()
	messages = make([]*broker.Message, len(ids))
	for i, id := range ids {
		if i%64 == 63 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var body []byte
		if clockOf(id) <= visible {
			if body, err = r.find(id); err != nil {
				return nil, err
			}
		}
		if body == nil {
			if body, err = s.pastBody(app, id); err != nil {
				return nil, err
			}
		}
		if body == nil {
			continue
		}
		m := &broker.Message{ID: id, App: app}
		if err := m.UnmarshalBinary(body); err != nil {
			return nil, fmt.Errorf("message %s: %w", id, err)
		}
		messages[i] = m
	}
	return messages, nil
}

// blockReader finds bodies and keeps the block last read.
type blockReader struct {
	it      *pebble.Iterator
	key     []byte
	prefix  int // of key
	entries []blockEntry
	first   broker.MessageID // the key's id
}

func (r *blockReader) find(id broker.MessageID) ([]byte, error) {
	if body := r.look(id); body != nil {
		return body, nil
	}
	r.key = append(appendID(r.key[:r.prefix], id), 0)
	r.entries = r.entries[:0]
	if !r.it.SeekLT(r.key) {
		return nil, r.it.Error()
	}
	value, err := r.it.ValueAndErr()
	if err != nil {
		return nil, err
	}
	r.first = keyID(r.it.Key())
	if r.entries, err = appendBlock(r.entries, r.first, value); err != nil {
		return nil, err
	}
	return r.look(id), nil
}

func (r *blockReader) look(id broker.MessageID) []byte {
	n := len(r.entries)
	if n == 0 || id.Compare(r.first) < 0 || id.Compare(r.entries[n-1].id) > 0 {
		return nil
	}
	for i := range r.entries {
		if r.entries[i].id == id {
			return r.entries[i].body
		}
	}
	return nil
}

// appendBlockPlaces decodes a block's index alone.
func appendBlockPlaces(dst []broker.Entry, first broker.MessageID, value []byte) ([]broker.Entry, error) {
	count, w := binary.Uvarint(value)
	if w <= 0 {
		return dst, errCorrupt
	}
	b, clock := value[w:], clockOf(first)
	for range count {
		delta, kind, rest := readPlace(b)
		_, w := binary.Uvarint(rest)
		if w <= 0 {
			return dst, errCorrupt
		}
		clock += delta
		dst = append(dst, broker.Entry{ID: withClock(first, clock), Kind: kind})
		b = rest[w:]
	}
	return dst, nil
}
