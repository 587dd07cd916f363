package broker

import (
	"context"
	"encoding/json"
)

// Kick ends the peer's sessions, or that of one device; it returns how many. A signed CONNECT shown before is refused afterwards.
func (b *Broker) Kick(ctx context.Context, app AppID, peer PeerID, device DeviceID) (int, error) {
	if _, err := b.app(app); err != nil {
		return 0, err
	}
	if err := b.noteKick(ctx, app, peer, device); err != nil {
		return 0, err
	}
	return b.endEverywhere(ctx, peerKey{app, peer}, device)
}

// endEverywhere ends the peer's sessions, or that of one device, at all nodes; it returns how many.
func (b *Broker) endEverywhere(ctx context.Context, key peerKey, device DeviceID) (int, error) {
	n := b.kickConnected(key.app, key.peer, device)
	if b.cluster == nil {
		return n, nil
	}
	nodes, _, err := b.cluster.nodesHolding(ctx, whereKey(key))
	if err != nil {
		return n, err
	}
	q := &question{App: key.app, Peer: key.peer, Device: device}
	err = b.cluster.askAll(ctx, nodes, askKick, q, func(r *reply) { n += r.Count })
	return n, err
}

func (b *Broker) kickConnected(app AppID, peer PeerID, device DeviceID) (n int) {
	for _, s := range b.connected(peerKey{app, peer}, nil) {
		if device == "" || s.device == device {
			s.link.Close(CloseKicked)
			n++
		}
	}
	return n
}

// noteKick notes when the peer's sessions, or that of one device, were kicked: what its node does not hear of it finds out later, and what
// was shown before is refused.
func (b *Broker) noteKick(ctx context.Context, app AppID, peer PeerID, device DeviceID) error {
	sig := (*b.apps.Load())[app].cfg.Load().Signature
	now := b.now()
	expires, value := now.Add(2*sig.Window+sig.Reuse).UnixMilli(), encodeTime(now.UnixMilli())[:8]
	_, err := b.commit(ctx, &Batch{Writes: []Write{
		{Key: kickedKey(app, peer), Value: value, Expires: expires},
		{Key: endedKey(app, peer, device), Value: value, Expires: expires},
	}})
	return err
}

// endedKey holds when a device's session was last ended by a kick or a ban, in Unix milliseconds; with an empty device, all of the peer's.
func endedKey(app AppID, p PeerID, d DeviceID) Key {
	return Key{Space: SpacePeer, App: app, Owner: string(p), Name: "ended\x00" + string(d)}
}

func banKey(app AppID, p PeerID) Key { return Key{Space: SpaceBan, App: app, Owner: string(p)} }

func (b *Broker) checkBan(ctx context.Context, app AppID, peer PeerID) error {
	values, err := b.store.Get(ctx, []Key{banKey(app, peer)})
	if err != nil {
		return err
	}
	if values[0] != nil {
		return Errorf(Banned, "the peer is banned")
	}
	return nil
}

// SetBan bans a peer and ends its sessions.
func (b *Broker) SetBan(ctx context.Context, app AppID, ban Ban) error {
	if _, err := b.app(app); err != nil {
		return err
	}
	w := Write{Key: banKey(app, ban.Peer), Value: mustJSON(ban), Expires: ban.Until}
	if _, err := b.commit(ctx, &Batch{Writes: []Write{w}}); err != nil {
		return err
	}
	if err := b.noteKick(ctx, app, ban.Peer, ""); err != nil {
		return err
	}
	_, err := b.endEverywhere(ctx, peerKey{app, ban.Peer}, "")
	return err
}

// LiftBan lifts a ban; false: there was none.
func (b *Broker) LiftBan(ctx context.Context, app AppID, peer PeerID) (bool, error) {
	if _, err := b.app(app); err != nil {
		return false, err
	}
	values, err := b.store.Get(ctx, []Key{banKey(app, peer)})
	if err != nil || values[0] == nil {
		return false, err
	}
	_, err = b.commit(ctx, &Batch{Writes: []Write{{Key: banKey(app, peer)}}})
	return err == nil, err
}

// Bans lists the bans in force in the order of their peers.
func (b *Broker) Bans(ctx context.Context, app AppID, after PeerID, limit int) ([]Ban, error) {
	if _, err := b.app(app); err != nil {
		return nil, err
	}
	q := ListQuery{Space: SpaceBan, App: app, Limit: limit}
	if after != "" {
		q.After = banKey(app, after)
	}
	records, err := b.store.List(ctx, q)
	if err != nil {
		return nil, err
	}
	bans := make([]Ban, 0, len(records))
	for _, r := range records {
		var ban Ban
		if err := json.Unmarshal(r.Value, &ban); err != nil {
			return nil, err
		}
		bans = append(bans, ban)
	}
	return bans, nil
}
