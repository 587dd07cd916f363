package pebblestore

import (
	"encoding/binary"
	"fmt"

	"kith/broker"
)

// append takes an id and puts the message, or the event, at the end of its logs. What can fail comes first, so that an
// append is in all its logs or in none.
func (g *group) append(a *broker.Append) error {
	a.ID, a.Duplicate, a.Refused, a.N, a.Previous, a.InboxN = broker.MessageID{}, false, false, 0, broker.MessageID{}, nil
	if a.Past {
		return g.appendPast(a)
	}
	if a.Once.Space != 0 {
		once, err := g.record(a.Once)
		if err != nil {
			return err
		}
		if once.live(g.now) {
			a.Duplicate = true
			copy(a.ID[:], once.value)
			return nil
		}
	}
	if a.Require.Space != 0 {
		needed, err := g.record(a.Require)
		if err != nil {
			return err
		}
		if !needed.live(g.now) {
			a.Refused = true
			return nil
		}
	}
	var err error
	if a.Message != nil {
		err = g.appendMessage(a)
	} else {
		err = g.appendEvent(a)
	}
	if err != nil {
		return err
	}
	g.last = a.ID
	g.count++
	if a.Once.Space != 0 {
		return g.putRecord(a.Once, a.ID[:], a.OnceExpires)
	}
	return nil
}

func (g *group) appendMessage(a *broker.Append) error {
	m := a.Message
	g.targets = g.targets[:0]
	conversation := broker.LogID{Kind: broker.LogConversation, App: a.App, Owner: string(m.Conversation)}
	if err := g.target(0, conversation, m.Group != ""); err != nil {
		return err
	}
	for _, peer := range a.Inboxes {
		if err := g.target(1, broker.LogID{Kind: broker.LogInbox, App: a.App, Owner: string(peer)}, true); err != nil {
			return err
		}
	}
	if m.Kind != broker.KindMembership {
		if err := g.target(2, broker.LogID{Kind: broker.LogSent, App: a.App, Owner: string(m.From)}, false); err != nil {
			return err
		}
	}
	k := g.blockOf(a.App)
	id := g.s.clock.Next()
	before := len(k.bodies)
	if err := k.add(m, id); err != nil {
		return err
	}
	g.bytes += len(k.bodies) - before
	if len(k.bodies) >= blockBytes {
		g.emitBlock(k)
	}
	a.ID, m.ID = id, id
	if h := g.targets[0].head; h != nil {
		a.Previous = h.last
	}
	a.N = g.add(g.targets[0], id, m.Kind)
	if len(a.Inboxes) > 0 {
		a.InboxN = g.slab(len(a.Inboxes))
		for i := range a.Inboxes {
			a.InboxN[i] = g.add(g.targets[1+i], id, m.Kind)
		}
	}
	if m.Kind != broker.KindMembership {
		g.add(g.targets[1+len(a.Inboxes)], id, m.Kind)
	}
	return nil
}

// slab returns n numbers of an array that many appends share.
func (g *group) slab(n int) []uint64 {
	if len(g.numbers) < n {
		g.numbers = make([]uint64, max(n, 256))
	}
	part := g.numbers[:n:n]
	g.numbers = g.numbers[n:]
	return part
}

// target finds the run for an entry of log. A sender's messages come one behind the other, so the run last used in each
// place is looked at first.
func (g *group) target(place int, log broker.LogID, numbered bool) error {
	r := g.recent[place]
	if r == nil || r.log != log {
		r = g.runs[log]
		if r == nil {
			var err error
			if r, err = g.newRun(log, numbered); err != nil {
				return err
			}
		}
		g.recent[place] = r
	}
	g.targets = append(g.targets, r)
	return nil
}

func (g *group) newRun(log broker.LogID, numbered bool) (*run, error) {
	var h *head
	if numbered {
		var err error
		if h, err = g.head(log); err != nil {
			return nil, err
		}
	}
	var r *run
	if n := len(g.free); n > 0 {
		r, g.free = g.free[n-1], g.free[:n-1]
		r.count, r.buf = 0, r.buf[:0]
	} else {
		r = new(run)
	}
	r.log, r.head = log, h
	g.runs[log] = r
	g.open = append(g.open, r)
	return r, nil
}

func (g *group) add(r *run, id broker.MessageID, kind broker.MessageKind) uint64 {
	n := r.add(id, kind)
	if r.count >= runEntries {
		g.emitRun(r)
	}
	return n
}

func (g *group) blockOf(app broker.AppID) *block {
	if g.block != nil && g.block.app == app {
		return g.block
	}
	k := g.blocks[app]
	if k == nil {
		if n := len(g.idle); n > 0 {
			k, g.idle = g.idle[n-1], g.idle[:n-1]
			k.reset()
		} else {
			k = new(block)
		}
		k.app = app
		g.blocks[app] = k
		g.full = append(g.full, k)
	}
	g.block = k
	return k
}

// emitLogs writes out what was appended so far.
func (g *group) emitLogs() {
	for _, k := range g.full {
		g.emitBlock(k)
	}
	for _, r := range g.open {
		g.emitRun(r)
	}
}

func (g *group) emitBlock(k *block) {
	if k.count == 0 {
		return
	}
	log := broker.LogID{Kind: broker.LogApp, App: k.app}
	op := g.wb.SetDeferred(logPrefixLen(log)+idSize, k.valueLen())
	appendID(appendLogPrefix(op.Key[:0], log), k.first)
	k.appendValue(op.Value[:0])
	_ = op.Finish()
	g.resize(k.app, broker.LogApp, len(op.Value))
	k.reset()
}

func (g *group) emitRun(r *run) {
	if r.count == 0 {
		return
	}
	op := g.wb.SetDeferred(logPrefixLen(r.log)+idSize, uvarintLen(r.firstN)+len(r.buf))
	appendID(appendLogPrefix(op.Key[:0], r.log), r.first)
	_ = append(binary.AppendUvarint(op.Value[:0], r.firstN), r.buf...)
	_ = op.Finish()
	r.count, r.buf = 0, r.buf[:0]
}

func appendID(b []byte, id broker.MessageID) []byte { return append(b, id[:]...) }

func (g *group) appendEvent(a *broker.Append) error {
	log := broker.LogID{Kind: broker.LogEvents, App: a.App, Owner: string(a.EventPeer)}
	h, err := g.head(log)
	if err != nil {
		return err
	}
	if err := g.trim(log, h, a.Keep); err != nil {
		return fmt.Errorf("trim events of %q: %w", a.EventPeer, err)
	}
	id := g.s.clock.Next()
	h.n++
	h.last = id
	a.ID, a.N = id, h.n
	op := g.wb.SetDeferred(logPrefixLen(log)+idSize, 1+uvarintLen(h.n)+len(a.Event))
	appendID(appendLogPrefix(op.Key[:0], log), id)
	_ = append(binary.AppendUvarint(append(op.Value[:0], eventHere), h.n), a.Event...)
	_ = op.Finish()
	g.bytes += len(a.Event)
	return nil
}
