package redisstore

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// bodyHead is what a stored body begins with: the end of its id, and its kind.
const bodyHead = 5

const bodyField = "b"

// parseBody splits an entry of a stream of bodies.
func parseBody(m redis.XMessage) (id broker.MessageID, kind broker.MessageKind, stored string, err error) {
	clock, err := parseStreamID(m.ID)
	if err != nil {
		return id, 0, "", fmt.Errorf("place of a body: %w", err)
	}
	value, ok := m.Values[bodyField].(string)
	if !ok || len(value) < bodyHead {
		return id, 0, "", fmt.Errorf("body: %w", errCorrupt)
	}
	binary.BigEndian.PutUint64(id[:8], clock)
	copy(id[8:], value)
	return id, broker.MessageKind(value[bodyHead-1]), value[bodyHead:], nil
}

// readTimeline merges the shards' parts of an app's log.
func (s *Store) readTimeline(ctx context.Context, app broker.AppID, r broker.Range) ([]broker.Entry, error) {
	return merged(len(s.keys.prefixes), r.Limit, inOrder(r), func(parts []part[broker.Entry], counts []int) error {
		var cmds []redis.Cmder
		for i, count := range counts {
			if count == 0 {
				continue
			}
			cmds = append(cmds, s.bodiesCall(ctx, s.keys.bodies(i, app), behind(r, parts[i].got), count))
		}
		if err := s.query(ctx, cmds); err != nil {
			return err
		}
		for i, count := range counts {
			if count == 0 {
				continue
			}
			cmd := cmds[0].(*redis.XMessageSliceCmd) //nolint:forcetypeassert // made above
			cmds = cmds[1:]
			got, err := timelineEntries(parts[i].got, cmd.Val(), r, count)
			if err != nil {
				return err
			}
			parts[i].got = got
		}
		return nil
	})
}

// inOrder compares entries as a range orders them.
func inOrder(r broker.Range) func(a, b broker.Entry) int {
	return func(a, b broker.Entry) int {
		if r.Reverse {
			return b.ID.Compare(a.ID)
		}
		return a.ID.Compare(b.ID)
	}
}

// behind is the rest of a range of which some was got.
func behind(r broker.Range, got []broker.Entry) broker.Range {
	switch {
	case len(got) == 0:
	case r.Reverse:
		r.Before = got[len(got)-1].ID
	default:
		r.After = got[len(got)-1].ID
	}
	return r
}

// bodiesCall reads a stretch of a shard's bodies. A stream knows no more of an id than its clock: an entry at an end of the range
// is read and left out later, so two more than asked for.
func (s *Store) bodiesCall(ctx context.Context, key string, r broker.Range, count int) *redis.XMessageSliceCmd {
	low, high := "-", "+"
	if !r.After.IsZero() {
		low = streamID(clockOf(r.After))
	}
	if !r.Before.IsZero() {
		high = streamID(clockOf(r.Before))
	}
	if r.Reverse {
		return redis.NewXMessageSliceCmd(ctx, "xrevrange", key, high, low, "count", count+2)
	}
	return redis.NewXMessageSliceCmd(ctx, "xrange", key, low, high, "count", count+2)
}

// timelineEntries appends at most count of the messages that are in the range and behind those that are there.
func timelineEntries(got []broker.Entry, messages []redis.XMessage, r broker.Range, count int) ([]broker.Entry, error) {
	had := len(got)
	for _, m := range messages {
		id, kind, _, err := parseBody(m)
		if err != nil {
			return nil, err
		}
		if !r.After.IsZero() && id.Compare(r.After) <= 0 || !r.Before.IsZero() && id.Compare(r.Before) >= 0 {
			continue
		}
		if had > 0 && id == got[had-1].ID {
			continue
		}
		if got = append(got, broker.Entry{ID: id, Kind: kind}); len(got)-had == count {
			break
		}
	}
	return got, nil
}

// Messages implements broker.Store.
func (s *Store) Messages(ctx context.Context, app broker.AppID, ids []broker.MessageID) ([]*broker.Message, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if err := checkNames(app, ""); err != nil {
		return nil, err
	}
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	defer cancel()
	cmds := make([]redis.Cmder, 0, len(ids))
	asked := make([]int, 0, len(ids))
	for i, id := range ids {
		if shard := shardOf(id); shard < len(s.keys.prefixes) {
			at := streamID(clockOf(id))
			cmds = append(cmds, redis.NewXMessageSliceCmd(ctx, "xrange", s.keys.bodies(shard, app), at, at))
			asked = append(asked, i)
		}
	}
	if err := s.query(ctx, cmds); err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	messages := make([]*broker.Message, len(ids))
	for j, i := range asked {
		found := cmds[j].(*redis.XMessageSliceCmd).Val() //nolint:forcetypeassert // made above
		if len(found) == 0 {
			continue
		}
		id, _, stored, err := parseBody(found[0])
		if err != nil {
			return nil, fmt.Errorf("read message %s: %w", ids[i], err)
		}
		if id != ids[i] {
			continue
		}
		m := &broker.Message{ID: id, App: app}
		if err := m.UnmarshalBinary([]byte(stored)); err != nil {
			return nil, fmt.Errorf("read message %s: %w", id, err)
		}
		messages[i] = m
	}
	if err := s.addPast(ctx, app, ids, messages); err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	return messages, nil
}
