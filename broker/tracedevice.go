package broker

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// receiver looks at all devices of a peer.
func (t *tracing) receiver(ctx context.Context, from traced) (ReceiverTrace, error) {
	r := ReceiverTrace{Peer: from.peer, State: TraceGone, Devices: []DeviceTrace{}}
	entry, found, err := t.entry(ctx, from.log)
	if err != nil || !found {
		return r, err
	}
	known, err := t.devices(ctx, from.peer)
	if err != nil {
		return r, err
	}
	places, err := t.b.store.Get(ctx, []Key{cursorKey(t.app.id, from.peer, "", from.log)})
	if err != nil {
		return r, err
	}
	far := decodePosition(places[0])
	for i := range known {
		d, err := t.device(ctx, from, &known[i], entry.N, far)
		if err != nil {
			return r, err
		}
		r.Devices = append(r.Devices, d)
	}
	r.State = t.unsent()
	if len(known) == 0 && far.N >= entry.N {
		r.State = TraceAcknowledged // by a device that was forgotten since
	}
	for i, d := range r.Devices {
		if i == 0 || slices.Index(furthestState, d.State) < slices.Index(furthestState, r.State) {
			r.State = d.State
		}
	}
	return r, nil
}

// tracedDevice is what is known of a device.
type tracedDevice struct {
	id      DeviceID
	record  *deviceRecord // nil: not stored yet
	session *Session      // nil: not connected here
}

// devices are those of a peer that were seen, in the order of their names.
func (t *tracing) devices(ctx context.Context, p PeerID) ([]tracedDevice, error) {
	records, err := t.b.store.List(ctx, ListQuery{Space: SpaceDevice, App: t.app.id, Owner: string(p), Limit: maxDeviceRecords})
	if err != nil {
		return nil, err
	}
	known := make(map[DeviceID]tracedDevice, len(records))
	for _, record := range records {
		id := DeviceID(record.Key.Name)
		known[id] = tracedDevice{id: id, record: decodeDevice(record.Value)}
	}
	for _, s := range slices.Backward(t.b.sessionsHere(peerKey{t.app.id, p})) { // one that is connected is last in turn
		known[s.device] = tracedDevice{s.device, known[s.device].record, s}
	}
	return slices.SortedFunc(maps.Values(known), func(x, y tracedDevice) int { return cmpString(x.id, y.id) }), nil
}

// device tells how far a device came with number n of a log. far is the place of the furthest of its peer's devices.
func (t *tracing) device(ctx context.Context, from traced, known *tracedDevice, n uint64, far Position) (DeviceTrace, error) {
	d := DeviceTrace{Device: known.id, Connected: known.record != nil && known.record.Connected != ""}
	cursor, err := t.cursor(ctx, from, known, far)
	if err != nil {
		return d, err
	}
	var live liveTrail
	if known.session != nil {
		live = known.session.liveTrail(from.log)
		d.Connected = live.connected
	}
	if live.knows {
		cursor = live.cursor
	}
	seen := marks{n: n}
	if err := t.trail(ctx, from, known.id, &seen, live.key); err != nil {
		return d, err
	}
	seen.read(live.value, live.first)
	d.Sent, d.Times, d.Acknowledged = seen.sent, seen.times, seen.acked
	switch {
	case seen.acked != 0:
		d.State = TraceAcknowledged
	case seen.refused:
		d.State = TraceRefused
	case seen.passed:
		d.State = TraceSkipped
	case cursor.N >= n:
		d.State = TraceAcknowledged
	case seen.times > 0:
		d.State = TraceSent
	default:
		d.State = t.unsent()
	}
	return d, nil
}

// unsent is the state of what was not sent.
func (t *tracing) unsent() TraceState {
	now := t.b.now()
	if t.msg.Expired(now.UnixMilli()) || t.msg.ID.Time() < now.Add(-t.app.cfg.Load().Queue.Age).UnixMilli() {
		return TraceExpired
	}
	return TraceWaiting
}

// cursor is the stored place of a device in a log.
func (t *tracing) cursor(ctx context.Context, from traced, known *tracedDevice, far Position) (Position, error) {
	values, err := t.b.store.Get(ctx, []Key{cursorKey(t.app.id, from.peer, known.id, from.log)})
	if err != nil {
		return Position{}, err
	}
	at := decodePosition(values[0])
	if at.N > 0 || from.log.Kind != LogConversation {
		return at, nil
	}
	st := &restored{record: known.record, joined: map[string]Position{from.log.Owner: from.joined}}
	return t.b.groupStart(ctx, st, from.log, far)
}

// trail reads a device's trail around a number, but one record.
func (t *tracing) trail(ctx context.Context, from traced, device DeviceID, seen *marks, but Key) error {
	prefix, p := trailPrefix(device, from.log), from.peer
	records, err := t.b.store.List(ctx, ListQuery{
		Space: SpaceTrail, App: t.app.id, Owner: string(p), Prefix: prefix, Limit: maxTraceRecords,
		// What was acknowledged late is noted among those that were sent meanwhile.
		After: Key{Space: SpaceTrail, App: t.app.id, Owner: string(p), Name: prefix + fmt.Sprintf("%016x", ^(seen.n+maxWindow))},
	})
	if err != nil {
		return err
	}
	for _, r := range slices.Backward(records) { // the oldest first
		if r.Key == but {
			continue
		}
		var first, began uint64
		if _, err := fmt.Sscanf(r.Key.Name[len(prefix):], "%16x%12x", &first, &began); err == nil {
			seen.read(r.Value, ^first)
		}
	}
	return nil
}

// liveTrail is what a session knows beyond what was stored.
type liveTrail struct {
	connected bool
	knows     bool // of the log: cursor is the session's
	cursor    Position
	key       Key // of the record that it writes
	value     []byte
	first     uint64
}

func (s *Session) liveTrail(log LogID) (live liveTrail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	live.connected = !s.ended
	l := s.out.log(log)
	if l == nil {
		return live
	}
	s.out.settle()
	live.knows, live.cursor = true, l.cursor
	if l.trail != nil && len(l.trail.buf) > 0 {
		live.value, live.first = l.trail.buf, l.trail.first
		live.key = trailKey(s.app.id, s.peer, s.device, log, l.trail.first, l.trail.began)
	}
	return live
}

// marks are what happened to one number.
type marks struct {
	n       uint64
	sent    int64 // first
	times   int
	acked   int64
	refused bool
	passed  bool
}

// read takes what a record of a trail says of the number.
func (m *marks) read(value []byte, first uint64) {
	before := first
	readTrail(value, first, func(mark trailMark) {
		here := mark.n == m.n
		switch mark.kind {
		case trailSent:
			if here {
				m.times++
			}
			if here && m.sent == 0 {
				m.sent = mark.at
			}
		case trailAcked:
			if here && m.acked == 0 {
				m.acked = mark.at
			}
		case trailRefused:
			m.refused = m.refused || here
		case trailPassed:
			m.passed = m.passed || here
		case trailPassedTo:
			m.passed = m.passed || before <= m.n && m.n <= mark.n
		default:
		}
		before = mark.n
	})
}
