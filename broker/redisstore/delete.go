package redisstore

import (
	"context"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// deleteCalls are the commands of one delete.
func (s *Store) deleteCalls(ctx context.Context, d *broker.Delete) []redis.Cmder {
	if !d.Message.IsZero() {
		cmds := s.removePastCalls(ctx, d.App, d.Message)
		if shardOf(d.Message) < len(s.keys.prefixes) { // else no id of this store
			cmds = append(cmds, s.removeCall(ctx, d.App, d.Message))
		}
		return cmds
	}
	log := d.Log
	if !d.Before.IsZero() {
		return s.trimCalls(ctx, log, d.Before)
	}
	if log.Kind == broker.LogApp {
		var cmds []redis.Cmder
		for i := range s.keys.prefixes {
			cmds = append(cmds, redis.NewIntCmd(ctx, "unlink", s.keys.bodies(i, log.App)))
		}
		return cmds
	}
	if log.Kind == broker.LogPast {
		var cmds []redis.Cmder
		for i := range s.keys.prefixes {
			cmds = append(cmds, redis.NewIntCmd(ctx, "unlink", s.keys.past(i, log.App), s.keys.pastBodies(i, log.App)))
		}
		return cmds
	}
	shard := s.keys.shard(log.App, log.Owner)
	key := s.keys.log(shard, log.Kind, log.App, log.Owner)
	if log.Kind == broker.LogSent || log.Kind.IsPast() {
		return []redis.Cmder{redis.NewIntCmd(ctx, "unlink", key)}
	}
	return []redis.Cmder{call(ctx, emptyScript, []string{key})}
}

// removeCall removes the body of a message; what refers to it is passed over from then on.
func (s *Store) removeCall(ctx context.Context, app broker.AppID, id broker.MessageID) *redis.Cmd {
	return call(ctx, removeScript, []string{s.keys.bodies(shardOf(id), app)}, streamID(clockOf(id)), string(id[8:]))
}
