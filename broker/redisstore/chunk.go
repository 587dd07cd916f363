package redisstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// A chunk is what one call of the append script does: long enough to share its cost, and the sync behind it, and short enough
// that others do not wait for it long (about 2 ms).
const (
	chunkPosts = 128
	chunkBytes = 256 << 10
)

type chunk struct {
	shard int
	posts []*post
	keys  []any
	args  []any
	bytes int
	cmd   *redis.Cmd
}

// headSize is the fixed part of an append in the script's arguments.
const headSize = 20

// add puts a post into the chunk.
func (c *chunk) add(s *Store, p *post) {
	a, home := p.a, p.home
	var head [headSize]byte
	copy(head[:], p.id[:])
	head[12] = p.kind()
	copy(head[13:], "m---")
	before := len(c.keys)
	if a.Message == nil {
		head[13] = 'e'
		c.keys = append(c.keys, s.keys.log(home, broker.LogEvents, a.App, string(a.EventPeer)))
	} else {
		c.keys = append(c.keys, s.keys.bodies(home, a.App))
	}
	if p.once != "" && !p.claims {
		head[14] = 'o'
		if p.more {
			head[14] = 'O'
		}
		c.keys = append(c.keys, p.once)
	}
	if a.Require.Space != 0 && s.keys.shard(a.Require.App, a.Require.Owner) == home {
		head[15] = 'r'
		c.keys = append(c.keys, s.keys.record(home, a.Require))
	}
	if p.claims {
		head[16] = 'x'
	}
	if a.Message != nil {
		head[18], head[19] = c.addLogs(s, p)
	}
	head[17] = byte(len(c.keys) - before) //nolint:gosec // checked by checkAppend
	c.args = append(c.args, string(head[:]), p.body)
	if head[14] != '-' {
		c.args = append(c.args, expiryText(a.OnceExpires))
	}
	if a.Message == nil {
		c.args = append(c.args, strconv.FormatUint(a.Keep, 10))
	}
	c.posts = append(c.posts, p)
	c.bytes += headSize + len(p.body)
}

// addLogs adds the logs of the home shard and returns how many are numbered and which of those is the first inbox.
func (c *chunk) addLogs(s *Store, p *post) (numbered, inboxes byte) {
	a, m, home := p.a, p.a.Message, p.home
	inboxes = 1
	if m.Group != "" {
		c.keys = append(c.keys, s.keys.log(home, broker.LogConversation, a.App, string(m.Conversation)))
		numbered, inboxes = 1, 2
	}
	for _, i := range p.local {
		c.keys = append(c.keys, s.keys.log(home, broker.LogInbox, a.App, string(a.Inboxes[i])))
		numbered++
	}
	if m.Group == "" && s.keys.shard(a.App, string(m.Conversation)) == home {
		c.keys = append(c.keys, s.keys.log(home, broker.LogConversation, a.App, string(m.Conversation)))
	}
	if m.Kind != broker.KindMembership && s.keys.shard(a.App, string(m.From)) == home {
		c.keys = append(c.keys, s.keys.log(home, broker.LogSent, a.App, string(m.From)))
	}
	return numbered, inboxes
}

// call makes the command of a chunk.
func (c *chunk) call(ctx context.Context, s *Store) *redis.Cmd {
	all := make([]any, 0, 6+len(c.keys)+len(c.args))
	all = append(all, "evalsha", appendScript.sha, 1+len(c.keys), s.keys.clock(c.shard))
	all = append(append(all, c.keys...), s.inboxKeep, s.mixed)
	c.cmd = redis.NewCmd(ctx, append(all, c.args...)...)
	return c.cmd
}

// take gives the posts their answers.
func (c *chunk) take(s *Store) {
	answers, err := c.cmd.Slice()
	if err == nil && len(answers) != len(c.posts) {
		err = errAnswer
	}
	for i, p := range c.posts {
		answer := ""
		if err == nil {
			answer, _ = answers[i].(string)
		}
		p.placed(s, answer, err)
	}
}

// placed takes the script's answer about one append.
func (p *post) placed(s *Store, answer string, err error) {
	if err != nil || answer == "" {
		if err == nil {
			err = errAnswer
		}
		p.state = postSettled
		p.it.fail(fmt.Errorf("append: %w", s.explain(err)))
		return
	}
	kind, rest := answer[0], answer[1:]
	switch {
	case kind == 'A' && len(rest) >= idSize:
		copy(p.id[:], rest)
		s.clock.observe(clockOf(p.id))
		p.state, p.stored, p.owns = postPlaced, p.a.Message != nil, p.claims || p.once != "" && p.more
		if p.owns {
			p.pending = string(p.id[:]) + claimMark
		}
		p.numbers(rest[idSize:])
	case kind == 'E':
		p.state, p.stored, p.found, p.owns = postPlaced, p.a.Message != nil, true, true
	case kind == 'D':
		p.duplicate(rest)
	case kind == 'R':
		p.refuse()
		p.owns = p.claims
	case kind == 'B' && len(rest) == 8:
		s.clock.observe(binary.BigEndian.Uint64([]byte(rest)))
		p.state = postBehind
	default:
		p.state = postSettled
		p.it.fail(fmt.Errorf("append: %w: %s", errAnswer, rest))
	}
}
