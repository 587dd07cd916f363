package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

var _ broker.Movable = (*Store)(nil)

// scanPage is how many keys are asked for at once.
const scanPage = 500

// scan calls do with the keys of the store, page by page, each split into its shard and what follows the shard's tag. Redis may tell a key
// twice.
func (s *Store) scan(ctx context.Context, do func(ctx context.Context, keys []foundKey) error) error {
	shards := map[string]int{}
	for i, p := range s.keys.prefixes {
		shards[p] = i
	}
	prefix, _, _ := strings.Cut(s.keys.prefixes[0], "{")
	pattern := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(prefix) + "{*}:*"
	var one sync.Mutex // masters of a cluster are asked side by side
	server := func(ctx context.Context, client *redis.Client) error {
		one.Lock()
		defer one.Unlock()
		for cursor := uint64(0); ; {
			call, cancel := context.WithTimeout(ctx, s.opts.Timeout)
			names, next, err := client.Scan(call, cursor, pattern, scanPage).Result()
			cancel()
			if err != nil {
				return fmt.Errorf("list keys: %w", err)
			}
			var keys []foundKey
			for _, name := range names {
				tag, rest, _ := strings.Cut(name, "}:")
				if shard, ours := shards[tag+"}:"]; ours {
					keys = append(keys, foundKey{name, shard, rest})
				}
			}
			if err := do(ctx, keys); err != nil {
				return err
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	switch client := s.client.(type) {
	case *redis.ClusterClient:
		return client.ForEachMaster(ctx, server)
	case *redis.Client:
		return server(ctx, client)
	}
	return fmt.Errorf("list keys: %w: neither a server nor a cluster", errSetting)
}

// foundKey is a key of the store.
type foundKey struct {
	name  string
	shard int
	rest  string // behind the tag: "c:demo:team"
}

// log is the log that a key holds, or a part of.
func (k foundKey) log() (log broker.LogID, ok bool) {
	kind, rest, _ := strings.Cut(k.rest, ":")
	app, owner, _ := strings.Cut(rest, ":")
	if len(kind) != 1 || !isLog(broker.LogKind(kind[0])) {
		return log, false
	}
	return broker.LogID{Kind: broker.LogKind(kind[0]), App: broker.AppID(app), Owner: owner}, true
}

// record is the record that a key holds.
func (k foundKey) record() (broker.Key, bool) {
	rest, ok := strings.CutPrefix(k.rest, "r:")
	if !ok {
		return broker.Key{}, false
	}
	return parseExpiryPlace(rest)
}

// Logs implements broker.Movable.
func (s *Store) Logs(ctx context.Context, do func(broker.LogEnd) error) error {
	told := map[broker.LogID]bool{} // of those that are spread over the shards: few
	return s.scan(ctx, func(ctx context.Context, keys []foundKey) error {
		for _, k := range keys {
			log, ok := k.log()
			if !ok || told[log] {
				continue
			}
			if log.Kind == broker.LogApp || log.Kind == broker.LogPast {
				told[log] = true
			}
			end, err := s.logEnd(ctx, log)
			if err != nil {
				return err
			}
			if end.ID.IsZero() {
				continue // it held nothing, or is gone
			}
			if err := do(end); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) logEnd(ctx context.Context, log broker.LogID) (broker.LogEnd, error) {
	if !hasEnd(log.Kind) {
		last, err := s.Last(ctx, []broker.LogID{log})
		if err != nil {
			return broker.LogEnd{}, err
		}
		return broker.LogEnd{LogID: log, ID: last[0].ID}, nil
	}
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return broker.LogEnd{}, err
	}
	defer cancel()
	cmd := redis.NewStringCmd(ctx, "lindex", s.keys.log(s.keys.shard(log.App, log.Owner), log.Kind, log.App, log.Owner), -1)
	if err := s.query(ctx, []redis.Cmder{cmd}); err != nil {
		return broker.LogEnd{}, fmt.Errorf("end of log %c of %q: %w", log.Kind, log.Owner, err)
	}
	end, last := broker.LogEnd{LogID: log}, cmd.Val()
	copy(end.ID[:], last)
	if len(last) >= entryValue {
		end.N = number(last[entryNumber:])
	}
	return end, nil
}

// Records implements broker.Movable.
func (s *Store) Records(ctx context.Context, do func([]broker.Write) error) error {
	return s.scan(ctx, func(ctx context.Context, keys []foundKey) error {
		var names []broker.Key
		for _, k := range keys {
			if name, ok := k.record(); ok {
				names = append(names, name)
			}
		}
		page, err := s.withExpiry(ctx, names)
		if err != nil || len(page) == 0 {
			return err
		}
		return do(page)
	})
}

// withExpiry reads records and when they expire.
func (s *Store) withExpiry(ctx context.Context, names []broker.Key) ([]broker.Write, error) {
	values, err := s.Get(ctx, names)
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	cmds := make([]redis.Cmder, len(names))
	for i, k := range names {
		cmds[i] = redis.NewDurationCmd(ctx, time.Millisecond, "pttl", s.keys.record(s.keys.shard(k.App, k.Owner), k))
	}
	if len(cmds) == 0 {
		return nil, nil
	}
	if err := s.query(ctx, cmds); err != nil {
		return nil, fmt.Errorf("read when records expire: %w", err)
	}
	var page []broker.Write
	for i, k := range names {
		left := cmds[i].(*redis.DurationCmd).Val() //nolint:forcetypeassert // made above
		w := broker.Write{Key: k, Value: values[i]}
		switch {
		case values[i] == nil || left == gone:
			continue
		case left >= 0:
			w.Expires = s.opts.Now().Add(left).UnixMilli()
		}
		page = append(page, w)
	}
	return page, nil
}

// gone is what PTTL says of a key that is not there, as the client tells it.
const gone = time.Duration(-2)

// Reach implements broker.Movable.
func (s *Store) Reach(ctx context.Context, id broker.MessageID) error {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	for i := range s.keys.prefixes {
		at, err := s.client.Get(ctx, s.keys.clock(i)).Bytes()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("read clock: %w", err)
		}
		if len(at) == 8 && binary.BigEndian.Uint64(at) >= clockOf(id) {
			continue
		}
		if err := s.client.Set(ctx, s.keys.clock(i), id[:8], 0).Err(); err != nil {
			return fmt.Errorf("write clock: %w", err)
		}
	}
	s.clock.observe(clockOf(id))
	return nil
}

// Extend implements broker.Movable. A message must be of a shard that the store has; those of the embedded store are of the first.
func (s *Store) Extend(ctx context.Context, log broker.LogEnd, entries []broker.Entry, messages []*broker.Message) error {
	if err := checkNames(log.App, log.Owner); err != nil {
		return err
	}
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	var cmds []redis.Cmder
	switch log.Kind {
	case broker.LogApp:
		cmds, err = s.bodiesCalls(ctx, messages)
	case broker.LogPast:
		cmds, err = s.pastCalls(ctx, messages)
	default:
		cmds = []redis.Cmder{s.entriesCall(ctx, log, entries)}
	}
	if err != nil {
		return err
	}
	s.exec(ctx, cmds)
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !strings.Contains(err.Error(), "equal or smaller than the target stream top item") {
			return fmt.Errorf("extend log %c of %q: %w", log.Kind, log.Owner, s.explain(err))
		}
	}
	return nil
}

func (s *Store) bodiesCalls(ctx context.Context, messages []*broker.Message) ([]redis.Cmder, error) {
	cmds := make([]redis.Cmder, len(messages))
	for i, m := range messages {
		shard := shardOf(m.ID)
		if shard >= len(s.keys.prefixes) {
			return nil, fmt.Errorf("message %s is of shard %d, and this store has %d: %w", m.ID, shard, len(s.keys.prefixes), errSetting)
		}
		body, err := m.AppendBinary(make([]byte, bodyHead, bodyHead+bodySpare+len(m.Payload)))
		if err != nil {
			return nil, fmt.Errorf("store message: %w", err)
		}
		copy(body, m.ID[8:])
		body[bodyHead-1] = byte(m.Kind)
		cmds[i] = redis.NewStringCmd(ctx, "xadd", s.keys.bodies(shard, m.App), streamID(clockOf(m.ID)), bodyField, body)
	}
	return cmds, nil
}

func (s *Store) pastCalls(ctx context.Context, messages []*broker.Message) ([]redis.Cmder, error) {
	cmds := make([]redis.Cmder, len(messages))
	for i, m := range messages {
		body, err := m.AppendBinary(nil)
		if err != nil {
			return nil, fmt.Errorf("store message: %w", err)
		}
		shard := s.keys.pastShard(m.ID)
		keys := []string{s.keys.pastBodies(shard, m.App), s.keys.past(shard, m.App)}
		cmds[i] = call(ctx, pastScript, keys, m.ID[:], string(append(m.ID[:], byte(m.Kind))), body)
	}
	return cmds, nil
}

// entriesCall adds all entries of one log in one step.
func (s *Store) entriesCall(ctx context.Context, log broker.LogEnd, entries []broker.Entry) redis.Cmder {
	key := s.keys.log(s.keys.shard(log.App, log.Owner), log.Kind, log.App, log.Owner)
	args := []any{"rpush", key}
	if log.Kind.IsPast() {
		args = []any{"zadd", key}
	}
	for _, e := range entries {
		b := append(e.ID[:], byte(e.Kind))
		if log.IsNumbered() {
			b = append(appendNumber(b, e.N), e.Value...)
		}
		if log.Kind.IsPast() {
			args = append(args, "0")
		}
		args = append(args, b)
	}
	if len(entries) == 0 {
		return call(ctx, markScript, []string{key}, appendNumber(append(log.ID[:], kindEmptied), log.N))
	}
	return redis.NewIntCmd(ctx, args...)
}

func appendNumber(b []byte, n uint64) []byte {
	var eight [8]byte
	binary.BigEndian.PutUint64(eight[:], n)
	return append(b, eight[2:]...)
}
