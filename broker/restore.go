package broker

import (
	"context"
	"slices"
)

// maxDeviceRecords bounds a list of a peer's devices and cursors.
const maxDeviceRecords = 4096

// restored is what is known of a device when it opens a session.
type restored struct {
	record  *deviceRecord // nil: never seen, or forgotten
	cursors map[string]Position
	stored  map[string]Position // of cursors, what the store has
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
	st := &restored{cursors: make(map[string]Position), stored: make(map[string]Position)}
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
		log := logOfCursor(r.Key.Name)
		st.stored[log] = decodePosition(r.Value)
		st.cursors[log] = st.stored[log]
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
