package broker

import (
	"context"
	"time"
)

// The pump moves a session's cursors over its logs: it reads what the session is behind with (catch-up), takes what is
// offered in order (live), and sends within the window. Next is its turn; it runs on the link's writing goroutine.

const storeReadDeadline = 10 * time.Second

// Next appends what should be sent now to out, up to its capacity, and returns it; nothing appended means that there is nothing until
// the next Link.Wake. It is called by one goroutine at a time and may read the store.
func (s *Session) Next(out []Out) []Out {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.out
	if !o.started || s.ended {
		return out
	}
	for {
		for o.ready.len() > 0 && len(out) < cap(out) {
			out = append(out, o.ready.pop())
		}
		out = s.nextMissed(out)
		out = s.nextPresence(out)
		out = s.nextVolatile(out)
		out = s.nextResend(out)
		if o.resend.len() == 0 { // what is sent again comes before what is new
			out = s.nextPending(out)
		}
		if o.missed.Count > 0 && len(out) < cap(out) {
			out = s.nextMissed(out)
		}
		if len(out) == cap(out) || s.ended || o.pending.len() > 0 || o.resend.len() > 0 || !o.windowOpen() {
			return out
		}
		log := o.nextBehind()
		if log == nil {
			return out
		}
		if !s.load(log) {
			return out
		}
	}
}

// Behind reports whether Next is going to read the store, and so may take its time.
func (s *Session) Behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.resend.len() > 0 || s.out.windowOpen() && s.out.nextBehind() != nil
}

// nextBehind returns the log to be read next: the one that is furthest behind in time, so that what waited in several logs
// comes roughly in the order in which it was accepted.
func (o *outbound) nextBehind() (next *logState) {
	for _, l := range o.logs {
		if l.behind && !l.held && (next == nil || l.loaded.ID.Compare(next.loaded.ID) < 0) {
			next = l
		}
	}
	return next
}

// load reads the next page of a log into pending. It unlocks s.mu while it reads, and reports whether it got anywhere.
func (s *Session) load(l *logState) bool {
	s.passGap(l, l.loaded.N+1)
	from := l.loaded
	more := l.more
	l.more = false // set again by a change of members that comes during the read
	s.mu.Unlock()
	items, err := s.b.readItems(l, from, pageSize)
	s.mu.Lock()
	if err != nil {
		l.more = l.more || more
		s.b.log.Warn("log could not be read; trying again", "app", s.app.id, "peer", s.peer, "err", err)
		time.AfterFunc(time.Second, s.link.Wake)
		return false
	}
	if l.loaded != from || l.held || s.out.log(l.id) != l {
		l.more = l.more || more
		return true // stopped, moved on, or the peer left the group meanwhile
	}
	l.more = l.more || more && len(items) == pageSize
	for i, it := range items {
		if it.msg != nil && it.msg.leaves(s.peer) {
			l.more, l.head = false, l.loaded.N // the log ends here for this peer, and is about to be dropped
			break
		}
		if _, gap := l.gaps.over(it.at.N); gap {
			if i == 0 {
				s.passGap(l, it.at.N)
			}
			break
		}
		s.out.push(it)
		l.head = max(l.head, it.at.N)
	}
	if len(items) == 0 { // emptied by an operator
		l.loaded.N = max(l.loaded.N, l.head)
	}
	l.behind = l.loaded.N < l.head || l.more
	return true
}

// passGap goes to the end of the log's gap that holds number n, if there is one.
func (s *Session) passGap(l *logState, n uint64) {
	to, ok := l.gaps.over(n)
	if !ok {
		return
	}
	l.loaded = to
	if s.out.pending.len() == 0 && s.out.flights.len() == 0 {
		l.sent = l.loaded
	}
}

// readItems reads entries behind from, with their messages.
func (b *Broker) readItems(l *logState, from Position, limit int) ([]item, error) {
	ctx, cancel := context.WithTimeout(context.Background(), storeReadDeadline)
	defer cancel()
	entries, err := b.store.Read(ctx, l.id, Range{After: from.ID, Limit: limit})
	if err != nil {
		return nil, err
	}
	items := make([]item, len(entries))
	var ids []MessageID
	for i, e := range entries {
		items[i] = item{log: l, at: Position{e.N, e.ID}, event: e.Value}
		if l.id.Kind != LogEvents {
			ids = append(ids, e.ID)
		}
	}
	if len(ids) == 0 {
		return items, nil
	}
	messages, err := b.store.Messages(ctx, l.id.App, ids)
	if err != nil {
		return nil, err
	}
	for i, m := range messages {
		items[i].msg = m
	}
	return items, nil
}

// nextPending sends from pending while the window and out have room.
func (s *Session) nextPending(out []Out) []Out {
	o := &s.out
	now := int64(0)
	for o.pending.len() > 0 && len(out) < cap(out) {
		it := o.pending.at(0)
		if it.log.held {
			o.unload(it.log)
			continue
		}
		if now == 0 {
			now = s.b.now().UnixMilli()
		}
		next, verdict := s.render(it, now, false)
		switch verdict {
		case renderHold:
			it.log.held = true
			o.unload(it.log)
			continue
		case renderMiss:
			o.missed.add(missed{1, it.at.ID.Time()})
			fallthrough
		case renderSkip:
			if verdict == renderMiss || it.msg != nil && it.msg.Expired(now) {
				s.markAt(it.log, trailPassed, it.at.N, now)
			}
			it.log.sent = it.at
			s.markDirty()
			o.pop()
			continue
		case renderSend:
		}
		if next.QoS > 0 && !o.windowOpen() {
			return out
		}
		it.log.sent = it.at
		if next.QoS == 0 {
			o.atOnce = append(o.atOnce, position{it.log, it.at})
		} else {
			next.Tag = o.tag()
			f := flight{tag: next.Tag, qos: next.QoS, log: it.log, at: it.at, attempts: s.attemptsOf(it) + 1}
			if it.msg != nil && it.msg.Receipt && s.isReceiver(it.msg) {
				f.receipt = it.msg
			}
			o.fly(f)
		}
		s.b.counters.delivered.Add(1)
		s.markAt(it.log, trailSent, it.at.N, now)
		out = append(out, next)
		o.pop()
	}
	return out
}

func (s *Session) isReceiver(m *Message) bool { return len(m.To) == 1 && m.To[0] == s.peer }

func (s *Session) attemptsOf(it *item) int {
	if len(s.attempts) == 0 {
		return 0
	}
	return s.attempts[attempt{it.log.id, it.at.N}]
}

// nextPresence sends the last state of watched peers; several changes of one peer that wait are one.
func (s *Session) nextPresence(out []Out) []Out {
	o := &s.out
	for o.order.len() > 0 && len(out) < cap(out) {
		peer := *o.order.at(0)
		state, ok := o.presence[peer]
		if !ok {
			o.order.drop(1)
			continue
		}
		next, ok := s.renderPresence(peer, state)
		if ok {
			if next.QoS > 0 {
				if !o.windowOpen() {
					return out
				}
				next.Tag = o.tag()
				o.fly(flight{tag: next.Tag, qos: next.QoS, presence: true})
			}
			out = append(out, next)
		}
		delete(o.presence, peer)
		o.order.drop(1)
	}
	return out
}

// nextVolatile sends what is kept nowhere, unless it expired while it waited [MQTT-3.3.2-5].
func (s *Session) nextVolatile(out []Out) []Out {
	o := &s.out
	for o.volatile.len() > 0 && len(out) < cap(out) {
		next := *o.volatile.at(0)
		if at := next.expires(); at != 0 && at <= s.b.now().UnixMilli() {
			o.volatile.drop(1)
			continue
		}
		if next.QoS > 0 {
			if !o.windowOpen() {
				return out
			}
			next.Tag = o.tag()
			f := flight{tag: next.Tag, qos: next.QoS, presence: true}
			if s.persisted && next.Kind == OutPublish {
				kept := next
				f.topic = &kept
			}
			o.fly(f)
		}
		out = append(out, next)
		o.volatile.drop(1)
	}
	return out
}

// nextResend sends again, first of all and under the same packet identifiers, what the connection before left
// unacknowledged [MQTT-4.4.0-1].
func (s *Session) nextResend(out []Out) []Out {
	o := &s.out
	for o.resend.len() > 0 && len(out) < cap(out) {
		f := *o.resend.at(0)
		if f.received {
			o.fly(f)
			out = append(out, Out{Kind: OutRelease, Tag: f.tag})
			o.resend.drop(1)
			continue
		}
		if f.qos > 0 && !o.windowOpen() {
			return out // [MQTT-3.3.4-9]: the Receive Maximum is that of this connection
		}
		if f.topic != nil {
			next := *f.topic
			next.Tag, next.Dup = f.tag, true
			o.fly(f)
			out = append(out, next)
			o.resend.drop(1)
			continue
		}
		l := f.log
		s.mu.Unlock()
		items, err := s.b.readItems(l, before(f.at), 1)
		s.mu.Lock()
		if err != nil {
			s.b.log.Warn("log could not be read; trying again", "app", s.app.id, "peer", s.peer, "err", err)
			time.AfterFunc(time.Second, s.link.Wake)
			return out
		}
		if o.resend.len() == 0 || o.resend.at(0).log != l || o.resend.at(0).at != f.at {
			continue // the peer left the group meanwhile
		}
		o.resend.drop(1)
		if len(items) != 1 || items[0].at.ID != f.at.ID {
			delete(o.tags, f.tag)
			s.markDirty()
			continue
		}
		now := s.b.now().UnixMilli()
		next, verdict := s.render(&items[0], now, true)
		if verdict == renderMiss {
			o.missed.add(missed{1, f.at.ID.Time()})
			s.markAt(l, trailPassed, f.at.N, now)
		}
		if verdict != renderSend {
			delete(o.tags, f.tag)
			s.markDirty()
			continue
		}
		s.markAt(l, trailSent, f.at.N, now)
		next.Tag, next.QoS, next.Dup = f.tag, f.qos, f.qos > 0
		if f.qos == 0 { // returned by Next on the connection before, and not written
			o.atOnce = append(o.atOnce, position{l, f.at})
			out = append(out, next)
			continue
		}
		f.attempts++
		if m := items[0].msg; m != nil && m.Receipt && s.isReceiver(m) {
			f.receipt = m
		}
		o.fly(f)
		out = append(out, next)
	}
	return out
}
