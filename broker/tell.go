package broker

import (
	"encoding/binary"
	"slices"
)

// noteKind is the first byte of what nodes tell one another.
type noteKind byte

const (
	noteAlive     noteKind = 'l' // that the node knows of the other; a loss before it is found by it
	noteMessage   noteKind = 'm' // a direct message, with its numbers in its receivers' inboxes
	noteEvent     noteKind = 'e' // an event that waits for a peer
	noteGroup     noteKind = 'g' // an entry of a group's log
	noteTransient noteKind = 't' // a message that is kept nowhere
	noteWhere     noteKind = 'w' // whereabouts that changed
	noteAsk       noteKind = 'q'
	noteAnswer    noteKind = 'a'
	noteTopic     noteKind = 'f' // a publish under {app}/topic/
	noteShares    noteKind = 's' // shared subscriptions under {app}/topic/ changed
)

// tell wakes the other nodes that hold receivers of what was accepted here.
func (c *cluster) tell(a *Append) {
	if c.nodes.live.Load() == nil || len(*c.nodes.live.Load()) < 2 {
		return
	}
	var buf [8]NodeID
	nodes, unknown := c.receivers(a, buf[:0])
	if len(unknown) > 0 {
		c.learn.await(*a, unknown)
		return
	}
	c.sendTold(a, nodes)
}

// tellKnown tells what waited for whereabouts, as far as they are known now.
func (c *cluster) tellKnown(a *Append) {
	nodes, _ := c.receivers(a, nil)
	c.sendTold(a, nodes)
}

func (c *cluster) sendTold(a *Append, nodes []NodeID) {
	if len(nodes) == 0 {
		return
	}
	note := encodeTold(a)
	for _, id := range nodes {
		c.bus.Send(id, note)
	}
}

// receivers returns the nodes that hold who is to hear of an append, and the whereabouts that are not known.
func (c *cluster) receivers(a *Append, nodes []NodeID) (_ []NodeID, unknown []Key) {
	peer := func(p PeerID) {
		var known bool
		if nodes, known = c.nodesOf(peerKey{a.App, p}, nodes); !known {
			unknown = append(unknown, whereKey(peerKey{a.App, p}))
		}
	}
	m := a.Message
	switch {
	case m == nil:
		peer(a.EventPeer)
	case m.Group != "":
		var known bool
		k := groupKey{a.App, m.Group}
		if nodes, known = c.nodesOfGroup(k, nodes); !known {
			unknown = append(unknown, groupWhereKey(k))
		}
		for _, p := range m.changed() {
			peer(p)
		}
	case m.Transient:
		for _, p := range m.To {
			peer(p)
		}
		if !slices.Contains(m.To, m.From) {
			peer(m.From)
		}
	default:
		for _, p := range a.Inboxes {
			peer(p)
		}
	}
	return nodes, unknown
}

// nodesOf adds the other nodes that a peer is connected to.
func (c *cluster) nodesOf(key peerKey, nodes []NodeID) (_ []NodeID, known bool) {
	sh := c.b.shardOf(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.get(key)
	if len(p.sessions) == 0 && len(p.watchers) == 0 {
		p.used = c.seconds()
	}
	for i := range p.away {
		if !slices.Contains(nodes, p.away[i].node) {
			nodes = append(nodes, p.away[i].node)
		}
	}
	return nodes, p.known
}

// isAway reports whether a peer is connected to another node.
func (c *cluster) isAway(key peerKey) bool {
	nodes, _ := c.nodesOf(key, nil)
	return len(nodes) > 0
}

// isFirst reports whether this node is the first in order of those that a peer is connected to.
func (c *cluster) isFirst(key peerKey) bool {
	nodes, _ := c.nodesOf(key, nil)
	return !slices.ContainsFunc(nodes, func(id NodeID) bool { return id < c.id() })
}

// nodesOfGroup adds the other nodes that a group has members connected to.
func (c *cluster) nodesOfGroup(k groupKey, nodes []NodeID) (_ []NodeID, known bool) {
	sh := c.b.groupShardOf(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	live := sh.get(k)
	live.used = c.seconds()
	for _, id := range live.nodes {
		if !slices.Contains(nodes, id) {
			nodes = append(nodes, id)
		}
	}
	return nodes, live.known
}

// A told append is its kind, the app, the id, and what its kind has: numbers, names and the message as it is stored.

func encodeTold(a *Append) []byte {
	m := a.Message
	kind := noteEvent
	switch {
	case m == nil:
	case m.Transient:
		kind = noteTransient
	case m.Group != "":
		kind = noteGroup
	default:
		kind = noteMessage
	}
	size := 64 + len(a.Event)
	if m != nil {
		size = 160 + len(m.Payload) + m.Props.Size()
	}
	b := append(make([]byte, 0, size), byte(kind))
	b = appendField(b, string(a.App))
	b = append(b, a.ID[:]...)
	switch kind {
	case noteEvent:
		b = binary.AppendUvarint(b, a.N)
		b = appendField(b, string(a.EventPeer))
		return appendField(b, a.Event)
	case noteGroup:
		b = binary.AppendUvarint(b, a.N)
		b = append(b, a.Previous[:]...)
		b = append(b, flag(m.openGroup))
	case noteTransient:
		b = append(b, m.QoS, flag(m.openGroup))
	default:
		b = binary.AppendUvarint(b, uint64(len(a.Inboxes)))
		for i, p := range a.Inboxes {
			b = appendField(b, string(p))
			b = binary.AppendUvarint(b, a.InboxN[i])
		}
	}
	b, err := m.AppendBinary(b)
	if err != nil {
		panic("broker: message does not encode: " + err.Error()) // it was stored, or could have been
	}
	return b
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}

// decodeTold parses what another node told.
func decodeTold(note []byte) (*Append, bool) {
	r := fieldReader{b: note[1:]}
	a := &Append{App: AppID(r.text()), ID: r.id()}
	m := &Message{App: a.App, ID: a.ID}
	switch noteKind(note[0]) {
	case noteEvent:
		a.N = r.uvarint()
		a.EventPeer = PeerID(r.text())
		a.Event = slices.Clone(r.bytes())
		return a, !r.bad
	case noteGroup:
		a.N = r.uvarint()
		a.Previous = r.id()
		m.openGroup = r.byte() == 1
	case noteTransient:
		m.Transient = true
		qos := r.byte()
		m.openGroup = r.byte() == 1
		if r.bad || m.UnmarshalBinary(r.b) != nil {
			return nil, false
		}
		m.QoS, a.Message = qos, m
		return a, true
	default:
		for range r.count() {
			a.Inboxes = append(a.Inboxes, PeerID(r.text()))
			a.InboxN = append(a.InboxN, r.uvarint())
		}
	}
	a.Message = m
	return a, !r.bad && m.UnmarshalBinary(r.b) == nil
}

// id reads a message id, which has no length in front.
func (r *fieldReader) id() (id MessageID) {
	if len(r.b) < len(id) {
		r.bad, r.b = true, nil
		return id
	}
	copy(id[:], r.b)
	r.b = r.b[len(id):]
	return id
}

func (r *fieldReader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	b := r.b[0]
	r.b = r.b[1:]
	return b
}
