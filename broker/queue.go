package broker

import (
	"context"
	"slices"
)

// The offline queue is no place of its own: it is what lies between a device's cursors and the ends of its logs. This
// file finds both when the device comes back; how much of what lies between it still gets is said in waitinglogs.go.

// plan sets a session's logs to where its device stood, and what of the rest is passed over.
func (b *Broker) plan(ctx context.Context, s *Session, st *restored, present bool) error {
	if s.mode == receiveNone {
		s.before = st.record
		return nil
	}
	if st.record != nil {
		s.mu.Lock()
		s.out.missed.add(st.record.Missed)
		s.mu.Unlock()
	}
	logs := s.plannedLogs(st)
	if err := b.fallbackCursors(ctx, s, st, logs); err != nil {
		return err
	}
	ids := make([]LogID, len(logs))
	for i, l := range logs {
		ids[i] = l.id
	}
	last, err := b.store.Last(ctx, ids)
	if err != nil {
		return err
	}
	absent := MessageID{}
	if st.record != nil {
		absent = st.record.Absent
	}
	w := waitingLogs{broker: b, app: s.app.id, cfg: s.app.cfg.Load(), absent: absent}
	w.tooOld = FirstIDAt(b.now().Add(-w.cfg.Queue.Age).UnixMilli())
	var moved []*logState
	s.mu.Lock()
	for i, l := range logs {
		at := st.cursors[l.id.short()]
		if joined := st.joined[l.id.Owner]; l.id.Kind == LogConversation && joined.ID.Compare(at.ID) > 0 {
			at = joined // it left and joined again
		}
		l.cursor, l.saved = at, st.stored[l.id.short()]
		if !present || l.sent.ID.Compare(at.ID) < 0 {
			l.sent = at
		}
		l.gaps = st.record.gapsOf(l.id).behind(at.N)
		if to, ok := l.gaps.over(l.sent.N + 1); ok {
			l.sent = to
		}
		l.loaded = l.sent
		l.head = max(l.head, last[i].N, at.N)
		l.waited, l.heard = last[i].N, last[i].N
		l.behind = l.loaded.N < l.head
		if l.behind {
			moved = append(moved, l)
		}
	}
	s.mu.Unlock()
	for _, l := range moved {
		w.logs = append(w.logs, &waitingLog{state: l, from: l.loaded, last: last[slices.Index(ids, l.id)]})
	}
	if all, err := w.keepAll(ctx); all || err != nil {
		return err
	}
	if err := w.choose(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := b.now().UnixMilli()
	for _, l := range w.logs {
		l.apply(&s.out)
		for _, g := range l.passed {
			s.markAt(l.state, trailPassed, g.from, now)
			s.markAt(l.state, trailPassedTo, g.to.N, now)
		}
	}
	return nil
}

// plannedLogs returns the logs that a plan is made for. That of a group joined since the memberships were read begins at its join by itself.
func (s *Session) plannedLogs(st *restored) (logs []*logState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.out.logs {
		if _, joined := st.joined[l.id.Owner]; joined || l.id.Kind != LogConversation {
			logs = append(logs, l)
		}
	}
	return logs
}

// fallbackCursors gives a device never seen the place of the furthest of its peer's devices. A known device without a place in
// its inbox has got nothing from it yet.
func (b *Broker) fallbackCursors(ctx context.Context, s *Session, st *restored, logs []*logState) error {
	keys := make([]Key, len(logs))
	for i, l := range logs {
		keys[i] = cursorKey(s.app.id, s.peer, "", l.id)
	}
	values, err := b.store.Get(ctx, keys)
	if err != nil {
		return err
	}
	for _, o := range b.connected(s.key(), nil) {
		if o != s {
			o.raiseFurthest()
		}
	}
	if b.cluster != nil && st.record == nil {
		if err := b.raiseFromStore(ctx, s); err != nil {
			return err
		}
	}
	for i, l := range logs {
		far := s.far.raise(l.id, decodePosition(values[i]))
		_, ok := st.cursors[l.id.short()]
		switch {
		case ok:
		case l.id.Kind != LogConversation && st.record == nil:
			st.cursors[l.id.short()] = far
		case l.id.Kind == LogConversation:
			at, err := b.groupStart(ctx, st, l.id, far)
			if err != nil {
				return err
			}
			st.cursors[l.id.short()] = at
		}
	}
	return nil
}

// raiseFromStore finds the furthest of a peer's devices where some may be at other nodes: each node raises what is stored by its own alone.
func (b *Broker) raiseFromStore(ctx context.Context, s *Session) error {
	cursors, err := b.store.List(ctx, ListQuery{Space: SpaceCursor, App: s.app.id, Owner: string(s.peer), Limit: maxDeviceRecords})
	for _, r := range cursors {
		log := logOfCursor(r.Key.Name)
		s.far.raise(logOf(s.app.id, s.peer, log), decodePosition(r.Value))
	}
	return err
}

// groupStart is where a device without a place in a group's log begins: at its peer's join, but not before what it had
// already when it went. Only logs in which something was left get a place when a device goes.
func (b *Broker) groupStart(ctx context.Context, st *restored, l LogID, far Position) (Position, error) {
	joined := st.joined[l.Owner]
	if st.record == nil {
		if far.N > joined.N {
			return far, nil
		}
		return joined, nil
	}
	had := st.record.Had
	if had.Compare(joined.ID) <= 0 {
		return joined, nil
	}
	last, err := b.store.Read(ctx, l, Range{After: joined.ID, Before: had.after(), Reverse: true, Limit: 1})
	if err != nil || len(last) == 0 {
		return joined, err
	}
	return Position{last[0].N, last[0].ID}, nil
}

// waiting is how many messages of a log are still to be delivered.
func (l *logState) waiting() uint64 {
	if l.id.Kind == LogEvents || l.head <= l.loaded.N {
		return 0
	}
	return l.head - l.loaded.N - l.gaps.count(l.loaded.N, l.head)
}
