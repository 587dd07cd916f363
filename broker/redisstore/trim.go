package redisstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// trimCalls are the commands that remove what a log holds before an id.
func (s *Store) trimCalls(ctx context.Context, log broker.LogID, before broker.MessageID) (cmds []redis.Cmder) {
	switch log.Kind {
	case broker.LogApp:
		for i := range s.keys.prefixes {
			cmds = append(cmds, redis.NewIntCmd(ctx, "xtrim", s.keys.bodies(i, log.App), "minid", streamID(clockOf(before))))
		}
		return cmds
	case broker.LogPast:
		for i := range s.keys.prefixes {
			cmds = append(cmds, call(ctx, trimPastScript, []string{s.keys.past(i, log.App), s.keys.pastBodies(i, log.App)}, before[:]))
		}
		return cmds
	}
	key := s.keys.log(s.keys.shard(log.App, log.Owner), log.Kind, log.App, log.Owner)
	if log.Kind.IsPast() {
		return []redis.Cmder{redis.NewIntCmd(ctx, "zremrangebylex", key, "-", "("+string(before[:]))}
	}
	return []redis.Cmder{call(ctx, trimScript, []string{key}, before[:])}
}

var _ broker.Sizer = (*Store)(nil)

// HistoryBytes implements broker.Sizer, by what Redis says that the bodies take.
func (s *Store) HistoryBytes(ctx context.Context, app broker.AppID) (int64, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	var cmds []redis.Cmder
	for i := range s.keys.prefixes {
		for _, key := range []string{s.keys.bodies(i, app), s.keys.pastBodies(i, app)} {
			cmds = append(cmds, redis.NewIntCmd(ctx, "memory", "usage", key))
		}
	}
	if err := s.query(ctx, cmds); err != nil && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("read the size of history: %w", err)
	}
	total := int64(0)
	for _, cmd := range cmds {
		total += cmd.(*redis.IntCmd).Val() //nolint:forcetypeassert // made above
	}
	return total, nil
}
