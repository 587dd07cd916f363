package redisstore

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// past stores the messages that came from elsewhere: first references in other shards than the body's, then the body with what of
// its logs is there. So a message that is there is in all its logs, and one of which a part failed is passed over until it comes again.
func (g *group) past(ctx context.Context) {
	g.eachPast(func(p *post) { g.referPast(ctx, p) })
	g.finish(ctx)
	g.eachPast(func(p *post) {
		p.cmd = g.s.pastCall(ctx, p)
		g.addEnding(p.it, p.cmd)
	})
	g.finish(ctx)
	for i := range g.items {
		for j := range g.items[i].posts {
			if p := &g.items[i].posts[j]; p.a.Past && p.cmd != nil {
				p.a.ID, p.a.Duplicate = p.a.Message.ID, p.cmd.Val() == int64(0)
				p.cmd = nil
			}
		}
	}
}

// eachPast begins a pipeline with what do adds for each of those messages whose batch has not failed.
func (g *group) eachPast(do func(*post)) {
	g.cmds, g.ends = g.cmds[:0], g.ends[:0]
	for i := range g.items {
		it := &g.items[i]
		for j := 0; it.err == nil && j < len(it.posts); j++ {
			if p := &it.posts[j]; p.a.Past {
				do(p)
			}
		}
	}
}

// pastLogs calls do with each log of references that a message of the past goes into.
func pastLogs(m *broker.Message, do func(kind broker.LogKind, owner string)) {
	do(broker.LogPastConversation, string(m.Conversation))
	do(broker.LogPastSent, string(m.From))
	for _, peer := range m.To {
		do(broker.LogPastReceived, string(peer))
	}
}

func (s *Store) pastCall(ctx context.Context, p *post) *redis.Cmd {
	app, m := p.a.App, p.a.Message
	keys := []string{s.keys.pastBodies(p.home, app), s.keys.past(p.home, app)}
	pastLogs(m, func(kind broker.LogKind, owner string) {
		if s.keys.shard(app, owner) == p.home {
			keys = append(keys, s.keys.log(p.home, kind, app, owner))
		}
	})
	return call(ctx, pastScript, keys, m.ID[:], p.entry(m.ID), p.body[bodyHead:])
}

// referPast puts references into the logs of other shards than the body's.
func (g *group) referPast(ctx context.Context, p *post) {
	pastLogs(p.a.Message, func(kind broker.LogKind, owner string) {
		if shard := g.s.keys.shard(p.a.App, owner); shard != p.home {
			g.addEnding(p.it, redis.NewIntCmd(ctx, "zadd", g.s.keys.log(shard, kind, p.a.App, owner), "0", p.entry(p.a.Message.ID)))
		}
	})
}

// readPast reads a log of the past. The app's is merged from the shards' parts.
func (s *Store) readPast(ctx context.Context, log broker.LogID, r broker.Range) ([]broker.Entry, error) {
	keys := []string{s.keys.log(s.keys.shard(log.App, log.Owner), log.Kind, log.App, log.Owner)}
	if log.Kind == broker.LogPast {
		keys = keys[:0]
		for i := range s.keys.prefixes {
			keys = append(keys, s.keys.past(i, log.App))
		}
	}
	return merged(len(keys), r.Limit, inOrder(r), func(parts []part[broker.Entry], counts []int) error {
		var cmds []redis.Cmder
		var asked []int
		for i, count := range counts {
			if count > 0 {
				cmds = append(cmds, pastEntries(ctx, keys[i], behind(r, parts[i].got), count))
				asked = append(asked, i)
			}
		}
		if err := s.query(ctx, cmds); err != nil {
			return err
		}
		for j, i := range asked {
			for _, b := range cmds[j].(*redis.StringSliceCmd).Val() { //nolint:forcetypeassert // made above
				e, _, err := parseEntry(log.Kind, b)
				if err != nil {
					return err
				}
				parts[i].got = append(parts[i].got, e)
			}
		}
		return nil
	})
}

// pastEntries reads a stretch of a set of entries. All have one score, so Redis orders them by their bytes.
func pastEntries(ctx context.Context, key string, r broker.Range, count int) *redis.StringSliceCmd {
	low, high := "-", "+"
	if !r.After.IsZero() {
		low = "(" + string(r.After[:]) + "\xff" // behind the kind of this id
	}
	if !r.Before.IsZero() {
		high = "(" + string(r.Before[:])
	}
	if r.Reverse {
		return redis.NewStringSliceCmd(ctx, "zrevrangebylex", key, high, low, "limit", 0, count)
	}
	return redis.NewStringSliceCmd(ctx, "zrangebylex", key, low, high, "limit", 0, count)
}

// addPast looks for the messages that are not yet among messages in the past.
func (s *Store) addPast(ctx context.Context, app broker.AppID, ids []broker.MessageID, messages []*broker.Message) error {
	var cmds []redis.Cmder
	var asked []int
	for i, id := range ids {
		if messages[i] == nil {
			cmds = append(cmds, redis.NewStringCmd(ctx, "hget", s.keys.pastBodies(s.keys.pastShard(id), app), id[:]))
			asked = append(asked, i)
		}
	}
	if len(cmds) == 0 {
		return nil
	}
	if err := s.query(ctx, cmds); err != nil {
		return err
	}
	for j, i := range asked {
		cmd := cmds[j].(*redis.StringCmd) //nolint:forcetypeassert // made above
		if cmd.Err() == redis.Nil {       //nolint:errorlint // as the client gives it
			continue
		}
		m := &broker.Message{ID: ids[i], App: app}
		if err := m.UnmarshalBinary([]byte(cmd.Val())); err != nil {
			return fmt.Errorf("message %s: %w", ids[i], err)
		}
		messages[i] = m
	}
	return nil
}

// removePastCalls remove the body of a message that came from elsewhere.
func (s *Store) removePastCalls(ctx context.Context, app broker.AppID, id broker.MessageID) []redis.Cmder {
	shard := s.keys.pastShard(id)
	entry := append(id[:], byte(broker.KindMessage))
	return []redis.Cmder{
		redis.NewIntCmd(ctx, "hdel", s.keys.pastBodies(shard, app), id[:]),
		redis.NewIntCmd(ctx, "zrem", s.keys.past(shard, app), entry),
	}
}
