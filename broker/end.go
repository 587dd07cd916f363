package broker

import (
	"context"
	"maps"
	"slices"
	"time"
)

// End tells that the session's connection ended. expiry, when not nil, is the session expiry that an MQTT 5 DISCONNECT set.
func (s *Session) End(how EndReason, expiry *time.Duration) {
	b := s.b
	s.Submit()
	s.ending.Lock()
	defer s.ending.Unlock()
	s.mu.Lock()
	if expiry != nil {
		s.expiry, s.persisted = *expiry, *expiry > 0
	}
	s.mu.Unlock()
	if !s.finish(how) {
		b.abandon(s) // taken over: the new session has its state
		s.publishWill()
		return
	}
	closed := how == EndDisconnect || how == EndDisconnectWill
	moving := !closed && b.cluster != nil && (s.moving.Load() || b.stopped.Load())
	hold := time.Duration(0)
	if moving || how == EndLost && !b.stopped.Load() {
		hold = max(s.app.cfg.Load().Presence.Grace, min(s.willDelay, s.expiry))
	}
	if moving { // it goes on at another node; one that does not is offline, and its will is published
		hold = max(hold, b.cluster.lease)
	}
	b.leave(s, hold)
	switch {
	case how == EndDisconnect:
		s.forgetWill()
	case moving:
		s.publishWillAfter(hold)
	default:
		s.publishWill()
	}
	s.mu.Lock()
	s.kept = s.persisted && (s.version < 5 || s.expiry > 0)
	s.mu.Unlock()
	b.storeEnded(s)
	if b.cluster != nil {
		b.cluster.unclaimLater(s.key(), held{s.device, b.cluster.id(), s.claim}, hold)
	}
	b.log.Debug("session ended", "app", s.app.id, "peer", s.peer, "device", s.device, "closed", closed)
}

// abandon drops what a session that was taken over still holds in the registry.
func (b *Broker) abandon(s *Session) {
	b.counters.sessions.Add(-1)
	s.app.sessions.Add(-1)
	s.mu.Lock()
	peers := slices.Collect(maps.Keys(s.watch))
	s.mu.Unlock()
	for _, p := range peers {
		b.removeWatcher(s, p)
	}
	b.quitAll(s)
}

// forgetClosing takes a session out of those that are not stored yet.
func (b *Broker) forgetClosing(s *Session) {
	sh := b.shardOf(s.key())
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.peers[s.key()]; p != nil {
		p.closing = remove(p.closing, s)
		sh.release(p)
	}
}

// leave takes a session out of the registry; with its peer's last one the peer goes offline, after hold.
func (b *Broker) leave(s *Session, hold time.Duration) {
	b.abandon(s)
	b.depart(s, hold)
}

func (b *Broker) depart(s *Session, hold time.Duration) {
	sh := b.shardOf(s.key())
	sh.mu.Lock()
	p := sh.get(s.key())
	p.sessions = remove(p.sessions, s)
	p.closing = append(p.closing, s)
	wake := b.wentAway(sh, p, hold)
	sh.mu.Unlock()
	wakeAll(wake)
}

// storeEnded stores what the session leaves behind. Until that is done an open of the device takes it from memory.
func (b *Broker) storeEnded(s *Session) {
	b.commitLazily(b.endedBatch(s), func() { b.forgetClosing(s) })
}

// storeEndedAndWait does that for a device that another node takes over.
func (b *Broker) storeEndedAndWait(ctx context.Context, s *Session) error {
	defer b.forgetClosing(s)
	_, err := b.commit(ctx, b.endedBatch(s))
	return err
}

func (b *Broker) endedBatch(s *Session) *Batch {
	rec := s.snapshot()
	now := b.now()
	age := s.app.cfg.Load().Queue.Age
	s.mu.Lock()
	writes := slices.Concat(s.cursorWrites(true), s.trailWrites()) // first, as in openedBatch
	s.mu.Unlock()
	writes = append(writes,
		s.guarded(Write{Key: deviceKey(s.app.id, s.peer, s.device), Value: mustJSON(rec), Expires: now.Add(age).UnixMilli()}),
		Write{Key: seenKey(s.app.id, s.peer), Value: encodeTime(now.UnixMilli())},
	)
	writes = append(writes, b.openEnded(s)...)
	return &Batch{Writes: writes}
}

// snapshot is what the session leaves to the next one of its device.
func (s *Session) snapshot() *deviceRecord {
	requested := s.watchedByRequest()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.endedAt // not that of the store, which may take its time
	if !s.ended {
		now = s.b.now()
	}
	rec := &deviceRecord{Since: now.UnixMilli(), Address: s.remote, Protocol: s.protocol(), Opened: s.since, Will: s.will != nil, Absent: FirstIDAt(now.UnixMilli() + 1), Had: s.had}
	rec.Closed = s.how == EndDisconnect || s.how == EndDisconnectWill
	if !rec.Closed && s.expiry > 0 { // paused
		rec.Resume = now.Add(s.expiry).UnixMilli()
		rec.Watch = requested
	}
	s.out.settle()
	s.recordGaps(rec)
	for _, open := range [2][]flight{s.out.flights.all(), s.out.resend.all()} {
		for i := range open {
			if f := &open[i]; !f.done && f.log != nil {
				rec.Unacked = append(rec.Unacked, unackedEntry{f.log.id.short(), f.at, f.tag, f.qos, f.received, f.attempts})
			}
		}
	}
	for _, p := range s.out.atOnce { // not written
		rec.Unacked = append(rec.Unacked, unackedEntry{Log: p.log.id.short(), At: p.at})
	}
	if s.persisted && (s.version < 5 || s.expiry > 0) {
		if rec.Resume == 0 {
			rec.Resume = now.Add(s.expiry).UnixMilli() // the MQTT session goes on after DISCONNECT; Kith's watches do not
		}
		rec.MQTT = s.mqttPart()
	}
	return rec
}

func (s *Session) mqttPart() *mqttPart {
	m := &mqttPart{Subs: s.subs, Topics: s.topics, Releases: slices.Sorted(maps.Keys(s.in.releases)), LastTag: s.out.lastTag}
	for _, w := range s.watch {
		if w.sub != nil {
			m.Presence = append(m.Presence, *w.sub)
		}
	}
	for _, l := range s.out.logs {
		m.Sent = append(m.Sent, sentLog{l.id.short(), l.sent})
	}
	return m
}

// settled returns the session's logs with their cursors up to date.
func (s *Session) settled() []logState {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.settle()
	var logs []logState
	for _, l := range s.out.logs {
		logs = append(logs, *l)
	}
	return logs
}

// restore gives a resumed MQTT session what it was promised: subscriptions, packet identifiers, deliveries to be sent again.
func (s *Session) restore(rec *deviceRecord) {
	m := rec.MQTT
	s.subs, s.topics = slices.Clone(m.Subs), slices.Clone(m.Topics)
	for _, sub := range m.Presence {
		s.watchEntry(PeerID(parseTopic(s.app.id, sub.Filter).first)).sub = &sub
	}
	for _, tag := range m.Releases {
		if s.in.releases == nil {
			s.in.releases = make(map[uint16]struct{})
		}
		s.in.releases[tag] = struct{}{}
	}
	s.out.lastTag = m.LastTag
}

// restoreLogs sets how far the session's logs were sent and what is to be sent again.
func (s *Session) restoreLogs(rec *deviceRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range rec.MQTT.Sent {
		if state := s.out.log(logOf(s.app.id, s.peer, l.Log)); state != nil && state.loaded.ID.IsZero() {
			state.sent = l.At
		}
	}
	for _, u := range rec.Unacked {
		l := s.out.log(logOf(s.app.id, s.peer, u.Log))
		if l == nil || u.Tag == 0 && u.QoS > 0 {
			continue
		}
		if u.Tag != 0 {
			if s.out.tags == nil {
				s.out.tags = make(map[uint16]struct{})
			}
			s.out.tags[u.Tag] = struct{}{}
		}
		s.out.resend.push(flight{tag: u.Tag, qos: u.QoS, received: u.Received, attempts: u.Attempts, log: l, at: u.At})
	}
}

func attemptsOf(rec *deviceRecord, app AppID, p PeerID) map[attempt]int {
	if len(rec.Unacked) == 0 {
		return nil
	}
	m := make(map[attempt]int, len(rec.Unacked))
	for _, u := range rec.Unacked {
		m[attempt{logOf(app, p, u.Log), u.At.N}] = u.Attempts
	}
	return m
}
