package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
)

// What sessions leave that a crash cut: records that say they are connected, and have no term.

// endLeft completes the records of devices whose connection an incarnation held that is left, as the session's end at that time (Unix
// milliseconds) would have, and notes until when their peers may rejoin an open group. What was opened again meanwhile stays as it is.
func (b *Broker) endLeft(ctx context.Context, left func(incarnation string) bool, end int64) error {
	for _, a := range *b.apps.Load() {
		for q := (ListQuery{Space: SpaceDevice, App: a.id, Limit: 1000}); ; {
			page, err := b.store.List(ctx, q)
			if err != nil {
				return fmt.Errorf("list devices: %w", err)
			}
			if err := b.endLeftDevices(ctx, a, page, left, end); err != nil {
				return err
			}
			if len(page) < q.Limit {
				break
			}
			q.After = page[len(page)-1].Key
		}
	}
	return nil
}

func (b *Broker) endLeftDevices(ctx context.Context, a *app, page []Record, left func(incarnation string) bool, end int64) error {
	expires := end + a.cfg.Load().Queue.Age.Milliseconds()
	batch, peers := &Batch{}, []PeerID{}
	for _, r := range page {
		rec := decodeDevice(r.Value)
		if rec == nil || rec.Connected == "" || !left(rec.Connected) {
			continue
		}
		b.interrupted(rec)
		rec.Connected, rec.Since = "", end
		batch.Writes = append(batch.Writes, Write{Key: r.Key, Value: mustJSON(rec), If: IfEqual, Have: r.Value, Expires: expires})
		peers = append(peers, PeerID(r.Key.Owner))
	}
	if len(peers) == 0 {
		return nil
	}
	for _, p := range slices.Compact(peers) {
		if err := b.endLeftOpen(ctx, peerKey{a.id, p}, end); err != nil {
			return err
		}
	}
	_, err := b.commit(ctx, batch) // last: who comes after a crash finds by them what is left to do
	return err
}

// endLeftOpen notes until when a peer may rejoin its open group, unless it is connected.
func (b *Broker) endLeftOpen(ctx context.Context, key peerKey, end int64) error {
	k := openKey(key.app, key.peer)
	values, err := b.store.Get(ctx, []Key{k})
	if err != nil || values[0] == nil {
		return err
	}
	var m openMembership
	if err := json.Unmarshal(values[0], &m); err != nil || m.Until != 0 {
		return err
	}
	if there, err := b.isAnywhere(ctx, key); there || err != nil {
		return err
	}
	m.Until = end + rejoinFor.Milliseconds()
	next := mustJSON(m)
	batch, err := b.commit(ctx, &Batch{Writes: []Write{{Key: k, Value: next, If: IfEqual, Have: values[0], Expires: m.Until}}})
	if err != nil || batch.Writes[0].Conflict {
		return err
	}
	if there, err := b.isAnywhere(ctx, key); !there || err != nil {
		return err
	}
	_, err = b.commit(ctx, &Batch{Writes: []Write{{Key: k, Value: values[0], If: IfEqual, Have: next}}}) // it came in between
	return err
}

// isAnywhere reports whether a peer is connected, by what the store says of the other nodes.
func (b *Broker) isAnywhere(ctx context.Context, key peerKey) (bool, error) {
	if len(b.connected(key, nil)) > 0 || b.cluster == nil {
		return len(b.connected(key, nil)) > 0, nil
	}
	_, lines, err := b.cluster.nodesHolding(ctx, whereKey(key))
	return len(lines) > 0, err
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
