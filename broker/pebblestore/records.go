package pebblestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"kith/broker"
)

// Get implements broker.Store.
func (s *Store) Get(ctx context.Context, keys []broker.Key) ([][]byte, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.reading.RUnlock()
	now := s.opts.Now().UnixMilli()
	values := make([][]byte, len(keys))
	var key []byte
	for i, k := range keys {
		if i%64 == 63 && ctx.Err() != nil {
			return nil, fmt.Errorf("read records: %w", ctx.Err())
		}
		if err := checkNames(k.App, k.Owner); err != nil {
			return nil, err
		}
		key = appendRecordKey(key[:0], k)
		value, err := s.get(key, now)
		if err != nil {
			return nil, fmt.Errorf("read record %c of %q: %w", k.Space, k.Owner, err)
		}
		values[i] = value
	}
	return values, nil
}

func (s *Store) get(key []byte, now int64) ([]byte, error) {
	stored, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value, err := liveValue(stored, now)
	return value, errors.Join(err, closer.Close())
}

// liveValue returns a copy of a record's value, nil if it has expired.
func liveValue(stored []byte, now int64) ([]byte, error) {
	expires, value, err := splitRecord(stored)
	if err != nil || expires != 0 && expires <= now {
		return nil, err
	}
	return append(make([]byte, 0, len(value)), value...), nil
}

// List implements broker.Store.
func (s *Store) List(ctx context.Context, q broker.ListQuery) ([]broker.Record, error) {
	if q.Limit <= 0 {
		return nil, nil
	}
	if err := errors.Join(checkNames(q.App, q.Owner), checkNames("", q.After.Owner)); err != nil {
		return nil, err
	}
	if q.Owner == "" {
		if err := checkNames("", q.Prefix); err != nil {
			return nil, err
		}
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.reading.RUnlock()
	records, err := s.list(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("list records %c of %q: %w", q.Space, q.App, err)
	}
	return records, nil
}

func (s *Store) list(ctx context.Context, q broker.ListQuery) (records []broker.Record, err error) {
	lower := listPrefix(q)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: successor(lower)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	from := lower
	if q.After.Owner != "" || q.After.Name != "" {
		from = appendRecordKey(nil, broker.Key{Space: q.Space, App: q.App, Owner: q.After.Owner, Name: q.After.Name})
		from = append(from, 0)
	}
	now := s.opts.Now().UnixMilli()
	steps := 0
	for ok := it.SeekGE(from); ok && len(records) < q.Limit; ok = it.Next() {
		if steps++; steps%256 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		stored, err := it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		value, err := liveValue(stored, now)
		if err != nil {
			return nil, err
		}
		if value == nil {
			continue
		}
		k, ok := parseRecordKey(it.Key())
		if !ok {
			return nil, errCorrupt
		}
		records = append(records, broker.Record{Key: k, Value: value})
	}
	return records, it.Error()
}

func listPrefix(q broker.ListQuery) []byte {
	if q.Owner != "" {
		return appendRecordKey(nil, broker.Key{Space: q.Space, App: q.App, Owner: q.Owner, Name: q.Prefix})
	}
	// Without a name and the byte before it, the key of an owner begins those of all owners that begin so.
	key := appendRecordKey(nil, broker.Key{Space: q.Space, App: q.App, Owner: q.Prefix})
	return key[:len(key)-1]
}

// successor is the least key that is behind all that begin with prefix.
func successor(prefix []byte) []byte {
	next := bytes.Clone(prefix)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i] != 0xFF {
			next[i]++
			return next[:i+1]
		}
	}
	return nil
}
