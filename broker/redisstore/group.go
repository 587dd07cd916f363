package redisstore

import (
	"context"
	"encoding/binary"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// group is what the committer does at once, in up to five steps, each a pipeline that is sent and answered before the next:
//
//	claim   once keys that are in another shard than their append
//	order   ids, bodies, numbered logs; in the same pipeline the writes
//	refer   inboxes in other shards
//	past    messages that came from elsewhere
//	end     logs without numbers in other shards, claims, and the late writes and deletes of the last batch
//
// With one shard the second step is all, unless the last batch is late.
type group struct {
	s     *Store
	items []item
	cmds  []redis.Cmder
	wrote []pendingWrite
	ends  []ending
}

// late says that a batch's writes and deletes have to wait for the outcome of its appends.
func late(b *broker.Batch) bool {
	if len(b.Deletes) > 0 {
		return true
	}
	for i := range b.Writes {
		if b.Writes[i].Place != 0 {
			return true
		}
	}
	return false
}

// groupLen is how many items can be one group: a late batch ends it.
func groupLen(items []item) int {
	for i := range items {
		if items[i].err == nil && late(items[i].batch) {
			return i + 1
		}
	}
	return len(items)
}

// unit is a step in the order of commits: an append, or the writes of a batch.
type unit struct {
	p  *post
	it *item
}

func (g *group) run(ctx context.Context) {
	for units := g.prepare(); len(units) > 0; {
		n := g.s.waveLen(units)
		g.wave(ctx, units[:n])
		units = units[n:]
	}
	g.past(ctx)
	g.end(ctx)
}

// prepare encodes the appends and returns what is to be done, in order.
func (g *group) prepare() (units []unit) {
	for i := range g.items {
		it := &g.items[i]
		if it.err == nil {
			it.err = it.batch.Turn()
		}
		if it.err != nil {
			it.batch.Failed()
			continue
		}
		it.posts = make([]post, len(it.batch.Appends))
		for j := range it.posts {
			p := &it.posts[j]
			p.a, p.it = &it.batch.Appends[j], it
			if err := g.s.preparePost(p); err != nil {
				it.fail(err)
				break
			}
		}
		if it.err != nil {
			continue
		}
		for j := range it.posts {
			if !it.posts[j].a.Past {
				units = append(units, unit{p: &it.posts[j]})
			}
		}
		if len(it.batch.Writes) > 0 && !late(it.batch) {
			units = append(units, unit{it: it})
		}
	}
	return units
}

// waveLen is how many units can go through the steps together. An inbox that one message reaches in the third step must not
// get a later one in the second.
func (s *Store) waveLen(units []unit) int {
	if len(s.keys.prefixes) == 1 {
		return len(units)
	}
	type inbox struct {
		app  broker.AppID
		peer broker.PeerID
	}
	away := map[inbox]bool{}
	for i, u := range units {
		if u.p == nil {
			continue
		}
		a := u.p.a
		for _, j := range u.p.local {
			if away[inbox{a.App, a.Inboxes[j]}] {
				return i
			}
		}
		for _, j := range u.p.away {
			away[inbox{a.App, a.Inboxes[j]}] = true
		}
	}
	return len(units)
}

func (g *group) wave(ctx context.Context, units []unit) {
	for round := 0; len(units) > 0; round++ {
		if err := ctx.Err(); err != nil {
			for _, u := range units {
				u.fail(err)
			}
			return
		}
		g.propose(units, round)
		g.claim(ctx, units)
		g.order(ctx, units)
		g.refer(ctx, units)
		units = g.again(ctx, units)
	}
}

func (u unit) fail(err error) {
	if u.p != nil {
		u.it = u.p.it
	}
	u.it.fail(err)
}

// propose gives each post the id that it should have.
func (g *group) propose(units []unit, round int) {
	if round > 1 {
		// Others were faster twice: go ahead of them by some milliseconds.
		g.s.clock.observe(g.s.clock.next() + uint64(round)<<17)
	}
	for _, u := range units {
		p := u.p
		if p == nil {
			continue
		}
		p.state, p.found, p.owns = postOpen, false, false
		binary.BigEndian.PutUint64(p.id[:8], g.s.clock.next())
		binary.BigEndian.PutUint16(p.id[8:10], uint16(p.home)) //nolint:gosec // below maxShards
		node := g.s.node
		if p.claims {
			// The id is tried exactly. Others of this store may be moved up to the same clock: they end otherwise.
			node |= 1
		}
		binary.BigEndian.PutUint16(p.id[10:], node)
	}
}

// order sends the appends, those of one shard together, and the writes. In each shard their order is kept.
func (g *group) order(ctx context.Context, units []unit) {
	g.cmds, g.wrote = g.cmds[:0], g.wrote[:0]
	var chunks []*chunk
	open := map[int]*chunk{} // by shard
	flush := func(c *chunk) {
		g.cmds = append(g.cmds, c.call(ctx, g.s))
		chunks = append(chunks, c)
		delete(open, c.shard)
	}
	for _, u := range units {
		if u.p == nil {
			if u.it.err != nil {
				continue
			}
			for i := range u.it.batch.Writes {
				k := u.it.batch.Writes[i].Key
				if c := open[g.s.keys.shard(k.App, k.Owner)]; c != nil {
					flush(c)
				}
			}
			g.addWrites(ctx, u.it)
			continue
		}
		if u.p.state != postOpen || u.p.it.err != nil {
			continue
		}
		c := open[u.p.home]
		if c == nil {
			c = newChunk(u.p.home)
			open[c.shard] = c
		}
		if c.add(g.s, u.p); len(c.posts) == chunkPosts || c.bytes >= chunkBytes {
			flush(c)
		}
	}
	for _, c := range open {
		flush(c)
	}
	g.s.exec(ctx, g.cmds)
	for _, c := range chunks {
		c.take(g.s)
	}
	g.takeWrites()
}

// refer puts references into the inboxes that are in other shards than the body.
func (g *group) refer(ctx context.Context, units []unit) {
	g.cmds = g.cmds[:0]
	for _, u := range units {
		p := u.p
		if p == nil || p.state != postPlaced || p.it.err != nil {
			continue
		}
		p.refs = p.refs[:0]
		for _, i := range p.away {
			inbox := string(p.a.Inboxes[i])
			shard := g.s.keys.shard(p.a.App, inbox)
			keys := []string{g.s.keys.log(shard, broker.LogInbox, p.a.App, inbox), g.s.keys.clock(shard)}
			cmd := call(ctx, referScript, keys, p.id[:], []byte{p.kind()}, g.s.inboxKeep)
			p.refs = append(p.refs, cmd)
			g.cmds = append(g.cmds, cmd)
		}
	}
	if len(g.cmds) == 0 {
		return
	}
	g.s.exec(ctx, g.cmds)
	for _, u := range units {
		if p := u.p; p != nil {
			for j, cmd := range p.refs {
				p.referred(g.s, p.away[j], cmd)
			}
			p.refs = p.refs[:0]
		}
	}
}
