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
	at    map[logName]uint16 // where a log is among the keys
	args  []any
	bytes int
	cmd   *redis.Cmd
}

// logName is a log, the bodies or the events of a chunk's shard.
type logName struct {
	kind  broker.LogKind
	app   broker.AppID
	owner string
}

func newChunk(shard int) *chunk {
	return &chunk{shard: shard, at: make(map[logName]uint16)}
}

// headSize is the fixed part of an append in the script's arguments, behind which the places of its keys stand.
const headSize = 20

// add puts a post into the chunk.
func (c *chunk) add(s *Store, p *post) {
	a, home := p.a, p.home
	head := make([]byte, headSize, headSize+2*(5+len(p.local)))
	copy(head, p.id[:])
	head[12] = p.kind()
	copy(head[13:], "m---")
	if a.Message == nil {
		head[13] = 'e'
		head = c.name(s, head, logName{broker.LogEvents, a.App, string(a.EventPeer)})
	} else {
		copy(p.body, p.id[8:])
		p.body[bodyHead-1] = p.kind()
		head = c.name(s, head, logName{broker.LogApp, a.App, ""})
	}
	if p.once != "" && !p.claims {
		head[14] = 'o'
		if p.more {
			head[14] = 'O'
		}
		head = c.key(head, p.once)
	}
	if a.Require.Space != 0 && s.keys.shard(a.Require.App, a.Require.Owner) == home {
		head[15] = 'r'
		head = c.key(head, s.keys.record(home, a.Require))
	}
	if p.claims {
		head[16] = 'x'
	}
	if a.Message != nil {
		head = c.addLogs(s, p, head)
	}
	head[17] = byte((len(head) - headSize) / 2) //nolint:gosec // checked by checkAppend
	c.args = append(c.args, head, p.body)
	if head[14] != '-' {
		c.args = append(c.args, s.lifetime(a.OnceExpires))
	}
	if a.Message == nil {
		c.args = append(c.args, strconv.FormatUint(a.Keep, 10))
	}
	c.posts = append(c.posts, p)
	c.bytes += len(head) + len(p.body)
}

// addLogs adds the logs of the home shard, how many are numbered and which of those is the first inbox.
func (c *chunk) addLogs(s *Store, p *post, head []byte) []byte {
	a, m, home := p.a, p.a.Message, p.home
	conversation := logName{broker.LogConversation, a.App, string(m.Conversation)}
	head[19] = 1
	if m.Group != "" {
		head = c.name(s, head, conversation)
		head[18], head[19] = 1, 2
	}
	for _, i := range p.local {
		head = c.name(s, head, logName{broker.LogInbox, a.App, string(a.Inboxes[i])})
		head[18]++
	}
	if m.Group == "" && s.keys.shard(a.App, string(m.Conversation)) == home {
		head = c.name(s, head, conversation)
	}
	if m.Kind != broker.KindMembership && s.keys.shard(a.App, string(m.From)) == home {
		head = c.name(s, head, logName{broker.LogSent, a.App, string(m.From)})
	}
	return head
}

// name appends the place of a log's key, which is sent once for all that name it.
func (c *chunk) name(s *Store, head []byte, log logName) []byte {
	if at, ok := c.at[log]; ok {
		return binary.BigEndian.AppendUint16(head, at)
	}
	key := ""
	if log.kind == broker.LogApp {
		key = s.keys.bodies(c.shard, log.app)
	} else {
		key = s.keys.log(c.shard, log.kind, log.app, log.owner)
	}
	head = c.key(head, key)
	c.at[log] = binary.BigEndian.Uint16(head[len(head)-2:])
	return head
}

// key adds a key and appends its place: the first is the clock's, and Redis counts from 1.
func (c *chunk) key(head []byte, key string) []byte {
	c.keys = append(c.keys, key)
	return binary.BigEndian.AppendUint16(head, uint16(len(c.keys)+1)) //nolint:gosec // at most chunkPosts * (maxInboxes + 5)
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
