package redisstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// A once key holds the id and this mark until all logs have the message, where that takes more than one step. Set before the
// first step it is a claim: whoever finds it tries the append under the same id: it is then there once, whoever comes first. Only who changes the claim to another id
// may remove what is stored under the first, and a message is acknowledged only when its claim was settled.
const claimMark = "p"

func isPending(value string) bool { return len(value) == idSize+1 && value[idSize:] == claimMark }

// errClaimLost says that another node, working on the same message, gave it another id meanwhile. What became of it the same key tells.
var errClaimLost = errors.New("another node is storing the same message")

// claim reserves once keys, and looks for required records that are in another shard than the append. What is required there is looked at before, not together with, the append.
func (g *group) claim(ctx context.Context, units []unit) {
	absent := g.requireAway(ctx, units)
	g.cmds = g.cmds[:0]
	for _, u := range units {
		p := u.p
		if p == nil || !p.claims || p.it.err != nil || p.state != postOpen {
			continue
		}
		value := string(p.id[:]) + claimMark
		if absent[p] {
			value = "" // look only: a duplicate is told before a refusal
		}
		p.cmd = call(ctx, claimScript, []string{p.once}, value, g.s.lifetime(p.a.OnceExpires), p.pending)
		g.cmds = append(g.cmds, p.cmd)
	}
	if len(g.cmds) > 0 {
		g.s.exec(ctx, g.cmds)
	}
	var voids []*post
	for _, u := range units {
		p := u.p
		if p == nil {
			continue
		}
		if p.cmd != nil {
			if p.claimed(g.s) && !p.old.IsZero() {
				voids = append(voids, p)
			}
			p.cmd = nil
		}
		if absent[p] && p.state == postOpen && p.it.err == nil {
			p.refuse()
		}
	}
	g.void(ctx, voids)
}

// claimed takes the answer about a claim and reports whether the claim is now this post's own.
func (p *post) claimed(s *Store) bool {
	stands, err := p.cmd.Text()
	switch {
	case err == redis.Nil: //nolint:errorlint // as the client gives it
		p.pending = string(p.id[:]) + claimMark
		return true
	case err != nil:
		p.state = postSettled
		p.it.fail(fmt.Errorf("claim once key: %w", s.explain(err)))
	case isPending(stands):
		id := p.id
		copy(id[:], stands)
		if shardOf(id) != p.home {
			p.duplicate(stands[:idSize]) // another message under the same key
			return false
		}
		p.id, p.pending = id, stands
	default:
		p.duplicate(stands)
	}
	return false
}

// requireAway returns the posts that require a record which another shard does not have.
func (g *group) requireAway(ctx context.Context, units []unit) map[*post]bool {
	g.cmds = g.cmds[:0]
	var asked []*post
	for _, u := range units {
		p := u.p
		if p == nil {
			continue
		}
		k := p.a.Require
		if k.Space == 0 || p.it.err != nil {
			continue
		}
		if shard := g.s.keys.shard(k.App, k.Owner); shard != p.home {
			asked = append(asked, p)
			g.cmds = append(g.cmds, redis.NewIntCmd(ctx, "exists", g.s.keys.record(shard, k)))
		}
	}
	if len(asked) == 0 {
		return nil
	}
	g.s.exec(ctx, g.cmds)
	absent := map[*post]bool{}
	for i, p := range asked {
		if err := g.cmds[i].Err(); err != nil {
			p.it.fail(fmt.Errorf("look for a required record: %w", err))
		}
		absent[p] = g.cmds[i].(*redis.IntCmd).Val() == 0 //nolint:forcetypeassert // made above
	}
	return absent
}
