package redisstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"kith/broker"
)

// post is an append on its way.
type post struct {
	a    *broker.Append
	it   *item
	home int    // the shard that gives its id and keeps its body
	body []byte // what is stored: the message behind room for bodyHead, or the event's payload
	// conversation names what it must stay in order with, where another id could break that: direct messages.
	conversation string
	local, away  []int  // of a.Inboxes, those in the home shard and those elsewhere
	once         string // the key of a.Once
	claims       bool   // one step cannot check that key and deliver too
	more         bool   // logs of other shards, without numbers, follow
	pending      string // the value that the once key has until all is done

	state  postState
	id     broker.MessageID
	old    broker.MessageID // that it gave up
	stored bool             // its body is there
	again  bool             // a duplicate, whose first attempt may have ended early
	found  bool             // somebody else had stored it under this id
	cmd    *redis.Cmd       // of its claim
	refs   []*redis.Cmd
	owns   bool // it is to end the once key's pending value
}

type postState int

const (
	postOpen    postState = iota
	postPlaced            // it has its id, and is in its home shard
	postBehind            // its id came too late
	postSettled           // a duplicate, refused, or failed
)

// bodySpare is about what a message has besides its payload.
const bodySpare = 128

var errAnswer = errors.New("a script's answer does not parse")

// preparePost finds out where an append goes.
func (s *Store) preparePost(p *post) error {
	a := p.a
	a.ID, a.Duplicate, a.Refused, a.N, a.Previous, a.InboxN = broker.MessageID{}, false, false, 0, broker.MessageID{}, nil
	m := a.Message
	if m == nil {
		p.home = s.keys.shard(a.App, string(a.EventPeer))
		p.body = a.Event
	} else {
		var err error
		if p.body, err = m.AppendBinary(make([]byte, bodyHead, bodyHead+bodySpare+len(m.Payload))); err != nil {
			return fmt.Errorf("store message: %w", err)
		}
		if a.Past {
			p.home = s.keys.pastShard(m.ID)
			return nil
		}
		p.home = s.keys.shard(a.App, homeOwner(a))
		if m.Group == "" {
			p.conversation = string(a.App) + ":" + string(m.Conversation)
		}
		if len(a.Inboxes) > 0 {
			a.InboxN = make([]uint64, len(a.Inboxes))
		}
		for i, peer := range a.Inboxes {
			if s.keys.shard(a.App, string(peer)) == p.home {
				p.local = append(p.local, i)
			} else {
				p.away = append(p.away, i)
			}
		}
		p.more = m.Group == "" && s.keys.shard(a.App, string(m.Conversation)) != p.home ||
			m.Kind != broker.KindMembership && s.keys.shard(a.App, string(m.From)) != p.home
	}
	if a.Once.Space != 0 {
		shard := s.keys.shard(a.Once.App, a.Once.Owner)
		p.once = s.keys.record(shard, a.Once)
		p.claims = shard != p.home || len(p.away) > 0
	}
	return nil
}

// homeOwner is whose shard orders a message: the group's, or that of the first in order of its receivers, so that all messages
// from one sender to the same receivers are ordered in one place.
func homeOwner(a *broker.Append) string {
	m := a.Message
	if m.Group != "" || len(a.Inboxes) == 0 {
		return string(m.Conversation)
	}
	home := broker.PeerID("")
	for _, peer := range a.Inboxes {
		if peer != m.From && (home == "" || peer < home) {
			home = peer
		}
	}
	if home == "" {
		home = a.Inboxes[0]
	}
	return string(home)
}

func (p *post) kind() byte {
	if p.a.Message == nil {
		return byte(broker.KindMessage)
	}
	return byte(p.a.Message.Kind)
}

// entry is what stands in logs without numbers.
func (p *post) entry(id broker.MessageID) string { return string(append(id[:], p.kind())) }

// duplicate takes what stands under the once key. With the mark behind it the first attempt may have ended early.
func (p *post) duplicate(first string) {
	p.state, p.a.Duplicate, p.a.InboxN = postSettled, true, nil
	copy(p.a.ID[:], first)
	if isPending(first) {
		p.again, p.owns, p.pending = p.a.Message != nil, true, first
	}
}

func (p *post) refuse() { p.state, p.a.Refused, p.a.InboxN = postSettled, true, nil }

// numbers takes those of the home shard's logs, 6 bytes each; behind that of a group's log the id of the entry before.
func (p *post) numbers(b string) {
	next := func() (n uint64) {
		if len(b) < 6 {
			p.it.fail(fmt.Errorf("append: %w", errAnswer))
			return 0
		}
		n, b = number(b[:6]), b[6:]
		return n
	}
	if p.a.Message == nil || p.a.Message.Group != "" {
		p.a.N = next()
	}
	if p.a.Message != nil && p.a.Message.Group != "" && len(b) >= idSize {
		copy(p.a.Previous[:], b)
		b = b[idSize:]
	}
	for _, i := range p.local {
		p.a.InboxN[i] = next()
	}
}

// number reads a log's number: 6 bytes, big-endian.
func number(b string) (n uint64) {
	for i := range 6 {
		n = n<<8 | uint64(b[i])
	}
	return n
}

// referred takes the answer about one inbox in another shard.
func (p *post) referred(s *Store, inbox int, cmd *redis.Cmd) {
	answer, err := cmd.Text()
	switch {
	case err != nil:
		p.state = postSettled
		p.it.fail(fmt.Errorf("append to inbox: %w", s.explain(err)))
	case len(answer) == 7 && answer[0] == 'A':
		p.a.InboxN[inbox] = number(answer[1:])
	case len(answer) == 9 && answer[0] == 'B':
		s.clock.observe(binary.BigEndian.Uint64([]byte(answer[1:])))
		if p.state == postPlaced {
			p.state = postBehind
		}
	default:
		p.state = postSettled
		p.it.fail(fmt.Errorf("append to inbox: %w", errAnswer))
	}
}

// tell sets the results of a post that was placed.
func (p *post) tell() {
	if p.state != postPlaced {
		return
	}
	p.a.ID = p.id
	if p.found {
		p.a.Duplicate, p.a.N, p.a.InboxN = true, 0, nil
	} else if p.a.Message != nil {
		p.a.Message.ID = p.id
	}
}
