package broker

import (
	"context"
)

// Open opens a session (CONNECT, spec 2): it checks who asks, takes an older connection of the same client id over, and queues
// what the session hears first. present is CONNACK's Session Present. Errors are *Error. The link's methods may
// be called before Open returns.
func (b *Broker) Open(ctx context.Context, r *OpenRequest, link Link) (s *Session, present bool, err error) {
	s, pw, err := b.admit(ctx, r, link)
	if err != nil {
		e := AsError(err)
		b.counters.refuse(e.Code)
		if e == errStoreAway {
			b.log.Error("open refused: the store failed", "app", r.App, "client", clip(r.ClientID), "code", e.Code, "err", err)
		} else {
			b.log.Info("open refused", "app", clip(r.App), "client", clip(r.ClientID), "address", r.Remote, "code", e.Code, "error", e.Code.Name())
		}
		return nil, false, e
	}
	lock := b.openingLock(s.key())
	lock.Lock()
	defer lock.Unlock()
	if b.cluster != nil {
		defer b.cluster.opened(b.cluster.opens(s))
		err = b.cluster.claim(ctx, s)
	}
	if err == nil {
		present, err = b.attach(ctx, r, s, pw)
		if err != nil && b.cluster != nil {
			b.cluster.unclaimLater(s.key(), held{s.device, b.cluster.id(), s.claim}, 0)
		}
	}
	if err != nil {
		b.counters.refuse(AsError(err).Code)
		b.log.Warn("open failed", "app", s.app.id, "peer", s.peer, "err", err)
		return nil, false, AsError(err)
	}
	b.log.Debug("session opened", "app", s.app.id, "peer", s.peer, "device", s.device, "address", r.Remote, "transport", r.Transport, "version", r.Version)
	return s, present, nil
}

// admit checks everything about an open that needs no session state: app, ids, password, ban, signature, will.
func (b *Broker) admit(ctx context.Context, r *OpenRequest, link Link) (*Session, *password, error) {
	if b.stopped.Load() {
		return nil, nil, Errorf(Internal, "the server is stopping; connect again in a moment")
	}
	if b.draining() {
		return nil, nil, ErrDraining
	}
	if b.cluster != nil && !b.cluster.leased() {
		return nil, nil, errStoreAway
	}
	a, err := b.app(AppID(r.App))
	if err != nil {
		return nil, nil, err
	}
	cfg := a.cfg.Load()
	peer, device, ok := ParseClientID(r.ClientID)
	if !ok {
		return nil, nil, Errorf(InvalidPeer, "the client id is {peer} or {peer}/{device}: 1-50 and 1-64 characters, no spaces and none of / + # : $")
	}
	pw, mode, perr := parsePassword(r.Password)
	if perr != nil {
		return nil, nil, perr
	}
	if err := b.checkBan(ctx, a.id, peer); err != nil {
		return nil, nil, err
	}
	var watch []PeerID
	if pw.Watch != nil {
		if watch, perr = parsePeerList("watch", *pw.Watch, min(cfg.Watch.PerCall, cfg.Watch.PerSession)); perr != nil {
			return nil, nil, perr
		}
	}
	if p := pw.proof(); cfg.Signature.Required || pw.Super || !p.empty() {
		text := openText(a.id, peer, joinSorted(watch), p.timestamp, p.nonce, pw.Super)
		if err := b.verify(ctx, a, &p, text, peer, string(peer)+"/"+string(device), "open", reuseConnect); err != nil {
			return nil, nil, err
		}
	}
	if err := b.admitConnect(a, peer, device); err != nil {
		return nil, nil, err
	}
	s := &Session{
		b: b, app: a, peer: peer, device: device, link: link, clientID: string(peer) + "/" + string(device),
		remote: r.Remote, transport: r.Transport, version: r.Version, mode: mode, envelope: pw.Envelope, super: pw.Super,
		since: b.now().UnixMilli(), maxPacket: r.MaximumPacket, clean: r.CleanStart, willDelay: r.WillDelay, gone: make(chan struct{}),
	}
	s.persisted, s.expiry = !r.CleanStart, cfg.Queue.Age
	if r.Version >= 5 {
		s.persisted, s.expiry = r.Expiry > 0, r.Expiry
	}
	s.out.window = maxWindow
	if r.ReceiveMaximum > 0 {
		s.out.window = min(maxWindow, int(r.ReceiveMaximum))
	}
	for _, p := range watch {
		s.watchEntry(p).request = true
	}
	if w := r.Will; w != nil {
		if err := b.checkWill(ctx, cfg, r, s, pw.Watch == nil); err != nil {
			return nil, nil, err
		}
		s.will, s.willExpiry = w, r.WillExpiry
	}
	return s, &pw, nil
}

// checkWill refuses a will that the session could not publish (spec 2). What the session watches is what its CONNECT names, or else
// what it brings along when it returns.
func (b *Broker) checkWill(ctx context.Context, cfg *AppConfig, r *OpenRequest, s *Session, returning bool) error {
	t := string(r.Will.Topic)
	parsed := parseTopic(s.app.id, t)
	refused := s.checkPublish(cfg, r.Will, t, parsed)
	if refused == nil {
		return nil
	}
	if refused.Code != InvalidTarget || !returning || parsed.kind != topicPeer {
		return refused
	}
	st, err := b.deviceState(ctx, s, b.sessionHere(s.key(), s.device))
	if err != nil {
		return err
	}
	rec := st.record
	if rec == nil || b.now().UnixMilli() >= rec.Resume {
		return refused
	}
	returned := &Session{b: b, app: s.app, peer: s.peer, super: s.super}
	for _, p := range rec.Watch {
		returned.watchEntry(p).request = true
	}
	if rec.MQTT != nil && !r.CleanStart {
		returned.restore(rec)
	}
	if refused = returned.checkPublish(cfg, r.Will, t, parsed); refused != nil {
		return refused
	}
	return nil
}

// sessionHere returns the device's session that is connected here or not stored yet, nil when there is none.
func (b *Broker) sessionHere(key peerKey, device DeviceID) *Session {
	sh := b.shardOf(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.peers[key]; p != nil {
		return p.sessionOf(device)
	}
	return nil
}

// attach gives s the state of its device, makes it the device's session and queues what it hears first.
func (b *Broker) attach(ctx context.Context, r *OpenRequest, s *Session, pw *password) (present bool, err error) {
	old, taken, connected := b.takeOver(ctx, s)
	defer func() {
		if err != nil && taken { // nobody has its place
			old.claim = s.claim
			b.depart(old, 0)
			b.storeEnded(old)
		}
	}()
	st, err := b.deviceState(ctx, s, old)
	if err != nil {
		return false, err
	}
	if err := b.limitDevices(ctx, s, st, connected); err != nil {
		return false, err
	}
	now := b.now().UnixMilli()
	resumable := st.record != nil && now < st.record.Resume
	if st.record != nil {
		s.since = max(s.since, st.record.Opened+1) // tells the sessions of a device apart
		s.heir = st.record.Will
	}
	if s.heir && resumable && s.clean && !taken {
		if err := b.discard(ctx, s, old); err != nil {
			return false, err
		}
	}
	if resumable && pw.Watch == nil {
		for _, p := range st.record.Watch {
			s.watchEntry(p).request = true
		}
	}
	present = resumable && !r.CleanStart && st.record.MQTT != nil
	if s.mode != receiveNone {
		s.out.logs = []*logState{
			{id: LogID{LogInbox, s.app.id, string(s.peer)}, behind: true},
			{id: LogID{LogEvents, s.app.id, string(s.peer)}, behind: true},
		}
		if st.record != nil {
			s.attempts = attemptsOf(st.record, s.app.id, s.peer)
		}
	}
	if present {
		s.restore(st.record)
		s.resumed = st.record.Opened
		if taken {
			s.TakeTopics(old.LeftTopics())
		}
	}
	resumed := resumable && !r.CleanStart && !st.record.Closed
	b.enter(s, st.devices)
	if err = b.checkBan(ctx, s.app.id, s.peer); err == nil { // once more: one set before the session could be found has not ended it
		err = b.loadGroups(ctx, s, st)
	}
	if present && err == nil {
		s.restoreLogs(st.record)
	}
	if err == nil {
		err = b.plan(ctx, s, st, present)
	}
	waiting := uint64(0)
	if err == nil {
		waiting, err = s.countWaiting()
	}
	if len(st.stale) > 0 && err == nil {
		b.commitLazily(&Batch{Writes: st.stale}, nil)
	}
	if err == nil {
		b.dropIdleGroups(s) // of which the store knows the place: it is not written again
		err = b.storeOpened(ctx, s)
	}
	if err != nil {
		s.finish(EndServer)
		b.leave(s, 0)
		b.forgetClosing(s)
		return false, err
	}
	b.greet(s, resumed, waiting)
	return present, nil
}
