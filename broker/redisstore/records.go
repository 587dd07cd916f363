package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// Get implements broker.Store.
func (s *Store) Get(ctx context.Context, keys []broker.Key) ([][]byte, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	defer cancel()
	for _, k := range keys {
		if err := checkNames(k.App, k.Owner); err != nil {
			return nil, err
		}
	}
	values, err := s.values(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	return values, nil
}

func (s *Store) values(ctx context.Context, keys []broker.Key) ([][]byte, error) {
	cmds := make([]redis.Cmder, len(keys))
	for i, k := range keys {
		cmds[i] = redis.NewStringCmd(ctx, "get", s.keys.record(s.keys.shard(k.App, k.Owner), k))
	}
	if err := s.query(ctx, cmds); err != nil {
		return nil, err
	}
	values := make([][]byte, len(keys))
	for i, k := range keys {
		v, err := cmds[i].(*redis.StringCmd).Bytes() //nolint:forcetypeassert // made above
		if errors.Is(err, redis.Nil) {
			continue
		}
		if !listed(k.Space) && isPending(string(v)) {
			v = v[:idSize]
		}
		values[i] = v
	}
	return values, nil
}

// List implements broker.Store. Records of spaces that make appends idempotent cannot be listed.
func (s *Store) List(ctx context.Context, q broker.ListQuery) ([]broker.Record, error) {
	if q.Limit <= 0 {
		return nil, nil
	}
	if !listed(q.Space) {
		return nil, fmt.Errorf("records of space %c are not listed", q.Space)
	}
	if err := errors.Join(checkNames(q.App, q.Owner), checkNames("", q.After.Owner)); err != nil {
		return nil, err
	}
	if q.Owner == "" {
		if err := checkNames("", q.Prefix); err != nil {
			return nil, err
		}
	}
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("list records: %w", err)
	}
	defer cancel()
	records, err := s.list(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("list records %c of %q: %w", q.Space, q.App, err)
	}
	return records, nil
}

// list reads places and then values, until enough of them are there: what has expired is still listed for a while.
func (s *Store) list(ctx context.Context, q broker.ListQuery) ([]broker.Record, error) {
	prefix := q.Prefix
	if q.Owner != "" {
		prefix = q.Owner + "\x00" + q.Prefix
	}
	low, high := "["+prefix, "+"
	if next := successor(prefix); next != "" {
		high = "(" + next
	}
	if q.After.Owner != "" || q.After.Name != "" {
		if after := place(q.After); after >= prefix {
			low = "(" + after
		}
	}
	var records []broker.Record
	for {
		count := q.Limit - len(records)
		places, err := s.places(ctx, q, low, high, count)
		if err != nil {
			return nil, err
		}
		if len(places) == 0 {
			return records, nil
		}
		keys := make([]broker.Key, len(places))
		for i, p := range places {
			owner, name, _ := strings.Cut(p, "\x00")
			keys[i] = broker.Key{Space: q.Space, App: q.App, Owner: owner, Name: name}
		}
		values, err := s.values(ctx, keys)
		if err != nil {
			return nil, err
		}
		for i, v := range values {
			if v != nil {
				records = append(records, broker.Record{Key: keys[i], Value: v})
			}
		}
		if len(places) < count || len(records) == q.Limit {
			return records, nil
		}
		low = "(" + places[len(places)-1]
	}
}

// places reads at most count places of a list from low to high.
func (s *Store) places(ctx context.Context, q broker.ListQuery, low, high string, count int) ([]string, error) {
	first, shards := 0, len(s.keys.prefixes)
	if q.Owner != "" {
		first, shards = s.keys.shard(q.App, q.Owner), 1
	}
	return merged(shards, count, strings.Compare, func(parts []part[string], counts []int) error {
		var cmds []redis.Cmder
		for i, count := range counts {
			if count == 0 {
				continue
			}
			from := low
			if got := parts[i].got; len(got) > 0 {
				from = "(" + got[len(got)-1]
			}
			cmds = append(cmds, redis.NewStringSliceCmd(ctx, "zrangebylex", s.keys.list(first+i, q.Space, q.App), from, high, "limit", 0, count))
		}
		if err := s.query(ctx, cmds); err != nil {
			return err
		}
		for i, count := range counts {
			if count > 0 {
				parts[i].got = append(parts[i].got, cmds[0].(*redis.StringSliceCmd).Val()...) //nolint:forcetypeassert // made above
				cmds = cmds[1:]
			}
		}
		return nil
	})
}

// successor is the least string behind all that begin with prefix, "" if there is none.
func successor(prefix string) string {
	next := []byte(prefix)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i] != 0xff {
			next[i]++
			return string(next[:i+1])
		}
	}
	return ""
}
