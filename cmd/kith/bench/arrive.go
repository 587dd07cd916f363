package bench

import (
	"bytes"
	"errors"
	"fmt"
)

// handle takes the packets that are whole, and answers them.
func (c *conn) handle(now int64) error {
	at := 0
	for {
		first, body, size, err := splitPacket(c.in[at:c.have])
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		if err := c.packet(first, body, now); err != nil {
			return err
		}
		at += size
	}
	if at == 0 {
		return nil
	}
	c.consume(at)
	return c.answer(now)
}

func (c *conn) packet(first byte, body []byte, now int64) error {
	version := c.run.o.Target.Version
	switch first & 0xF0 {
	case packetPublish:
		p, err := parsePublish(version, first, body)
		if err != nil {
			return err
		}
		if p.tag != 0 {
			c.acks = appendPuback(c.acks, p.tag)
		}
		c.arrived(&p, now)
	case packetPuback:
		tag, code, err := parsePuback(version, body)
		if err != nil {
			return err
		}
		c.puback(tag, code, body)
	case packetPingresp:
		if at := c.pingedAt.Swap(0); at != 0 {
			c.run.ping.add(c.number, now-at)
		}
	case packetDisconnect:
		if len(body) > 1 {
			return fmt.Errorf("the server ended it: reason code 0x%02X %s", body[0], reasonString(body[1:]))
		}
		return errors.New("the server ended it")
	}
	return nil
}

func (c *conn) puback(tag uint16, code byte, body []byte) {
	r := c.run
	ok := code < 0x80
	if !ok {
		r.refused.Add(1)
		r.fail(&RefusedError{whatMessage, code, reasonString(body[3:])})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tx == nil {
		return
	}
	due, ours := c.tx.acked(tag, ok)
	if !ours || !ok {
		return
	}
	c.acked = append(c.acked, due)
}

// arrived judges a message against its stream.
func (c *conn) arrived(p *arrival, now int64) {
	r := c.run
	var h head
	if !h.get(p.payload) || h.run != r.id {
		c.other(p)
		return
	}
	t := c.last
	if t == nil || t.of.id != h.stream {
		if t = c.rx[h.stream]; t == nil {
			return // a copy for another device of the sender, left by a run before
		}
		c.last = t
	}
	if p.again {
		r.redelivered.Add(1)
	}
	if !t.seen.add(h.n) {
		r.duplicated.Add(1)
		return
	}
	if h.n < t.next {
		r.disordered.Add(1)
	} else {
		t.next = h.n + 1
	}
	c.fresh++
	c.lastNew = now
	c.got = append(c.got, h.due)
	if open := t.of.open; open != nil && open[h.n%uint64(len(open))].Add(-1) == 0 {
		c.give(t.of.from)
	}
}

func (c *conn) give(s *sender) {
	for i := range c.credits {
		if c.credits[i].to == s {
			c.credits[i].n++
			return
		}
	}
	c.credits = append(c.credits, credit{s, 1})
}

// other takes what is no message of the run: events, presence, what a run before left.
func (c *conn) other(p *arrival) {
	if !bytes.Contains(p.topic, []byte("/event/")) {
		return
	}
	switch kind := p.topic[bytes.LastIndexByte(p.topic, '/')+1:]; string(kind) {
	case "error":
		c.run.refused.Add(1)
		c.run.fail(&RefusedError{whatMessage, 0x80, eventReason(p.payload)})
	case "missed":
		c.run.missed.Add(1)
	case "reply":
		if c.replies != nil {
			select {
			case c.replies <- bytes.Clone(p.payload):
			default: // nobody waits
			}
		}
	}
}

// answer writes acknowledgements and what now fits the windows, and hands over what was counted.
func (c *conn) answer(now int64) error {
	r := c.run
	c.mu.Lock()
	c.out = append(c.out, c.acks...)
	c.acks = c.acks[:0]
	if n := int64(len(c.acked)); n > 0 {
		r.due.Add(n * c.tx.receivers())
		r.acked.Add(n)
	}
	if c.tx != nil {
		c.tx.fill(now)
	}
	err := c.flush()
	c.mu.Unlock()
	r.delivered.Add(int64(len(c.got)))
	r.ack.add(c.number, r.elapsed(c.acked, now)...)
	r.latency.add(c.number, r.elapsed(c.got, now)...)
	c.acked, c.got = c.acked[:0], c.got[:0]
	for _, g := range c.credits {
		g.to.c.mu.Lock()
		g.to.opened -= g.n
		g.to.fill(now)
		_ = g.to.c.flush() // its own goroutine sees it
		g.to.c.mu.Unlock()
	}
	c.credits = c.credits[:0]
	return err
}

// elapsed turns when messages were due into how long they took, for those that count. It works in place.
func (r *run) elapsed(due []int64, now int64) []int64 {
	from, to := r.from.Load(), r.to.Load()
	times := due[:0]
	for _, at := range due {
		if at >= from && at < to {
			times = append(times, now-at)
		}
	}
	return times
}
