package broker

import "context"

// How much of what lies between a device's cursors and the ends of its logs it still gets when it comes back (spec 9):
//
//   - what was accepted while it was connected, and so was due to it: the newest queue.connected messages;
//   - what was accepted while it was absent: the newest queue.messages, over all its logs together;
//   - nothing older than queue.age. The rest is counted in "missed".

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
