package redisstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// An entry of a log is 12 bytes of id, 1 of kind, and in numbered logs 6 of number and, for an event, its payload. They are
// in the order of their ids.
const (
	entryKind   = idSize
	entryNumber = idSize + 1
	entryValue  = entryNumber + 6
	// kindEmptied marks what is left of an emptied log: its last id and number.
	kindEmptied = 0xfe
)

// parseEntry reports false for the mark of an emptied log.
func parseEntry(log broker.LogKind, b string) (e broker.Entry, ok bool, err error) {
	if len(b) < entryNumber || len(b) > entryNumber && len(b) < entryValue {
		return e, false, fmt.Errorf("entry: %w", errCorrupt)
	}
	if b[entryKind] == kindEmptied {
		return e, false, nil
	}
	copy(e.ID[:], b)
	e.Kind = broker.MessageKind(b[entryKind])
	if len(b) >= entryValue {
		e.N = number(b[entryNumber:])
	}
	if log == broker.LogEvents {
		e.Value = []byte(b[entryValue:])
	}
	return e, true, nil
}

// Read implements broker.Store.
func (s *Store) Read(ctx context.Context, log broker.LogID, r broker.Range) ([]broker.Entry, error) {
	if r.Limit <= 0 {
		return nil, nil
	}
	if err := checkNames(log.App, log.Owner); err != nil {
		return nil, err
	}
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	defer cancel()
	var entries []broker.Entry
	switch {
	case log.Kind == broker.LogApp:
		entries, err = s.readTimeline(ctx, log.App, r)
	case log.Kind.IsPast():
		entries, err = s.readPast(ctx, log, r)
	default:
		entries, err = s.readLog(ctx, log, r)
	}
	if err != nil {
		return nil, fmt.Errorf("read log %c of %q: %w", log.Kind, log.Owner, err)
	}
	return entries, nil
}

func (s *Store) readLog(ctx context.Context, log broker.LogID, r broker.Range) ([]broker.Entry, error) {
	key := s.keys.log(s.keys.shard(log.App, log.Owner), log.Kind, log.App, log.Owner)
	after, before, reverse := "", "", "0"
	if !r.After.IsZero() {
		after = string(r.After[:])
	}
	if !r.Before.IsZero() {
		before = string(r.Before[:])
	}
	if r.Reverse {
		reverse = "1"
	}
	cmd := redis.NewStringSliceCmd(ctx, "evalsha", readScript.sha, 1, key,
		after, before, r.Limit+1, reverse) // one more than asked for: the mark of an emptied log may be among them
	if err := s.query(ctx, []redis.Cmder{cmd}); err != nil {
		return nil, err
	}
	members := cmd.Val()
	if r.Reverse {
		slices.Reverse(members)
	}
	entries := make([]broker.Entry, 0, len(members))
	for _, b := range members {
		e, ok, err := parseEntry(log.Kind, b)
		if err != nil {
			return nil, err
		}
		if ok && len(entries) < r.Limit {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// hasEnd says that a log is one list, whose last entry is at hand.
func hasEnd(k broker.LogKind) bool { return k != broker.LogApp && !k.IsPast() }

// Last implements broker.Store.
func (s *Store) Last(ctx context.Context, logs []broker.LogID) ([]broker.Entry, error) {
	if len(logs) == 0 {
		return nil, nil
	}
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("last entries: %w", err)
	}
	defer cancel()
	cmds := make([]redis.Cmder, 0, len(logs))
	entries := make([]broker.Entry, len(logs))
	for i, log := range logs {
		if err := checkNames(log.App, log.Owner); err != nil {
			return nil, err
		}
		if !hasEnd(log.Kind) {
			newest, err := s.Read(ctx, log, broker.Range{Limit: 1, Reverse: true})
			if err != nil {
				return nil, fmt.Errorf("last entries: %w", err)
			}
			if len(newest) > 0 {
				entries[i] = newest[0]
			}
			continue
		}
		key := s.keys.log(s.keys.shard(log.App, log.Owner), log.Kind, log.App, log.Owner)
		cmds = append(cmds, redis.NewStringCmd(ctx, "lindex", key, -1))
	}
	if err := s.query(ctx, cmds); err != nil {
		return nil, fmt.Errorf("last entries: %w", err)
	}
	at := 0
	for i, log := range logs {
		if !hasEnd(log.Kind) {
			continue
		}
		last := cmds[at].(*redis.StringCmd).Val() //nolint:forcetypeassert // made above
		at++
		if last == "" {
			continue
		}
		e, ok, err := parseEntry(log.Kind, last)
		if err != nil {
			return nil, fmt.Errorf("last entry of log %c of %q: %w", log.Kind, log.Owner, err)
		}
		if ok {
			entries[i] = e
		}
	}
	return entries, nil
}
