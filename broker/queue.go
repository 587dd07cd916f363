package broker

import (
	"context"
	"slices"
	"time"
)

// The offline queue is no place of its own: it is what lies between a device's cursors and the ends of its logs. This
// file says how much of that a device still gets when it comes back (spec 9):
//
//   - what was accepted while it was connected, and so was due to it: the newest queue.connected messages;
//   - what was accepted while it was absent: the newest queue.messages, over all its logs together;
//   - nothing older than queue.age. The rest is counted in "missed".

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
		l.waited = last[i].N
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

// interrupted completes the record of a connection whose end was not stored. It was cut by a crash, and then all accepted before this
// start was due to it; or the store was away when it ended here.
func (b *Broker) interrupted(r *deviceRecord) {
	end := b.started
	if b.cluster != nil {
		end = b.cluster.goneAt(NodeID(r.Connected))
	}
	if r.Connected == b.self() || end == 0 {
		end = b.now().UnixMilli()
	}
	r.Absent = FirstIDAt(end)
	if r.Expiry > 0 {
		r.Resume = end + r.Expiry
	}
}

// waitingLogs decides over all logs of a device what still waits in them.
type waitingLogs struct {
	broker *Broker
	app    AppID
	cfg    *AppConfig
	absent MessageID
	tooOld MessageID
	logs   []*waitingLog
}

// waitingLog is one log that moved since the device's cursor.
type waitingLog struct {
	state    *logState
	from     Position // what is behind this waits
	last     Entry    // the log's end
	newest   []Entry  // at most queue.messages of those accepted while absent, newest first
	absentAt Position // the last entry accepted before the device went
	kept     []Entry  // of newest, those that stay
	dueFrom  Position // what was due waits behind this
	missed   missed   // of what is passed over, now and not by an earlier plan
	passed   gaps
}

// keepAll reports whether nothing is to be passed over: the usual case, found with one short read a log.
func (w *waitingLogs) keepAll(ctx context.Context) (bool, error) {
	messages := uint64(0)
	for _, l := range w.logs {
		if l.state.id.Kind != LogEvents {
			messages += l.last.N - l.from.N - l.state.gaps.count(l.from.N, l.last.N)
		}
	}
	if messages > uint64(max(min(w.cfg.Queue.Messages, w.cfg.Queue.Connected), 0)) {
		return false, nil
	}
	for _, l := range w.logs {
		oldest, err := w.broker.store.Read(ctx, l.state.id, Range{After: l.from.ID, Limit: 1})
		if err != nil || len(oldest) > 0 && oldest[0].ID.Compare(w.tooOld) < 0 {
			return false, err
		}
	}
	return true, nil
}

// choose fills in what stays of every log.
func (w *waitingLogs) choose(ctx context.Context) error {
	for _, l := range w.logs {
		if err := w.read(ctx, l); err != nil {
			return err
		}
	}
	w.cut()
	for _, l := range w.logs {
		if err := w.settle(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// read finds what of a log was accepted while the device was absent.
func (w *waitingLogs) read(ctx context.Context, l *waitingLog) error {
	limit := w.cfg.Queue.Messages
	if l.state.id.Kind == LogEvents {
		limit = maxWaitingEvents
	}
	after := maxID(l.from.ID, maxID(w.absent, w.tooOld.before()))
	r := Range{After: after, Reverse: true, Limit: limit}
	for len(l.newest) < limit {
		page, err := w.broker.store.Read(ctx, l.state.id, r)
		if err != nil {
			return err
		}
		for _, e := range page {
			if e.Kind == KindMessage && len(l.newest) < limit {
				l.newest = append(l.newest, e)
			}
		}
		if len(page) < r.Limit {
			break
		}
		r.Before = page[len(page)-1].ID
	}
	l.absentAt = l.from
	if w.absent.Compare(l.from.ID) > 0 {
		before, err := w.broker.store.Read(ctx, l.state.id, Range{After: l.from.ID, Before: w.absent.after(), Reverse: true, Limit: 1})
		if err != nil {
			return err
		}
		if len(before) > 0 {
			l.absentAt = Position{before[0].N, before[0].ID}
		}
	}
	l.kept = l.newest
	return nil
}

// cut keeps the newest queue.messages of all logs together. Events do not count (spec 13).
func (w *waitingLogs) cut() {
	total := 0
	for _, l := range w.logs {
		if l.state.id.Kind != LogEvents {
			total += len(l.newest)
		}
	}
	for ; total > w.cfg.Queue.Messages; total-- {
		var oldest *waitingLog
		for _, l := range w.logs {
			if l.state.id.Kind == LogEvents || len(l.kept) == 0 {
				continue
			}
			if oldest == nil || l.kept[len(l.kept)-1].ID.Compare(oldest.kept[len(oldest.kept)-1].ID) < 0 {
				oldest = l
			}
		}
		oldest.kept = oldest.kept[:len(oldest.kept)-1]
	}
}

// settle turns what stays of a log into what is passed over.
func (w *waitingLogs) settle(ctx context.Context, l *waitingLog) error {
	l.dueFrom = l.from
	due := l.absentAt.N - l.from.N - l.state.gaps.count(l.from.N, l.absentAt.N)
	to := l.from.N
	if most := uint64(max(w.cfg.Queue.Connected, 0)); due > most && l.state.id.Kind != LogEvents {
		to = l.state.gaps.advance(l.from.N, due-most)
	}
	if due > 0 {
		old, err := w.broker.store.Read(ctx, l.state.id, Range{After: l.from.ID, Before: minID(w.tooOld, l.absentAt.ID.after()), Reverse: true, Limit: 1})
		if err != nil {
			return err
		}
		if len(old) > 0 {
			to = max(to, old[0].N)
		}
	}
	if to > l.from.N {
		if err := w.pass(ctx, l, l.from, to); err != nil {
			return err
		}
		l.dueFrom = l.passed[0].to
	}
	end := l.last.N
	if len(l.kept) > 0 {
		end = l.kept[len(l.kept)-1].N - 1
	}
	if end > l.absentAt.N {
		return w.pass(ctx, l, Position{max(l.absentAt.N, l.dueFrom.N), maxID(l.absentAt.ID, l.dueFrom.ID)}, end)
	}
	return nil
}

// pass notes that the entries behind from, up to number to, are missed.
func (w *waitingLogs) pass(ctx context.Context, l *waitingLog, from Position, to uint64) error {
	first, err := w.firstMessage(ctx, l, from)
	if err != nil {
		return err
	}
	if first.N == 0 || first.N > to {
		return nil
	}
	end := Position{N: to}
	switch {
	case to == l.last.N:
		end.ID = l.last.ID
	case len(l.kept) > 0 && l.kept[len(l.kept)-1].N == to+1:
		end.ID = l.kept[len(l.kept)-1].ID.before()
	default:
		if end, err = w.find(ctx, l, from, to); err != nil {
			return err
		}
	}
	if l.state.id.Kind != LogEvents {
		l.missed.add(missed{to - from.N - l.state.gaps.count(from.N, to), first.ID.Time()})
	}
	l.passed = append(l.passed, gap{from.N + 1, end})
	return nil
}

// firstMessage returns the first entry behind from that is no change of members; its N is 0 when there is none.
func (w *waitingLogs) firstMessage(ctx context.Context, l *waitingLog, from Position) (Entry, error) {
	for r := (Range{After: from.ID, Limit: 1}); ; r.Limit = pageSize {
		page, err := w.broker.store.Read(ctx, l.state.id, r)
		if err != nil {
			return Entry{}, err
		}
		for _, e := range page {
			if e.Kind == KindMessage {
				return e, nil
			}
			r.After = e.ID
		}
		if len(page) < r.Limit {
			return Entry{}, nil
		}
	}
}

// find returns the place of a number behind from. It reads forward: only a device that comes back to more than
// queue.connected messages needs it.
func (w *waitingLogs) find(ctx context.Context, l *waitingLog, from Position, to uint64) (Position, error) {
	for from.N < to {
		page, err := w.broker.store.Read(ctx, l.state.id, Range{After: from.ID, Limit: int(min(1000, to-from.N))})
		if err != nil || len(page) == 0 {
			return from, err
		}
		end := page[len(page)-1]
		from = Position{end.N, end.ID}
	}
	return from, nil
}

// apply sets the session's log to the plan.
func (l *waitingLog) apply(o *outbound) {
	s := l.state
	s.gaps = s.gaps.with(l.passed)
	if to, ok := s.gaps.over(s.loaded.N + 1); ok {
		s.loaded, s.sent = to, to
	}
	s.behind = s.loaded.N < s.head
	o.missed.add(l.missed)
}

// waiting is how many messages of a log are still to be delivered.
func (l *logState) waiting() uint64 {
	if l.id.Kind == LogEvents || l.head <= l.loaded.N {
		return 0
	}
	return l.head - l.loaded.N - l.gaps.count(l.loaded.N, l.head)
}

func maxID(a, b MessageID) MessageID {
	if a.Compare(b) > 0 {
		return a
	}
	return b
}

func minID(a, b MessageID) MessageID {
	if a.Compare(b) < 0 {
		return a
	}
	return b
}

// after returns the least id above id.
func (id MessageID) after() MessageID {
	for i := len(id) - 1; i >= 0; i-- {
		id[i]++
		if id[i] != 0 {
			return id
		}
	}
	return id
}

func encodeTime(ms int64) []byte { return encodePosition(Position{N: uint64(ms)}) } //nolint:gosec // after 1970

func decodeTime(b []byte) int64 { return int64(decodePosition(b).N) } //nolint:gosec // as written

const saveEvery = time.Second
