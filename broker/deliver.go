package broker

import "slices"

// deliver hands durable appends to the sessions of this node, in the order of their numbers, and returns those to be woken.
func (b *Broker) deliver(appends []Append) (wake []*Session) {
	for i := range appends {
		a := &appends[i]
		if a.Duplicate || a.Refused {
			continue
		}
		if a.Message != nil && a.Message.Kind == KindMessage {
			b.counters.accepted.Add(1)
		}
		wake = b.deliverHere(a, wake)
		if b.cluster != nil {
			b.cluster.tell(a)
		}
	}
	if len(appends) > 0 {
		b.wakeReaders(appends[0].App) // a batch is of one app
	}
	return wake
}

// deliverHere hands what this node or another accepted to the sessions here.
func (b *Broker) deliverHere(a *Append, wake []*Session) []*Session {
	var buf [8]*Session
	m := a.Message
	switch {
	case m == nil:
		it := item{at: Position{a.N, a.ID}, event: a.Event}
		return b.offerAll(a.App, a.EventPeer, LogEvents, it, buf[:0], wake)
	case m.Transient:
		return append(wake, b.offerTransient(m)...)
	case m.Group != "" && b.cluster != nil:
		return b.deliverInOrder(a, wake)
	case m.Group != "":
		return b.deliverGroup(a, wake)
	}
	for j, p := range a.Inboxes {
		it := item{at: Position{a.InboxN[j], a.ID}, msg: m}
		wake = b.offerAll(a.App, p, LogInbox, it, buf[:0], wake)
	}
	return wake
}

// deliverGroup hands a durable group message, or a change of members, to the members connected here.
func (b *Broker) deliverGroup(a *Append, wake []*Session) []*Session {
	m := a.Message
	sessions, open := b.liveSessions(groupKey{a.App, m.Group})
	log := LogID{LogConversation, a.App, string(m.Group)}
	for _, s := range sessions {
		var ok bool
		if open {
			ok = s.offerTransient(m)
		} else {
			ok = s.offerGroup(log, item{at: Position{a.N, a.ID}, msg: m})
		}
		if ok && (len(wake) == 0 || wake[len(wake)-1] != s) {
			wake = append(wake, s)
		}
	}
	return wake
}

func (b *Broker) offerAll(app AppID, p PeerID, kind LogKind, it item, buf, wake []*Session) []*Session {
	log := LogID{Kind: kind, App: app, Owner: string(p)}
	for _, s := range b.connected(peerKey{app, p}, buf) {
		if s.offer(log, it) && (len(wake) == 0 || wake[len(wake)-1] != s) {
			wake = append(wake, s)
		}
	}
	return wake
}

// deliverTransient hands a transient message to who is online now. A reader too slow for it misses it: it is kept nowhere.
func (b *Broker) deliverTransient(m *Message) (wake []*Session) {
	if b.cluster != nil {
		b.cluster.tell(&Append{App: m.App, ID: m.ID, Message: m})
	}
	return b.offerTransient(m)
}

func (b *Broker) offerTransient(m *Message) (wake []*Session) {
	if m.Group != "" {
		sessions, _ := b.liveSessions(groupKey{m.App, m.Group})
		for _, s := range sessions {
			if s.offerTransient(m) {
				wake = append(wake, s)
			}
		}
		return wake
	}
	var buf [8]*Session
	receivers := m.To
	if !slices.Contains(m.To, m.From) {
		receivers = append(slices.Clip(m.To), m.From)
	}
	for _, p := range receivers {
		for _, s := range b.connected(peerKey{m.App, p}, buf[:0]) {
			if s.offerTransient(m) {
				wake = append(wake, s)
			}
		}
	}
	return wake
}

func (s *Session) offerTransient(m *Message) bool {
	own := s.sent(m)
	if s.mode == receiveNone || own && s.keepsFrom(m) {
		return false
	}
	next := Out{Kind: OutMessage, Message: m, ID: m.ID, To: s.peer, Assigned: s.b.now().UnixMilli()}
	if m.Group != "" {
		next.To = ""
	} else if own {
		next.To = m.To[0]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.granted(m, next.To)
	if s.ended || g.stopped || s.out.volatile.len() >= maxTransient {
		return false
	}
	next.SubIDs = g.ids
	if s.envelope {
		next.Payload, next.Wrapped = m.envelope(), true
	}
	if s.maxPacket != 0 && s.packetSize(&next) > int(s.maxPacket) {
		return false
	}
	s.out.volatile.push(next)
	return true
}

// Deliver queues a message of {app}/topic/: an OutPublish without Tag, its QoS the lower of publish and subscription. A reader
// too slow for it misses it, as one that has ended; taken is false then.
func (s *Session) Deliver(o Out) (taken bool) {
	s.mu.Lock()
	full := s.ended || s.mode == receiveNone || s.out.volatile.len() >= maxTransient
	if !full {
		s.out.volatile.push(o)
	}
	s.mu.Unlock()
	if !full {
		s.link.Wake()
	}
	return !full
}
