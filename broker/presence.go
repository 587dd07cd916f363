package broker

import "time"

// Presence tells watchers that peers come and go (spec 4). A change is noted and queued to all watchers under the peer's
// shard lock, so that a late "offline" of an older session can never follow a newer "online".

const (
	presenceOnline  = "online"
	presenceOffline = "offline"
)

// presenceState is the last a watcher should hear of a peer.
type presenceState struct {
	online bool
	retain bool  // the state as it stands, not a change
	ts     int64 // Unix milliseconds of the change, or of the answer where the change is not known
}

// setOnline notes a change and queues it to the watchers, which it returns to be woken once the shard is unlocked.
func (b *Broker) setOnline(p *peer, online bool, now int64) (wake []*Session) {
	if p.online == online {
		return nil
	}
	p.online, p.changed = online, now
	b.presenceChanged(p.key, online, now)
	for s := range p.watchers {
		if s.queuePresence(p.key.peer, presenceState{online: online, ts: now}) {
			wake = append(wake, s)
		}
	}
	return wake
}

// cameOnline notes a session that opened. The shard must be locked.
func (b *Broker) cameOnline(p *peer, now int64) (wake []*Session) {
	if p.grace != nil {
		p.grace.Stop()
		p.grace = nil
	}
	return b.setOnline(p, true, now)
}

// wentAway notes that a session ended; with none left the peer goes offline, after hold. The shard must be locked.
func (b *Broker) wentAway(sh *shard, p *peer, hold time.Duration) (wake []*Session) {
	if len(p.sessions) > 0 || len(p.away) > 0 || !p.online {
		return nil
	}
	if hold <= 0 {
		return b.setOnline(p, false, b.now().UnixMilli())
	}
	var timer *time.Timer
	timer = time.AfterFunc(hold, func() {
		sh.mu.Lock()
		var wake []*Session
		if p.grace == timer {
			p.grace = nil
			wake = b.setOnline(p, false, b.now().UnixMilli())
			sh.release(p)
		}
		sh.mu.Unlock()
		wakeAll(wake)
	})
	p.grace = timer
	return nil
}

// heardAway takes up that a peer came to other nodes or left them. The shard must be locked.
func (b *Broker) heardAway(sh *shard, p *peer, hold time.Duration) (wake []*Session) {
	switch {
	case len(p.away) > 0:
		return b.cameOnline(p, b.now().UnixMilli())
	case p.grace != nil:
		return nil
	}
	return b.wentAway(sh, p, hold)
}

// addWatcher makes s hear of the peer from now on, its present state first unless quiet.
func (b *Broker) addWatcher(s *Session, to PeerID, quiet bool) (online bool) {
	key := peerKey{s.app.id, to}
	sh := b.shardOf(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.get(key)
	if p.watchers == nil {
		p.watchers = make(map[*Session]struct{}, 1)
	}
	p.watchers[s] = struct{}{}
	if !quiet {
		ts := p.changed
		if ts == 0 {
			ts = b.now().UnixMilli()
		}
		s.queuePresence(to, presenceState{online: p.online, retain: true, ts: ts})
	}
	return p.online
}

func (b *Broker) removeWatcher(s *Session, to PeerID) {
	key := peerKey{s.app.id, to}
	sh := b.shardOf(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.peers[key]; p != nil {
		delete(p.watchers, s)
		sh.release(p)
	}
}

func wakeAll(sessions []*Session) {
	for _, s := range sessions {
		s.link.Wake()
	}
}
