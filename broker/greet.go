package broker

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// enter makes s its device's session; from here on it is offered what is accepted. The devices are those of its peer that are stored;
// one that has just opened at another node may not be yet.
func (b *Broker) enter(s *Session, devices []DeviceID) {
	now := b.now().UnixMilli()
	for _, h := range s.others {
		if !slices.Contains(devices, h.device) {
			devices = append(devices, h.device)
		}
	}
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
	if b.cluster != nil {
		p.away, p.known = b.cluster.notHere(s.others), true
	}
	p.sessions = append(p.sessions, s)
	wake := b.cameOnline(p, now)
	sh.mu.Unlock()
	wakeAll(wake)
	b.counters.sessions.Add(1)
	s.app.sessions.Add(1)
}

// greet queues what a session hears first: the session event, with how many messages wait, and the state of whom it watches.
func (b *Broker) greet(s *Session, resumed bool, waiting uint64) {
	peers := s.watchedPeers()
	b.ensureKnown(s.app.id, peers)
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
	b.dropIdleGroups(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mode == receiveMessages && s.grantFor(s.eventTopic(eventSession), false).stopped {
		return
	}
	s.out.ready.pushFirst(s.sessionEvent(event, online, waiting))
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

// storeOpened notes in the store that the device is connected here. It waits where what comes next, of another node or at the next start,
// must find it: in a cluster, where another may acknowledge a message to the device, and with a will.
func (b *Broker) storeOpened(ctx context.Context, s *Session) error {
	if s.will != nil {
		s.willStored = encodeWill(s)
	}
	batch := b.openedBatch(s)
	if b.cluster == nil && s.will == nil {
		b.commitLazily(batch, nil)
		return nil
	}
	if _, err := b.commit(ctx, batch); err != nil {
		return err
	}
	s.closeIfLost(batch)
	return nil
}

// closeIfLost ends a session whose device is another node's by now.
func (s *Session) closeIfLost(opened *Batch) {
	for i := range opened.Writes {
		if w := &opened.Writes[i]; w.Key.Space == SpaceDevice && w.Conflict {
			s.link.Close(CloseTakenOver)
		}
	}
}

func (b *Broker) openedBatch(s *Session) *Batch {
	rec := deviceRecord{
		Connected: b.self(), Since: s.since, Address: s.remote, Protocol: s.protocol(), Opened: s.since, Will: s.will != nil,
		Watch: s.watchedByRequest(), Had: FirstIDAt(s.since),
	}
	s.mu.Lock()
	s.recordGaps(&rec)
	s.mu.Unlock()
	if s.expiry > 0 {
		rec.Resume, rec.Expiry = b.now().Add(s.expiry).UnixMilli(), s.expiry.Milliseconds()
	}
	s.mu.Lock()
	writes := s.cursorWrites(true) // first: the record says what their places mean, and Redis may get a part of a batch alone
	s.mu.Unlock()
	writes = append(writes,
		s.guarded(Write{Key: deviceKey(s.app.id, s.peer, s.device), Value: mustJSON(rec)}),
		Write{Key: seenKey(s.app.id, s.peer), Value: encodeTime(s.since)},
	)
	if s.will != nil {
		writes = append(writes, Write{Key: s.willKey(), Value: s.willStored})
	} else if s.moved || s.heir {
		writes = append(writes, Write{Key: s.willKey()}) // of the session before: this one came in time [MQTT-3.1.3-9]
	}
	return &Batch{Writes: writes}
}

// guarded makes a write about the session's device hold only while this node holds the device.
func (s *Session) guarded(w Write) Write {
	if s.b.cluster != nil {
		mine := held{device: s.device, claim: s.claim}
		w.Guard, w.GuardHas = whereKey(s.key()), []byte(mine.line())
	}
	return w
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
