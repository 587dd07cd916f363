package redisstore

import (
	"context"

	"kith/broker"
)

// again returns the posts that need another id, because a shard had gone past theirs. With a post go those behind it in its
// conversation, so that its order stays. What they left in inboxes are references to a message that is gone.
func (g *group) again(ctx context.Context, units []unit) (redo []unit) {
	var conversations map[string]bool
	for _, u := range units {
		p := u.p
		if p == nil || p.it.err != nil || p.state != postBehind && p.state != postPlaced {
			continue
		}
		if p.state == postPlaced && (p.conversation == "" || !conversations[p.conversation]) {
			continue
		}
		if conversations == nil {
			conversations = map[string]bool{}
		}
		conversations[p.conversation] = true
		redo = append(redo, u)
	}
	var voids []*post
	for _, u := range redo {
		p := u.p
		if !p.stored {
			continue
		}
		p.stored, p.old = false, p.id
		if !p.claims { // else only who changes the claim may take the message away
			voids = append(voids, p)
		}
	}
	g.void(ctx, voids)
	return redo
}

// void removes what posts had stored under ids that they gave up.
func (g *group) void(ctx context.Context, voids []*post) {
	if len(voids) == 0 {
		return
	}
	g.cmds = g.cmds[:0]
	for _, p := range voids {
		g.cmds = append(g.cmds, g.s.removeCall(ctx, p.a.App, p.old))
		p.old = broker.MessageID{}
	}
	g.s.exec(ctx, g.cmds)
	for i, p := range voids {
		if err := g.cmds[i].Err(); err != nil {
			p.it.fail(err)
		}
	}
}
