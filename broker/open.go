package broker

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxDeviceRecords bounds a list of a peer's devices and cursors.
const maxDeviceRecords = 4096

// takeOverDeadline is how long an open waits for what the older connection has not committed yet.
const takeOverDeadline = 5 * time.Second

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
	present, err = b.attach(ctx, r, s, pw)
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
	s := &Session{
		b: b, app: a, peer: peer, device: device, link: link, clientID: string(peer) + "/" + string(device),
		remote: r.Remote, transport: r.Transport, version: r.Version, mode: mode, envelope: pw.Envelope, super: pw.Super,
		since: b.now().UnixMilli(), maxPacket: r.MaximumPacket, willDelay: r.WillDelay, gone: make(chan struct{}),
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
	if err != nil {
		s.finish(EndServer)
		b.leave(s, 0)
		b.forgetClosing(s)
		return false, err
	}
	b.greet(s, resumed)
	if len(st.stale) > 0 {
		b.commitLazily(&Batch{Writes: st.stale}, nil)
	}
	b.storeOpened(s)
	return present, nil
}

// takeOver ends the device's older session, if there is one, and waits until what it published is committed. taken tells that it was still connected.
func (b *Broker) takeOver(ctx context.Context, s *Session) (old *Session, taken bool, connected []DeviceID) {
	sh := b.shardOf(s.key())
	sh.mu.Lock()
	p := sh.peers[s.key()]
	if p != nil {
		old = p.sessionOf(s.device)
		for _, o := range p.sessions {
			if o != old {
				connected = append(connected, o.device)
			}
		}
	}
	sh.mu.Unlock()
	if old == nil {
		return nil, false, connected
	}
	if taken = old.finish(EndServer); taken {
		old.link.Close(CloseTakenOver)
		b.log.Debug("session taken over", "app", s.app.id, "peer", s.peer, "device", s.device)
	} else {
		old.ending.Lock()   // what it leaves goes to the store before what this one writes
		old.ending.Unlock() //nolint:staticcheck // to have waited is all
	}
	ctx, cancel := context.WithTimeout(ctx, takeOverDeadline)
	defer cancel()
	old.awaitCommitted(ctx)
	return old, taken, connected
}

// finish marks the session as ended; it reports whether it was not before.
func (s *Session) finish(how EndReason) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.ended, s.how = true, how
	if s.mode != receiveNone {
		s.had = lastIDAt(s.b.delivered.Load()) // of what comes later, nothing is offered to it any more
	}
	close(s.gone)
	return true
}

// awaitCommitted waits until nothing the session published is uncommitted, or for ctx.
func (s *Session) awaitCommitted(ctx context.Context) {
	for {
		s.mu.Lock()
		open := s.in.uncommitted > 0 && !s.in.holding
		if open && s.in.committed == nil {
			s.in.committed = make(chan struct{}, 1)
		}
		signal := s.in.committed
		s.mu.Unlock()
		if !open {
			return
		}
		select {
		case <-signal:
		case <-ctx.Done():
			return
		}
	}
}

// restored is what is known of a device when it opens a session.
type restored struct {
	record  *deviceRecord // nil: never seen, or forgotten
	cursors map[string]Position
	devices []DeviceID          // all known devices of the peer, this one included when known
	records []Record            // of those devices
	joined  map[string]Position // of the peer's groups: where it joined
	stale   []Write             // remove the places of a device that was forgotten
}

// deviceState reads the device's record and cursors; those of an older session in memory come before the store's.
func (b *Broker) deviceState(ctx context.Context, s *Session, old *Session) (*restored, error) {
	records, err := b.store.List(ctx, ListQuery{Space: SpaceDevice, App: s.app.id, Owner: string(s.peer), Limit: maxDeviceRecords})
	if err != nil {
		return nil, err
	}
	st := &restored{cursors: make(map[string]Position)}
	for _, r := range records {
		st.devices = append(st.devices, DeviceID(r.Key.Name))
		st.records = append(st.records, r)
		if DeviceID(r.Key.Name) == s.device {
			st.record = decodeDevice(r.Value)
		}
	}
	if st.record != nil && st.record.Connected != "" {
		b.interrupted(st.record)
	}
	cursors, err := b.store.List(ctx, ListQuery{
		Space: SpaceCursor, App: s.app.id, Owner: string(s.peer), Prefix: string(s.device) + "\x00", Limit: maxDeviceRecords,
	})
	if err != nil {
		return nil, err
	}
	for _, r := range cursors {
		if st.record == nil && old == nil { // it was forgotten, and starts where the furthest of its peer's devices is
			st.stale = append(st.stale, Write{Key: r.Key})
			continue
		}
		_, log := deviceOfCursor(r.Key.Name)
		st.cursors[log] = decodePosition(r.Value)
	}
	if old != nil {
		st.record = old.snapshot()
		if !slices.Contains(st.devices, s.device) {
			st.devices = append(st.devices, s.device)
		}
		for _, l := range old.settled() {
			st.cursors[l.id.short()] = l.cursor
		}
	}
	return st, nil
}

// limitDevices makes room for a device never seen: the longest absent is forgotten (spec 1); while all are connected it is refused.
func (b *Broker) limitDevices(ctx context.Context, s *Session, st *restored, connected []DeviceID) error {
	limit := s.app.cfg.Load().Devices
	if slices.Contains(st.devices, s.device) {
		return nil
	}
	for _, d := range slices.Concat(connected, b.awaitEnding(s.key())) { // what has just opened or ended may not be in the store yet
		if d != s.device && !slices.Contains(st.devices, d) {
			st.devices = append(st.devices, d)
		}
	}
	if len(st.devices) < limit {
		return nil
	}
	if _, err := b.commit(ctx, &Batch{Lazy: true}); err != nil { // behind what those devices wrote
		return err
	}
	var err error
	if st.records, err = b.store.List(ctx, ListQuery{Space: SpaceDevice, App: s.app.id, Owner: string(s.peer), Limit: maxDeviceRecords}); err != nil {
		return err
	}
	var oldest Record
	since := int64(0)
	for _, r := range st.records {
		rec := decodeDevice(r.Value)
		if slices.Contains(connected, DeviceID(r.Key.Name)) {
			continue
		}
		if rec == nil {
			rec = &deviceRecord{}
		}
		if oldest.Key.Name == "" || rec.Since < since {
			oldest, since = r, rec.Since
		}
	}
	if oldest.Key.Name == "" {
		return Errorf(LimitExceeded, "all %d devices of the peer are connected", limit)
	}
	device := DeviceID(oldest.Key.Name)
	st.devices = slices.DeleteFunc(st.devices, func(d DeviceID) bool { return d == device })
	_, err = b.commit(ctx, &Batch{Writes: b.forgetDevice(s.app.id, s.peer, device)})
	return err
}

// awaitEnding waits until the peer's sessions that have just ended have sent what they leave on its way to the store, and returns
// their devices.
func (b *Broker) awaitEnding(key peerKey) (devices []DeviceID) {
	sh := b.shardOf(key)
	sh.mu.Lock()
	var closing []*Session
	if p := sh.peers[key]; p != nil {
		closing = slices.Clone(p.closing)
	}
	sh.mu.Unlock()
	for _, s := range closing {
		s.ending.Lock()
		s.ending.Unlock() //nolint:staticcheck // to have waited is all
		devices = append(devices, s.device)
	}
	return devices
}

func (b *Broker) forgetDevice(app AppID, p PeerID, d DeviceID) []Write {
	return []Write{
		{Key: deviceKey(app, p, d)},
		{Key: cursorKey(app, p, d, LogID{LogInbox, app, string(p)})},
		{Key: cursorKey(app, p, d, LogID{LogEvents, app, string(p)})},
	}
}

// enter makes s its device's session; from here on it is offered what is accepted.
func (b *Broker) enter(s *Session, devices []DeviceID) {
	now := b.now().UnixMilli()
	sh := b.shardOf(s.key())
	sh.mu.Lock()
	p := sh.get(s.key())
	p.sessions = slices.DeleteFunc(p.sessions, func(o *Session) bool { return o.device == s.device })
	if len(p.sessions) == 0 || p.devices == nil {
		p.devices = devices
	}
	for _, d := range devices {
		if !p.knows(d) {
			p.devices = append(p.devices, d)
		}
	}
	if !p.knows(s.device) {
		p.devices = append(p.devices, s.device)
	}
	p.devices = slices.DeleteFunc(p.devices, func(d DeviceID) bool { return d != s.device && !slices.Contains(devices, d) && p.sessionOf(d) == nil })
	if p.far == nil {
		p.far = &furthest{}
	}
	s.far = p.far
	p.sessions = append(p.sessions, s)
	wake := p.cameOnline(now)
	sh.mu.Unlock()
	wakeAll(wake)
	b.counters.sessions.Add(1)
}

// greet queues what a session hears first: the session event, and the state of whom it watches.
func (b *Broker) greet(s *Session, resumed bool) {
	peers := s.watchedPeers()
	online := make([]PeerID, 0, len(peers))
	for _, p := range peers {
		if b.addWatcher(s, p, false) {
			online = append(online, p)
		}
	}
	s.mu.Lock()
	s.out.started = true
	s.mu.Unlock()
	if s.mode == receiveNone {
		return
	}
	event := "opened"
	if resumed {
		event = "resumed"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := uint64(0)
	for _, l := range s.out.logs {
		waiting += l.waiting()
	}
	s.out.dropIdleGroups()
	if s.mode == receiveMessages && s.grantFor(s.eventTopic(eventSession), false).stopped {
		return
	}
	first := s.sessionEvent(event, online, waiting)
	s.out.ready.items = slices.Insert(s.out.ready.items, s.out.ready.head, first)
}

func (s *Session) sessionEvent(event string, online []PeerID, waiting uint64) Out {
	const most = 100
	e := struct {
		Event   string    `json:"event"`
		Peer    PeerID    `json:"peer"`
		Device  DeviceID  `json:"device"`
		TS      int64     `json:"ts"`
		Online  []PeerID  `json:"online"`
		Groups  []GroupID `json:"groups"`
		Waiting uint64    `json:"waiting"`
		Next    string    `json:"next,omitempty"`
	}{Event: event, Peer: s.peer, Device: s.device, TS: s.since, Online: online, Groups: slices.Sorted(maps.Keys(s.groups)), Waiting: waiting}
	if e.Groups == nil {
		e.Groups = []GroupID{}
	}
	if len(e.Groups) > most {
		e.Groups, e.Next = e.Groups[:most], string(e.Groups[most-1])
	}
	if len(online) > most {
		e.Online, e.Next = online[:most], string(online[most-1])
	}
	return s.connectionEvent(eventSession, e)
}

// storeOpened notes in the store, without waiting, that the device is connected here.
func (b *Broker) storeOpened(s *Session) {
	rec := deviceRecord{
		Connected: b.incarnation, Since: s.since, Address: s.remote, Protocol: s.protocol(),
		Watch: s.watchedByRequest(), Had: FirstIDAt(s.since),
	}
	if s.mode == receiveNone {
		rec.Absent, rec.Had = s.absent, s.had
	}
	if s.expiry > 0 {
		rec.Resume, rec.Expiry = b.now().Add(s.expiry).UnixMilli(), s.expiry.Milliseconds()
	}
	writes := []Write{
		{Key: deviceKey(s.app.id, s.peer, s.device), Value: mustJSON(rec)},
		{Key: seenKey(s.app.id, s.peer), Value: encodeTime(s.since)},
	}
	s.mu.Lock()
	writes = append(writes, s.cursorWrites(true)...)
	s.mu.Unlock()
	if s.will != nil {
		writes = append(writes, Write{Key: s.willKey(), Value: encodeWill(s)})
	}
	b.commitLazily(&Batch{Writes: writes}, nil)
}

func (s *Session) protocol() string {
	name := "mqtt 3.1.1"
	if s.version >= 5 {
		name = "mqtt 5"
	}
	return strings.TrimSpace(name + " " + s.transport)
}

func (s *Session) watchedByRequest() []PeerID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var peers []PeerID
	for p, w := range s.watch {
		if w.request {
			peers = append(peers, p)
		}
	}
	slices.Sort(peers)
	return peers
}
