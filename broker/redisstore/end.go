package redisstore

import (
	"context"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// end does what can only follow: logs without numbers in other shards, and the last batch's late writes and deletes. Only then are
// once keys told that nothing is left to do. A duplicate whose first attempt may have ended early is completed as well.
func (g *group) end(ctx context.Context) {
	g.cmds, g.wrote, g.ends = g.cmds[:0], g.wrote[:0], g.ends[:0]
	for i := range g.items {
		it := &g.items[i]
		for j := 0; it.err == nil && j < len(it.posts); j++ {
			p := &it.posts[j]
			p.tell()
			if p.more && (p.state == postPlaced || p.again) {
				g.addMore(ctx, p)
			}
		}
	}
	if it := &g.items[len(g.items)-1]; it.err == nil && late(it.batch) {
		g.addWrites(ctx, it)
		for i := range it.batch.Deletes {
			for _, cmd := range g.s.deleteCalls(ctx, &it.batch.Deletes[i]) {
				g.addEnding(it, cmd)
			}
		}
	}
	g.finish(ctx)
	g.takeWrites()
	g.settle(ctx)
}

// ending is a command of the last steps.
type ending struct {
	it  *item
	cmd redis.Cmder
}

func (g *group) addEnding(it *item, cmd redis.Cmder) {
	g.cmds = append(g.cmds, cmd)
	g.ends = append(g.ends, ending{it, cmd})
}

func (g *group) finish(ctx context.Context) {
	if len(g.cmds) == 0 {
		return
	}
	g.s.exec(ctx, g.cmds)
	for _, e := range g.ends {
		if err := e.cmd.Err(); err != nil {
			e.it.fail(g.s.explain(err))
		}
	}
}

// addMore puts the message into its logs of other shards that have no numbers.
func (g *group) addMore(ctx context.Context, p *post) {
	m, entry := p.a.Message, p.entry(p.a.ID)
	add := func(kind broker.LogKind, owner string) {
		if shard := g.s.keys.shard(p.a.App, owner); shard != p.home {
			g.addEnding(p.it, call(ctx, insertScript, []string{g.s.keys.log(shard, kind, p.a.App, owner)}, entry))
		}
	}
	if m.Group == "" {
		add(broker.LogConversation, string(m.Conversation))
	}
	if m.Kind != broker.KindMembership {
		add(broker.LogSent, string(m.From))
	}
}

// settle ends the pending values of once keys: with the id where the message is in all its logs, with nothing where it was refused.
func (g *group) settle(ctx context.Context) {
	g.cmds, g.ends = g.cmds[:0], g.ends[:0]
	for i := range g.items {
		it := &g.items[i]
		for j := 0; it.err == nil && j < len(it.posts); j++ {
			p := &it.posts[j]
			if !p.owns || p.pending == "" {
				continue
			}
			final := ""
			if p.state == postPlaced || p.again {
				final = p.pending[:idSize]
			}
			g.addEnding(it, call(ctx, settleScript, []string{p.once}, p.pending, final))
		}
	}
	g.finish(ctx)
	for _, e := range g.ends {
		if e.cmd.Err() == nil && e.cmd.(*redis.Cmd).Val() == int64(0) { //nolint:forcetypeassert // made above
			e.it.fail(errClaimLost)
		}
	}
}
